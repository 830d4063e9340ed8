#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * mill.request on a real server: many handlers of one worker wait at the same time. The responder
 * is this program: it lets questions wait until it has enough of them.
 */

enum { PATIENCE_MS = 20000, IN_FLIGHT = 1000 };

static void write_rule(struct harness *h, const char *keys)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return { %s subjects = { 'in.>' }, on_message = function(msg)\n"
             "  local answer, why = mill.request('ask', msg.raw, 15)\n"
             "  mill.publish('out.x', answer or why)\n"
             "end }\n",
             keys);
    harness_write_file(h, "rules/asks.lua", text);
}

static struct process *start(struct harness *h)
{
    harness_write_file(h, "tidemill.lua",
                       "return { streams = { { name = 'in' }, { name = 'out' } },\n"
                       "  sources = { { stream = 'in', durable = 'mill', batch = 500 } } }\n");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void release_subscription(void *subscription)
{
    natsSubscription_Destroy(subscription);
}

static natsSubscription *listen_for_questions(struct harness *h)
{
    natsSubscription *questions = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&questions, harness_nats(h), "ask"), NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    harness_defer(h, release_subscription, questions);
    return questions;
}

static natsMsg *next_question(natsSubscription *questions)
{
    natsMsg *question = NULL;
    assert_int_equal(natsSubscription_NextMsg(&question, questions, PATIENCE_MS), NATS_OK);
    return question;
}

static void answer(struct harness *h, natsMsg *question)
{
    char text[64];
    snprintf(text, sizeof(text), "answer to %.*s", natsMsg_GetDataLength(question),
             natsMsg_GetData(question));
    assert_int_equal(
        natsConnection_PublishString(harness_nats(h), natsMsg_GetReply(question), text), NATS_OK);
    natsMsg_Destroy(question);
}

/* The outputs are the answers to 0, 1, 2, ..., each once; in this order or, `any_order`, not. */
static void expect_answers(struct harness *h, size_t count, bool any_order)
{
    static bool there[IN_FLIGHT];
    memset(there, 0, sizeof(there));
    harness_wait_count(h, "out", count, PATIENCE_MS);
    const struct harness_messages *got = harness_read(h, "out");
    assert_int_equal(got->count, count);
    for (size_t i = 0; i < count; i++) {
        size_t number = IN_FLIGHT;
        assert_int_equal(sscanf(got->items[i].payload, "answer to %zu", &number), 1);
        assert_in_range(number, 0, count - 1);
        assert_false(there[number]);
        there[number] = true;
        if (!any_order)
            assert_int_equal(number, i);
    }
}

static void test_a_thousand_requests_wait_at_once_on_one_worker(struct harness *h)
{
    static natsMsg *held[IN_FLIGHT];
    write_rule(h, "concurrency = 1000,");
    natsSubscription *questions = listen_for_questions(h);
    struct process *mill = start(h);
    harness_feed(h, "in.x", 0, IN_FLIGHT, "#");
    for (size_t i = 0; i < IN_FLIGHT; i++) /* none is answered before all are asked */
        held[i] = next_question(questions);
    assert_int_equal(harness_count(h, "out"), 0);
    for (size_t i = IN_FLIGHT; i > 0; i--)
        answer(h, held[i - 1]);
    expect_answers(h, IN_FLIGHT, true);
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_one_rule_asks_in_the_order_of_its_messages(struct harness *h)
{
    enum { COUNT = 200 };
    write_rule(h, "");
    natsSubscription *questions = listen_for_questions(h);
    struct process *mill = start(h);
    harness_feed(h, "in.x", 0, COUNT, "#");
    for (size_t i = 0; i < COUNT; i++) {
        natsMsg *question = next_question(questions);
        assert_int_equal(strtoul(natsMsg_GetData(question), NULL, 10), i);
        answer(h, question);
    }
    expect_answers(h, COUNT, false);
    harness_stop(mill, PATIENCE_MS);
}

static void test_no_more_than_its_concurrency_of_a_rule_wait(struct harness *h)
{
    enum { COUNT = 12, CONCURRENCY = 4 };
    natsMsg *held[CONCURRENCY];
    write_rule(h, "concurrency = 4,");
    natsSubscription *questions = listen_for_questions(h);
    struct process *mill = start(h);
    harness_feed(h, "in.x", 0, COUNT, "#");
    for (size_t round = 0; round < COUNT / CONCURRENCY; round++) {
        for (size_t i = 0; i < CONCURRENCY; i++)
            held[i] = next_question(questions);
        natsMsg *more = NULL;
        assert_int_equal(natsSubscription_NextMsg(&more, questions, 50), NATS_TIMEOUT);
        for (size_t i = 0; i < CONCURRENCY; i++)
            answer(h, held[i]);
    }
    expect_answers(h, COUNT, true);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_rule_that_waits_does_not_hold_up_another(struct harness *h)
{
    write_rule(h, "");
    harness_write_file(h, "rules/quick.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  mill.publish('out.quick', msg.raw)\nend }\n");
    natsSubscription *questions = listen_for_questions(h);
    struct process *mill = start(h);
    harness_feed(h, "in.x", 0, 50, "#");
    harness_wait_count(h, "out", 50,
                       PATIENCE_MS); /* all of the quick one, while none is answered */
    for (size_t i = 0; i < 50; i++)
        answer(h, next_question(questions));
    harness_wait_count(h, "out", 100, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_question_that_nobody_hears_is_no_responders(struct harness *h)
{
    write_rule(h, "");
    struct process *mill = start(h);
    harness_publish(h, "in.x", "0");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    assert_string_equal(harness_read(h, "out")->items[0].payload, "no responders");
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_question_that_nobody_answers_is_a_timeout(struct harness *h)
{
    harness_write_file(h, "rules/asks.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  local answer, why = mill.request('ask', nil, 0.2)\n"
                       "  mill.publish('out.x', tostring(answer) .. ' ' .. why)\nend }\n");
    natsSubscription *questions = listen_for_questions(h);
    struct process *mill = start(h);
    harness_publish(h, "in.x", "0");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    assert_string_equal(harness_read(h, "out")->items[0].payload, "nil timeout");
    answer(h, next_question(questions)); /* too late, and harmless */
    harness_publish(h, "in.x", "1");
    harness_wait_count(h, "out", 2, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_thousand_requests_wait_at_once_on_one_worker),
        harness_test(test_one_rule_asks_in_the_order_of_its_messages),
        harness_test(test_no_more_than_its_concurrency_of_a_rule_wait),
        harness_test(test_a_rule_that_waits_does_not_hold_up_another),
        harness_test(test_a_question_that_nobody_hears_is_no_responders),
        harness_test(test_a_question_that_nobody_answers_is_a_timeout),
    };
    return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
