#include "harness.h"

#include <stdio.h>
#include <string.h>

/*
 * What is being worked on is not delivered again, however long it takes: the server is told before
 * ack_wait is over (+WPI). The input stream is "in", outputs go to "out".
 */

enum { PATIENCE_MS = 30000 };

static struct process *start(struct harness *h, const char *source)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' } },\n"
             "  sources = { { stream = 'in', durable = 'mill', %s } } }\n",
             source);
    harness_write_file(h, "tidemill.lua", text);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void write_rule(struct harness *h, const char *handler)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "local seen = 0\n"
             "local function busy(seconds)\n"
             "  local till = mill.now() + seconds\n"
             "  while mill.now() < till do end\n"
             "end\n"
             "return { subjects = { 'in.>' }, on_message = function(msg)\n"
             "  seen = seen + 1\n"
             "  if msg.delivered > 1 then print('again:', msg.sequence) end\n"
             "  %s\n"
             "  mill.publish('out.x', msg.raw)\n"
             "end }\n",
             handler);
    harness_write_file(h, "rules/slow.lua", text);
}

/*
 * All came out, and nothing came in twice. The consumer counts each delivery: a message that was
 * delivered again while it was worked on would be seen there even if no rule saw it.
 */
static void expect_delivered_once(struct harness *h, struct process *mill, uint64_t count)
{
    harness_wait_count(h, "out", count, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    jsConsumerInfo *info = NULL;
    assert_int_equal(js_GetConsumerInfo(&info, harness_js(h), "in", "mill", NULL, NULL), NATS_OK);
    uint64_t deliveries = info->Delivered.Consumer;
    jsConsumerInfo_Destroy(info);
    assert_int_equal(deliveries, count);
    assert_int_equal(harness_log_count(mill, "again:"), 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_batch_of_500_behind_a_rule_of_20_ms_that_works_is_delivered_once(
    struct harness *h)
{
    write_rule(h, "busy(0.02)");
    struct process *mill = start(h, "ack_wait = '2s', batch = 500");
    harness_feed(h, "in.x", 0, 500, "#"); /* 10 s of work */
    expect_delivered_once(h, mill, 500);
}

static void test_a_batch_of_500_behind_a_rule_of_20_ms_that_waits_is_delivered_once(
    struct harness *h)
{
    write_rule(h, "mill.sleep(0.01)");
    struct process *mill = start(h, "ack_wait = '2s', batch = 500");
    harness_feed(h, "in.x", 0, 500, "#");
    expect_delivered_once(h, mill, 500);
}

static void test_messages_behind_long_calls_are_delivered_once(struct harness *h)
{
    write_rule(h, "busy(0.3)");
    struct process *mill = start(h, "ack_wait = '2s', batch = 100");
    harness_feed(h, "in.x", 0, 16, "#"); /* 4.8 s of work */
    expect_delivered_once(h, mill, 16);
}

static void test_messages_queued_behind_one_that_waits_are_delivered_once(struct harness *h)
{
    write_rule(h, "if seen == 1 then mill.sleep(0.3) else busy(0.02) end");
    struct process *mill = start(h, "ack_wait = '1s', batch = 500");
    harness_feed(h, "in.x", 0, 200, "#"); /* 4 s of work once the first has waited */
    expect_delivered_once(h, mill, 200);
}

static void test_a_handler_that_waits_longer_than_ack_wait_is_not_run_twice(struct harness *h)
{
    write_rule(h, "mill.sleep(4.5)");
    struct process *mill = start(h, "ack_wait = '2s'");
    harness_publish(h, "in.x", "{}");
    expect_delivered_once(h, mill, 1);
}

/* ---- msg:in_progress() ---- */

static void test_a_rule_may_say_itself_that_it_is_at_work(struct harness *h)
{
    natsSubscription *acks = NULL;
    write_rule(h, "msg:in_progress()");
    struct process *mill = start(h, "ack_wait = '30s'");
    assert_int_equal(natsConnection_SubscribeSync(&acks, harness_nats(h), "$JS.ACK.in.mill.>"),
                     NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    harness_publish(h, "in.x", "{}");
    static const char *const expected[] = {"+WPI", ""};
    for (int i = 0; i < 2; i++) {
        natsMsg *ack = NULL;
        assert_int_equal(natsSubscription_NextMsg(&ack, acks, PATIENCE_MS), NATS_OK);
        assert_string_equal(natsMsg_GetData(ack), expected[i]);
        natsMsg_Destroy(ack);
    }
    natsSubscription_Destroy(acks);
    expect_delivered_once(h, mill, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_batch_of_500_behind_a_rule_of_20_ms_that_works_is_delivered_once),
        harness_test(test_a_batch_of_500_behind_a_rule_of_20_ms_that_waits_is_delivered_once),
        harness_test(test_messages_behind_long_calls_are_delivered_once),
        harness_test(test_messages_queued_behind_one_that_waits_are_delivered_once),
        harness_test(test_a_handler_that_waits_longer_than_ack_wait_is_not_run_twice),
        harness_test(test_a_rule_may_say_itself_that_it_is_at_work),
    };
    return cmocka_run_group_tests_name("in_progress", tests, NULL, NULL);
}
