#include "rules/luafile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sanitizer.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Evaluates a text that must be good; the caller frees. */
static struct value eval(const char *text)
{
    struct value value;
    struct error err = {""};
    if (luafile_eval_text("tidemill.lua", text, strlen(text), &value, &err) != 0)
        fail_msg("refused: %s", err.text);
    assert_int_equal(value.type, VALUE_TABLE);
    return value;
}

/* The message for a text that must be bad. */
static const char *fault(const char *text)
{
    static struct error err;
    struct value value;
    err.text[0] = '\0';
    if (luafile_eval_text("tidemill.lua", text, strlen(text), &value, &err) != -1)
        fail_msg("accepted: %s", text);
    assert_int_equal(value.type, VALUE_NIL);
    assert_null(value.pairs);
    assert_null(strchr(err.text, '\n'));
    return err.text;
}

static void test_every_kind_of_value_comes_out_as_it_is(void **state)
{
    (void)state;
    struct value value = eval("return { flag = true, whole = 7, part = 1.5, name = 'a\\0b', "
                              "inner = {}, call = function() end, big = 9007199254740993 }");
    assert_int_equal(value.pair_count, 7);
    assert_int_equal(value.length, 0);
    assert_int_equal(value_get(&value, "flag")->type, VALUE_BOOLEAN);
    assert_true(value_get(&value, "flag")->boolean);
    assert_int_equal(value_get(&value, "whole")->type, VALUE_INTEGER);
    assert_int_equal(value_get(&value, "whole")->integer, 7);
    assert_int_equal(value_get(&value, "big")->integer, INT64_C(9007199254740993));
    assert_int_equal(value_get(&value, "part")->type, VALUE_NUMBER);
    assert_true(value_get(&value, "part")->number == 1.5);
    assert_int_equal(value_get(&value, "name")->type, VALUE_STRING);
    assert_int_equal(value_get(&value, "name")->size, 3);
    assert_memory_equal(value_get(&value, "name")->string, "a\0b", 4);
    assert_int_equal(value_get(&value, "inner")->type, VALUE_TABLE);
    assert_int_equal(value_get(&value, "inner")->pair_count, 0);
    assert_int_equal(value_get(&value, "call")->type, VALUE_OTHER);
    assert_string_equal(value_type_name(value_get(&value, "call")), "function");
    assert_null(value_get(&value, "missing"));
    assert_null(value_get(value_get(&value, "whole"), "missing"));
    value_free(&value);
}

static void test_a_list_comes_first_and_in_order(void **state)
{
    (void)state;
    struct value value =
        eval("return { z = 1, 'one', 'two', b = 2, 'three', [10] = 'ten', [0] = 0, "
             "[true] = 1, [1.5] = 2, [{}] = 3 }");
    assert_int_equal(value.length, 3);
    assert_int_equal(value.pair_count, 10);
    const char *const names[] = {"one", "two", "three"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(value.pairs[i].key.type, VALUE_INTEGER);
        assert_int_equal(value.pairs[i].key.integer, i + 1);
        assert_string_equal(value.pairs[i].value.string, names[i]);
    }
    assert_int_equal(value_get(&value, "z")->integer, 1);
    assert_int_equal(value_get(&value, "b")->integer, 2);
    value_free(&value);
}

static void test_string_keys_are_sorted(void **state)
{
    (void)state;
    struct value value = eval("return { d = 1, b = 2, a = 3, c = 4 }");
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(value.pairs[i].key.string[0], "abcd"[i]);
    value_free(&value);
}

static void test_the_environment_is_read_with_a_default(void **state)
{
    (void)state;
    setenv("TIDEMILL_TEST_SET", "from outside", 1);
    setenv("TIDEMILL_TEST_EMPTY", "", 1);
    unsetenv("TIDEMILL_TEST_UNSET");
    struct value value = eval("return { set = env('TIDEMILL_TEST_SET', 'x'), "
                              "unset = env('TIDEMILL_TEST_UNSET', 5), "
                              "empty = env('TIDEMILL_TEST_EMPTY', 'x'), "
                              "none = env('TIDEMILL_TEST_UNSET') }");
    assert_string_equal(value_get(&value, "set")->string, "from outside");
    assert_int_equal(value_get(&value, "unset")->integer, 5);
    assert_string_equal(value_get(&value, "empty")->string, "x");
    assert_null(value_get(&value, "none"));
    value_free(&value);
}

static void test_a_file_may_compute(void **state)
{
    (void)state;
    struct value value =
        eval("local list = {}\n"
             "for i = 1, 3 do list[i] = ('s%d'):format(i) end\n"
             "table.sort(list, function(a, b) return a > b end)\n"
             "helper = math.max(1, tonumber('4'))\n"
             "return { first = list[1], max = helper, rep = ('ab'):rep(2, '-'),\n"
             "  none = (''):rep(1 << 60), moved = table.move({ 1, 2 }, 1, 2, 2)[3] }");
    assert_string_equal(value_get(&value, "first")->string, "s3");
    assert_int_equal(value_get(&value, "max")->integer, 4);
    assert_string_equal(value_get(&value, "rep")->string, "ab-ab");
    assert_string_equal(value_get(&value, "none")->string, "");
    assert_int_equal(value_get(&value, "moved")->integer, 2);
    value_free(&value);
}

static void test_a_byte_order_mark_is_passed_over(void **state)
{
    (void)state;
    struct value value = eval("\xef\xbb\xbfreturn { a = 1 }");
    assert_int_equal(value_get(&value, "a")->integer, 1);
    value_free(&value);
}

static void test_what_reaches_outside_is_not_there(void **state)
{
    (void)state;
    const char *const names[] = {
        "io",           "os",           "load",   "loadstring", "loadfile",       "dofile",
        "require",      "package",      "debug",  "_G",         "pcall",          "xpcall",
        "setmetatable", "getmetatable", "rawset", "rawget",     "collectgarbage", "print",
        "coroutine",    "warn",         "utf8x"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char text[64], message[200];
        snprintf(text, sizeof(text), "\nreturn { a = %s }", names[i]);
        snprintf(message, sizeof(message),
                 "tidemill.lua:2: unknown name '%s' (a configuration has env(name, default), "
                 "string, table and math)",
                 names[i]);
        assert_string_equal(fault(text), message);
    }
    assert_non_null(strstr(fault("return { a = string.dump(function() end) }"), "field 'dump'"));
}

static void test_errors_name_file_and_line(void **state)
{
    (void)state;
    assert_string_equal(fault("return {\n  a = ,\n}"),
                        "tidemill.lua:2: unexpected symbol near ','");
    assert_string_equal(fault("\n\nerror('no stream name')"), "tidemill.lua:3: no stream name");
    assert_string_equal(fault("error('no stream name', 0)"), "tidemill.lua: no stream name");
    assert_string_equal(fault("assert(nil, 'set NATS_URL')"), "tidemill.lua:1: set NATS_URL");
    assert_string_equal(fault("error({})"), "tidemill.lua: raised a table as an error");
    assert_string_equal(fault("error()"), "tidemill.lua: raised a nil as an error");
    assert_string_equal(fault("error('two\\nlines')"), "tidemill.lua:1: two lines");
    assert_non_null(strstr(fault("return { a = env() }"), "tidemill.lua:1: bad argument #1"));
}

static void test_a_file_that_lua_cannot_nest_is_named(void **state)
{
    (void)state;
    char text[512] = "return ";
    memset(text + strlen(text), '(', 300);
    const char *error = fault(text);
    if (strncmp(error, "tidemill.lua: ", 14) != 0)
        fail_msg("%s", error);
}

static void test_a_file_that_returns_no_table_is_refused(void **state)
{
    (void)state;
    assert_string_equal(fault(""),
                        "tidemill.lua: must end in return { ... }, a table; it returned nothing");
    assert_string_equal(fault("return 'x'"),
                        "tidemill.lua: must end in return { ... }, a table; it returned a string");
}

static void test_compiled_lua_is_refused(void **state)
{
    (void)state;
    assert_string_equal(fault("\x1bLua"), "tidemill.lua: is compiled Lua; only text is accepted");
}

static void test_a_file_that_runs_for_ever_is_stopped(void **state)
{
    (void)state;
    assert_string_equal(fault("\nwhile true do end"), "tidemill.lua:2: runs longer than a second");
}

static void test_a_file_that_takes_all_memory_is_stopped(void **state)
{
    (void)state;
    const char *const message = "tidemill.lua: uses more than 64 MB of memory";
    assert_string_equal(fault("local s = 'x' while true do s = s .. s end"), message);
    if (SLOWNESS == 1) /* else the limit of time comes first */
        assert_string_equal(fault("local t = {} for i = 1, 1e9 do t[i] = {} end"), message);
    /* The stack's own limit or this one, whichever the Lua at hand meets first. */
    assert_int_equal(
        strncmp(fault("local function f() return f() + 1 end return f()"), "tidemill.lua:", 13), 0);
}

static void test_a_long_c_call_is_refused(void **state)
{
    (void)state;
    assert_string_equal(fault("return { ('x'):rep(1 << 40) }"),
                        "tidemill.lua:1: string.rep: the result is too large");
    assert_string_equal(fault("table.move({}, 1, 1 << 40, 2)"),
                        "tidemill.lua:1: table.move: too many elements");
    assert_string_equal(fault("table.move({}, math.mininteger, math.maxinteger, 2)"),
                        "tidemill.lua:1: table.move: too many elements");
}

static void test_a_table_that_contains_itself_is_refused(void **state)
{
    (void)state;
    assert_string_equal(fault("local t = {} t.a = { b = { t } } return t"),
                        "tidemill.lua: the table it returns contains itself");
}

static void test_one_table_in_two_places_is_no_cycle(void **state)
{
    (void)state;
    struct value value = eval("local t = { 1 } return { a = t, b = t }");
    assert_int_equal(value_get(&value, "a")->length, 1);
    assert_int_equal(value_get(&value, "b")->length, 1);
    value_free(&value);
}

static void test_too_deep_and_too_large_tables_are_refused(void **state)
{
    (void)state;
    const char *const large = "tidemill.lua: the table it returns is too large (100000 values)";
    assert_string_equal(fault("local t = {} for i = 1, 40 do t = { t } end return t"),
                        "tidemill.lua: the table it returns is nested more than 32 tables deep");
    assert_string_equal(fault("local t = {} for i = 1, 200000 do t[i] = i end return t"), large);
    /* Each level holds the one below twice: few tables, but a tree of millions. */
    assert_string_equal(fault("local t = {} for i = 1, 30 do t = { t, t } end return t"), large);
    assert_string_equal(fault("local s, t = ('x'):rep(1 << 20), {} for i = 1, 100 do t[i] = s end "
                              "return t"),
                        "tidemill.lua: the strings it returns are too large");
}

static void test_a_file_is_read_and_named(void **state)
{
    (void)state;
    char path[] = "/tmp/tidemill-luafile-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "return { a = 1 }", 16), 16);
    struct value value;
    struct error err = {""};
    assert_int_equal(luafile_eval(path, &value, &err), 0);
    assert_int_equal(value_get(&value, "a")->integer, 1);
    value_free(&value);
    assert_int_equal(pwrite(fd, "return { a = , }", 16, 0), 16);
    assert_int_equal(luafile_eval(path, &value, &err), -1);
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
    assert_string_equal(err.text + strlen(path), ":1: unexpected symbol near ','");
    assert_int_equal(ftruncate(fd, (4 << 20) + 1), 0);
    assert_int_equal(luafile_eval(path, &value, &err), -1);
    assert_string_equal(err.text + strlen(path), ": has more than 4194304 bytes");
    close(fd);
    unlink(path);
}

static void test_an_unreadable_file_is_named(void **state)
{
    (void)state;
    struct value value;
    struct error err = {""};
    assert_int_equal(luafile_eval("no/tidemill.lua", &value, &err), -1);
    assert_string_equal(err.text, "no/tidemill.lua: cannot be read: No such file or directory");
    assert_int_equal(luafile_eval("/tmp", &value, &err), -1);
    assert_string_equal(err.text, "/tmp: cannot be read: Is a directory");
    assert_int_equal(luafile_eval("no/tidemill.lua", &value, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_value_comes_out_as_it_is),
        cmocka_unit_test(test_a_list_comes_first_and_in_order),
        cmocka_unit_test(test_string_keys_are_sorted),
        cmocka_unit_test(test_the_environment_is_read_with_a_default),
        cmocka_unit_test(test_a_file_may_compute),
        cmocka_unit_test(test_a_byte_order_mark_is_passed_over),
        cmocka_unit_test(test_what_reaches_outside_is_not_there),
        cmocka_unit_test(test_errors_name_file_and_line),
        cmocka_unit_test(test_a_file_that_lua_cannot_nest_is_named),
        cmocka_unit_test(test_a_file_that_returns_no_table_is_refused),
        cmocka_unit_test(test_compiled_lua_is_refused),
        cmocka_unit_test(test_a_file_that_runs_for_ever_is_stopped),
        cmocka_unit_test(test_a_file_that_takes_all_memory_is_stopped),
        cmocka_unit_test(test_a_long_c_call_is_refused),
        cmocka_unit_test(test_a_table_that_contains_itself_is_refused),
        cmocka_unit_test(test_one_table_in_two_places_is_no_cycle),
        cmocka_unit_test(test_too_deep_and_too_large_tables_are_refused),
        cmocka_unit_test(test_a_file_is_read_and_named),
        cmocka_unit_test(test_an_unreadable_file_is_named),
    };
    return cmocka_run_group_tests_name("luafile", tests, NULL, NULL);
}
