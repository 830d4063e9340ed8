#include "unit/outbox_fixture.h"

/* The outbox as it should go: what it sends, which answers count, and what its owner sees of it. */

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
        TEST(test_pubacks_come_the_quick_way),
        TEST(test_when_one_has_reached_nobody_all_are_asked_by_name),
        TEST(test_asking_by_name_is_no_try),
        TEST(test_a_second_unnamed_answer_repeats_nothing),
        TEST(test_the_named_copy_keeps_payload_and_headers),
        TEST(test_without_memory_for_a_copy_it_is_sent_as_it_was),
        TEST(test_a_minute_after_the_last_refusal_answers_are_quick_again),
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
