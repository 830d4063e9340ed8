#include "mill/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "rules/engine.h"

/* Counters, histograms, reasons, and what the tally makes of them. */

enum { WORKERS = 2, SOURCES = 3 };

static struct tally tally;

static int open_tally(void **state)
{
    (void)state;
    return tally_open(&tally, WORKERS, SOURCES, NULL);
}

static int close_tally(void **state)
{
    (void)state;
    tally_close(&tally);
    return 0;
}

/* ---- counters ---- */

static void test_each_worker_and_source_has_counters_on_lines_of_their_own(void **state)
{
    (void)state;
    for (size_t worker = 0; worker < WORKERS; worker++) {
        assert_int_equal((uintptr_t)&tally.workers[worker] % CACHE_LINE, 0);
        for (size_t source = 0; source < SOURCES; source++) {
            struct source_counters *counters = tally_source(&tally, worker, source);
            assert_int_equal((uintptr_t)counters % CACHE_LINE, 0);
            assert_int_equal(counter_get(counters->delivered), 0);
            counter_add(counters->delivered, 1 + worker * SOURCES + source);
        }
    }
    for (size_t worker = 0; worker < WORKERS; worker++) {
        for (size_t source = 0; source < SOURCES; source++)
            assert_int_equal(counter_get(tally_source(&tally, worker, source)->delivered),
                             1 + worker * SOURCES + source);
    }
}

static void test_a_counter_goes_up_and_what_counts_now_also_down(void **state)
{
    (void)state;
    struct source_counters *counters = tally_source(&tally, 0, 0);
    counter_add(counters->in_flight, 3);
    counter_sub(counters->in_flight, 2);
    assert_int_equal(counter_get(counters->in_flight), 1);
    counter_set(counters->in_flight, 7);
    assert_int_equal(counter_get(counters->in_flight), 7);
}

/* ---- histograms ---- */

static void assert_bucket(int64_t ns, size_t bucket)
{
    struct histogram histogram;
    memset(&histogram, 0, sizeof(histogram));
    histogram_observe(&histogram, &duration_bounds, ns);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        assert_int_equal(counter_get(histogram.buckets[i]), i == bucket);
    assert_int_equal(counter_get(histogram.sum_ns), ns > 0 ? ns : 0);
}

static void test_a_time_falls_into_the_first_bucket_that_holds_it(void **state)
{
    (void)state;
    assert_bucket(0, 0);
    assert_bucket(10000, 0);
    assert_bucket(10001, 1);
    assert_bucket(10 * NS_PER_S, HISTOGRAM_BUCKETS - 2);
    assert_bucket(10 * NS_PER_S + 1, HISTOGRAM_BUCKETS - 1);
    assert_bucket(INT64_MAX, HISTOGRAM_BUCKETS - 1);
}

static void test_a_time_before_zero_is_zero(void **state)
{
    (void)state;
    assert_bucket(-1, 0);
    assert_bucket(INT64_MIN, 0);
}

static void test_the_bounds_of_all_histograms_rise(void **state)
{
    (void)state;
    const struct histogram_bounds *all[] = {&duration_bounds, &publish_ack_bounds, &latency_bounds};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_true(all[i]->ns[0] > 0);
        for (size_t j = 1; j < HISTOGRAM_BUCKETS - 1; j++)
            assert_true(all[i]->ns[j] > all[i]->ns[j - 1]);
    }
    assert_int_equal(duration_bounds.ns[0], 10000);
    assert_int_equal(duration_bounds.ns[HISTOGRAM_BUCKETS - 2], 10 * NS_PER_S);
}

/* ---- reasons ---- */

static void test_a_reason_is_found_by_its_word(void **state)
{
    (void)state;
    for (int i = 0; i < REASON_COUNT; i++)
        assert_int_equal(reason_named(reason_name((enum reason)i)), i);
    assert_int_equal(reason_named("something else"), REASON_ERROR);
}

static void test_every_cause_of_the_engine_is_a_reason_of_a_rule(void **state)
{
    (void)state;
    for (int cause = CAUSE_ERROR; cause <= CAUSE_PAYLOAD; cause++) {
        enum reason reason = reason_named(cause_name((enum cause)cause));
        assert_string_equal(reason_name(reason), cause_name((enum cause)cause));
        assert_true((int)reason < REASONS_OF_RULES);
    }
}

/* ---- what the server has ---- */

static void test_nothing_is_said_to_be_pending_before_anybody_knows(void **state)
{
    (void)state;
    uint64_t count;
    assert_int_equal(tally_pending(&tally, 0, &count), -1);
    assert_int_equal(tally_ack_pending(&tally, 0, &count), -1);
}

static void assert_pending(size_t source, uint64_t expected)
{
    uint64_t count = UINT64_MAX;
    assert_int_equal(tally_pending(&tally, source, &count), 0);
    assert_int_equal(count, expected);
}

static void test_the_latest_news_of_pending_wins(void **state)
{
    (void)state;
    int64_t now_ns = clock_monotonic_ns();
    tally_arrived(tally_source(&tally, 0, 1), 50, now_ns - 2);
    assert_pending(1, 50);
    tally_arrived(tally_source(&tally, 1, 1), 40, now_ns - 1);
    assert_pending(1, 40);
    struct consumer_counts counts = {.num_pending = 7, .num_ack_pending = 3};
    tally_consumer(&tally, 1, &counts);
    assert_pending(1, 7);
    tally_arrived(tally_source(&tally, 0, 1), 6, clock_monotonic_ns() + 1);
    assert_pending(1, 6);
    uint64_t count;
    assert_int_equal(tally_ack_pending(&tally, 1, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(tally_pending(&tally, 0, &count), -1); /* another source */
}

static void test_a_worker_s_calls_are_added_up_over_its_rules(void **state)
{
    (void)state;
    struct rule_counters *high = rule_book_counters(tally.rules, "high", 1);
    struct rule_counters *low = rule_book_counters(tally.rules, "low", 1);
    counter_add(rule_book_counters(tally.rules, "low", 0)->calls, 100);
    counter_add(high->calls, 5);
    counter_add(high->errors[REASON_RETRY], 1);
    counter_add(low->calls, 2);
    counter_add(low->errors[REASON_TIMEOUT], 2);
    struct calls calls = tally_calls(&tally, 1);
    assert_int_equal(calls.ended, 7);
    assert_int_equal(calls.errors, 3);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_tally, close_tally)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_each_worker_and_source_has_counters_on_lines_of_their_own),
        TEST(test_a_counter_goes_up_and_what_counts_now_also_down),
        TEST(test_a_time_falls_into_the_first_bucket_that_holds_it),
        TEST(test_a_time_before_zero_is_zero),
        TEST(test_the_bounds_of_all_histograms_rise),
        TEST(test_a_reason_is_found_by_its_word),
        TEST(test_every_cause_of_the_engine_is_a_reason_of_a_rule),
        TEST(test_nothing_is_said_to_be_pending_before_anybody_knows),
        TEST(test_the_latest_news_of_pending_wins),
        TEST(test_a_worker_s_calls_are_added_up_over_its_rules),
    };
    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
