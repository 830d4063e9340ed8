#include "base/clock.h"
#include "base/log_fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* Three warnings, or five other lines, of one kind in ten seconds. The clock is the test's. */

static const struct log_limits limits = {.fold = 3, .flood = 5, .interval_ns = 10 * NS_PER_S};
static const char here[] = "here", there[] = "there";

static struct log_fold fold = LOG_FOLD_INITIALIZER;
static struct fold_debt debt;

static int open_fold(void **state)
{
    (void)state;
    fold_open(&fold, &limits);
    return 0;
}

static bool warn(const char *place, const char *component, const char *message, int64_t seconds)
{
    return fold_admit(&fold, LOG_LEVEL_WARN, place, component, message, (1 + seconds) * NS_PER_S,
                      &debt);
}

static void warn_often(int times, const char *message, int64_t seconds)
{
    for (int i = 0; i < times; i++) {
        warn(here, "w", message, seconds);
        assert_int_equal(debt.count, 0);
    }
}

static bool next_debt(int64_t seconds, bool all)
{
    return fold_next_debt(&fold, (1 + seconds) * NS_PER_S, all, &debt);
}

static void test_the_first_lines_of_a_kind_are_written(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(warn(here, "w", "x", 0));
    assert_false(warn(here, "w", "x", 0));
    assert_false(warn(here, "w", "other words, same place", 9));
}

static void test_an_interval_owes_the_number_and_the_last_line(void **state)
{
    (void)state;
    warn_often(5, "first", 0);
    warn(here, "w", "last", 4);
    assert_false(next_debt(9, false));
    assert_true(next_debt(10, false));
    assert_int_equal(debt.count, 3);
    assert_int_equal(debt.level, LOG_LEVEL_WARN);
    assert_int_equal(debt.during_ns, 10 * NS_PER_S);
    assert_string_equal(debt.component, "w");
    assert_string_equal(debt.message, "last");
    assert_false(next_debt(10, true));
}

static void test_nothing_is_owed_when_all_was_written(void **state)
{
    (void)state;
    warn_often(3, "x", 0);
    assert_false(next_debt(20, true));
}

static void test_the_end_does_not_wait_for_the_interval(void **state)
{
    (void)state;
    warn_often(4, "x", 0);
    assert_true(next_debt(1, true));
    assert_int_equal(debt.count, 1);
}

static void test_a_new_interval_writes_again_after_what_the_old_one_owes(void **state)
{
    (void)state;
    warn_often(10, "old", 0);
    assert_true(warn(here, "w", "new", 11));
    assert_int_equal(debt.count, 7);
    assert_string_equal(debt.message, "old");
    assert_true(warn(here, "w", "new", 11));
    assert_int_equal(debt.count, 0);
}

static void test_place_component_and_level_make_a_kind(void **state)
{
    (void)state;
    warn_often(4, "x", 0);
    assert_true(warn(there, "w", "x", 0));
    assert_true(warn(here, "v", "x", 0));
    assert_true(fold_admit(&fold, LOG_LEVEL_ERROR, here, "w", "x", NS_PER_S, &debt));
    assert_false(warn(here, "w", "x", 0));
}

static void test_info_and_rules_may_say_more(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(fold_admit(&fold, LOG_LEVEL_INFO, here, "w", "x", NS_PER_S, &debt), i < 5);
        assert_int_equal(fold_admit(&fold, LOG_LEVEL_DEBUG, here, "w", "x", NS_PER_S, &debt),
                         i < 5);
        assert_int_equal(
            fold_admit(&fold, LOG_LEVEL_ERROR, log_place_of_rules, "rule r", "x", NS_PER_S, &debt),
            i < 5);
    }
}

static void test_no_limit_writes_everything(void **state)
{
    (void)state;
    fold_open(&fold, &(struct log_limits){.interval_ns = NS_PER_S});
    for (int i = 0; i < 100; i++)
        assert_true(warn(here, "w", "x", 0));
    fold_open(&fold, NULL);
    assert_true(warn(here, "w", "x", 0));
}

/* The oldest kind makes room, and what it owes comes out: no count is lost. */
static void test_more_kinds_than_are_remembered_lose_no_count(void **state)
{
    (void)state;
    uint64_t written = 0, told = 0, lines = 0;
    for (int round = 0; round < 5; round++) {
        for (int kind = 0; kind < 2 * FOLD_KINDS; kind++) {
            char component[32];
            snprintf(component, sizeof(component), "rule %d", kind);
            for (int i = 0; i < 4; i++, lines++) {
                written += warn(here, component, "x", round);
                told += debt.count;
            }
        }
    }
    while (next_debt(100, true))
        told += debt.count;
    assert_int_equal(written + told, lines);
    assert_in_range(told, 1, lines);
}

static void test_long_names_and_lines_are_cut(void **state)
{
    (void)state;
    char text[2 * FOLD_MESSAGE_SIZE];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 4; i++)
        warn(here, text, text, 0);
    assert_true(next_debt(0, true));
    assert_int_equal(strlen(debt.component), FOLD_COMPONENT_SIZE - 1);
    assert_int_equal(strlen(debt.message), FOLD_MESSAGE_SIZE - 1);
}

#define TEST(test) cmocka_unit_test_setup(test, open_fold)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_first_lines_of_a_kind_are_written),
        TEST(test_an_interval_owes_the_number_and_the_last_line),
        TEST(test_nothing_is_owed_when_all_was_written),
        TEST(test_the_end_does_not_wait_for_the_interval),
        TEST(test_a_new_interval_writes_again_after_what_the_old_one_owes),
        TEST(test_place_component_and_level_make_a_kind),
        TEST(test_info_and_rules_may_say_more),
        TEST(test_no_limit_writes_everything),
        TEST(test_more_kinds_than_are_remembered_lose_no_count),
        TEST(test_long_names_and_lines_are_cut),
    };
    return cmocka_run_group_tests_name("log_fold", tests, NULL, NULL);
}
