#include "rules/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* The heap of moments. */

enum { MOMENTS = 1000 };

static struct timers timers;
static struct moment moments[MOMENTS];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOMENTS; i++) {
        moments[i] = (struct moment){0};
        if (timers_reserve(&timers) != 0)
            return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    timers_free(&timers);
    return 0;
}

static void test_an_empty_heap_has_no_first(void **state)
{
    (void)state;
    assert_null(timers_first(&timers));
}

static void test_moments_come_in_the_order_of_their_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOMENTS; i++)
        timers_add(&timers, &moments[i], (int64_t)(i * 7919 % MOMENTS));
    for (int64_t at = 0; at < MOMENTS; at++) {
        struct moment *first = timers_first(&timers);
        assert_int_equal(first->at_ns, at);
        timers_remove(&timers, first);
        assert_int_equal(first->place, 0);
    }
    assert_null(timers_first(&timers));
}

static void test_equal_moments_come_in_the_order_of_their_adding(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOMENTS; i++)
        timers_add(&timers, &moments[i], 5);
    for (size_t i = 0; i < MOMENTS; i++) {
        assert_ptr_equal(timers_first(&timers), &moments[i]);
        timers_remove(&timers, &moments[i]);
    }
}

static void test_any_moment_can_be_taken_out_and_the_rest_stays_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOMENTS; i++)
        timers_add(&timers, &moments[i], (int64_t)(i * 7919 % MOMENTS));
    for (size_t i = 0; i < MOMENTS; i += 3)
        timers_remove(&timers, &moments[i]);
    int64_t last = -1;
    size_t count = 0;
    for (struct moment *first; (first = timers_first(&timers)) != NULL; count++) {
        assert_true(first->at_ns > last);
        last = first->at_ns;
        timers_remove(&timers, first);
    }
    assert_int_equal(count, MOMENTS - (MOMENTS + 2) / 3);
}

static void test_taking_out_what_is_not_in_does_nothing(void **state)
{
    (void)state;
    timers_add(&timers, &moments[0], 1);
    timers_remove(&timers, &moments[1]);
    assert_ptr_equal(timers_first(&timers), &moments[0]);
    timers_remove(&timers, &moments[0]);
    timers_remove(&timers, &moments[0]);
    assert_null(timers_first(&timers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_empty_heap_has_no_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moments_come_in_the_order_of_their_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_equal_moments_come_in_the_order_of_their_adding, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_any_moment_can_be_taken_out_and_the_rest_stays_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taking_out_what_is_not_in_does_nothing, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
