#include "alloc_faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "rules/json.h"
#include "rules/json_lazy.h"

/*
 * The JSON codec when memory runs out at each place: the error is Lua's own, the stack is as it
 * was, and the same state does the same work afterwards, with the same result.
 */

/* Escapes, all sizes of strings, keys that come again, small and large arrays, nested deeply. */
static const char source[] =
    "local long = ('0123456789'):rep(70)\n"
    "local items, numbers, fields = {}, {}, {}\n"
    "for i = 1, 40 do\n"
    "  items[i] = ('{\"n\": %d, \"t\": [[], {\"x\": %d.5}]}'):format(i, i)\n"
    "  numbers[i] = tostring(i * 1000003)\n"
    "  fields[i] = ('\"field%d\": \"value%d\"'):format(i, i)\n"
    "end\n"
    "text = '{\"plain\": \"' .. long .. '\", \"escaped\": \"\\\\u00e4' .. long .. '\",'\n"
    "  .. '\"e\\\\u0073c\": {\"in\": {\"side\": [1, 2, {\"three\": [null, true, false]}]}},'\n"
    "  .. '\"items\": [' .. table.concat(items, ',') .. '],'\n"
    "  .. '\"numbers\": [' .. table.concat(numbers, ',') .. '],'\n"
    "  .. '\"fields\": {' .. table.concat(fields, ',') .. '},'\n"
    "  .. '\"twice\": {\"a\": {\"first\": [' .. table.concat(numbers, ',') .. ']}},'\n"
    "  .. '\"twice\": {\"a\": [{}, {\"second\": [' .. table.concat(numbers, ',') .. ']}]},'\n"
    "  .. '\"deep\": ' .. ('[{\"d\":'):rep(60) .. '1' .. ('}]'):rep(60) .. '}'\n"
    "whole = json.decode(text)\n"
    "function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return rawequal(a, b) or a == b end\n"
    "  fill(a) fill(b)\n"
    "  if getmetatable(a) ~= getmetatable(b) then return false end\n"
    "  for k, v in next, a do if not same(v, b[k]) then return false end end\n"
    "  for k in next, b do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n";

/* decode_lazily(text): as msg.data is. */
static int decode_lazily(lua_State *L)
{
    size_t size = 0;
    const char *text = luaL_checklstring(L, 1, &size);
    if (json_decode_lazy(L, text, size, NULL) != 0)
        return lua_error(L);
    return 1;
}

/* fill(table): makes it a plain one. */
static int fill(lua_State *L)
{
    json_fill(L, 1);
    return 0;
}

static int open_libraries(lua_State *L)
{
    luaL_openlibs(L);
    json_open(L);
    json_push_library(L);     /* json */
    lua_setglobal(L, "json"); /* */
    lua_register(L, "decode_lazily", decode_lazily);
    lua_register(L, "fill", fill);
    if (luaL_dostring(L, source) != LUA_OK)
        return lua_error(L);
    return 0;
}

/* Runs a chunk without faults; an assert in it fails the test. */
static void run(lua_State *L, const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 0);
}

/* `attempt` is run with faults, then, when it has failed, again without; then `check`. */
struct work {
    const char *before, *attempt, *check;
};

/* The engine's own (rules/blocks.h) keeps blocks, which would serve without an allocation. */
static void *plain_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
    size_t *used = context, held = block == NULL ? 0 : old_size;
    void *moved = NULL;
    if (new_size == 0)
        free(block);
    else if ((moved = realloc(block, new_size)) == NULL && new_size <= held)
        moved = block; /* Lua may count on it that a block can shrink */
    if (moved != NULL || new_size == 0)
        *used += new_size - held;
    return moved;
}

static int try(void *context, size_t first, size_t count, size_t *failed)
{
    const struct work *work = context;
    size_t used = 0;
    lua_State *L = lua_newstate(plain_alloc, &used);
    assert_non_null(L);
    lua_pushcfunction(L, open_libraries);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    run(L, work->before);
    assert_int_equal(luaL_loadstring(L, work->attempt), LUA_OK);
    lua_pushvalue(L, -1); /* attempt attempt */
    faults_arm(first, count);
    int status = lua_pcall(L, 0, 0, 0); /* attempt error? */
    *failed = faults_disarm();
    assert_int_equal(lua_gettop(L), status == LUA_OK ? 1 : 2);
    if (status != LUA_OK) {
        assert_int_equal(status, LUA_ERRMEM);
        lua_pop(L, 1);                                   /* attempt */
        assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK); /* */
    }
    lua_settop(L, 0); /* */
    run(L, work->check);
    lua_close(L);
    assert_int_equal(used, 0);
    return status == LUA_OK ? 0 : -1;
}

static void sweep(const char *before, const char *attempt, const char *check)
{
    struct work work = {before, attempt, check};
    assert_true(faults_sweep(try, &work) > 0);
}

static void test_decoding_without_memory_is_an_error(void **state)
{
    (void)state;
    sweep("", "value = json.decode(text)", "assert(same(value, whole))");
}

static void test_decoding_as_it_is_touched_without_memory_is_an_error(void **state)
{
    (void)state;
    sweep("", "value = decode_lazily(text)", "assert(same(value, whole))");
}

static void test_a_table_that_cannot_be_made_yet_is_made_the_next_time(void **state)
{
    (void)state;
    static const char before[] = "doc = decode_lazily(text) some = doc.items[3] some.n = 'mine'\n"
                                 "whole.items[3].n = 'mine'";
    static const char check[] = "assert(rawequal(doc.items[3], some)) assert(same(doc, whole))";
    sweep(before, "return doc.esc.inside", check);
    sweep(before, "return doc.items[7].t[2].x", check);
    sweep(before, "return doc.twice.a[2].second[1]", check);
    sweep(before, "return next(doc.fields)", check);
    sweep(before, "return #doc.items, #doc.numbers", check);
    sweep(before, "fill(doc) fill(doc.items)", check);
    sweep(before, "for i = 1, 40 do local item = doc.items[i].t[2] end", check);
    sweep(before, "doc.added = 1 doc.added = nil", check);
}

static void test_encoding_without_memory_is_an_error(void **state)
{
    (void)state;
    static const char check[] = "assert(same(json.decode(out), whole))";
    sweep("", "out = json.encode(whole)", check);
    sweep("doc = decode_lazily(text)", "out = json.encode(doc)", check);
}

static void test_a_value_that_cannot_be_json_is_refused_without_memory_too(void **state)
{
    (void)state;
    struct work work = {"", "ok, why = pcall(json.encode, { a = { [print] = 1 } })",
                        "assert(not ok)\n"
                        "assert(why:find('data.a: ', 1, true) or why == 'not enough memory')"};
    faults_sweep(try, &work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoding_without_memory_is_an_error),
        cmocka_unit_test(test_decoding_as_it_is_touched_without_memory_is_an_error),
        cmocka_unit_test(test_a_table_that_cannot_be_made_yet_is_made_the_next_time),
        cmocka_unit_test(test_encoding_without_memory_is_an_error),
        cmocka_unit_test(test_a_value_that_cannot_be_json_is_refused_without_memory_too),
    };
    return cmocka_run_group_tests_name("faults_json", tests, NULL, NULL);
}
