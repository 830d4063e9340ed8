#include "unit/engine_fixture.h"

/* What rules notice of the guards around library functions: nothing, but when they go too far. */

/* The error of one statement, at line 2 of the rule, without the folder. */
static void check_errors(struct fixture *f, const char *const *rows)
{
    char source[4000] = "", row[512];
    for (; *rows != NULL; rows += 2) {
        snprintf(row, sizeof(row),
                 "do local ok, err = pcall(function() %s end)\n"
                 "assert(not ok and err:find([[%s]], 1, true), err) end\n",
                 rows[0], rows[1]);
        strcat(source, row);
    }
    run_body(f, source);
}

static void test_errors_of_guarded_functions_have_a_place_and_a_name(void **state)
{
    static const char *const rows[] = {
        "string.upper(nil)",
        "x.lua:2: bad argument #1 to 'upper' (string expected, got nil)",
        "table.concat({ 1, {}, 3 })",
        "x.lua:4: invalid value (table) at index 2 in table for 'concat'",
        "table.insert({}, 1, 2, 3)",
        "x.lua:6: wrong number of arguments to 'insert'",
        "table.sort({ 3, 'x', 1 })",
        "x.lua:8: attempt to compare",
        "tonumber('10', 99)",
        "x.lua:10: bad argument #2 to 'tonumber' (base out of range)",
        "tonumber()",
        "x.lua:12: bad argument #1 to 'tonumber' (value expected)",
        "mill.json.decode('{')",
        "x.lua:14: byte 2",
        "utf8.len({})",
        "x.lua:16: bad argument #1 to 'len'",
        NULL};
    check_errors(*state, rows);
}

static void test_errors_of_what_a_guarded_function_calls_stay_as_they_are(void **state)
{
    run_body(*state,
             "local function fails(compare) return select(2, pcall(table.sort, { 3, 2, 1 },\n"
             "compare)) end\n"
             "assert(fails(function() error('mine', 0) end) == 'mine')\n"
             "assert(fails(function() error({ code = 7 }) end).code == 7)\n"
             "assert(fails(function() error() end) == nil)\n"
             "assert(fails(function(a) return a < nil end):find('x.lua:7: attempt'))");
}

static void test_tonumber_works_as_in_the_manual(void **state)
{
    run_body(*state,
             "assert(tonumber('0x10') == 16 and tonumber(' 5 ') == 5 and tonumber('5x') == nil)\n"
             "assert(tonumber('ff', 16) == 255 and tonumber({}) == nil and tonumber('') == nil)\n"
             "assert(math.type(tonumber('1e1')) == 'float' and tonumber('1\\0') == nil)\n"
             "assert(tonumber(nil) == nil and tonumber(7.5) == 7.5)\n"
             "assert(select('#', tonumber('x')) == 1 and not pcall(tonumber, 7, 16))");
}

static void test_table_insert_appends_through_metamethods(void **state)
{
    run_body(*state,
             "local seen = {}\n"
             "local t = setmetatable({}, { __newindex = function(t, k, v) seen[k] = v end })\n"
             "table.insert(t, 'a') assert(seen[1] == 'a' and #t == 0)\n"
             "local u = {} table.insert(u, 1) table.insert(u, 2) table.insert(u, 2, 3)\n"
             "assert(table.concat(u, ',') == '1,3,2')");
}

static void test_what_cjson_may_write_is_bounded(void **state)
{
    run_body(*state, "local cjson = require('cjson')\n"
                     "local long = ('x'):rep(1 << 20)\n"
                     "assert(#cjson.encode({ long, { k = long } }) > 2 << 20)\n"
                     "local many = {} for i = 1, 20 do many[i] = long end\n"
                     "local ok, err = pcall(cjson.encode, many)\n"
                     "assert(not ok and err:find('longer than 16 MiB'), err)\n"
                     "assert(cjson.encode(cjson.null) == 'null' and not pcall(cjson.encode))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_errors_of_guarded_functions_have_a_place_and_a_name),
        engine_test(test_errors_of_what_a_guarded_function_calls_stay_as_they_are),
        engine_test(test_tonumber_works_as_in_the_manual),
        engine_test(test_table_insert_appends_through_metamethods),
        engine_test(test_what_cjson_may_write_is_bounded),
    };
    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
