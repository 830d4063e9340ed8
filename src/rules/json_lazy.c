#include "rules/json_lazy.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "rules/json.h"
#include "rules/json_decode.h"
#include "rules/json_document.h"
#include "rules/json_fields.h"
#include "rules/json_outline.h"

/*
 * The tables that have values to be made, by what they are (json_fields.h has one more sort):
 *
 *   an object   has its scalars from the start; an object or array in it is made when its key is
 *               read, stored like any field, and from then on none of our business (`taken`): the
 *               rule may change or remove it
 *   an array    of objects and arrays only is empty: what has been made of it is in a table of its
 *               own, the items, until it is filled as a whole. Were it stored in the array, the
 *               rule could remove it unseen, and no length would be right any more.
 *
 * All other values are made at once: those that are small, arrays with scalars in them, objects
 * with nothing else. Both sorts have, under keys that no rule can have, the document they are from
 * and the number of their part in it.
 *
 * A value is made in whole before anything is changed in the table it belongs to, and what is then
 * done to that table allocates nothing: when memory runs out on the way, the table is as before.
 */

enum {
    DOCUMENT_SIZE_MIN = 300, /* below, the outline of parts costs more than it saves */
    LOOKUPS_MAX = 32,        /* for keys of one object, before it is filled */
    FIRST_PARTS = 256,       /* found without an allocation */
    LEVEL_SLOTS = 12,        /* of the Lua stack */
    JUDGED = 16,             /* documents of a sort, */
    AT_ONCE = 240            /* and for how many more the judgement holds */
};

/* The document and the part of the table of ours at `index`; pushes the document. */
static struct json_document *push_source(lua_State *L, int index, uint32_t *number)
{
    lua_rawgetp(L, index, &json_lazy_keys[JSON_LAZY_PART]); /* number */
    *number = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);                                              /* */
    lua_rawgetp(L, index, &json_lazy_keys[JSON_LAZY_DOCUMENT]); /* document */
    return lua_touserdata(L, -1);
}

/* Clears one of our keys in the table at `index`, if it is there: that allocates nothing. */
static void clear_key(lua_State *L, int index, int key)
{
    bool there = lua_rawgetp(L, index, &json_lazy_keys[key]) != LUA_TNIL; /* value? */
    lua_pop(L, 1);                                                        /* */
    if (!there)
        return;
    lua_pushnil(L);                              /* nil */
    lua_rawsetp(L, index, &json_lazy_keys[key]); /* */
}

/* A table that is full, at `index`, is none of ours any more. Allocates nothing. */
static void make_plain(lua_State *L, int index, bool is_array)
{
    if (is_array)
        json_push_array_mt(L); /* mt */
    else
        lua_pushnil(L);         /* nil */
    lua_setmetatable(L, index); /* */
    clear_key(L, index, JSON_LAZY_DOCUMENT);
    clear_key(L, index, JSON_LAZY_PART);
    if (is_array)
        clear_key(L, index, JSON_LAZY_ITEMS);
}

/* --- touching: all LJMP ----------------------------------------------------------------------- */

/* Fills the object at `index`. */
static void fill_object(lua_State *L, int index)
{
    uint32_t number = 0;
    struct json_document *d = push_source(L, index, &number); /* document */
    int document = lua_gettop(L);
    struct json_part *part = &d->parts[number], *end = d->parts + part->after;
    struct json_decoder decoder = json_document_decoder(L, d);
    lua_createtable(L, 0, (int)part->parts); /* document missing */
    for (const struct json_part *p = part + 1; p < end; p = d->parts + p->after) {
        if (p->taken)
            continue;
        json_document_push_key(&decoder, d, p); /* .. missing key */
        json_document_push_part(L, document, (uint32_t)(p - d->parts),
                                false); /* .. missing key value */
        lua_rawset(L, -3);              /* .. missing */
    }
    for (struct json_part *p = part + 1; p < end; p = d->parts + p->after) {
        if (p->taken)
            continue;
        json_document_push_key(&decoder, d, p); /* .. missing key */
        lua_pushvalue(L, -1);                   /* .. missing key key */
        lua_rawget(L, -3);                      /* .. missing key value */
        lua_rawset(L, index);                   /* .. missing */
        p->taken = 1;
    }
    make_plain(L, index, false);
    lua_settop(L, document - 1);
}

/* Pushes the items of the array at `index`: for those that are not made yet, part numbers. */
static void push_array_items(lua_State *L, int index, const struct json_document *d,
                             uint32_t number)
{
    if (lua_rawgetp(L, index, &json_lazy_keys[JSON_LAZY_ITEMS]) == LUA_TTABLE) /* items? */
        return;
    const struct json_part *part = &d->parts[number];
    uint32_t child = number + 1;
    lua_pop(L, 1);                           /* */
    lua_createtable(L, (int)part->count, 0); /* items */
    for (uint32_t i = 1; i <= part->count; i++) {
        lua_pushinteger(L, child); /* items number */
        lua_rawseti(L, -2, i);     /* items */
        child = d->parts[child].after;
    }
    lua_pushvalue(L, -1);                                    /* items items */
    lua_rawsetp(L, index, &json_lazy_keys[JSON_LAZY_ITEMS]); /* items */
}

/* Pushes the item `i`, or nil, of the items on the top. */
static void push_item(lua_State *L, int document, lua_Integer i)
{
    int items = lua_gettop(L);
    if (lua_rawgeti(L, items, i) != LUA_TNUMBER) /* items item */
        return;
    uint32_t number = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);                                       /* items */
    json_document_push_part(L, document, number, false); /* items item */
    lua_pushvalue(L, -1);                                /* items item item */
    lua_rawseti(L, items, i);                            /* items item */
}

/* Fills the array at `index`. */
static void fill_array(lua_State *L, int index)
{
    uint32_t number = 0;
    struct json_document *d = push_source(L, index, &number); /* document */
    int document = lua_gettop(L);
    lua_Integer count = d->parts[number].count;
    push_array_items(L, index, d, number); /* document items */
    for (lua_Integer i = 1; i <= count; i++) {
        push_item(L, document, i); /* document items item */
        lua_pop(L, 1);             /* document items */
    }
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);    /* document items item */
        lua_rawseti(L, index, i); /* document items */
    }
    make_plain(L, index, true);
    lua_settop(L, document - 1);
}

/* Fills the table at `index`, one of ours. */
static void fill(lua_State *L, int index)
{
    uint32_t number = 0;
    luaL_checkstack(L, LEVEL_SLOTS, NULL);
    const struct json_document *d = push_source(L, index, &number); /* document */
    bool is_object = json_document_text(d)[d->parts[number].start] == '{';
    lua_pop(L, 1); /* */
    if (is_object)
        fill_object(L, index);
    else
        fill_array(L, index);
}

void json_fill(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) /* mt? */
        return;
    lua_pop(L, 1);                                                         /* */
    int type = lua_rawgetp(L, index, &json_lazy_keys[JSON_LAZY_DOCUMENT]); /* document? */
    lua_pop(L, 1);                                                         /* */
    if (type == LUA_TUSERDATA)
        fill(L, lua_absindex(L, index));
    else
        json_fields_fill(L, index);
}

/* Whether the key at index 2, which is `size` bytes at `key`, is the part's. */
static bool is_key(lua_State *L, const char *key, size_t size, const struct json_document *d,
                   const struct json_part *part)
{
    if (!part->key_escaped)
        return size == part->key_size && memcmp(key, json_document_text(d) + part->key, size) == 0;
    struct json_decoder decoder = json_document_decoder(L, d);
    json_document_push_key(&decoder, d, part); /* key */
    bool equal = lua_rawequal(L, -1, 2);
    lua_pop(L, 1); /* */
    return equal;
}

/*
 * The number of the part in `part` that is not taken and has the key at index 2, or 0. Of parts
 * with equal keys only the last one counts: the others are taken. `*more`: there are some with
 * other keys.
 */
static uint32_t find_part(lua_State *L, struct json_document *d, struct json_part *part, bool *more)
{
    size_t size = 0;
    const char *key = lua_tolstring(L, 2, &size);
    struct json_part *found = NULL, *end = d->parts + part->after;
    for (struct json_part *p = part + 1; p < end; p = d->parts + p->after) {
        if (p->taken)
            continue;
        if (!is_key(L, key, size, d, p)) {
            *more = true;
            continue;
        }
        if (found != NULL)
            found->taken = 1;
        found = p;
    }
    return found == NULL ? 0 : (uint32_t)(found - d->parts);
}

/* Reading a field that is not there: [1] object [2] key. */
static int object_index(lua_State *L)
{
    uint32_t number = 0;
    bool more = false;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    struct json_document *d = push_source(L, 1, &number); /* object key document */
    struct json_part *part = &d->parts[number];
    if (++part->touched > LOOKUPS_MAX) {
        fill_object(L, 1);
        lua_settop(L, 2); /* object key */
        lua_rawget(L, 1); /* object value */
        return 1;
    }
    uint32_t found = find_part(L, d, part, &more);
    if (found == 0)
        return 0;
    json_document_push_part(L, 3, found, false); /* object key document value */
    lua_pushvalue(L, 2);                         /* object key document value key */
    lua_pushvalue(L, -2);                        /* object key document value key value */
    lua_rawset(L, 1);                            /* object key document value */
    d->parts[found].taken = 1;
    if (!more)
        make_plain(L, 1, false);
    return 1;
}

/* Reading an item: [1] array [2] key. */
static int array_index(lua_State *L)
{
    int is_integer = 0;
    lua_Integer i = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &is_integer) : 0;
    if (!is_integer)
        return 0;
    uint32_t number = 0;
    struct json_document *d = push_source(L, 1, &number); /* array key document */
    struct json_part *part = &d->parts[number];
    if (++part->touched > LOOKUPS_MAX && part->touched > part->count) {
        fill_array(L, 1);
        lua_rawgeti(L, 1, i); /* .. item */
        return 1;
    }
    push_array_items(L, 1, d, number); /* array key document items */
    push_item(L, 3, i);                /* array key document items item */
    return 1;
}

static int array_length(lua_State *L)
{
    uint32_t number = 0;
    const struct json_document *d = push_source(L, 1, &number); /* array document */
    lua_pushinteger(L, d->parts[number].count);                 /* array document length */
    return 1;
}

/* Writing what is not there: [1] table [2] key [3] value. Fails as Lua does. */
int json_lazy_newindex(lua_State *L)
{
    if (lua_isnil(L, 2))
        return luaL_error(L, "table index is nil");
    if (lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) != lua_tonumber(L, 2))
        return luaL_error(L, "table index is NaN");
    json_fill(L, 1);
    lua_rawset(L, 1); /* table */
    return 0;
}

void json_lazy_open(lua_State *L)
{
    static const luaL_Reg object[] = {
        {"__index", object_index}, {"__newindex", json_lazy_newindex}, {NULL, NULL}};
    static const luaL_Reg array[] = {{"__index", array_index},
                                     {"__newindex", json_lazy_newindex},
                                     {"__len", array_length},
                                     {NULL, NULL}};
    json_fields_open(L);
    luaL_newlib(L, object);                                                  // mt
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_lazy_keys[JSON_LAZY_OBJECT_MT]); //
    luaL_newlib(L, array);                                                   // mt
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_lazy_keys[JSON_LAZY_ARRAY_MT]);  //
}

/* --- documents -------------------------------------------------------------------------------- */

/* Takes one more document into account, and judges when there are enough. */
static void learn(struct json_use *use, size_t size)
{
    if (use == NULL)
        return;
    if (use->documents == JUDGED) {
        use->at_once = use->asked > use->size / 3 * 2 ? AT_ONCE : 0;
        use->documents = 0;
        use->size = use->asked = 0;
    }
    use->documents++;
    use->size += size;
}

/* A document with no parts worth an outline. */
static int decode_flat(lua_State *L, const char *text, size_t size, struct json_use *use)
{
    if (!json_fields_push(L, text, size, use))
        return json_decode(L, text, size);
    learn(use, size);
    return 0;
}

int json_decode_lazy(lua_State *L, const char *text, size_t size, struct json_use *use)
{
    struct json_part first[FIRST_PARTS]; /* not initialised: this is the hot path */
    if (use != NULL && use->at_once > 0) {
        use->at_once--;
        return json_decode(L, text, size);
    }
    if (size < DOCUMENT_SIZE_MIN)
        return decode_flat(L, text, size, use);
    size_t count = json_outline(text, size, first, FIRST_PARTS);
    if (count == 0) /* no JSON, most likely: json_decode says why */
        return json_decode(L, text, size);
    if (count == 1)
        return decode_flat(L, text, size, use);
    learn(use, size);
    luaL_checkstack(L, LEVEL_SLOTS, "JSON");
    struct json_document *d = json_document_push(L, use, count, size); /* document */
    if (count <= FIRST_PARTS)
        memcpy(d->parts, first, count * sizeof(first[0]));
    else
        json_outline(text, size, d->parts, count);
    memcpy(d->parts + count, text, size);
    json_document_push_part(L, lua_gettop(L), 0, false); /* document value */
    lua_remove(L, -2);                                   /* value */
    return 0;
}
