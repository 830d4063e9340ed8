#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/*
 * confirm = true: a message is settled only when the server has answered its ack. The input stream
 * is "in", outputs go to "out".
 */

enum { PATIENCE_MS = 20000 };

static const char RULE[] = "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                           "  print('run', msg.sequence .. '.' .. msg.delivered)\n"
                           "  mill.publish('out.x', msg.raw)\n"
                           "end }\n";

static struct process *start(struct harness *h, const char *source)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' } },\n"
             "  nats = { reconnect_wait = '100ms' },\n"
             "  sources = { { stream = 'in', durable = 'mill', confirm = true, %s } } }\n",
             source);
    harness_write_file(h, "tidemill.lua", text);
    harness_write_file(h, "rules/copy.lua", RULE);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

/* What tidemill publishes to acknowledge. */
static natsSubscription *listen_to_acks(struct harness *h)
{
    natsSubscription *acks = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&acks, harness_nats(h), "$JS.ACK.in.mill.>"),
                     NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    return acks;
}

/* Waits until the status of tidemill says `text`. */
static void wait_status(struct harness *h, struct process *mill, const char *text)
{
    int64_t deadline = harness_deadline(PATIENCE_MS);
    size_t before = harness_log_count(mill, text);
    while (harness_log_count(mill, text) == before) {
        if (clock_monotonic_ns() > deadline)
            harness_fail(h, "the status never says \"%s\"", text);
        harness_signal(mill, SIGUSR1);
        harness_wait_log(mill, "in flight", PATIENCE_MS);
    }
}

static void test_an_ack_asks_for_the_servers_answer(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '2s'");
    natsSubscription *acks = listen_to_acks(h);
    harness_publish(h, "in.x", "{}");
    natsMsg *ack = NULL;
    assert_int_equal(natsSubscription_NextMsg(&ack, acks, PATIENCE_MS), NATS_OK);
    assert_string_equal(natsMsg_GetData(ack), "+ACK");
    assert_non_null(natsMsg_GetReply(ack));
    natsMsg_Destroy(ack);
    natsSubscription_Destroy(acks);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    wait_status(h, mill, "0 in flight");
    harness_stop(mill, PATIENCE_MS);
}

static void test_many_confirmed_messages_are_settled_once_each(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '30s'");
    harness_feed(h, "in.x", 0, 2000, "#");
    harness_wait_count(h, "out", 2000, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    wait_status(h, mill, "0 in flight");
    assert_int_equal(harness_log_count(mill, "copy: run "), 2000);
    harness_stop(mill, PATIENCE_MS);
}

/*
 * The server stands still between the storing of the output and its answer to the ack: the rule
 * waits until the test has stopped it.
 */
static void test_a_message_is_held_until_the_server_answers(struct harness *h)
{
    harness_write_file(h, "rules/gate.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  mill.sleep(0.5) print('gate') end }\n");
    struct process *mill = start(h, "ack_wait = '5s'");
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_server_signal(h, SIGSTOP);
    harness_wait_log(mill, "gate", PATIENCE_MS); /* now the ack has been sent, to nobody */
    wait_status(h, mill, "1 in flight");
    harness_server_signal(h, SIGCONT);
    wait_status(h, mill, "0 in flight");
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "run 1."), 1);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_server_killed_before_its_answer_has_the_ack_again_when_it_is_back(
    struct harness *h)
{
    harness_write_file(h, "rules/gate.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  mill.sleep(0.5) print('gate') end }\n");
    struct process *mill = start(h, "ack_wait = '4s'");
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_server_signal(h, SIGSTOP);
    harness_wait_log(mill, "gate", PATIENCE_MS);
    harness_server_kill(h); /* with the ack unread in its socket */
    harness_server_start(h);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    wait_status(h, mill, "0 in flight");
    assert_int_equal(harness_count(h, "out"), 1);
    assert_int_equal(harness_log_count(mill, "run 1."), 1);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_server_killed_under_load_loses_and_doubles_nothing(struct harness *h)
{
    struct process *mill = start(h, "ack_wait = '3s', batch = 100");
    harness_feed(h, "in.x", 0, 20000, "#");
    harness_wait_log(mill, "run 3000.1", PATIENCE_MS);
    harness_server_kill(h);
    harness_server_start(h);
    harness_wait_count(h, "out", 20000, PATIENCE_MS);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    assert_int_equal(harness_duplicate_payloads(harness_read(h, "out")), 0);
    harness_stop(mill, PATIENCE_MS);
}

/* Each time the connection is closed in the moment in which the last answers have come. */
static void test_stopping_again_and_again_ends_well(struct harness *h)
{
    harness_stop(start(h, "ack_wait = '5s', batch = 100"), PATIENCE_MS);
    for (int i = 0; i < 14; i++) {
        struct process *mill = harness_tidemill(h, "run");
        harness_wait_log(mill, "running:", PATIENCE_MS);
        harness_feed(h, "in.x", 0, 300, "#");
        harness_stop(mill, PATIENCE_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_an_ack_asks_for_the_servers_answer),
        harness_test(test_many_confirmed_messages_are_settled_once_each),
        harness_test(test_a_message_is_held_until_the_server_answers),
        harness_test(test_a_server_killed_before_its_answer_has_the_ack_again_when_it_is_back),
        harness_test(test_a_server_killed_under_load_loses_and_doubles_nothing),
        harness_test(test_stopping_again_and_again_ends_well),
    };
    return cmocka_run_group_tests_name("confirm", tests, NULL, NULL);
}
