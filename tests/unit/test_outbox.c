#include "base/clock.h"
#include "mill/outbox.h"
#include "unit/bus_fake.h"

/* The outbox on a fake link and with a clock of the test's own. */

#define ACK_WAIT (30 * NS_PER_S)
#define PATIENCE (5 * NS_PER_S) /* what an ack_wait of 30 s makes of it */

enum { TOKENS = 10000, TRIES = 4, TRIES_INSISTENT = 60 };

struct report {
    unsigned count;
    bool stored, duplicate;
    char error[512];
    int64_t latency_ns;
};

static struct outbox *outbox;
static int64_t now_ns;
static struct report reports[TOKENS]; /* by token */
static int publish_again;             /* so many more times `done` publishes token + 1 */

static void publish(size_t token);

static void on_done(void *context, void *token, const struct outbox_result *result)
{
    assert_ptr_equal(context, &now_ns);
    struct report *report = token;
    report->count++;
    report->stored = result->stored;
    report->duplicate = result->duplicate;
    report->latency_ns = result->latency_ns;
    if (result->error != NULL)
        snprintf(report->error, sizeof(report->error), "%s", result->error);
    assert_true(result->stored == (result->error == NULL));
    if (publish_again > 0) {
        publish_again--;
        publish((size_t)(report - reports) + 1);
    }
}

static int open_outbox(void **state)
{
    (void)state;
    now_ns = 1000 * NS_PER_S;
    publish_again = 0;
    memset(reports, 0, sizeof(reports));
    if (outbox_open(&outbox, &bus.link, ACK_WAIT, on_done, &now_ns, NULL) != 0)
        return -1;
    outbox_tick(outbox, now_ns);
    return 0;
}

static int close_outbox(void **state)
{
    (void)state;
    outbox_free(outbox);
    int status = bus.outgoing_live == 0 ? 0 : -1;
    bus_fake_reset();
    return status;
}

static void prepare(size_t token, const char *subject, bool insistent)
{
    char id[32];
    snprintf(id, sizeof(id), "id-%zu", token);
    struct publication publication = {
        .subject = subject, .payload = "{}", .payload_size = 2, .id = id, .insistent = insistent};
    assert_non_null(outbox_prepare(outbox, &publication, &reports[token]));
}

static void publish_on(size_t token, const char *subject)
{
    prepare(token, subject, false);
    outbox_send(outbox, now_ns);
}

static void publish(size_t token)
{
    publish_on(token, "alerts.high");
}

static void answer(uint64_t slot, const char *text)
{
    struct wire_message message = {.payload = text, .payload_size = strlen(text)};
    outbox_reply(outbox, slot, &message, false, now_ns);
}

static void answer_stored(uint64_t slot)
{
    answer(slot, "{\"stream\":\"alerts\",\"seq\":1}");
}

static void answer_no_responders(uint64_t slot)
{
    struct wire_message message = {.payload = ""};
    outbox_reply(outbox, slot, &message, true, now_ns);
}

/* Lets time pass as a worker does: a tick every 100 ms. */
static void pass(int64_t duration_ns)
{
    int64_t end_ns = now_ns + duration_ns;
    while (now_ns < end_ns) {
        now_ns += end_ns - now_ns < 100 * NS_PER_MS ? end_ns - now_ns : 100 * NS_PER_MS;
        outbox_tick(outbox, now_ns);
    }
}

static void assert_open(size_t token)
{
    assert_int_equal(reports[token].count, 0);
}

static void assert_stored(size_t token)
{
    assert_int_equal(reports[token].count, 1);
    assert_true(reports[token].stored);
}

static void assert_failed(size_t token, const char *error)
{
    assert_int_equal(reports[token].count, 1);
    assert_false(reports[token].stored);
    assert_string_equal(reports[token].error, error);
}

/* --- the way it should go --- */

static void test_a_publication_is_sent_with_its_id_and_awaits_its_puback(void **state)
{
    (void)state;
    publish(1);
    assert_int_equal(bus.sent_count, 1);
    assert_string_equal(bus.sent[0].subject, "alerts.high");
    assert_string_equal(bus.sent[0].payload, "{}");
    assert_string_equal(bus.sent[0].id, "id-1");
    assert_int_equal(bus.sent[0].kind, REPLY_PUBLISH);
    assert_int_equal(outbox_count(outbox), 1);
    assert_open(1);
}

static void test_a_puback_reports_the_publication_as_stored(void **state)
{
    (void)state;
    publish(1);
    now_ns += 3 * NS_PER_MS;
    answer_stored(bus.sent[0].token);
    assert_stored(1);
    assert_false(reports[1].duplicate);
    assert_int_equal(reports[1].latency_ns, 3 * NS_PER_MS);
    assert_int_equal(outbox_count(outbox), 0);
}

static void test_a_duplicate_is_stored_too(void **state)
{
    (void)state;
    publish(1);
    answer(bus.sent[0].token, "{\"stream\":\"alerts\", \"seq\":1,\"duplicate\": true}");
    assert_stored(1);
    assert_true(reports[1].duplicate);
}

static void test_headers_of_the_caller_go_along(void **state)
{
    (void)state;
    struct publication publication = {.subject = "a", .payload = "x", .payload_size = 1, .id = "i"};
    struct outgoing *outgoing = outbox_prepare(outbox, &publication, &reports[1]);
    assert_non_null(outgoing);
    assert_int_equal(outgoing_header(outgoing, "Trace", "7"), 0);
    assert_int_equal(bus.sent_count, 0);
    outbox_send(outbox, now_ns);
    assert_int_equal(bus.sent_count, 1);
    assert_string_equal(outgoing_header_of(outgoing, "Nats-Msg-Id"), "i");
}

static void test_many_answers_in_any_order_are_each_reported_once(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    for (size_t i = 0; i < MANY; i++)
        publish(i);
    assert_int_equal(outbox_count(outbox), MANY);
    for (size_t i = 0; i < MANY; i++)
        answer_stored(bus.sent[i * 7919 % MANY].token);
    for (size_t i = 0; i < MANY; i++)
        assert_stored(i);
    assert_int_equal(outbox_count(outbox), 0);
}

/* --- answers that mean nothing --- */

static void test_a_second_answer_is_ignored(void **state)
{
    (void)state;
    publish(1);
    answer_stored(bus.sent[0].token);
    answer_stored(bus.sent[0].token);
    answer_no_responders(bus.sent[0].token);
    assert_stored(1);
}

static void test_an_answer_to_an_earlier_use_of_the_slot_is_ignored(void **state)
{
    (void)state;
    publish(1);
    answer_stored(bus.sent[0].token);
    publish(2);
    assert_int_not_equal(bus.sent[0].token, bus.sent[1].token);
    answer_stored(bus.sent[0].token);
    answer_no_responders(bus.sent[0].token);
    answer(bus.sent[0].token, "{\"error\":{\"code\":400}}");
    assert_open(2);
    answer_stored(bus.sent[1].token);
    assert_stored(2);
}

static void test_an_answer_to_a_discarded_publication_is_ignored(void **state)
{
    (void)state;
    publish(1);
    uint64_t slot = bus.sent[0].token;
    answer_stored(slot);
    prepare(2, "a", false);
    answer_stored(slot + (UINT64_C(1) << 24)); /* that which is prepared, had it been sent */
    outbox_discard(outbox);
    assert_open(2);
}

static void test_unknown_slots_are_ignored(void **state)
{
    (void)state;
    answer_stored(0);
    answer_stored(UINT64_MAX);
    publish(1);
    answer_stored(bus.sent[0].token + 1);
    answer_stored(bus.sent[0].token + (UINT64_C(1) << 24));
    answer_stored(UINT64_MAX);
    answer_stored(0xffffff);
    assert_open(1);
}

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

/* --- answers without a name --- */

static void assert_sent(size_t index, const char *id, enum puback_way way)
{
    assert_true(index < bus.sent_count);
    assert_string_equal(bus.sent[index].id, id);
    assert_int_equal(bus.sent[index].way, way);
}

static void test_pubacks_come_the_quick_way(void **state)
{
    (void)state;
    publish(1);
    assert_sent(0, "id-1", PUBACK_QUICK);
    answer_stored(bus.sent[0].token);
    assert_stored(1);
}

static void test_when_one_has_reached_nobody_all_are_asked_by_name(void **state)
{
    (void)state;
    publish(1);
    publish(2);
    outbox_unheard(outbox, now_ns);
    assert_int_equal(bus.sent_count, 4);
    assert_sent(2, "id-1", PUBACK_NAMED);
    assert_sent(3, "id-2", PUBACK_NAMED);
    answer_no_responders(bus.sent[2].token);
    answer_stored(bus.sent[3].token);
    assert_open(1);
    assert_stored(2);
    pass(NS_PER_S);
    assert_int_equal(bus.sent_count, 5);
    assert_sent(4, "id-1", PUBACK_NAMED);
}

static void test_asking_by_name_is_no_try(void **state)
{
    (void)state;
    publish(1);
    outbox_unheard(outbox, now_ns);
    for (int i = 1; i < TRIES; i++) {
        answer_no_responders(bus.sent[0].token);
        assert_open(1);
        pass(2 * NS_PER_S);
    }
    answer_no_responders(bus.sent[0].token);
    assert_failed(1, "alerts.high could not be stored: no stream captures the subject");
}

static void test_a_second_unnamed_answer_repeats_nothing(void **state)
{
    (void)state;
    publish(1);
    outbox_unheard(outbox, now_ns);
    outbox_unheard(outbox, now_ns);
    assert_int_equal(bus.sent_count, 2);
}

static void test_the_named_copy_keeps_payload_and_headers(void **state)
{
    (void)state;
    struct publication publication = {
        .subject = "alerts.high", .payload = "{\"a\":1}", .payload_size = 7, .id = "i"};
    struct outgoing *outgoing = outbox_prepare(outbox, &publication, &reports[1]);
    assert_non_null(outgoing);
    assert_int_equal(outgoing_header(outgoing, "Trace", "7"), 0);
    outbox_send(outbox, now_ns);
    outbox_unheard(outbox, now_ns);
    assert_string_equal(bus.sent[1].payload, "{\"a\":1}");
    assert_string_equal(outgoing_header_of(bus.last, "Trace"), "7");
    outbox_collect(outbox);
    assert_int_equal(bus.outgoing_live, 1);
}

static void test_without_memory_for_a_copy_it_is_sent_as_it_was(void **state)
{
    (void)state;
    publish(1);
    bus.no_memory = true;
    outbox_unheard(outbox, now_ns);
    bus.no_memory = false;
    assert_sent(1, "id-1", PUBACK_QUICK);
    answer_stored(bus.sent[1].token);
    assert_stored(1);
}

static void test_a_minute_after_the_last_refusal_answers_are_quick_again(void **state)
{
    (void)state;
    publish(1);
    outbox_unheard(outbox, now_ns);
    answer_stored(bus.sent[1].token);
    pass(50 * NS_PER_S);
    publish(2);
    assert_sent(2, "id-2", PUBACK_NAMED);
    answer_no_responders(bus.sent[2].token);
    pass(NS_PER_S);
    answer_stored(bus.sent[3].token);
    pass(50 * NS_PER_S);
    publish(3);
    assert_sent(4, "id-3", PUBACK_NAMED);
    answer_stored(bus.sent[4].token);
    pass(10 * NS_PER_S);
    publish(4);
    assert_sent(5, "id-4", PUBACK_QUICK);
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

/* --- its owner --- */

static void test_done_may_publish_again(void **state)
{
    (void)state;
    publish_again = 3;
    publish(1);
    for (size_t i = 0; i < 4; i++)
        answer_stored(bus.sent[i].token);
    for (size_t i = 1; i <= 4; i++)
        assert_stored(i);
    assert_int_equal(outbox_count(outbox), 0);
}

static void test_done_may_publish_again_while_others_are_given_up(void **state)
{
    (void)state;
    for (size_t i = 10; i < 20; i++)
        publish_on(i * 10, "x.y");
    publish_again = 10;
    pass(ACK_WAIT);
    for (size_t i = 10; i < 20; i++) {
        assert_int_equal(reports[i * 10].count, 1);
        assert_open(i * 10 + 1);
    }
    assert_int_equal(outbox_count(outbox), 10);
    for (size_t i = 0; i < bus.sent_count; i++)
        answer_stored(bus.sent[i].token);
    for (size_t i = 10; i < 20; i++)
        assert_stored(i * 10 + 1);
}

static void test_a_discarded_publication_is_not_reported(void **state)
{
    (void)state;
    prepare(1, "a", false);
    outbox_discard(outbox);
    assert_int_equal(outbox_count(outbox), 0);
    pass(60 * NS_PER_S);
    assert_open(1);
    assert_int_equal(bus.sent_count, 0);
    publish(2);
    answer_stored(bus.sent[0].token);
    assert_stored(2);
}

static void test_without_memory_nothing_is_prepared(void **state)
{
    (void)state;
    struct publication publication = {.subject = "a", .payload = "x", .payload_size = 1, .id = "i"};
    bus.no_memory = true;
    assert_null(outbox_prepare(outbox, &publication, &reports[1]));
    bus.no_memory = false;
    bus.headers_left = 0;
    assert_null(outbox_prepare(outbox, &publication, &reports[1]));
    bus.headers_left = -1;
    assert_int_equal(outbox_count(outbox), 0);
    assert_int_equal(bus.outgoing_live, 0);
    publish(1);
    answer_stored(bus.sent[0].token);
    assert_stored(1);
}

static void test_it_is_full_at_so_many_entries(void **state)
{
    (void)state;
    for (size_t i = 0; i < OUTBOX_ENTRIES_HIGH - 1; i++)
        publish(i);
    assert_false(outbox_full(outbox));
    publish(OUTBOX_ENTRIES_HIGH - 1);
    assert_true(outbox_full(outbox));
    publish(OUTBOX_ENTRIES_HIGH); /* a handler's outputs are taken whole */
    answer_stored(bus.sent[0].token);
    assert_true(outbox_full(outbox));
    answer_stored(bus.sent[1].token);
    assert_false(outbox_full(outbox));
}

static void test_it_is_full_at_so_many_bytes(void **state)
{
    (void)state;
    size_t size = OUTBOX_BYTES_HIGH / 8;
    char *payload = calloc(1, size);
    assert_non_null(payload);
    for (size_t i = 0; i < 8; i++) {
        assert_false(outbox_full(outbox));
        struct publication publication = {
            .subject = "a", .payload = payload, .payload_size = size, .id = "i"};
        assert_non_null(outbox_prepare(outbox, &publication, &reports[i]));
        outbox_send(outbox, now_ns);
    }
    assert_true(outbox_full(outbox));
    answer_stored(bus.sent[3].token);
    assert_false(outbox_full(outbox));
    free(payload);
}

static void test_messages_done_with_are_freed_in_one_burst(void **state)
{
    (void)state;
    enum { MANY = 300 };
    for (size_t i = 0; i < MANY; i++)
        publish(i);
    for (size_t i = 0; i < MANY; i++)
        answer_stored(bus.sent[i].token);
    assert_int_equal(bus.outgoing_live, MANY);
    outbox_collect(outbox);
    assert_int_equal(bus.outgoing_live, 0);
    outbox_collect(outbox);
}

static void test_freeing_the_outbox_reports_nothing(void **state)
{
    (void)state;
    publish(1);
    publish(2);
    answer_no_responders(bus.sent[1].token);
    publish(3);
    answer_stored(bus.sent[2].token);
    prepare(4, "a", false);
    outbox_free(outbox);
    outbox = NULL;
    assert_open(1);
    assert_open(2);
    assert_stored(3);
    assert_open(4);
    assert_int_equal(bus.outgoing_live, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_outbox, close_outbox)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_publication_is_sent_with_its_id_and_awaits_its_puback),
        TEST(test_a_puback_reports_the_publication_as_stored),
        TEST(test_a_duplicate_is_stored_too),
        TEST(test_headers_of_the_caller_go_along),
        TEST(test_many_answers_in_any_order_are_each_reported_once),
        TEST(test_a_second_answer_is_ignored),
        TEST(test_an_answer_to_an_earlier_use_of_the_slot_is_ignored),
        TEST(test_an_answer_to_a_discarded_publication_is_ignored),
        TEST(test_unknown_slots_are_ignored),
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
        TEST(test_pubacks_come_the_quick_way),
        TEST(test_when_one_has_reached_nobody_all_are_asked_by_name),
        TEST(test_asking_by_name_is_no_try),
        TEST(test_a_second_unnamed_answer_repeats_nothing),
        TEST(test_the_named_copy_keeps_payload_and_headers),
        TEST(test_without_memory_for_a_copy_it_is_sent_as_it_was),
        TEST(test_a_minute_after_the_last_refusal_answers_are_quick_again),
        TEST(test_without_a_puback_it_is_sent_again_with_the_same_id),
        TEST(test_without_any_puback_it_is_given_up_inside_ack_wait),
        TEST(test_patience_follows_a_short_ack_wait),
        TEST(test_an_insistent_one_is_tried_for_minutes),
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
        TEST(test_done_may_publish_again),
        TEST(test_done_may_publish_again_while_others_are_given_up),
        TEST(test_a_discarded_publication_is_not_reported),
        TEST(test_without_memory_nothing_is_prepared),
        TEST(test_it_is_full_at_so_many_entries),
        TEST(test_it_is_full_at_so_many_bytes),
        TEST(test_messages_done_with_are_freed_in_one_burst),
        TEST(test_freeing_the_outbox_reports_nothing),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
