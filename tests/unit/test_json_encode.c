#include "unit/json_state.h"

static void test_scalars_are_encoded(void **state)
{
    static const struct pair pairs[] = {
        {"true", "true"},
        {"false", "false"},
        {"json.null", "null"},
        {"cjson.null", "null"},
        {"0", "0"},
        {"-7", "-7"},
        {"1732300000123", "1732300000123"},
        {"math.maxinteger", "9223372036854775807"},
        {"math.mininteger", "-9223372036854775808"},
        END,
    };
    assert_encode(*state, 0, pairs);
}

static void test_floats_are_encoded_in_their_shortest_form_and_stay_floats(void **state)
{
    static const struct pair pairs[] = {
        {"0.0", "0.0"},
        {"-0.0", "-0.0"},
        {"1.0", "1.0"},
        {"-100.0", "-100.0"},
        {"0.1", "0.1"},
        {"0.1 + 0.2", "0.30000000000000004"},
        {"23.45", "23.45"},
        {"-0.00001", "-0.00001"},
        {"0.000009", "9e-6"},
        {"999999999999999.0", "999999999999999.0"},
        {"999999999999999.9", "999999999999999.9"},
        {"1e15", "1e15"},
        {"1.5e300", "1.5e300"},
        {"2.0^53", "9.007199254740992e15"},
        {"2.0^-44", "5.684341886080802e-14"},
        {"0x1p-1074", "5e-324"},
        {"0x1p-1022", "2.2250738585072014e-308"},
        {"0x1.fffffffffffffp1023", "1.7976931348623157e308"},
        END,
    };
    assert_encode(*state, 0, pairs);
}

static void test_strings_are_escaped_where_they_must_and_nowhere_else(void **state)
{
    static const struct pair pairs[] = {
        {"''", "\"\""},
        {"'a/b <c> \\u{e4} \\u{1f600} \\127'", "\"a/b <c> \xc3\xa4 \xf0\x9f\x98\x80 \x7f\""},
        {"'\"\\\\\\b\\f\\n\\r\\t'", "\"\\\"\\\\\\b\\f\\n\\r\\t\""},
        {"'\\0\\1\\31'", "\"\\u0000\\u0001\\u001f\""},
        {"{['a\"b'] = 1}", "{\"a\\\"b\":1}"},
        END,
    };
    assert_encode(*state, 0, pairs);
}

static void test_tables_are_encoded_by_metatable_or_by_their_keys(void **state)
{
    static const struct pair pairs[] = {
        {"{}", "{}"},
        {"array()", "[]"},
        {"array{}", "[]"},
        {"json.empty_array", "[]"},
        {"setmetatable({}, json.array_mt)", "[]"},
        {"{1, 'a', {}}", "[1,\"a\",{}]"},
        {"{[2] = 'b', [1] = 'a'}", "[\"a\",\"b\"]"},
        {"{a = {b = {c = array{1}}}}", "{\"a\":{\"b\":{\"c\":[1]}}}"},
        END,
    };
    assert_encode(*state, 0, pairs);
}

static void test_holes_of_a_tagged_array_become_null(void **state)
{
    static const struct pair pairs[] = {
        {"array{1, nil, 3}", "[1,null,3]"},
        {"array{nil, nil, 3}", "[null,null,3]"},
        {"array{[4] = 1}", "[null,null,null,1]"},
        END,
    };
    assert_encode(*state, 0, pairs);
}

static void test_what_is_no_json_is_refused_with_its_path(void **state)
{
    static const struct pair pairs[] = {
        {"print", "data: a function cannot be JSON"},
        {"nil", "data: nil cannot be JSON (cjson.null is its null)"},
        {"{items = {1, 2, print}}", "data.items[3]: a function cannot be JSON"},
        {"{a = {{b = coroutine.create(print)}}}", "data.a[1].b: a thread cannot be JSON"},
        {"{f = io.stdout}", "data.f: a userdata cannot be JSON"},
        {"{x = 0/0}", "data.x: NaN (not a number) cannot be JSON"},
        {"array{1, -1/0}", "data[2]: an infinite number cannot be JSON"},
        {"{['a b'] = '\\xff'}", "data[\"a b\"]: a string that is not UTF-8 cannot be JSON"},
        {"{['\\xe4'] = 1}", "data[\"\\xe4\"]: a string that is not UTF-8 cannot be JSON"},
        {"{['1st'] = print}", "data[\"1st\"]: a function cannot be JSON"},
        END,
    };
    assert_encode(*state, -1, pairs);
}

static void test_keys_that_fit_no_container_are_refused(void **state)
{
    static const struct pair pairs[] = {
        {"{[1] = 1, [3] = 3}", "data: an array with holes (mill.json.array writes them as null)"},
        {"{a = {[0] = 1}}", "data.a: an array with the key 0 (arrays start at 1)"},
        {"{[1.5] = 1}", "data: a table with a key that is a float cannot be JSON"},
        {"{[true] = 1}", "data: a table with a key that is a boolean cannot be JSON"},
        {"{1, a = 2}", "data: keys that are strings and keys that are not, in one table"},
        {"{a = 1, [7] = 2}", "data: keys that are strings and keys that are not, in one table"},
        {"array{1, a = 2}", "data: an array with a key that is a string"},
        {"array{[1000000000] = 1}", "data: an array with 1 items and the key 1000000000"},
        END,
    };
    assert_encode(*state, -1, pairs);
}

static void test_a_cycle_ends_in_an_error_with_a_bounded_path(void **state)
{
    run(*state,
        "local t = {}\n"
        "t.self = t\n"
        "local ok, message = pcall(json.encode, t)\n"
        "assert(not ok and #message < 300, message)\n"
        "assert(message:find('^data%.self%.self%.'), message)\n"
        "assert(message:find('...: nested deeper than 512 (a cycle?)', 1, true), message)\n");
}

static void test_no_metamethod_runs_while_encoding(void **state)
{
    run(*state, "local function never() error('ran') end\n"
                "local mt = {__index = never, __pairs = never, __len = never, __tostring = never}\n"
                "assert(json.encode(setmetatable({a = 1}, mt)) == '{\"a\":1}')\n"
                "assert(json.encode(setmetatable({1, 2}, mt)) == '[1,2]')\n");
}

static void test_encoding_leaves_the_value_and_the_stack_alone(void **state)
{
    lua_State *L = *state;
    push(L, "{a = {1, {b = 2}}}"); /* value */
    lua_pushinteger(L, 5);         /* value 5 */
    assert_int_equal(encode(L, -2), 0);
    assert_string_equal(lua_tostring(L, -1), "{\"a\":[1,{\"b\":2}]}");
    assert_int_equal(lua_gettop(L), 3);
    assert_int_equal(lua_tointeger(L, 2), 5);
    assert_true(lua_istable(L, 1));
}

static void test_large_documents_are_encoded_whole(void **state)
{
    run(*state, "local list = {}\n"
                "for i = 1, 20000 do list[i] = {id = i, text = ('x\\n'):rep(i % 50)} end\n"
                "local back = json.decode(json.encode(list))\n"
                "for i, item in ipairs(list) do assert(same(back[i], item)) end\n"
                "local text = ('\\1'):rep(100000)\n"
                "assert(json.decode(json.encode(text)) == text)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_scalars_are_encoded),
        CASE(test_floats_are_encoded_in_their_shortest_form_and_stay_floats),
        CASE(test_strings_are_escaped_where_they_must_and_nowhere_else),
        CASE(test_tables_are_encoded_by_metatable_or_by_their_keys),
        CASE(test_holes_of_a_tagged_array_become_null),
        CASE(test_what_is_no_json_is_refused_with_its_path),
        CASE(test_keys_that_fit_no_container_are_refused),
        CASE(test_a_cycle_ends_in_an_error_with_a_bounded_path),
        CASE(test_no_metamethod_runs_while_encoding),
        CASE(test_encoding_leaves_the_value_and_the_stack_alone),
        CASE(test_large_documents_are_encoded_whole),
    };
    return cmocka_run_group_tests_name("json_encode", tests, NULL, NULL);
}
