#include "rules/json.h"

#include <lauxlib.h>

#include "rules/json_lazy.h"

/*
 * What the two directions (json_decode.c, json_encode.c) share in a Lua state: the array metatable.
 * And how rules see the codec: mill.json.
 *
 * The metatable is in the hands of every rule (getmetatable of a decoded array), so it must not
 * become a way to change what other rules see: it is empty and refuses new fields.
 */

static const char json_array_mt_key; /* its address is the key in the registry */

/* __newindex of the array metatable's own metatable. */
static int refuse_field(lua_State *L)
{
    return luaL_error(L, "the array metatable is shared by all rules and cannot be changed");
}

void json_open(lua_State *L)
{
    lua_createtable(L, 0, 0);           /* array_mt */
    lua_createtable(L, 0, 2);           /* array_mt guard */
    lua_pushcfunction(L, refuse_field); /* array_mt guard function */
    lua_setfield(L, -2, "__newindex");  /* array_mt guard */
    lua_pushboolean(L, 0);              /* array_mt guard false */
    lua_setfield(L, -2, "__metatable"); /* array_mt guard */
    lua_setmetatable(L, -2);            /* array_mt */
    lua_rawsetp(L, LUA_REGISTRYINDEX, &json_array_mt_key);
    json_lazy_open(L);
}

void json_push_array_mt(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_array_mt_key);
}

/* mill.json.encode(value) -> text */
static int library_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    if (json_encode(L, 1) < 0)
        return luaL_error(L, "%s", lua_tostring(L, -1));
    return 1;
}

/* mill.json.decode(text) -> value */
static int library_decode(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TSTRING);
    size_t size;
    const char *text = lua_tolstring(L, 1, &size);
    if (json_decode(L, text, size) < 0)
        return luaL_error(L, "%s", lua_tostring(L, -1));
    return 1;
}

/* mill.json.array([table]) -> the same table (or a new one), to be written as an array */
static int library_array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L); /* table */
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    json_fill(L, 1);
    json_push_array_mt(L); /* .. array_mt */
    if (lua_getmetatable(L, 1)) {
        /* .. array_mt mt */
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "the table has another metatable already");
        lua_pop(L, 1); /* .. array_mt */
    }
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

void json_push_library(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", library_encode},
        {"decode", library_decode},
        {"array", library_array},
        {NULL, NULL},
    };
    luaL_checkstack(L, 4, "mill.json");
    luaL_newlib(L, functions);          /* library */
    lua_pushlightuserdata(L, NULL);     /* library null */
    lua_setfield(L, -2, "null");        /* library */
    json_push_array_mt(L);              /* library array_mt */
    lua_setfield(L, -2, "array_mt");    /* library */
    lua_newtable(L);                    /* library empty */
    json_push_array_mt(L);              /* library empty array_mt */
    lua_setmetatable(L, -2);            /* library empty */
    lua_setfield(L, -2, "empty_array"); /* library */
}
