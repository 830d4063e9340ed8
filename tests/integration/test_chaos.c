#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void expect_order(struct harness *h, bool cumulative)
{
    struct chaos chaos = {
        .inputs = INPUTS, .fault_seconds = FAULT_SECONDS, .cumulative = cumulative};
    struct chaos_result result;
    choose_seed(&chaos);

    chaos_round(h, &chaos, &result);

    chaos_print(&chaos, &result);
    assert_true(chaos_passed(&result));
}

static void test_no_fault_loses_doubles_or_misplaces_a_message(struct harness *h)
{
    expect_order(h, false);
}

static void test_nor_does_one_when_acks_are_cumulative(struct harness *h)
{
    expect_order(h, true);
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

enum { LARGE = 3000 }; /* bytes of a payload: few fit into a socket's buffers */

static void make_large(void *context, size_t number, struct harness_draft *draft)
{
    (void)context;
    strcpy(draft->subject, "in.large");
    snprintf(draft->payload, sizeof(draft->payload), "%06zu %0*d", number, LARGE - 7, 7);
}

/*
 * What chaos found: the server dies in the middle of a message. libnats' loop mode neither noticed
 * the end while there was more to read, nor began anew with the next connection: it took the first
 * bytes of that for the rest of the message.
 */
static void test_a_message_cut_off_by_the_servers_death_is_not_completed_by_another(
    struct harness *h)
{
    enum { COUNT = 2000 };
    harness_write_file(h, "tidemill.lua",
                       "return { nats = { reconnect_wait = '100ms' },\n"
                       "  streams = { { name = 'in' }, { name = 'out' } },\n"
                       "  sources = { { stream = 'in', durable = 'd', ack_wait = '3s' } } }");
    harness_write_file(h, "rules/copy.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  mill.publish('out.copy', msg.raw) end }");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", 15000);
    harness_wait_http(mill, "/readyz", 200, 15000);

    harness_signal(mill, SIGSTOP);
    harness_feed_with(h, COUNT, make_large, NULL);
    harness_server_kill(h);
    harness_server_start(h);
    harness_signal(mill, SIGCONT);

    harness_wait_drained(h, "in", "d", 20000);
    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(out->count, COUNT);
    assert_int_equal(harness_duplicate_payloads(out), 0);
    for (size_t i = 0; i < out->count; i++) {
        struct harness_draft draft;
        make_large(NULL, (size_t)strtoul(out->items[i].payload, NULL, 10), &draft);
        assert_string_equal(out->items[i].payload, draft.payload);
    }
    harness_stop(mill, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_no_fault_loses_doubles_or_misplaces_a_message),
        harness_test(test_nor_does_one_when_acks_are_cumulative),
        harness_test(test_hangups_while_it_stops_leave_its_end_in_order),
        harness_test(test_a_message_cut_off_by_the_servers_death_is_not_completed_by_another),
    };
    return cmocka_run_group_tests_name("chaos", tests, NULL, NULL);
}
