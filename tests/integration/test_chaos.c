#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "chaos/round.h"
#include "process.h"

/*
 * The short form of `make chaos`: some thousand inputs and a few seconds in which every kind of
 * fault strikes at least once. CHAOS_SEED in the environment repeats a plan.
 */

enum { INPUTS = 5000, FAULT_SECONDS = 8 };

/* CHAOS_SEED, or a new one whose plan has every kind of fault. */
static void choose_seed(struct chaos *chaos)
{
    const char *given = getenv("CHAOS_SEED");
    chaos->seed = given != NULL ? strtoull(given, NULL, 10) : chaos_new_seed();
    while (given == NULL && !chaos_has_all_faults(chaos))
        chaos->seed++;
    printf("CHAOS_SEED=%" PRIu64 " repeats this plan\n", chaos->seed);
    fflush(stdout);
}

static void test_no_fault_loses_doubles_or_misplaces_a_message(struct harness *h)
{
    struct chaos chaos = {.inputs = INPUTS, .fault_seconds = FAULT_SECONDS};
    struct chaos_result result;
    choose_seed(&chaos);

    chaos_round(h, &chaos, &result);

    chaos_print(&chaos, &result);
    assert_true(chaos_passed(&result));
}

/* What chaos found once: near its end tidemill had taken its signal handlers away, and died. */
static void test_hangups_while_it_stops_leave_its_end_in_order(struct harness *h)
{
    harness_write_file(h, "tidemill.lua",
                       "return { streams = { { name = 'in' } }, shutdown_timeout = '2s',\n"
                       "  sources = { { stream = 'in', durable = 'd' } } }");
    harness_write_file(h, "rules/none.lua",
                       "return { subjects = { 'in.>' }, on_message = function() end }");
    harness_server_signal(h, SIGSTOP); /* so that connecting is still under way when it stops */
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "connecting to", 15000);

    harness_signal(mill, SIGTERM);
    int64_t deadline_ns = harness_deadline(15000);
    do
        harness_signal(mill, SIGHUP);
    while (!process_wait(mill, clock_monotonic_ns() + NS_PER_MS) &&
           clock_monotonic_ns() < deadline_ns);

    assert_int_equal(harness_wait_exit(mill, 100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_no_fault_loses_doubles_or_misplaces_a_message),
        harness_test(test_hangups_while_it_stops_leave_its_end_in_order),
    };
    return cmocka_run_group_tests_name("chaos", tests, NULL, NULL);
}
