#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/*
 * The end: what was begun is finished, what cannot be finished is given back, and the process
 * leaves inside shutdown_timeout with status 0. The next one goes on where this one stopped.
 */

enum { PATIENCE_MS = 15000 };

/* ack_wait is long: what comes back sooner has been given back, not forgotten. */
static const char config[] =
    "return { streams = { { name = 'in', subjects = { 'in.>' } },\n"
    "                     { name = 'out', subjects = { 'out' } } },\n"
    "  sources = { { stream = 'in', durable = 'd', ack_wait = '30s', batch = 100 } },\n"
    "  rules = { timeout = '3s' },\n"
    "  shutdown_timeout = '4s' }";

/* The id makes each run an output of its own, which no server takes for a duplicate. */
static const char copying_rule[] =
    "local life = mill.now()\n"
    "return { subjects = { 'in.a' }, on_message = function(msg)\n"
    "  mill.publish('out', msg.raw, { id = msg.sequence .. ' in ' .. life })\n"
    "end }";

static const char sleeping_rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                    "  print('asleep')\n"
                                    "  mill.sleep(msg.data.seconds)\n"
                                    "  mill.publish('out', msg.raw)\n"
                                    "end }";

static struct process *start(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    return mill;
}

static void write_files(struct harness *h, const char *rule)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/a.lua", rule);
}

/* Everything is acknowledged, and the server has delivered so often in all. (What it delivers while
 * the worker unsubscribes counts too, though nobody sees it; it comes to the next one.) */
static void expect_deliveries(struct harness *h, uint64_t deliveries)
{
    jsConsumerInfo *info = NULL;
    assert_int_equal(js_GetConsumerInfo(&info, harness_js(h), "in", "d", NULL, NULL), NATS_OK);
    uint64_t delivered = info->Delivered.Consumer;
    int64_t unacked = info->NumAckPending;
    jsConsumerInfo_Destroy(info);
    assert_int_equal(unacked, 0);
    assert_int_equal(delivered, deliveries);
}

static void expect_each_number_once(struct harness *h, size_t count)
{
    const struct harness_messages *out = harness_read(h, "out");
    bool *seen = calloc(count, sizeof(*seen));
    assert_non_null(seen);
    harness_defer(h, free, seen);
    assert_int_equal(out->count, count);
    for (size_t i = 0; i < count; i++) {
        size_t n = strtoul(out->items[i].payload, NULL, 10);
        assert_in_range(n, 0, count - 1);
        if (seen[n])
            harness_fail(h, "message %zu was run twice", n);
        seen[n] = true;
    }
}

/* ---- under load ---- */

static void test_stops_under_load_lose_nothing_and_run_nothing_twice(struct harness *h)
{
    enum { COUNT = 40000, STOPS = 4, EACH = COUNT / (STOPS + 1) };
    /* What the server delivers in the moment of a stop comes again after ack_wait. */
    write_files(h, copying_rule);
    harness_write_file(h, "tidemill.lua",
                       "return { streams = {},\n"
                       "  sources = { { stream = 'in', durable = 'd', ack_wait = '3s' } } }");
    harness_stream(h, "in", "in.>");
    harness_stream(h, "out", "out");
    harness_feed(h, "in.a", 0, COUNT, "#");
    for (int stop = 1; stop <= STOPS; stop++) {
        struct process *mill = start(h);
        uint64_t enough = harness_count(h, "out") + EACH / 4;
        while (harness_count(h, "out") < enough)
            ;
        harness_stop(mill, PATIENCE_MS);
    }
    assert_true(harness_count(h, "out") < COUNT); /* each stop was in the midst of it */
    struct process *mill = start(h);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    expect_each_number_once(h, COUNT);
    harness_stop(mill, PATIENCE_MS);
}

static void test_outputs_on_their_way_are_stored_before_the_end(struct harness *h)
{
    enum { COUNT = 500 };
    write_files(h, copying_rule);
    struct process *mill = start(h);
    harness_feed(h, "in.a", 0, COUNT, "#");
    while (harness_count(h, "out") < 1)
        ;
    harness_server_signal(h, SIGSTOP); /* what is published now gets no answer */
    harness_signal(mill, SIGTERM);
    harness_wait_log(mill, "stopping", PATIENCE_MS);
    harness_server_signal(h, SIGCONT);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 0);
    mill = start(h);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    expect_each_number_once(h, COUNT);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- handlers that take their time ---- */

static void test_a_handler_that_waits_may_finish_inside_shutdown_timeout(struct harness *h)
{
    write_files(h, sleeping_rule);
    struct process *mill = start(h);
    harness_publish(h, "in.a", "{\"seconds\":0.7}");
    harness_wait_log(mill, "asleep", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_count(h, "out"), 1);
    expect_deliveries(h, 1);
}

static void test_messages_queued_behind_a_waiting_handler_are_finished_too(struct harness *h)
{
    write_files(h, sleeping_rule);
    harness_write_file(h, "rules/b.lua",
                       "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                       "  print('delivered ' .. msg.sequence)\n"
                       "end }");
    struct process *mill = start(h);
    for (int i = 0; i < 5; i++)
        harness_publish(h, "in.a", "{\"seconds\":0.1}");
    harness_wait_log(mill, "delivered 5", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_count(h, "out"), 5);
    expect_deliveries(h, 5);
}

static void test_a_handler_that_computes_may_finish_inside_shutdown_timeout(struct harness *h)
{
    write_files(h, "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                   "  print('at work')\n"
                   "  local start = mill.now()\n"
                   "  while mill.now() - start < 0.7 do end\n"
                   "  mill.publish('out', msg.raw)\n"
                   "end }");
    struct process *mill = start(h);
    harness_publish(h, "in.a", "1");
    harness_wait_log(mill, "at work", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_count(h, "out"), 1);
    expect_deliveries(h, 1);
}

static void test_a_handler_asleep_for_a_minute_gives_its_message_back(struct harness *h)
{
    write_files(h, sleeping_rule);
    struct process *mill = start(h);
    harness_publish(h, "in.a", "{\"seconds\":60}");
    harness_wait_log(mill, "asleep", PATIENCE_MS);
    int64_t begin = clock_monotonic_ns();
    harness_stop(mill, PATIENCE_MS);
    assert_true(clock_monotonic_ns() - begin < 6 * NS_PER_S);
    assert_int_equal(harness_count(h, "out"), 0);

    /* Given back, it is there at once for the next one, not after ack_wait. */
    write_files(h, copying_rule);
    mill = start(h);
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    expect_deliveries(h, 2);
}

static void test_a_second_signal_ends_it_at_once(struct harness *h)
{
    write_files(h, sleeping_rule);
    struct process *mill = start(h);
    harness_publish(h, "in.a", "{\"seconds\":60}");
    harness_wait_log(mill, "asleep", PATIENCE_MS);
    harness_signal(mill, SIGTERM);
    harness_wait_log(mill, "stopping", PATIENCE_MS);
    int64_t begin = clock_monotonic_ns();
    harness_signal(mill, SIGINT);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 1);
    assert_true(clock_monotonic_ns() - begin < NS_PER_S);
    assert_int_equal(harness_log_count(mill, "second signal"), 1);
}

static void test_the_end_of_the_terminal_session_stops_it_as_well(struct harness *h)
{
    write_files(h, copying_rule);
    struct process *mill = start(h);
    harness_signal(mill, SIGINT);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 0);
}

static void test_on_unload_runs_at_the_end(struct harness *h)
{
    write_files(h, "return { subjects = { 'in.a' }, on_message = function() end,\n"
                   "  on_unload = function() print('good bye') end }");
    struct process *mill = start(h);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "good bye"), 1);
}

static void test_readyz_tells_that_it_is_stopping(struct harness *h)
{
    write_files(h, sleeping_rule);
    struct process *mill = start(h);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_publish(h, "in.a", "{\"seconds\":1}");
    harness_wait_log(mill, "asleep", PATIENCE_MS);
    harness_signal(mill, SIGTERM);
    harness_wait_log(mill, "stopping", PATIENCE_MS);
    const char *body = NULL;
    assert_int_equal(harness_http(mill, "/readyz", &body), 503);
    assert_non_null(strstr(body, "stopping"));
    assert_int_equal(harness_http(mill, "/healthz", NULL), 200);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 0);
}

/* ---- without a server ---- */

static void test_it_can_be_stopped_while_it_waits_for_a_server(struct harness *h)
{
    write_files(h, copying_rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "waiting for the server", PATIENCE_MS);
    int64_t begin = clock_monotonic_ns();
    harness_stop(mill, PATIENCE_MS);
    assert_true(clock_monotonic_ns() - begin < 3 * NS_PER_S);
    assert_int_equal(harness_log_count(mill, "error"), 0);
}

static void test_it_can_be_stopped_when_the_server_has_gone(struct harness *h)
{
    write_files(h, copying_rule);
    struct process *mill = start(h);
    harness_server_kill(h);
    harness_wait_log(mill, "disconnected", PATIENCE_MS);
    int64_t begin = clock_monotonic_ns();
    harness_stop(mill, PATIENCE_MS);
    assert_true(clock_monotonic_ns() - begin < 6 * NS_PER_S);
}

static void test_it_can_be_stopped_when_the_server_does_not_answer(struct harness *h)
{
    write_files(h, copying_rule);
    struct process *mill = start(h);
    harness_server_signal(h, SIGSTOP);
    int64_t begin = clock_monotonic_ns();
    harness_stop(mill, PATIENCE_MS);
    assert_true(clock_monotonic_ns() - begin < 6 * NS_PER_S);
    harness_server_signal(h, SIGCONT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_stops_under_load_lose_nothing_and_run_nothing_twice),
        harness_test(test_outputs_on_their_way_are_stored_before_the_end),
        harness_test(test_a_handler_that_waits_may_finish_inside_shutdown_timeout),
        harness_test(test_messages_queued_behind_a_waiting_handler_are_finished_too),
        harness_test(test_a_handler_that_computes_may_finish_inside_shutdown_timeout),
        harness_test(test_a_handler_asleep_for_a_minute_gives_its_message_back),
        harness_test(test_a_second_signal_ends_it_at_once),
        harness_test(test_the_end_of_the_terminal_session_stops_it_as_well),
        harness_test(test_on_unload_runs_at_the_end),
        harness_test(test_readyz_tells_that_it_is_stopping),
        harness_test_with(test_it_can_be_stopped_while_it_waits_for_a_server, .no_server = true),
        harness_test(test_it_can_be_stopped_when_the_server_has_gone),
        harness_test(test_it_can_be_stopped_when_the_server_does_not_answer),
    };
    return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
