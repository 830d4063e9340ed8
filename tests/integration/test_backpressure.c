#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "process.h"
#include "sanitizer.h"

/*
 * A downstream that takes nothing makes pulling stop and never memory grow; when it takes again,
 * everything arrives. The input stream is "in", outputs go to "out".
 */

enum {
    PATIENCE_MS = 30000,
    BATCH = 100,
    WINDOW = 4 * BATCH, /* messages in flight at most: pipeline.c keeps four batches */
    MB = 1 << 20,
    HEAP = 128 * MB /* what the bounds of outbox and buffer come to, a sanitizer's share included */
};

static struct process *start(struct harness *h, const char *source, const char *handler)
{
#ifdef __SANITIZE_ADDRESS__ /* it keeps what is freed, up to 256 MB of it */
    harness_setenv(h, "ASAN_OPTIONS", "quarantine_size_mb=1:thread_local_quarantine_size_kb=64");
#endif
    char text[1024];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' } },\n"
             "  sources = { { stream = 'in', durable = 'mill', ack_wait = '5s', batch = %d,\n"
             "    max_deliver = 1000, backoff = { '200ms' }, %s } } }\n",
             BATCH, source);
    harness_write_file(h, "tidemill.lua", text);
    snprintf(text, sizeof(text),
             "local seen = 0\n"
             "return { subjects = { 'in.>' }, on_message = function(msg)\n"
             "  seen = seen + 1\n  %s\nend }\n",
             handler);
    harness_write_file(h, "rules/copy.lua", text);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

/* The stream that outputs go to: it refuses what passes `limit` (-1: nothing). */
static void make_out(struct harness *h, int64_t limit)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "out";
    config.Subjects = (const char *[]){"out.>"};
    config.SubjectsLen = 1;
    config.MaxMsgs = limit;
    config.Discard = js_DiscardNew;
    assert_int_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
}

static void lift_limit(struct harness *h)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "out";
    config.Subjects = (const char *[]){"out.>"};
    config.SubjectsLen = 1;
    config.MaxMsgs = -1;
    config.Discard = js_DiscardNew;
    assert_int_equal(js_UpdateStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
}

/* Bytes of memory the process holds. */
static long long resident(struct harness *h, struct process *mill)
{
    char path[64];
    long long pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)process_id(mill));
    if (sscanf(harness_read_file(h, path), "%*d %lld", &pages) != 1)
        harness_fail(h, "%s cannot be read", path);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Messages that tidemill holds, as it says itself. */
static int in_flight(struct process *mill)
{
    harness_signal(mill, SIGUSR1);
    harness_wait_log(mill, "status: worker 1, in/mill", PATIENCE_MS);
    harness_wait_log(mill, "in flight", PATIENCE_MS);
    int last = 0;
    for (const char *at = harness_log(mill); (at = strstr(at, " in flight")) != NULL; at++) {
        const char *number = at;
        while (number[-1] >= '0' && number[-1] <= '9')
            number--;
        last = atoi(number);
    }
    return last;
}

/*
 * Watches for `ms`: what is in flight stays in the window, and memory within `growth` of `before`.
 */
static void expect_bounded(struct harness *h, struct process *mill, int ms, long long before,
                           long long growth)
{
    int64_t deadline = clock_monotonic_ns() + ms * NS_PER_MS; /* not longer on a slow machine */
    int most = 0;
    while (clock_monotonic_ns() < deadline) {
        int held = in_flight(mill);
        long long grown = resident(h, mill) - before;
        most = held > most ? held : most;
        if (held > WINDOW)
            harness_fail(h, "%d messages in flight", held);
        if (grown > growth && MEMORY_TELLS)
            harness_fail(h, "%lld MB more than at first, with %d in flight", grown / MB, held);
    }
    assert_true(most > 0); /* there was something to hold back */
}

static uint64_t delivered_up_to(struct harness *h)
{
    jsConsumerInfo *info = NULL;
    assert_int_equal(js_GetConsumerInfo(&info, harness_js(h), "in", "mill", NULL, NULL), NATS_OK);
    uint64_t sequence = info->Delivered.Stream;
    jsConsumerInfo_Destroy(info);
    return sequence;
}

static void expect_all_once(struct harness *h, size_t count)
{
    harness_wait_count(h, "out", count, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    const struct harness_messages *messages = harness_read(h, "out");
    assert_int_equal(messages->count, count);
    assert_int_equal(harness_duplicate_ids(messages), 0);
    assert_int_equal(harness_count(h, "dead"), 0);
}

static void test_a_full_downstream_stops_the_pulls_and_all_arrives_once_it_has_room(
    struct harness *h)
{
    enum { COUNT = 20000, LIMIT = 1000, UNACKED = 2000 };
    make_out(h, LIMIT);
    struct process *mill = start(h, "max_ack_pending = 2000", "mill.publish('out.x', msg.raw)");
    harness_feed(h, "in.x", 0, COUNT / 2, "{\"n\":#}");
    harness_wait_log(mill, "could not be stored: maximum messages exceeded", PATIENCE_MS);
    long long before = resident(h, mill);
    harness_feed(h, "in.x", COUNT / 2, COUNT / 2, "{\"n\":#}");
    expect_bounded(h, mill, 6000, before, 8 * MB);
    assert_in_range(delivered_up_to(h), LIMIT, LIMIT + UNACKED);
    lift_limit(h);
    expect_all_once(h, COUNT);
    harness_stop(mill, PATIENCE_MS);
}

static void test_an_absent_downstream_stops_the_pulls_and_all_arrives_once_it_is_there(
    struct harness *h)
{
    enum { COUNT = 3000 };
    natsSubscription *silent = NULL; /* takes every request and answers none */
    assert_int_equal(natsConnection_SubscribeSync(&silent, harness_nats(h), "out.>"), NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    struct process *mill = start(h, "max_ack_pending = 1000", "mill.publish('out.x', msg.raw)");
    harness_feed(h, "in.x", 0, COUNT, "{\"n\":#}");
    natsMsg *request = NULL;
    assert_int_equal(natsSubscription_NextMsg(&request, silent, PATIENCE_MS), NATS_OK);
    natsMsg_Destroy(request);
    expect_bounded(h, mill, 2000, resident(h, mill), 8 * MB);
    assert_in_range(delivered_up_to(h), 1, WINDOW); /* the window, and not one more */
    natsSubscription_Destroy(silent);
    make_out(h, -1);
    expect_all_once(h, COUNT);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_thousand_outputs_of_each_message_are_all_stored(struct harness *h)
{
    enum { COUNT = 60 };
    make_out(h, -1);
    struct process *mill =
        start(h, "", "for i = 1, 1000 do mill.publish('out.' .. i, msg.raw) end");
    harness_feed(h, "in.x", 0, COUNT, "{\"n\":#}");
    expect_all_once(h, COUNT * 1000);
    harness_stop(mill, PATIENCE_MS);
}

/* 400 messages of 1000 outputs are in the window: 400,000 outputs, of which few may be open. */
static void test_a_thousand_outputs_of_each_message_do_not_pile_up(struct harness *h)
{
    make_out(h, 1);
    struct process *mill =
        start(h, "", "for i = 1, 1000 do mill.publish('out.' .. i, msg.raw) end");
    long long before = resident(h, mill);
    harness_feed(h, "in.x", 0, 2 * WINDOW, "{\"n\":#}");
    harness_wait_log(mill, "could not be stored", PATIENCE_MS);
    expect_bounded(h, mill, 3000, before, HEAP);
}

/* Core messages are answered by nobody: what bounds them is the connection's output buffer. */
static void test_core_messages_to_a_server_that_stands_still_do_not_pile_up(struct harness *h)
{
    make_out(h, -1);
    struct process *mill =
        start(h, "",
              "if seen == 1 then mill.log.info('begun') end\n"
              "local text = string.rep('x', 1000)\n"
              "for i = 1, 1000 do mill.publish('core.x', text, { durable = false }) end");
    long long before = resident(h, mill);
    harness_feed(h, "in.x", 0, 2 * WINDOW, "{\"n\":#}"); /* 800 MB of core messages */
    harness_wait_log(mill, "begun", PATIENCE_MS);
    harness_server_signal(h, SIGSTOP);
    expect_bounded(h, mill, 2000, before, HEAP);
    harness_server_signal(h, SIGCONT);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_outputs_of_messages_queued_behind_a_wait_do_not_pile_up(struct harness *h)
{
    make_out(h, 1);
    struct process *mill = start(h, "",
                                 "if seen == 1 then mill.sleep(0.5) end\n"
                                 "for i = 1, 1000 do mill.publish('out.' .. i, msg.raw) end");
    long long before = resident(h, mill);
    harness_feed(h, "in.x", 0, 2 * WINDOW, "{\"n\":#}");
    harness_wait_log(mill, "could not be stored", PATIENCE_MS);
    expect_bounded(h, mill, 3000, before, 48 * MB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_full_downstream_stops_the_pulls_and_all_arrives_once_it_has_room),
        harness_test(test_an_absent_downstream_stops_the_pulls_and_all_arrives_once_it_is_there),
        harness_test(test_a_thousand_outputs_of_each_message_are_all_stored),
        harness_test(test_a_thousand_outputs_of_each_message_do_not_pile_up),
        harness_test(test_core_messages_to_a_server_that_stands_still_do_not_pile_up),
        harness_test(test_outputs_of_messages_queued_behind_a_wait_do_not_pile_up),
    };
    return cmocka_run_group_tests_name("backpressure", tests, NULL, NULL);
}
