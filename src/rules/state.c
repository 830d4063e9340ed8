#include "rules/state.h"

#include <stdlib.h>
#include <string.h>

#include "rules/call.h"
#include "rules/json.h"
#include "rules/json_lazy.h"

/*
 * The bytes: one tag, then the value. A table is its entries, key and value, and TAG_END. The whole
 * is, for each rule that has states, TAG_RULE, the rule's name and a table of its states by name;
 * then TAG_END.
 */
enum tag {
    TAG_END,
    TAG_RULE,
    TAG_FALSE,
    TAG_TRUE,
    TAG_NULL,
    TAG_INTEGER,
    TAG_FLOAT,
    TAG_STRING,
    TAG_TABLE,
    TAG_ARRAY /* a table with the JSON array metatable */
};

struct carried {
    unsigned char *bytes;
    size_t used, size, max;
};

int state_from_rule(lua_State *L)
{
    struct call *call = call_current(L, "mill.state");
    size_t size = 0;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "mill.state: a name expected, got %s", luaL_typename(L, 1));
    lua_tolstring(L, 1, &size);
    if (size == 0 || size > STATE_NAME_MAX)
        return luaL_error(L, "mill.state: a name of 1 to %d bytes expected", STATE_NAME_MAX);
    push_ref(L, call->rule->states);     /* states */
    lua_pushvalue(L, 1);                 /* states name */
    if (lua_rawget(L, -2) == LUA_TNIL) { /* states table? */
        lua_pop(L, 1);                   /* states */
        lua_newtable(L);                 /* states table */
        lua_pushvalue(L, 1);             /* states table name */
        lua_pushvalue(L, -2);            /* states table name table */
        lua_rawset(L, -4);               /* states table */
    }
    return 1;
}

/* --- writing: all LJMP ------------------------------------------------------------------------ */

static void put(lua_State *L, struct carried *to, const void *bytes, size_t count)
{
    if (count > to->max - to->used)
        luaL_error(L, "the states are larger than %I bytes", (lua_Integer)to->max);
    if (to->used + count > to->size) {
        size_t size = (to->used + count) * 2;
        unsigned char *grown = realloc(to->bytes, size);
        if (grown == NULL)
            luaL_error(L, "out of memory");
        to->bytes = grown;
        to->size = size;
    }
    memcpy(to->bytes + to->used, bytes, count);
    to->used += count;
}

static void put_tag(lua_State *L, struct carried *to, enum tag tag)
{
    unsigned char byte = (unsigned char)tag;
    put(L, to, &byte, 1);
}

static void put_string(lua_State *L, struct carried *to, const char *text, size_t size)
{
    put_tag(L, to, TAG_STRING);
    put(L, to, &size, sizeof(size));
    put(L, to, text, size);
}

/* Where the writing is: for messages, and to see cycles. */
struct place {
    const struct place *outer; /* NULL: this is the table of states, whose keys are names */
    const void *table;
    int key; /* stack index of the key that is being written */
    int depth;
};

/* Pushes "mill.state("seen").items[3]". */
static const char *push_path(lua_State *L, const struct place *place)
{
    if (place == NULL)
        return lua_pushliteral(L, "mill.state");
    const char *outer = push_path(L, place->outer); /* outer */
    luaL_checkstack(L, 4, NULL);
    const char *key = luaL_tolstring(L, place->key, NULL); /* outer key */
    const char *path = NULL;
    if (place->outer == NULL)
        path = lua_pushfstring(L, "%s(\"%s\")", outer, key); /* outer key path */
    else if (lua_type(L, place->key) == LUA_TSTRING)
        path = lua_pushfstring(L, "%s.%s", outer, key); /* outer key path */
    else
        path = lua_pushfstring(L, "%s[%s]", outer, key); /* outer key path */
    lua_replace(L, -3);                                  /* path key */
    lua_pop(L, 1);                                       /* path */
    return path;
}

static int refuse(lua_State *L, const struct place *place, const char *why)
{
    return luaL_error(L, "%s: %s", push_path(L, place), why);
}

static void write_value(lua_State *L, struct carried *to, const struct place *place);

/* The tag of the table on the top; refuses metatables other than the JSON arrays'. */
static enum tag table_tag(lua_State *L, const struct place *place)
{
    if (!lua_getmetatable(L, -1)) /* table mt? */
        return TAG_TABLE;
    json_push_array_mt(L); /* table mt array_mt */
    bool is_array = lua_rawequal(L, -1, -2);
    lua_pop(L, 2); /* table */
    if (!is_array)
        refuse(L, place, "a table with a metatable cannot be kept");
    return TAG_ARRAY;
}

static void write_table(lua_State *L, struct carried *to, const struct place *outer)
{
    luaL_checkstack(L, 8, NULL);
    json_fill(L, -1);
    struct place place = {.outer = outer, .table = lua_topointer(L, -1)};
    place.depth = outer == NULL ? 1 : outer->depth + 1;
    for (const struct place *above = outer; above != NULL; above = above->outer)
        if (above->table == place.table)
            refuse(L, outer, "a table that contains itself cannot be kept");
    if (place.depth > STATE_DEPTH_MAX)
        refuse(L, outer, "nested too deeply to be kept");
    put_tag(L, to, outer == NULL ? TAG_TABLE : table_tag(L, outer));
    lua_pushnil(L);           /* table key */
    while (lua_next(L, -2)) { /* table key value */
        place.key = lua_gettop(L) - 1;
        if (lua_type(L, -2) == LUA_TBOOLEAN || lua_type(L, -2) == LUA_TNUMBER ||
            lua_type(L, -2) == LUA_TSTRING) {
            lua_pushvalue(L, -2); /* table key value key */
            write_value(L, to, &place);
            lua_pop(L, 1); /* table key value */
        } else {
            refuse(L, outer, "only strings, numbers and booleans can be keys of what is kept");
        }
        write_value(L, to, &place);
        lua_pop(L, 1); /* table key */
    }
    put_tag(L, to, TAG_END);
}

/* Writes the value on the top. */
static void write_value(lua_State *L, struct carried *to, const struct place *place)
{
    size_t size = 0;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        put_tag(L, to, lua_toboolean(L, -1) ? TAG_TRUE : TAG_FALSE);
        return;
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, -1, &size);
        put_string(L, to, text, size);
        return;
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            lua_Integer integer = lua_tointeger(L, -1);
            put_tag(L, to, TAG_INTEGER);
            put(L, to, &integer, sizeof(integer));
        } else {
            lua_Number number = lua_tonumber(L, -1);
            put_tag(L, to, TAG_FLOAT);
            put(L, to, &number, sizeof(number));
        }
        return;
    case LUA_TTABLE:
        write_table(L, to, place);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, -1) == NULL) {
            put_tag(L, to, TAG_NULL);
            return;
        }
        break;
    }
    refuse(L, place, lua_pushfstring(L, "a %s cannot be kept", luaL_typename(L, -1)));
}

/* [1] the rule [2] where to. */
static int write_rule(lua_State *L)
{
    const struct rule *rule = lua_touserdata(L, 1);
    struct carried *to = lua_touserdata(L, 2);
    put_tag(L, to, TAG_RULE);
    put_string(L, to, rule->file->name, strlen(rule->file->name));
    push_ref(L, rule->states); /* states */
    write_table(L, to, NULL);
    return 0;
}

/* --- reading: all LJMP ------------------------------------------------------------------------ */

struct cursor {
    const unsigned char *at;
};

static void get(struct cursor *cursor, void *to, size_t count)
{
    memcpy(to, cursor->at, count);
    cursor->at += count;
}

static const char *get_string(struct cursor *cursor, size_t *size)
{
    get(cursor, size, sizeof(*size));
    const char *text = (const char *)cursor->at;
    cursor->at += *size;
    return text;
}

/* Pushes the next value, or pushes nothing and returns false at the end of a table. */
static bool read_value(lua_State *L, struct cursor *cursor)
{
    lua_Integer integer = 0;
    lua_Number number = 0;
    size_t size = 0;
    enum tag tag = (enum tag) * cursor->at++;
    luaL_checkstack(L, 8, NULL);
    switch (tag) {
    case TAG_FALSE:
    case TAG_TRUE:
        lua_pushboolean(L, tag == TAG_TRUE); /* value */
        return true;
    case TAG_NULL:
        lua_pushlightuserdata(L, NULL); /* value */
        return true;
    case TAG_INTEGER:
        get(cursor, &integer, sizeof(integer));
        lua_pushinteger(L, integer); /* value */
        return true;
    case TAG_FLOAT:
        get(cursor, &number, sizeof(number));
        lua_pushnumber(L, number); /* value */
        return true;
    case TAG_STRING: {
        const char *text = get_string(cursor, &size);
        lua_pushlstring(L, text, size); /* value */
        return true;
    }
    case TAG_TABLE:
    case TAG_ARRAY:
        lua_newtable(L);                /* value */
        while (read_value(L, cursor)) { /* value key */
            read_value(L, cursor);      /* value key item */
            lua_rawset(L, -3);          /* value */
        }
        if (tag == TAG_ARRAY) {
            json_push_array_mt(L);   /* value mt */
            lua_setmetatable(L, -2); /* value */
        }
        return true;
    case TAG_END:
    case TAG_RULE:
        break;
    }
    return false;
}

/* The table of all that is carried, by rule: [1] the cursor. */
static int read_all(lua_State *L)
{
    struct cursor *cursor = lua_touserdata(L, 1);
    lua_newtable(L); /* rules */
    while (*cursor->at == TAG_RULE) {
        cursor->at++;
        read_value(L, cursor); /* rules name */
        read_value(L, cursor); /* rules name states */
        lua_rawset(L, -3);     /* rules */
    }
    return 1;
}

/* Copies the entries of the table on the top into the one below it; pops it. */
static void merge(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, -2);) { /* to from key value */
        lua_pushvalue(L, -2);                /* to from key value key */
        lua_insert(L, -2);                   /* to from key key value */
        lua_rawset(L, -5);                   /* to from key */
    }
    lua_pop(L, 1); /* to */
}

/* Puts the states of one rule, on the top, into its tables; pops them. */
static void merge_rule(lua_State *L, const struct rule *rule)
{
    push_ref(L, rule->states);               /* carried states */
    for (lua_pushnil(L); lua_next(L, -3);) { /* carried states name table */
        lua_pushvalue(L, -2);                /* carried states name table name */
        if (lua_rawget(L, -4) == LUA_TNIL) { /* carried states name table own */
            lua_pop(L, 1);                   /* carried states name table */
            lua_pushvalue(L, -2);            /* carried states name table name */
            lua_insert(L, -2);               /* carried states name name table */
            lua_rawset(L, -4);               /* carried states name */
        } else {
            lua_insert(L, -2); /* carried states name own table */
            merge(L);          /* carried states name own */
            lua_pop(L, 1);     /* carried states name */
        }
    }
    lua_pop(L, 2); /* */
}

/* [1] the engine [2] the table of all. */
static int merge_all(lua_State *L)
{
    struct engine *engine = lua_touserdata(L, 1);
    for (size_t i = 0; i < engine->rule_count; i++) {
        lua_getfield(L, 2, engine->rules[i].file->name); /* carried? */
        if (lua_istable(L, -1))
            merge_rule(L, &engine->rules[i]); /* */
        else
            lua_pop(L, 1); /* */
    }
    return 0;
}

/* --- without errors from here on -------------------------------------------------------------- */

struct carried *state_write(struct engine *from, struct error *err)
{
    lua_State *L = from->L;
    struct carried *carried = calloc(1, sizeof(*carried));
    unsigned char end = TAG_END;
    if (carried == NULL) {
        error_set(err, "out of memory");
        return NULL;
    }
    carried->max = SIZE_MAX / 4;
    if (from->options.limits.memory > 0)
        carried->max = (size_t)from->options.limits.memory;
    for (size_t i = 0; i < from->rule_count; i++) {
        struct rule *rule = &from->rules[i];
        lua_pushcfunction(L, write_rule);      /* function */
        lua_pushlightuserdata(L, rule);        /* function rule */
        lua_pushlightuserdata(L, carried);     /* function rule carried */
        if (lua_pcall(L, 2, 0, 0) != LUA_OK) { /* error */
            const char *why = lua_tostring(L, -1);
            error_set(err, "rule %s: %s", rule->file->name, why != NULL ? why : "unknown fault");
            lua_pop(L, 1); /* */
            state_free(carried);
            return NULL;
        }
    }
    if (carried->used == carried->size) {
        unsigned char *grown = realloc(carried->bytes, carried->used + 1);
        if (grown == NULL) {
            error_set(err, "out of memory");
            state_free(carried);
            return NULL;
        }
        carried->bytes = grown;
    }
    carried->bytes[carried->used] = end;
    return carried;
}

int state_read(struct engine *to, const struct carried *carried, struct error *err)
{
    lua_State *L = to->L;
    struct cursor cursor = {.at = carried->bytes};
    lua_pushcfunction(L, merge_all);    /* merge */
    lua_pushlightuserdata(L, to);       /* merge engine */
    lua_pushcfunction(L, read_all);     /* merge engine read */
    lua_pushlightuserdata(L, &cursor);  /* merge engine read cursor */
    int status = lua_pcall(L, 1, 1, 0); /* merge engine rules */
    if (status == LUA_OK)
        status = lua_pcall(L, 2, 0, 0); /* */
    if (status != LUA_OK) {
        const char *why = lua_tostring(L, -1);
        error_set(err, "the states of the rules cannot be carried over: %s",
                  why != NULL ? why : "unknown fault");
    }
    lua_settop(L, 0); /* */
    return status == LUA_OK ? 0 : -1;
}

void state_free(struct carried *carried)
{
    if (carried == NULL)
        return;
    free(carried->bytes);
    free(carried);
}
