#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/*
 * Message ids: what a message publishes is stored once inside the duplicate window, however often
 * the message is delivered. The input stream is "in", outputs go to "out".
 */

enum { PATIENCE_MS = 20000 };

static struct process *start(struct harness *h, const char *source)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' } },\n"
             "  sources = { { stream = 'in', durable = 'mill', ack_wait = '1s', %s } } }\n",
             source);
    harness_write_file(h, "tidemill.lua", text);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void write_rule(struct harness *h, const char *name, const char *handler)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "rules/%s.lua", name);
    snprintf(text, sizeof(text),
             "return { subjects = { 'in.>' }, on_message = function(msg)\n%s\nend }\n", handler);
    harness_write_file(h, path, text);
}

static void kill_process(struct process *mill)
{
    harness_signal(mill, SIGKILL);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 128 + SIGKILL);
}

static void wait_settled(struct harness *h)
{
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
}

/* harness_wait_count fails when there are more. */
static void wait_at_least(struct harness *h, const char *stream, uint64_t count)
{
    int64_t deadline = harness_deadline(PATIENCE_MS);
    while (harness_count(h, stream) < count) {
        if (clock_monotonic_ns() > deadline)
            harness_fail(h, "stream %s never holds %d messages", stream, (int)count);
    }
}

static const struct harness_message *stored_with(struct harness *h, const char *stream,
                                                 const char *id)
{
    const struct harness_messages *messages = harness_read(h, stream);
    for (size_t i = 0; i < messages->count; i++) {
        if (messages->items[i].id != NULL && strcmp(messages->items[i].id, id) == 0)
            return &messages->items[i];
    }
    fail_msg("stream %s has no message with id %s", stream, id);
    return NULL;
}

static void test_an_id_is_made_of_stream_sequence_rule_and_number(struct harness *h)
{
    write_rule(h, "one", "mill.publish('out.a', 'x') mill.publish('out.b', 'x')");
    write_rule(h, "two", "mill.publish('out.a', 'x')");
    start(h, "");
    harness_publish(h, "in.x", "{}");
    harness_publish(h, "in.x", "{}");
    wait_settled(h);
    assert_int_equal(harness_count(h, "out"), 6);
    assert_string_equal(stored_with(h, "out", "in:1:one:1")->subject, "out.a");
    assert_string_equal(stored_with(h, "out", "in:1:one:2")->subject, "out.b");
    stored_with(h, "out", "in:1:two:1");
    stored_with(h, "out", "in:2:one:1");
    stored_with(h, "out", "in:2:one:2");
    stored_with(h, "out", "in:2:two:1");
}

/* A core message takes a number too, so that a rule's n counts its calls of mill.publish. */
static void test_a_message_without_durability_has_no_id(struct harness *h)
{
    natsSubscription *core = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&core, harness_nats(h), "core.x"), NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    write_rule(h, "one",
               "mill.publish('core.x', 'x', { durable = false }) mill.publish('out.a', 'x')");
    start(h, "");
    harness_publish(h, "in.x", "{}");
    natsMsg *msg = NULL;
    const char *id = NULL;
    assert_int_equal(natsSubscription_NextMsg(&msg, core, PATIENCE_MS), NATS_OK);
    assert_int_equal(natsMsgHeader_Get(msg, "Nats-Msg-Id", &id), NATS_NOT_FOUND);
    natsMsg_Destroy(msg);
    natsSubscription_Destroy(core);
    wait_settled(h);
    stored_with(h, "out", "in:1:one:2");
}

static void test_a_rule_may_give_its_own_id(struct harness *h)
{
    write_rule(h, "one", "mill.publish('out.a', msg.raw, { id = 'reading-' .. msg.raw })");
    struct process *mill = start(h, "");
    harness_publish(h, "in.x", "7");
    harness_publish(h, "in.x", "7");
    harness_publish(h, "in.x", "8");
    wait_settled(h);
    assert_int_equal(harness_count(h, "out"), 2);
    stored_with(h, "out", "reading-7");
    stored_with(h, "out", "reading-8");
    harness_stop(mill, PATIENCE_MS);
}

/* ---- stored, and then the process died before its ack ---- */

/*
 * Two rules: `fast` stores its output, `slow` holds the message, so that it is not acked when the
 * process is killed. Returns when the output is stored and the process dead.
 */
static void store_and_die(struct harness *h, const char *fast)
{
    write_rule(h, "fast", fast);
    write_rule(h, "slow", "if msg.delivered == 1 then mill.sleep(60) end");
    struct process *mill = start(h, "");
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    kill_process(mill);
}

static void test_what_was_stored_before_a_kill_is_not_stored_twice(struct harness *h)
{
    store_and_die(h, "print('delivered', msg.delivered) mill.publish('out.x', msg.raw)");
    struct process *mill = harness_tidemill(h, "run");
    wait_settled(h);
    harness_wait_log(mill, "delivered 2", PATIENCE_MS); /* it did run again */
    assert_int_equal(harness_count(h, "out"), 1);
    assert_int_equal(harness_count(h, "dead"), 0);
}

static void test_a_part_that_was_stored_before_a_kill_is_completed(struct harness *h)
{
    store_and_die(h, "mill.publish('out.1', '')\n"
                     "if msg.delivered > 1 then mill.publish('out.2', '') end");
    harness_tidemill(h, "run");
    wait_settled(h);
    const struct harness_messages *messages = harness_read(h, "out");
    assert_int_equal(messages->count, 2);
    assert_string_equal(messages->items[0].subject, "out.1");
    assert_string_equal(messages->items[1].subject, "out.2");
}

static void test_a_thousand_messages_across_a_kill_are_stored_once_each(struct harness *h)
{
    write_rule(h, "copy", "mill.sleep(0.001) mill.publish('out.x', msg.raw)");
    struct process *mill = start(h, "batch = 100");
    harness_feed(h, "in.x", 0, 1000, "#");
    wait_at_least(h, "out", 300);
    kill_process(mill);
    harness_tidemill(h, "run");
    harness_wait_count(h, "out", 1000, PATIENCE_MS);
    wait_settled(h);
    const struct harness_messages *messages = harness_read(h, "out");
    assert_int_equal(messages->count, 1000);
    assert_int_equal(harness_duplicate_payloads(messages), 0);
}

/* ---- reload between two deliveries ---- */

/*
 * The output of the first delivery was stored under the old rules, then the message came again and
 * met new ones. The id is the same, so the old output stays and the new one is dropped by the
 * stream: a message whose output was stored before a reload has had its effect.
 */
static void test_an_output_of_the_old_rules_stays_when_new_rules_see_its_message_again(
    struct harness *h)
{
    store_and_die(h, "mill.publish('out.x', 'by the old rules')");
    write_rule(h, "fast", "print('new rules') mill.publish('out.x', 'by the new rules')");
    struct process *mill = harness_tidemill(h, "run");
    wait_settled(h);
    harness_wait_log(mill, "new rules", PATIENCE_MS);
    const struct harness_messages *messages = harness_read(h, "out");
    assert_int_equal(messages->count, 1);
    assert_string_equal(messages->items[0].payload, "by the old rules");
    assert_string_equal(messages->items[0].id, "in:1:fast:1");
}

/* The same in one process: there the rule that succeeded does not even run again. */
static void test_a_rule_that_succeeded_before_a_reload_does_not_run_after_it(struct harness *h)
{
    write_rule(h, "fast", "mill.publish('out.x', 'by the old rules')");
    write_rule(h, "slow", "if msg.delivered == 1 then msg:retry(1) end print('slow is through')");
    struct process *mill = start(h, "");
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    write_rule(h, "fast", "print('new rules') mill.publish('out.x', 'by the new rules')");
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "reloaded", PATIENCE_MS);
    wait_settled(h);
    harness_wait_log(mill, "slow is through", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "new rules"), 0);
    assert_string_equal(harness_read(h, "out")->items[0].payload, "by the old rules");
    assert_int_equal(harness_count(h, "out"), 1);
}

/* ---- timers ---- */

static void test_outputs_of_timers_have_an_id_each(struct harness *h)
{
    harness_write_file(h, "rules/clock.lua",
                       "return { every = { 0.05, function() mill.publish('out.tick', '') end } }");
    start(h, "");
    wait_at_least(h, "out", 3);
    const struct harness_messages *messages = harness_read(h, "out");
    assert_int_equal(harness_duplicate_ids(messages), 0);
    for (size_t i = 0; i < messages->count; i++)
        assert_int_equal(strncmp(messages->items[i].id, "timer:", 6), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_an_id_is_made_of_stream_sequence_rule_and_number),
        harness_test(test_a_message_without_durability_has_no_id),
        harness_test(test_a_rule_may_give_its_own_id),
        harness_test(test_what_was_stored_before_a_kill_is_not_stored_twice),
        harness_test(test_a_part_that_was_stored_before_a_kill_is_completed),
        harness_test(test_a_thousand_messages_across_a_kill_are_stored_once_each),
        harness_test(test_an_output_of_the_old_rules_stays_when_new_rules_see_its_message_again),
        harness_test(test_a_rule_that_succeeded_before_a_reload_does_not_run_after_it),
        harness_test(test_outputs_of_timers_have_an_id_each),
    };
    return cmocka_run_group_tests_name("message_ids", tests, NULL, NULL);
}
