#include "base/clock.h"
#include "cmd/flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What is said on standard error is in the integration tests; here is what is read. */

static const struct command command = {.name = "test"};

static struct {
    bool watch;
    const char *file;
    int64_t count, wait_ns;
    struct flag_list headers;
} got;

static int read_words(int argc, char **argv)
{
    static const struct flag flags[] = {
        {.name = "--watch", .given = &got.watch},
        {.name = "--file", .short_name = "-f", .value = &got.file},
        {.name = "--count", .count = &got.count},
        {.name = "--wait", .duration_ns = &got.wait_ns},
        {.name = "--header", .short_name = "-H", .list = &got.headers},
    };
    got.watch = false;
    got.file = NULL;
    got.count = got.wait_ns = -1;
    got.headers.count = 0;
    return flags_read(&command, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
}

#define READ(...)                                                                                  \
    read_words((int)(sizeof((char *[]){"test", __VA_ARGS__}) / sizeof(char *)),                    \
               words = (char *[]){"test", __VA_ARGS__, NULL})

static void test_flags_and_arguments_may_be_mixed(void **state)
{
    (void)state;
    char **words;
    assert_int_equal(READ("one", "--watch", "--file", "x", "two", "--count=7", "--wait", "1.5"), 3);
    assert_string_equal(words[1], "one");
    assert_string_equal(words[2], "two");
    assert_true(got.watch);
    assert_string_equal(got.file, "x");
    assert_int_equal(got.count, 7);
    assert_int_equal(got.wait_ns, 1500 * NS_PER_MS);
}

static void test_flags_that_do_not_come_are_left_alone(void **state)
{
    (void)state;
    char **words;
    assert_int_equal(READ("one"), 2);
    assert_string_equal(words[1], "one");
    assert_false(got.watch);
    assert_null(got.file);
    assert_int_equal(got.count, -1);
}

static void test_a_list_keeps_every_value_in_order(void **state)
{
    (void)state;
    char **words;
    assert_int_equal(READ("-H", "a:1", "--header=b:2"), 1);
    assert_string_equal(words[0], "test");
    assert_int_equal(got.headers.count, 2);
    assert_string_equal(got.headers.items[0], "a:1");
    assert_string_equal(got.headers.items[1], "b:2");
}

static void test_a_dash_is_an_argument_and_two_end_the_flags(void **state)
{
    (void)state;
    char **words;
    assert_int_equal(READ("-", "--", "--watch"), 3);
    assert_string_equal(words[1], "-");
    assert_string_equal(words[2], "--watch");
    assert_false(got.watch);
}

static void test_an_empty_value_is_a_value(void **state)
{
    (void)state;
    char **words;
    assert_int_equal(READ("--file="), 1);
    assert_string_equal(words[0], "test");
    assert_string_equal(got.file, "");
}

static void test_wrong_flags_and_values_are_refused(void **state)
{
    (void)state;
    char **words = NULL;
    assert_int_equal(READ("--wacth"), -1);
    assert_int_equal(READ("-x"), -1);
    assert_int_equal(READ("--watch=1"), -1);
    assert_int_equal(READ("--file"), -1);
    assert_int_equal(READ("--count", "0"), -1);
    assert_int_equal(READ("--count", "3x"), -1);
    assert_int_equal(READ("--count", "99999999999999999999"), -1);
    assert_int_equal(READ("--wait", "soon"), -1);
    assert_non_null(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flags_and_arguments_may_be_mixed),
        cmocka_unit_test(test_flags_that_do_not_come_are_left_alone),
        cmocka_unit_test(test_a_list_keeps_every_value_in_order),
        cmocka_unit_test(test_a_dash_is_an_argument_and_two_end_the_flags),
        cmocka_unit_test(test_an_empty_value_is_a_value),
        cmocka_unit_test(test_wrong_flags_and_values_are_refused),
    };
    return cmocka_run_group_tests_name("flags", tests, NULL, NULL);
}
