/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mill/retries.h"

static void test_they_come_when_they_are_due_the_earliest_first(void **state)
{
    (void)state;
    struct retries retries = {NULL, NULL};
    struct delivery a = {0}, b = {0}, c = {0};
    assert_int_equal(retries_due_ns(&retries), -1);
    retries_add(&retries, &a, 30);
    retries_add(&retries, &b, 10);
    retries_add(&retries, &c, 20);
    assert_int_equal(a.phase, PHASE_WAITING);
    assert_int_equal(retries_due_ns(&retries), 10);
    assert_null(retries_take(&retries, 9));
    assert_ptr_equal(retries_take(&retries, 20), &b);
    assert_ptr_equal(retries_take(&retries, 20), &c);
    assert_null(retries_take(&retries, 20));
    assert_ptr_equal(retries_take(&retries, INT64_MAX), &a);
    assert_null(retries_take(&retries, INT64_MAX));
    assert_null(retries.last);
}

static void test_of_those_due_at_once_the_first_added_comes_first(void **state)
{
    (void)state;
    struct retries retries = {NULL, NULL};
    struct delivery a = {0}, b = {0};
    retries_add(&retries, &a, 10);
    retries_add(&retries, &b, 10);
    assert_ptr_equal(retries_take(&retries, 10), &a);
    assert_ptr_equal(retries_take(&retries, 10), &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_they_come_when_they_are_due_the_earliest_first),
        cmocka_unit_test(test_of_those_due_at_once_the_first_added_comes_first),
    };
    return cmocka_run_group_tests_name("retries", tests, NULL, NULL);
}
