#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "mill/refusals.h"

static FILE *log_file; /* what the log has said */

static int set_up(void **state)
{
    struct refusals *refusals = calloc(1, sizeof(*refusals));
    struct health *health = NULL;
    struct error err;
    if (refusals == NULL || health_open(&health, "test", &err) != 0)
        return -1;
    health_ok(health, "something"); /* without any check nothing is ready */
    refusals_init(refusals, health, "worker 1");
    *state = refusals;
    log_file = tmpfile();
    if (log_file == NULL)
        return -1;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, log_file);
    return 0;
}

static int tear_down(void **state)
{
    struct refusals *refusals = *state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL);
    fclose(log_file);
    health_close(refusals->health);
    free(refusals);
    return 0;
}

static size_t count_lines(const char *with)
{
    char line[1024];
    size_t count = 0;
    fflush(log_file);
    rewind(log_file);
    while (fgets(line, sizeof(line), log_file) != NULL)
        count += strstr(line, with) != NULL;
    return count;
}

static const int64_t START_NS = 1000 * NS_PER_S;

static void test_the_first_refusal_is_told_in_full(void **state)
{
    refusals_note(*state, START_NS, "out.1 is full");
    assert_int_equal(count_lines("out.1 is full"), 1);
}

static void test_thousands_are_told_in_one_line_more(void **state)
{
    for (int i = 0; i < 5000; i++)
        refusals_note(*state, START_NS + i, "out.1 is full");
    assert_int_equal(count_lines("out.1 is full"), 1);
    refusals_tick(*state, START_NS + 10 * NS_PER_S);
    assert_int_equal(count_lines("out.1 is full"), 2);
    assert_int_equal(count_lines("4999 more like this"), 1);
}

static void test_after_a_quiet_time_the_next_is_told_in_full_again(void **state)
{
    refusals_note(*state, START_NS, "out.1 is full");
    refusals_tick(*state, START_NS + 10 * NS_PER_S);
    refusals_note(*state, START_NS + 11 * NS_PER_S, "out.2 is full");
    assert_int_equal(count_lines("out.2 is full"), 1);
}

static void test_a_passing_refusal_leaves_it_ready(void **state)
{
    struct refusals *refusals = *state;
    refusals_note(refusals, START_NS, "out.1 is full");
    refusals_tick(refusals, START_NS + NS_PER_S);
    assert_true(health_ready(refusals->health));
    refusals_stored(refusals);
    refusals_tick(refusals, START_NS + 5 * NS_PER_S);
    assert_true(health_ready(refusals->health));
}

static void test_it_is_not_ready_while_nothing_is_stored(void **state)
{
    struct refusals *refusals = *state;
    refusals_note(refusals, START_NS, "out.1 is full");
    refusals_tick(refusals, START_NS + 3 * NS_PER_S);
    bool ready;
    char *page = health_render_ready(refusals->health, &ready);
    assert_false(ready);
    assert_non_null(strstr(page, "outputs of worker 1: out.1 is full"));
    free(page);
}

static void test_it_is_ready_with_the_next_output_stored(void **state)
{
    struct refusals *refusals = *state;
    refusals_note(refusals, START_NS, "out.1 is full");
    refusals_tick(refusals, START_NS + 3 * NS_PER_S);
    refusals_stored(refusals);
    assert_true(health_ready(refusals->health));
    assert_int_equal(count_lines("outputs are stored again"), 1);
}

static void test_it_is_ready_when_nothing_was_refused_for_long(void **state)
{
    struct refusals *refusals = *state;
    refusals_note(refusals, START_NS, "out.1 is full");
    refusals_tick(refusals, START_NS + 3 * NS_PER_S);
    refusals_tick(refusals, START_NS + 31 * NS_PER_S);
    assert_true(health_ready(refusals->health));
}

int main(void)
{
#define refusals_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        refusals_test(test_the_first_refusal_is_told_in_full),
        refusals_test(test_thousands_are_told_in_one_line_more),
        refusals_test(test_after_a_quiet_time_the_next_is_told_in_full_again),
        refusals_test(test_a_passing_refusal_leaves_it_ready),
        refusals_test(test_it_is_not_ready_while_nothing_is_stored),
        refusals_test(test_it_is_ready_with_the_next_output_stored),
        refusals_test(test_it_is_ready_when_nothing_was_refused_for_long),
    };
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
