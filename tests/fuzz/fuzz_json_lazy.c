/*
 * The same document decoded as it is touched and at once: the verdict and its words are the same,
 * and so is every value on whatever way through it, and what is written back in the end. The first
 * bytes say which way.
 */
#include "rules/json.h"
#include "rules/json_lazy.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 8, PAD = 320 /* small documents are decoded at once */ };

static void same_scalar(lua_State *L, int a, int b)
{
    if (lua_type(L, a) != lua_type(L, b) || lua_isinteger(L, a) != lua_isinteger(L, b))
        abort();
    if (!lua_istable(L, a) && !lua_rawequal(L, a, b))
        abort();
}

/* Both tables, at a and b: as many fields, and the same ones. */
static void same_level(lua_State *L, int a, int b)
{
    lua_Integer count = 0;
    json_fill(L, a);
    for (lua_pushnil(L); lua_next(L, b) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawget(L, a);
        same_scalar(L, lua_gettop(L), lua_gettop(L) - 1);
        lua_pop(L, 1);
        count++;
    }
    for (lua_pushnil(L); lua_next(L, a) != 0; lua_pop(L, 1))
        count--;
    if (count != 0 || luaL_len(L, a) != luaL_len(L, b))
        abort();
}

/* Replaces the tables at 3 and 4 by what one of their fields, chosen by `step`, holds. */
static void descend(lua_State *L, unsigned step)
{
    unsigned count = 0;
    for (lua_pushnil(L); lua_next(L, 4) != 0; lua_pop(L, 1))
        if (count++ == step % 16) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1); /* key key */
            lua_gettable(L, 3);   /* key a */
            lua_pushvalue(L, -2); /* key a key */
            lua_gettable(L, 4);   /* key a b */
            same_scalar(L, lua_gettop(L) - 1, lua_gettop(L));
            lua_replace(L, 4);
            lua_replace(L, 3);
            lua_settop(L, 4);
            return;
        }
}

/* Walks from the roots, at 1 and 2. */
static void walk(lua_State *L, const uint8_t *steps)
{
    for (int i = 0; i < STEPS; i++) {
        if (i == 0 || !lua_istable(L, 4)) {
            lua_settop(L, 2);
            lua_pushvalue(L, 1);
            lua_pushvalue(L, 2);
        }
        unsigned step = steps[i];
        if (!lua_istable(L, 4))
            return;
        if (step >= 192)
            same_level(L, 3, 4);
        if (step >= 128 && luaL_len(L, 4) > 0)
            for (int side = 3; side <= 4; side++) { /* drop the last item */
                lua_pushnil(L);
                lua_seti(L, side, luaL_len(L, side));
            }
        else
            descend(L, step);
    }
}

static int check(lua_State *L)
{
    const uint8_t *steps = lua_touserdata(L, 1);
    size_t size = (size_t)lua_tointeger(L, 3);
    const char *text = lua_touserdata(L, 2);
    lua_settop(L, 0);
    int lazily = json_decode_lazy(L, text, size, NULL);
    int at_once = json_decode(L, text, size);
    if (lazily != at_once)
        abort();
    if (at_once != 0) {
        if (!lua_rawequal(L, 1, 2))
            abort();
        return 0;
    }
    walk(L, steps);
    lua_settop(L, 2);
    lua_gc(L, LUA_GCCOLLECT);
    if (json_encode(L, 1) != json_encode(L, 2) || lua_rawlen(L, 3) != lua_rawlen(L, 4))
        abort(); /* keys come in any order: as many bytes, not the same */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (L == NULL) {
        L = luaL_newstate();
        json_open(L);
        lua_settop(L, 0);
    }
    if (size < STEPS)
        return 0;
    /* Ends where the text ends, so that reading one byte too many is seen. */
    size_t length = PAD + size - STEPS;
    char *text = malloc(length);
    if (text == NULL)
        return 0;
    memset(text, ' ', PAD);
    memcpy(text + PAD, data + STEPS, size - STEPS);
    lua_pushcfunction(L, check);
    lua_pushlightuserdata(L, (void *)(uintptr_t)data);
    lua_pushlightuserdata(L, text);
    lua_pushinteger(L, (lua_Integer)length);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_settop(L, 0);
    free(text);
    return 0;
}
