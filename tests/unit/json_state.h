#ifndef TIDEMILL_TESTS_UNIT_JSON_STATE_H
#define TIDEMILL_TESTS_UNIT_JSON_STATE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua5.4/lua-cjson.h>
#include <lualib.h>

#include "rules/json.h"

/*
 * What the tests of the JSON codec share: a Lua state with the codec, and tables of texts and
 * values.
 *
 * Values are written as Lua expressions, texts as JSON. `json` is what mill.json will be, `array`
 * is json.array, `null` is json.null. Texts are decoded from a block of their exact size, so that a
 * sanitizer sees any byte read too many.
 */

/* What the expressions may use. same() is equality type for type: 1 is not 1.0, [] is not {}. */
static const char prelude[] =
    "json, cjson = ...\n"
    "array, null = json.array, json.null\n"
    "function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    return math.type(a) == math.type(b) and type(a) == type(b) and a == b\n"
    "      and (a ~= 0 or math.type(a) == 'integer' or 1 / a == 1 / b)\n"
    "  end\n"
    "  if getmetatable(a) ~= getmetatable(b) then return false end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "function alike(a, b)\n" /* without the types lua-cjson does not know */
    "  if type(a) == 'number' and type(b) == 'number' then return a + 0.0 == b + 0.0 end\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
    "  for k, v in pairs(a) do if not alike(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n";

static inline int open_libraries(lua_State *L)
{
    luaL_openlibs(L);
    json_open(L);
    if (luaL_loadstring(L, prelude) != LUA_OK)
        return lua_error(L);
    json_push_library(L);
    luaL_requiref(L, "cjson", luaopen_cjson, 0);
    lua_call(L, 2, 0);
    return 0;
}

static inline int setup(void **state)
{
    lua_State *L = luaL_newstate();
    *state = L;
    lua_pushcfunction(L, open_libraries);
    return lua_pcall(L, 0, 0, 0) == LUA_OK ? 0 : -1;
}

static inline int teardown(void **state)
{
    lua_close(*state);
    return 0;
}

/* Runs Lua code; a failed assert in it fails the test. */
static inline void run(lua_State *L, const char *code)
{
    if (luaL_dostring(L, code) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 0);
}

/* Pushes the value of an expression. */
static inline void push(lua_State *L, const char *expression)
{
    lua_pushfstring(L, "return %s", expression);
    if (luaL_loadstring(L, lua_tostring(L, -1)) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK)
        fail_msg("%s: %s", expression, lua_tostring(L, -1));
    lua_remove(L, -2);
}

static inline int decode(lua_State *L, const char *text, size_t size)
{
    char *exact = malloc(size > 0 ? size : 1);
    assert_non_null(exact);
    memcpy(exact, text, size);
    int top = lua_gettop(L);
    int status = json_decode(L, size > 0 ? exact : NULL, size);
    assert_int_equal(lua_gettop(L), top + 1);
    free(exact);
    return status;
}

static inline int encode(lua_State *L, int index)
{
    int top = lua_gettop(L);
    int status = json_encode(L, index);
    assert_int_equal(lua_gettop(L), top + 1);
    assert_int_equal(lua_type(L, -1), LUA_TSTRING);
    return status;
}

struct pair {
    const char *from, *to;
};

/* Each text must decode to the expression beside it; ends at NULL. */
static inline void assert_decodes(lua_State *L, const struct pair *pairs)
{
    for (; pairs->from != NULL; pairs++) {
        lua_getglobal(L, "same");
        if (decode(L, pairs->from, strlen(pairs->from)) < 0)
            fail_msg("%s: %s", pairs->from, lua_tostring(L, -1));
        push(L, pairs->to);
        lua_call(L, 2, 1);
        if (!lua_toboolean(L, -1))
            fail_msg("%s is not decoded to %s", pairs->from, pairs->to);
        lua_settop(L, 0);
    }
}

static inline void assert_refused(lua_State *L, const char *text, size_t size, const char *message)
{
    if (decode(L, text, size) == 0)
        fail_msg("%s is decoded, though %s", text, message);
    assert_string_equal(lua_tostring(L, -1), message);
    lua_settop(L, 0);
}

/* Each text must be refused with the message beside it. */
static inline void assert_all_refused(lua_State *L, const struct pair *pairs)
{
    for (; pairs->from != NULL; pairs++)
        assert_refused(L, pairs->from, strlen(pairs->from), pairs->to);
}

/* Each expression must be encoded (`status` 0) or refused (-1) with the text beside it. */
static inline void assert_encode(lua_State *L, int status, const struct pair *pairs)
{
    for (; pairs->from != NULL; pairs++) {
        push(L, pairs->from);
        int got = encode(L, -1);
        assert_string_equal(lua_tostring(L, -1), pairs->to);
        assert_int_equal(got, status);
        lua_settop(L, 0);
    }
}

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

/* A test that gets such a state. */
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
