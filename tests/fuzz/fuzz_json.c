/*
 * Whatever the bytes: decoding ends in a value or a message, and what was decoded is written back
 * as a document that decodes and is written back the same.
 */
#include "rules/json.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check(lua_State *L)
{
    const char *text = lua_touserdata(L, 1);
    size_t size = (size_t)lua_tointeger(L, 2);
    if (json_decode(L, text, size) != 0)
        return 0;
    size_t once_size, twice_size;
    if (json_encode(L, -1) != 0)
        abort();
    const char *once = lua_tolstring(L, -1, &once_size);
    if (json_decode(L, once, once_size) != 0 || json_encode(L, -1) != 0)
        abort();
    const char *twice = lua_tolstring(L, -1, &twice_size);
    if (once_size != twice_size) /* keys come in any order: as many bytes, not the same */
        abort();
    (void)twice;
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
    /* A copy that ends where the text ends, so that reading one byte too many is seen. */
    char *text = malloc(size > 0 ? size : 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    lua_pushcfunction(L, check);
    lua_pushlightuserdata(L, text);
    lua_pushinteger(L, (lua_Integer)size);
    lua_pcall(L, 2, 0, 0);
    lua_settop(L, 0);
    free(text);
    return 0;
}
