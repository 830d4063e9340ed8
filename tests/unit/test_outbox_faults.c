#include "unit/outbox_fixture.h"

/* The outbox when nothing is stored at once: refusals, silence, a connection that is away. */

/* --- refusals that pass --- */

static void test_without_a_stream_it_is_sent_again_after_a_rest(void **state)
{
    (void)state;
    publish(1);
    answer_no_responders(bus.sent[0].token);
    pass(200 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 1);
    pass(100 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
    assert_string_equal(bus.sent[1].id, "id-1");
    assert_true(bus.sent[1].token == bus.sent[0].token);
    answer_stored(bus.sent[1].token);
    assert_stored(1);
}

static void test_the_rests_grow(void **state)
{
    (void)state;
    publish(1);
    answer_no_responders(bus.sent[0].token);
    pass(300 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
    answer_no_responders(bus.sent[0].token);
    pass(400 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
    pass(200 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 3);
}

static void test_latency_counts_from_the_first_sending(void **state)
{
    (void)state;
    publish(1);
    answer_no_responders(bus.sent[0].token);
    pass(300 * NS_PER_MS);
    answer_stored(bus.sent[0].token);
    assert_int_equal(reports[1].latency_ns, 300 * NS_PER_MS);
}

static void test_without_a_stream_all_tries_long_it_is_given_up(void **state)
{
    (void)state;
    publish(1);
    for (int i = 1; i <= TRIES; i++) {
        assert_open(1);
        assert_int_equal(bus.sent_count, i);
        answer_no_responders(bus.sent[0].token);
        pass(2 * NS_PER_S);
    }
    assert_int_equal(bus.sent_count, TRIES);
    assert_failed(1, "alerts.high could not be stored: no stream captures the subject");
    assert_int_equal(outbox_count(outbox), 0);
}

static const char stream_full[] = "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":"
                                  "\"maximum messages exceeded\"},\"stream\":\"E\",\"seq\":0}";

static void test_a_full_stream_is_asked_again(void **state)
{
    (void)state;
    publish(1);
    answer(bus.sent[0].token, stream_full);
    assert_open(1);
    pass(300 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
    answer_stored(bus.sent[0].token);
    assert_stored(1);
}

static void test_a_stream_that_stays_full_is_given_up_with_its_words(void **state)
{
    (void)state;
    publish(1);
    for (int i = 0; i < TRIES; i++) {
        answer(bus.sent[0].token, stream_full);
        pass(2 * NS_PER_S);
    }
    assert_failed(1, "alerts.high could not be stored: maximum messages exceeded (10077)");
}

static void test_a_late_puback_during_a_rest_counts(void **state)
{
    (void)state;
    publish(1);
    pass(PATIENCE);
    answer_stored(bus.sent[0].token);
    assert_stored(1);
    pass(10 * NS_PER_S);
    assert_int_equal(bus.sent_count, 1);
}

static void test_a_late_refusal_during_a_rest_is_no_second_try(void **state)
{
    (void)state;
    publish(1);
    for (int i = 0; i < 10; i++)
        answer_no_responders(bus.sent[0].token);
    answer(bus.sent[0].token, stream_full);
    assert_open(1);
    pass(300 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
}

/* --- refusals for good --- */

static void test_a_refusal_for_good_is_reported_at_once(void **state)
{
    (void)state;
    publish(1);
    answer(bus.sent[0].token, "{\"error\":{\"code\":400,\"err_code\":10054,\"description\":"
                              "\"message size exceeds maximum allowed\"}}");
    assert_failed(1,
                  "alerts.high could not be stored: message size exceeds maximum allowed (10054)");
    pass(10 * NS_PER_S);
    assert_int_equal(bus.sent_count, 1);
}

static void test_a_refusal_for_good_ends_an_insistent_one_too(void **state)
{
    (void)state;
    prepare(1, "timer.out", true);
    outbox_send(outbox, now_ns);
    answer(bus.sent[0].token, "pong");
    assert_failed(1, "timer.out could not be stored: the answer is no PubAck: is a responder "
                     "listening on the subject?");
}

static void test_a_denied_subject_fails_all_that_wait_on_it(void **state)
{
    (void)state;
    publish_on(1, "secret.a");
    publish_on(2, "secret.ab");
    publish_on(3, "secret.a");
    assert_int_equal(outbox_denied(outbox, "secret.a", now_ns), 2);
    assert_failed(1, "secret.a could not be stored: permission is missing, the server denies this "
                     "user to publish there");
    assert_int_equal(reports[3].count, 1);
    assert_open(2);
    assert_int_equal(outbox_denied(outbox, "secret.a", now_ns), 0);
    assert_int_equal(outbox_denied(outbox, "other", now_ns), 0);
}

static void test_a_denied_subject_may_come_cut(void **state)
{
    (void)state;
    char subject[LINK_DENIED_CUT + 40];
    memset(subject, 's', sizeof(subject) - 1);
    subject[sizeof(subject) - 1] = '\0';
    publish_on(1, subject);
    subject[LINK_DENIED_CUT] = '\0';
    assert_int_equal(outbox_denied(outbox, subject, now_ns), 1);
    assert_int_equal(reports[1].count, 1);
}

/* --- silence --- */

static void test_without_a_puback_it_is_sent_again_with_the_same_id(void **state)
{
    (void)state;
    publish(1);
    pass(PATIENCE - 100 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 1);
    pass(100 * NS_PER_MS + 300 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
    assert_string_equal(bus.sent[1].id, bus.sent[0].id);
    assert_open(1);
}

static void test_without_any_puback_it_is_given_up_inside_ack_wait(void **state)
{
    (void)state;
    publish(1);
    pass(ACK_WAIT);
    assert_int_equal(bus.sent_count, TRIES);
    assert_failed(1, "alerts.high could not be stored: no PubAck in time");
}

static void test_patience_follows_a_short_ack_wait(void **state)
{
    (void)state;
    outbox_free(outbox);
    assert_int_equal(outbox_open(&outbox, &bus.link, 2 * NS_PER_S, on_done, &now_ns, NULL), 0);
    outbox_tick(outbox, now_ns);
    publish(1);
    pass(900 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 1);
    pass(500 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
}

static void test_an_insistent_one_is_tried_for_minutes(void **state)
{
    (void)state;
    prepare(1, "timer.out", true);
    outbox_send(outbox, now_ns);
    for (int i = 1; i <= TRIES_INSISTENT; i++) {
        assert_open(1);
        assert_int_equal(bus.sent_count, i);
        answer_no_responders(bus.sent[0].token);
        pass(5 * NS_PER_S);
    }
    assert_int_equal(bus.sent_count, TRIES_INSISTENT);
    assert_failed(1, "timer.out could not be stored: no stream captures the subject");
}

/* A leader holds an id that it has staged for a whole duplicate window, two minutes as a rule. */
static void test_one_whose_id_is_staged_is_tried_for_minutes(void **state)
{
    static const char staged[] = "{\"stream\":\"E\", \"seq\":0,\"duplicate\": true}";
    (void)state;
    publish(1);
    for (int i = 1; i <= 30; i++) {
        assert_open(1);
        assert_int_equal(bus.sent_count, i);
        answer(bus.sent[0].token, staged);
        pass(5 * NS_PER_S);
    }
    answer_stored(bus.sent[0].token);
    assert_stored(1);
}

static void test_a_worker_that_was_held_up_does_not_blame_the_server(void **state)
{
    (void)state;
    publish(1);
    for (int i = 1; i < TRIES; i++) {
        answer_no_responders(bus.sent[0].token);
        pass(2 * NS_PER_S);
    }
    now_ns += 2 * PATIENCE; /* in a slow handler: the PubAck lies unread */
    outbox_tick(outbox, now_ns);
    assert_open(1);
    answer_stored(bus.sent[0].token);
    assert_stored(1);
}

static void test_a_worker_that_was_held_up_looks_again_at_the_next_tick(void **state)
{
    (void)state;
    publish(1);
    now_ns += 2 * PATIENCE;
    outbox_tick(outbox, now_ns);
    pass(400 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
}

/* --- the connection --- */

static void test_while_the_server_is_away_nothing_is_counted(void **state)
{
    (void)state;
    publish(1);
    bus.disconnected = true;
    pass(600 * NS_PER_S);
    assert_open(1);
    assert_int_equal(bus.sent_count, 1);
}

static void test_after_a_reconnect_the_unanswered_are_sent_again_in_order(void **state)
{
    (void)state;
    for (size_t i = 1; i <= 4; i++)
        publish(i);
    answer_stored(bus.sent[1].token);
    outbox_resend(outbox, now_ns);
    assert_int_equal(bus.sent_count, 7);
    assert_string_equal(bus.sent[4].id, "id-1");
    assert_string_equal(bus.sent[5].id, "id-3");
    assert_string_equal(bus.sent[6].id, "id-4");
    assert_int_equal(outbox_count(outbox), 3);
}

static void test_sending_again_after_a_reconnect_is_no_try(void **state)
{
    (void)state;
    publish(1);
    for (int i = 0; i < 20; i++)
        outbox_resend(outbox, now_ns);
    assert_int_equal(bus.sent_count, 21);
    for (int i = 1; i <= TRIES; i++) {
        assert_open(1);
        answer_no_responders(bus.sent[0].token);
        pass(2 * NS_PER_S);
    }
    assert_int_equal(bus.sent_count, 21 + TRIES - 1);
    assert_int_equal(reports[1].count, 1);
}

static void test_a_reconnect_gives_a_new_deadline(void **state)
{
    (void)state;
    publish(1);
    pass(PATIENCE - 100 * NS_PER_MS);
    outbox_resend(outbox, now_ns);
    pass(PATIENCE - 100 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
}

static void test_the_deadlines_of_an_outage_are_not_held_against_the_server(void **state)
{
    (void)state;
    publish(1);
    bus.disconnected = true;
    pass(60 * NS_PER_S);
    bus.disconnected = false; /* libnats is back; its word for it has not been heard yet */
    pass(100 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 1);
    outbox_resend(outbox, now_ns);
    assert_int_equal(bus.sent_count, 2);
    assert_open(1);
}

static void test_a_rest_goes_on_over_a_reconnect(void **state)
{
    (void)state;
    publish(1);
    answer_no_responders(bus.sent[0].token);
    outbox_resend(outbox, now_ns);
    assert_int_equal(bus.sent_count, 1);
    pass(300 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 2);
}

static void test_what_cannot_be_sent_is_tried_again_and_then_given_up_with_the_reason(void **state)
{
    (void)state;
    bus.refusal = "the payload is over the server's limit";
    publish(1);
    assert_open(1);
    pass(10 * NS_PER_S);
    assert_failed(1, "alerts.high could not be stored: the payload is over the server's limit");
}

static void test_what_could_not_be_sent_leaves_when_it_can(void **state)
{
    (void)state;
    bus.refusal = "the buffer is full";
    publish(1);
    bus.refusal = NULL;
    pass(300 * NS_PER_MS);
    assert_int_equal(bus.sent_count, 1);
    answer_stored(bus.sent[0].token);
    assert_stored(1);
}

static void test_a_resend_that_fails_at_the_last_try_is_reported(void **state)
{
    (void)state;
    for (size_t i = 1; i <= 3; i++)
        publish(i);
    for (int i = 1; i < TRIES; i++) {
        for (int k = 0; k < 3; k++)
            answer_no_responders(bus.sent[k].token);
        pass(2 * NS_PER_S);
    }
    bus.refusal = "closed";
    outbox_resend(outbox, now_ns);
    for (size_t i = 1; i <= 3; i++)
        assert_failed(i, "alerts.high could not be stored: closed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_stream_it_is_sent_again_after_a_rest),
        TEST(test_the_rests_grow),
        TEST(test_latency_counts_from_the_first_sending),
        TEST(test_without_a_stream_all_tries_long_it_is_given_up),
        TEST(test_a_full_stream_is_asked_again),
        TEST(test_a_stream_that_stays_full_is_given_up_with_its_words),
        TEST(test_a_late_puback_during_a_rest_counts),
        TEST(test_a_late_refusal_during_a_rest_is_no_second_try),
        TEST(test_a_refusal_for_good_is_reported_at_once),
        TEST(test_a_refusal_for_good_ends_an_insistent_one_too),
        TEST(test_a_denied_subject_fails_all_that_wait_on_it),
        TEST(test_a_denied_subject_may_come_cut),
        TEST(test_without_a_puback_it_is_sent_again_with_the_same_id),
        TEST(test_without_any_puback_it_is_given_up_inside_ack_wait),
        TEST(test_patience_follows_a_short_ack_wait),
        TEST(test_an_insistent_one_is_tried_for_minutes),
        TEST(test_one_whose_id_is_staged_is_tried_for_minutes),
        TEST(test_a_worker_that_was_held_up_does_not_blame_the_server),
        TEST(test_a_worker_that_was_held_up_looks_again_at_the_next_tick),
        TEST(test_while_the_server_is_away_nothing_is_counted),
        TEST(test_after_a_reconnect_the_unanswered_are_sent_again_in_order),
        TEST(test_sending_again_after_a_reconnect_is_no_try),
        TEST(test_a_reconnect_gives_a_new_deadline),
        TEST(test_the_deadlines_of_an_outage_are_not_held_against_the_server),
        TEST(test_a_rest_goes_on_over_a_reconnect),
        TEST(test_what_cannot_be_sent_is_tried_again_and_then_given_up_with_the_reason),
        TEST(test_what_could_not_be_sent_leaves_when_it_can),
        TEST(test_a_resend_that_fails_at_the_last_try_is_reported),
    };
    return cmocka_run_group_tests_name("outbox_faults", tests, NULL, NULL);
}
