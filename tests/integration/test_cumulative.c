#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/*
 * ack = "cumulative" on a real server: an ack says that all below it is settled, too. The input
 * stream is "in" with the durable "mill", outputs go to "out".
 */

enum { PATIENCE_MS = 20000 };

/* Copies; a payload with `retry` in it is tried again twice, one with `fail` fails always. */
static const char RULE[] =
    "return { subjects = { 'in.>' }, on_message = function(msg)\n"
    "  print('run', msg.sequence .. '.' .. msg.delivered)\n"
    "  if msg.raw:find('fail') then error('never') end\n"
    "  if msg.raw:find('retry') and msg.delivered < 3 then msg:retry(0.3) end\n"
    "  if msg.raw:find('later') then msg:retry(3600) end\n"
    "  mill.publish('out.x', msg.raw)\n"
    "end }\n";

static void write_config(struct harness *h, const char *source)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' },\n"
             "    { name = 'dead', subjects = { 'dead.>' } } },\n"
             "  nats = { reconnect_wait = '100ms' }, shutdown_timeout = '5s',\n"
             "  sources = { { stream = 'in', durable = 'mill', ack = 'cumulative', %s } } }\n",
             source);
    harness_write_file(h, "tidemill.lua", text);
    harness_write_file(h, "rules/copy.lua", RULE);
}

static struct process *run(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static struct process *start(struct harness *h, const char *source)
{
    write_config(h, source);
    return run(h);
}

struct floor_now {
    uint64_t acked, delivered;
    int64_t pending;
};

static struct floor_now look(struct harness *h)
{
    jsConsumerInfo *info = NULL;
    assert_int_equal(js_GetConsumerInfo(&info, harness_js(h), "in", "mill", NULL, NULL), NATS_OK);
    struct floor_now now = {info->AckFloor.Stream, info->Delivered.Stream, info->NumAckPending};
    jsConsumerInfo_Destroy(info);
    return now;
}

static void wait_floor(struct harness *h, uint64_t acked)
{
    int64_t deadline_ns = harness_deadline(PATIENCE_MS);
    while (look(h).acked < acked) {
        if (clock_monotonic_ns() > deadline_ns)
            harness_fail(h, "the floor is %d, not %d", (int)look(h).acked, (int)acked);
        nats_Sleep(20);
    }
    assert_int_equal(look(h).acked, acked);
}

/* Each of the payloads 0 to count-1 is in "out", once. */
static void expect_all(struct harness *h, size_t count)
{
    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(out->count, count);
    assert_int_equal(harness_duplicate_payloads(out), 0);
}

static void test_many_messages_are_settled_with_few_acks(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '30s'");
    natsSubscription *acks = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&acks, harness_nats(h), "$JS.ACK.in.mill.>"),
                     NATS_OK);
    natsSubscription_SetPendingLimits(acks, -1, -1);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    harness_feed(h, "in.x", 0, 5000, "#");
    harness_wait_count(h, "out", 5000, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    expect_all(h, 5000);
    assert_int_equal(look(h).acked, 5000);
    assert_int_equal(harness_log_count(mill, "copy: run "), 5000);
    uint64_t sent = 0;
    natsMsg *ack = NULL;
    while (natsSubscription_NextMsg(&ack, acks, 100) == NATS_OK) {
        assert_string_equal(natsMsg_GetData(ack), "+ACK");
        natsMsg_Destroy(ack);
        sent++;
    }
    assert_in_range(sent, 1, 1000);
    natsSubscription_Destroy(acks);
    harness_stop(mill, PATIENCE_MS);
}

static void test_the_floor_waits_for_a_message_that_is_tried_again(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '2s', max_deliver = 5");
    harness_feed(h, "in.x", 0, 10, "#");
    harness_publish(h, "in.x", "retry");
    harness_feed(h, "in.x", 10, 10, "#");
    harness_wait_log(mill, "run 21.1", PATIENCE_MS);
    wait_floor(h, 10);
    harness_wait_count(h, "out", 21, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    expect_all(h, 21);
    assert_int_equal(harness_log_count(mill, "run 11."), 3);
    assert_int_equal(harness_log_count(mill, "run 11.3"), 1);
    assert_int_equal(harness_log_count(mill, "copy: run "), 23);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_many_messages_are_settled_with_few_acks),
        harness_test(test_the_floor_waits_for_a_message_that_is_tried_again),
    };
    return cmocka_run_group_tests_name("cumulative", tests, NULL, NULL);
}
