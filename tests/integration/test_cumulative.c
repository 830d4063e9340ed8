#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "faults.h"

/*
 * ack = "cumulative" on a real server: an ack says that all below it is settled, too. The input
 * stream is "in" with the durable "mill", outputs go to "out".
 */

enum { PATIENCE_MS = 20000 };

/* Copies. A payload with `retry` in it is tried again twice, one with `later` once, after 3 s. */
static const char RULE[] =
    "return { subjects = { 'in.>' }, on_message = function(msg)\n"
    "  print('run', msg.sequence .. '.' .. msg.delivered)\n"
    "  if msg.raw:find('fail') then error('never') end\n"
    "  if msg.raw:find('retry') and msg.delivered < 3 then msg:retry(0.3) end\n"
    "  if msg.raw:find('later') and msg.delivered < 2 then msg:retry(3) end\n"
    "  mill.publish('out.x', msg.raw)\n"
    "end }\n";

static void write_config(struct harness *h, const char *source)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' },\n"
             "    { name = 'dead', subjects = { 'dead.>' } } },\n"
             "  nats = { reconnect_wait = '100ms' }, shutdown_timeout = '%ds',\n"
             "  sources = { { stream = 'in', durable = 'mill', ack = 'cumulative', %s } } }\n",
             harness_seconds(5), source);
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

/* What is settled meanwhile does not come again, though the floor waits longer than ack_wait. */
static void test_what_is_settled_above_the_floor_stays_quiet(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '1s'");
    harness_publish(h, "in.x", "later");
    harness_feed(h, "in.x", 0, 500, "#");
    harness_wait_count(h, "out", 501, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    expect_all(h, 501);
    assert_int_equal(harness_log_count(mill, "copy: run "), 502);
    assert_int_equal(faults_metric(mill, "tidemill_messages_redelivered_total", ""), 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_rule_that_succeeded_does_not_run_in_another_ones_retry(struct harness *h)
{
    write_config(h, "backoff = { '50ms' }");
    harness_write_file(h, "rules/second.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  if msg.delivered < 3 then error('not yet') end\n"
                       "  mill.publish('out.second', 'second') end }\n");
    struct process *mill = run(h);
    harness_publish(h, "in.x", "a");
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    expect_all(h, 2);
    assert_int_equal(harness_log_count(mill, "copy: run "), 1);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_message_that_fails_for_good_becomes_a_dead_letter(struct harness *h)
{
    struct process *mill = start(h, "max_deliver = 3, backoff = { '50ms' }");
    harness_feed(h, "in.x", 0, 5, "#");
    harness_publish(h, "in.x", "fail");
    harness_feed(h, "in.x", 5, 5, "#");
    harness_wait_count(h, "dead", 1, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    expect_all(h, 10);
    const struct harness_messages *dead = harness_read(h, "dead");
    assert_string_equal(dead->items[0].payload, "fail");
    assert_string_equal(harness_header(&dead->items[0], "Tidemill-Delivered"), "3");
    assert_int_equal(harness_log_count(mill, "run 6."), 3);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_dead_letter_that_cannot_be_stored_holds_the_floor(struct harness *h)
{
    struct process *mill = start(h, "max_deliver = 1, backoff = { '200ms' }");
    assert_int_equal(js_DeleteStream(harness_js(h), "dead", NULL, NULL), NATS_OK);
    harness_publish(h, "in.x", "fail");
    harness_feed(h, "in.x", 0, 5, "#");
    harness_wait_log(mill, "stays in the stream", PATIENCE_MS);
    harness_wait_count(h, "out", 5, PATIENCE_MS);
    assert_int_equal(look(h).acked, 0);
    harness_stream(h, "dead", "dead.>");
    harness_wait_count(h, "dead", 1, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* It must not wait for the retry; what it could not acknowledge comes to the next one at once. */
static void test_a_stop_gives_back_what_waits_and_what_is_settled_above_it(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '30s'");
    harness_publish(h, "in.x", "later");
    harness_feed(h, "in.x", 0, 20, "#");
    harness_wait_count(h, "out", 20, PATIENCE_MS);
    harness_stop(mill, 2000);
    assert_int_equal(look(h).pending, 21);
    mill = run(h);
    harness_wait_drained(h, "in", "mill", 10000);
    expect_all(h, 21);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_stop_acknowledges_all_that_is_settled(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '30s'");
    harness_feed(h, "in.x", 0, 2000, "#");
    faults_wait_outputs(h, 1);
    harness_stop(mill, PATIENCE_MS);
    struct floor_now now = look(h);
    assert_int_equal(now.pending, 0);
    assert_int_equal(harness_count(h, "out"), now.delivered);
}

static void test_a_retry_that_waits_runs_on_the_new_rules(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '30s'");
    harness_publish(h, "in.x", "later");
    harness_wait_log(mill, "run 1.1", PATIENCE_MS);
    harness_write_file(h, "rules/copy.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  mill.publish('out.x', 'new ' .. msg.delivered) end }\n");
    harness_signal(mill, SIGHUP);
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    assert_string_equal(harness_read(h, "out")->items[0].payload, "new 2");
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* Its messages have the sequences of those before. */
static void test_a_stream_that_is_another_one_is_worked_on_from_its_beginning(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '2s'");
    harness_feed(h, "in.x", 0, 50, "first #");
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    harness_publish(h, "in.x", "later");
    harness_feed(h, "in.x", 50, 50, "first #");
    harness_wait_count(h, "out", 100, PATIENCE_MS);
    assert_int_equal(js_DeleteStream(harness_js(h), "in", NULL, NULL), NATS_OK);
    harness_stream(h, "in", "in.>");
    harness_feed(h, "in.x", 0, 100, "second #");
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    const struct harness_messages *out = harness_read(h, "out");
    size_t second = 0;
    for (size_t i = 0; i < out->count; i++)
        second += strncmp(out->items[i].payload, "second", 6) == 0;
    assert_int_equal(second, 100);
    assert_int_equal(harness_duplicate_payloads(out), 0);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- what the server does ---- */

static void pull_from_server(struct harness *h, natsSubscription *inbox, int count, char *reply)
{
    assert_int_equal(natsConnection_PublishRequestString(harness_nats(h),
                                                         "$JS.API.CONSUMER.MSG.NEXT.in.mill",
                                                         natsSubscription_GetSubject(inbox), "10"),
                     NATS_OK);
    for (int i = 0; i < count; i++) {
        natsMsg *message = NULL;
        assert_int_equal(natsSubscription_NextMsg(&message, inbox, PATIENCE_MS), NATS_OK);
        snprintf(reply, 256, "%s", natsMsg_GetReply(message));
        natsMsg_Destroy(message);
    }
}

/* Sends an ack for this sequence and delivery; waits for the server's answer where it gives one. */
static struct floor_now answer(struct harness *h, int sequence, int number, const char *text)
{
    char subject[128];
    natsMsg *reply = NULL;
    snprintf(subject, sizeof(subject), "$JS.ACK.in.mill.1.%d.%d.0.0", sequence, number);
    assert_int_equal(
        natsConnection_RequestString(&reply, harness_nats(h), subject, text, PATIENCE_MS), NATS_OK);
    natsMsg_Destroy(reply);
    return look(h);
}

/*
 * Ten messages of a consumer with AckPolicy all, delivered; `reply` is where the last is answered.
 */
static natsSubscription *ten_pending(struct harness *h, char reply[256])
{
    jsConsumerConfig config;
    natsSubscription *inbox = NULL;
    harness_stream(h, "in", "in.>");
    jsConsumerConfig_Init(&config);
    config.Durable = "mill";
    config.AckPolicy = js_AckAll;
    assert_int_equal(js_AddConsumer(NULL, harness_js(h), "in", &config, NULL, NULL), NATS_OK);
    harness_feed(h, "in.x", 0, 10, "#");
    assert_int_equal(natsConnection_SubscribeSync(&inbox, harness_nats(h), "inbox.x"), NATS_OK);
    pull_from_server(h, inbox, 10, reply);
    return inbox;
}

/* What floor.h builds on, and why it numbers acks as it does. */
static void test_the_server_takes_acks_as_the_floor_expects(struct harness *h)
{
    char reply[256];
    natsSubscription *inbox = ten_pending(h, reply);
    assert_int_equal(look(h).pending, 10);

    struct floor_now now = answer(h, 6, 6, "+ACK"); /* and all below it */
    assert_int_equal(now.acked, 6);
    assert_int_equal(now.pending, 4);
    assert_int_equal(answer(h, 9, 9, "+WPI").pending, 4);
    assert_int_equal(answer(h, 8, 8, "-NAK").pending, 4); /* that one alone */
    pull_from_server(h, inbox, 1, reply);
    assert_non_null(strstr(reply, "$JS.ACK.in.mill.2.8.11."));
    assert_int_equal(answer(h, 8, 11, "+ACK").pending, 2);
    assert_int_equal(answer(h, 10, 10, "+ACK").pending, 2); /* 10 is not above 11: ignored */
    assert_int_equal(answer(h, 10, 12, "+ACK").pending, 0);
    natsSubscription_Destroy(inbox);
}

/* Hence the streams that provision.c refuses. */
static void test_the_server_takes_a_deleted_message_for_an_ack_of_all_below(struct harness *h)
{
    char reply[256];
    natsSubscription *inbox = ten_pending(h, reply);
    assert_int_equal(js_DeleteMsg(harness_js(h), "in", 6, NULL, NULL), NATS_OK);
    wait_floor(h, 6);
    assert_int_equal(look(h).pending, 4);
    natsSubscription_Destroy(inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_many_messages_are_settled_with_few_acks),
        harness_test(test_the_floor_waits_for_a_message_that_is_tried_again),
        harness_test(test_what_is_settled_above_the_floor_stays_quiet),
        harness_test(test_a_rule_that_succeeded_does_not_run_in_another_ones_retry),
        harness_test(test_a_message_that_fails_for_good_becomes_a_dead_letter),
        harness_test(test_a_dead_letter_that_cannot_be_stored_holds_the_floor),
        harness_test(test_a_stop_gives_back_what_waits_and_what_is_settled_above_it),
        harness_test(test_a_stop_acknowledges_all_that_is_settled),
        harness_test(test_a_retry_that_waits_runs_on_the_new_rules),
        harness_test(test_a_stream_that_is_another_one_is_worked_on_from_its_beginning),
        harness_test(test_the_server_takes_acks_as_the_floor_expects),
        harness_test(test_the_server_takes_a_deleted_message_for_an_ack_of_all_below),
    };
    return cmocka_run_group_tests_name("cumulative", tests, NULL, NULL);
}
