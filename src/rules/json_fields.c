#include "rules/json_fields.h"

#include <lauxlib.h>
#include <string.h>

#include "rules/json_decode.h"
#include "rules/json_document.h"
#include "rules/json_outline.h"

enum {
    FIELDS_MAX = 32,
    SIZE_MAX_BYTES = 4096, /* of a text; what is read twice is decoded twice */
    LOOKUPS_MAX = 16,      /* for as many the way round is cheaper than decoding all */
    FILL_SLOTS = 12        /* of the Lua stack */
};

/* A Lua userdata, with the text behind the fields. */
struct small {
    struct json_use *use; /* NULL: nobody wants to know */
    uint32_t size;        /* of the text */
    uint32_t count;       /* of the fields */
    uint32_t lookups;
    uint32_t stored; /* a bit for each field that is in the table, or was and has been removed */
    struct json_field fields[];
};

static const char *text_of(const struct small *small)
{
    return (const char *)(small->fields + small->count);
}

/* That of the table at `index`, pushed; NULL, and nil or whatever it is: it is none of these. */
static struct small *push_small(lua_State *L, int index)
{
    lua_rawgetp(L, index, &json_lazy_keys[JSON_LAZY_FIELDS]); /* small? */
    return lua_touserdata(L, -1);
}

/* Moves all fields into the table at `index`, whose document `small` is. LJMP. */
static void fill(lua_State *L, int index, struct small *small)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, FILL_SLOTS, NULL);
    lua_pushnil(L); /* array mt */
    struct json_decoder decoder = {
        .L = L, .end = text_of(small) + small->size, .depth = 1, .array_mt = top + 1};
    for (uint32_t i = 0; i < small->count; i++) {
        const struct json_field *field = &small->fields[i];
        if (small->stored >> i & 1)
            continue;
        lua_pushlstring(L, text_of(small) + field->key, field->key_size); /* array mt key */
        json_read_value(&decoder, text_of(small) + field->value);         /* array mt key value */
        lua_rawset(L, index);                                             /* array mt */
        small->stored |= UINT32_C(1) << i;
    }
    lua_pushnil(L);             /* array mt nil */
    lua_setmetatable(L, index); /* array mt */
    lua_pushnil(L);             /* array mt nil */
    lua_rawsetp(L, index, &json_lazy_keys[JSON_LAZY_FIELDS]);
    if (small->use != NULL)
        small->use->asked += small->size;
    lua_settop(L, top);
}

bool json_fields_fill(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    luaL_checkstack(L, FILL_SLOTS, NULL);
    struct small *small = push_small(L, index); /* small? */
    if (small != NULL)
        fill(L, index, small);
    lua_pop(L, 1); /* */
    return small != NULL;
}

/* The field with the key at index 2, or NULL. */
static const struct json_field *find(lua_State *L, const struct small *small)
{
    size_t size = 0;
    const char *key = lua_tolstring(L, 2, &size), *text = text_of(small);
    for (uint32_t i = 0; i < small->count; i++) {
        const struct json_field *field = &small->fields[i];
        if (field->key_size == size && memcmp(text + field->key, key, size) == 0)
            return (small->stored >> i & 1) == 0 ? field : NULL;
    }
    return NULL;
}

/* Reading a field: [1] object [2] key. */
static int object_index(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    struct small *small = push_small(L, 1); /* object key small */
    const struct json_field *field = find(L, small);
    const char *value = field != NULL ? text_of(small) + field->value : NULL;
    if (++small->lookups > LOOKUPS_MAX || (value != NULL && (*value == '{' || *value == '['))) {
        fill(L, 1, small);
        lua_settop(L, 2); /* object key */
        lua_rawget(L, 1); /* object value */
        return 1;
    }
    if (value == NULL)
        return 0;
    struct json_decoder decoder = {.L = L, .end = text_of(small) + small->size};
    json_read_value(&decoder, value); /* object key small value */
    return 1;
}

void json_fields_open(lua_State *L)
{
    lua_createtable(L, 0, 2);                                                // mt
    lua_pushcfunction(L, object_index);                                      // mt function
    lua_setfield(L, -2, "__index");                                          // mt
    lua_pushcfunction(L, json_lazy_newindex);                                // mt function
    lua_setfield(L, -2, "__newindex");                                       // mt
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_lazy_keys[JSON_LAZY_FIELDS_MT]); //
}

bool json_fields_push(lua_State *L, const char *text, size_t size, struct json_use *use)
{
    struct json_field fields[FIELDS_MAX]; /* not initialised: this is the hot path */
    if (size > SIZE_MAX_BYTES)
        return false;
    size_t count = json_outline_fields(text, size, fields, FIELDS_MAX);
    if (count == 0)
        return false;
    luaL_checkstack(L, FILL_SLOTS, "JSON");
    lua_createtable(L, 0, 1); /* object */
    struct small *small =
        lua_newuserdatauv(L, sizeof(*small) + count * sizeof(fields[0]) + size, 0);
    *small = (struct small){.use = use, .size = (uint32_t)size, .count = (uint32_t)count};
    memcpy(small->fields, fields, count * sizeof(fields[0]));
    memcpy(small->fields + count, text, size);
    /* object small */
    lua_rawsetp(L, -2, &json_lazy_keys[JSON_LAZY_FIELDS]);                   /* object */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_lazy_keys[JSON_LAZY_FIELDS_MT]); /* object mt */
    lua_setmetatable(L, -2);                                                 /* object */
    return true;
}
