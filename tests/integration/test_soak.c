#include "harness.h"

#include "soak/soak.h"

/* The short form of `make soak`. */

enum { SECONDS = 12 };

static void test_mixed_traffic_under_disturbance_comes_out_once_and_leaves_nothing_behind(
    struct harness *h)
{
    static struct soak_result result;
    struct soak soak = soak_of(SECONDS);

    soak_run(h, &soak, &result);

    soak_print(&soak, &result);
    assert_true(soak_passed(&soak, &result));
}

/* Samples as Lua's collector makes them: a sawtooth, and what is added each second. */
static struct trend_verdict judge_sawtooth(double growth)
{
    static struct trend trend;
    trend.count = 0;
    for (int i = 0; i < 180; i++)
        trend_add(&trend, 5.0 * i, 20 + i * 7 % 13 + growth * 5 * i);
    return trend_judge(&trend);
}

static void test_a_sawtooth_alone_has_no_trend(void **state)
{
    (void)state;
    struct trend_verdict verdict = judge_sawtooth(0);
    assert_true(verdict.second - verdict.first < 0.5 && verdict.first - verdict.second < 0.5);
    assert_true(verdict.drift < 0.5 && verdict.drift > -0.5);
    assert_true(verdict.most == 32);
}

static void test_a_tenth_of_a_tooth_in_each_minute_is_a_trend(void **state)
{
    (void)state;
    struct trend_verdict verdict = judge_sawtooth(1.2 / 60);
    assert_true(verdict.drift > 15 && verdict.drift < 21); /* 18 in 900 s */
    assert_true(verdict.second - verdict.first > 7);
}

/*
 * A restart of the server may have any effect on the sample that meets it, but not on the verdict.
 */
static void test_some_looks_at_a_bad_moment_are_no_trend(void **state)
{
    (void)state;
    static struct trend trend;
    for (int i = 0; i < 100; i++)
        trend_add(&trend, i, i % 10 == 9 && i > 50 ? 1000 : 25);
    struct trend_verdict verdict = trend_judge(&trend);
    assert_true(verdict.first == 25 && verdict.second == 25 && verdict.drift == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_mixed_traffic_under_disturbance_comes_out_once_and_leaves_nothing_behind),
        cmocka_unit_test(test_a_sawtooth_alone_has_no_trend),
        cmocka_unit_test(test_a_tenth_of_a_tooth_in_each_minute_is_a_trend),
        cmocka_unit_test(test_some_looks_at_a_bad_moment_are_no_trend),
    };
    return cmocka_run_group_tests_name("soak", tests, NULL, NULL);
}
