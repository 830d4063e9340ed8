#include "unit/pull_fixture.h"

/* The pull as it should go: what it asks for and when, what it takes, and how it ends. */

/* --- asking --- */

static void test_it_listens_on_an_inbox_of_its_own_without_limits(void **state)
{
    (void)state;
    assert_string_equal(bus.pattern, "_INBOX.x.p7.*");
    assert_int_equal(bus.limits, 1);
}

static void test_it_asks_for_a_window_of_batches(void **state)
{
    (void)state;
    go_round();
    for (size_t i = 0; i < bus.request_count; i++)
        assert_string_equal(bus.requests[i], "_INBOX.x.p7.0 {\"batch\":100,\"expires\":30000000000,"
                                             "\"idle_heartbeat\":5000000000}");
    assert_requests(WINDOW / BATCH);
    go_round();
    assert_requests(0);
}

static void test_delivered_messages_keep_their_place_until_they_are_settled(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_messages(BATCH);
    assert_int_equal(go_round(), BATCH);
    assert_int_equal(pull_in_flight(pull), BATCH);
    assert_requests(0);
    settle(BATCH - 1);
    go_round();
    assert_requests(0);
    settle(1);
    go_round();
    assert_requests(1);
    assert_int_equal(pull_in_flight(pull), 0);
}

static void test_settling_more_than_there_is_changes_nothing(void **state)
{
    (void)state;
    settle(3);
    assert_int_equal(pull_in_flight(pull), 0);
    go_round();
    assert_requests(WINDOW / BATCH);
}

static void test_on_hold_it_asks_for_nothing(void **state)
{
    (void)state;
    pull_round(pull, now_ns, true);
    assert_requests(0);
    pull_round(pull, now_ns, false);
    assert_requests(WINDOW / BATCH);
}

static void test_without_a_connection_it_asks_for_nothing(void **state)
{
    (void)state;
    bus.disconnected = true;
    pass(60 * NS_PER_S);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

static void test_what_could_not_be_sent_is_no_credit(void **state)
{
    (void)state;
    bus.refuses = true;
    pass(60 * NS_PER_S);
    assert_int_equal(doubts(), 0);
    bus.refuses = false;
    go_round();
    assert_requests(WINDOW / BATCH);
}

/* --- a window that follows the pace --- */

/* The window is full at the beginning; so a grown one asks for what it has grown by, too. */
static void test_the_window_grows_to_what_is_settled_in_a_tenth_of_a_second(void **state)
{
    (void)state;
    go_round();
    assert_int_equal(work_fast(WINDOW, 100), WINDOW / BATCH); /* as it was */
    assert_int_equal(work_fast(WINDOW, 100), WINDOW / BATCH);
    assert_int_equal(work_fast(2 * WINDOW, 100), 2 * WINDOW / BATCH); /* late ones came, too */
    assert_int_equal(work_fast(2 * WINDOW, 100), 2 * WINDOW / BATCH);
}

static void test_the_window_grows_to_a_bound(void **state)
{
    (void)state;
    go_round();
    for (int i = 0; i < 3; i++)
        work_fast(9 * WINDOW, 100);
    assert_int_equal(work_fast(PULL_GROWTH * WINDOW, 100), PULL_GROWTH * WINDOW / BATCH);
}

static void test_a_window_of_large_messages_stays(void **state)
{
    (void)state;
    go_round();
    work_fast(9 * WINDOW, 4000); /* twice the window would be 3.2 MB */
    assert_int_equal(work_fast(WINDOW, 4000), WINDOW / BATCH);
}

static void test_the_window_shrinks_when_settling_slows_down(void **state)
{
    (void)state;
    go_round();
    work_fast(9 * WINDOW, 100);
    pass(NS_PER_S);
    bus.request_count = 0;
    arrive_messages(PULL_GROWTH * WINDOW);
    assert_int_equal(go_round(), PULL_GROWTH * WINDOW);
    settle(PULL_GROWTH * WINDOW);
    go_round();
    assert_requests(WINDOW / BATCH);
}

/* --- messages --- */

static void test_a_message_comes_with_its_ack_subject(void **state)
{
    (void)state;
    struct ack_subject ack;
    arrive("sensors.value", "$JS.ACK.S.C.3.42.7.1234.9");
    struct wire_message *message = pull_next(pull, &ack, now_ns);
    assert_non_null(message);
    assert_string_equal(wire_subject(message), "sensors.value");
    assert_int_equal(ack.stream_sequence, 42);
    assert_int_equal(ack.delivered, 3);
    wire_free(message);
    assert_null(pull_next(pull, &ack, now_ns));
}

static void test_a_users_header_named_status_makes_no_status(void **state)
{
    (void)state;
    go_round();
    natsMsgHeader_Set(arrive("sensors.value", "$JS.ACK.S.C.1.1.1.1.0"), "Status", "409");
    assert_int_equal(go_round(), 1);
}

static void test_anything_else_on_the_inbox_is_thrown_away(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive("_INBOX.x.p7.0", NULL);
    arrive("_INBOX.x.p7.0", "elsewhere");
    arrive("_INBOX.x.p7.", NULL);
    arrive("_INBOX", NULL);
    assert_int_equal(go_round(), 0);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

/* --- ends of requests --- */

static void test_the_rest_of_an_expired_request_is_asked_for_again(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_messages(30);
    arrive_status(0, "408", "Request Timeout", BATCH - 30);
    assert_int_equal(go_round(), 30);
    assert_requests(0); /* 30 are in flight: a whole batch does not fit yet */
    settle(30);
    go_round();
    assert_requests(1);
}

static void test_a_rest_larger_than_all_credit_leaves_none(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_status(0, "408", "Request Timeout", 1000000);
    go_round();
    assert_requests(WINDOW / BATCH);
}

static void test_a_status_of_an_earlier_time_means_nothing(void **state)
{
    (void)state;
    go_round();
    pull_restart(pull, now_ns);
    go_round();
    bus.request_count = 0;
    arrive_status(0, "408", "Request Timeout", BATCH);
    arrive_status(0, "409", "Leadership Change", -1);
    arrive_status(0, "409", "Consumer Deleted", -1);
    go_round();
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

static void test_after_a_leadership_change_everything_is_asked_for_again(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    for (int i = 0; i < WINDOW / BATCH; i++)
        arrive_status(0, "409", "Leadership Change", -1);
    go_round();
    assert_string_equal(bus.requests[0], "_INBOX.x.p7.1 {\"batch\":100,\"expires\":30000000000,"
                                         "\"idle_heartbeat\":5000000000}");
    assert_requests(WINDOW / BATCH);
    assert_int_equal(pull_counts(pull)->lost, 1);
}

static void test_late_messages_of_forgotten_requests_are_messages(void **state)
{
    (void)state;
    go_round();
    pull_restart(pull, now_ns);
    arrive_messages(WINDOW);
    assert_int_equal(go_round(), WINDOW);
    assert_int_equal(pull_in_flight(pull), WINDOW);
    bus.request_count = 0;
    settle(WINDOW);
    go_round();
    assert_requests(WINDOW / BATCH);
}

/* --- the end --- */

static void wait_ms(int64_t ms)
{
    now_ns += ms * NS_PER_MS;
    go_round();
}

static void drain(void)
{
    pull_drain(pull, now_ns);
    pull_drain(pull, now_ns);
}

static void test_a_draining_pull_asks_for_nothing_and_still_takes_messages(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    drain();
    arrive_messages(3);
    assert_int_equal(go_round(), 3);
    settle(3);
    pass(60 * NS_PER_S);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

static void test_a_draining_pull_unsubscribes_once_when_it_has_become_quiet(void **state)
{
    (void)state;
    go_round();
    drain();
    wait_ms(40);
    arrive_messages(1);
    go_round();
    wait_ms(40);
    assert_int_equal(bus.drained, 0);
    assert_false(pull_unsubscribed(pull));
    wait_ms(20);
    wait_ms(20);
    assert_int_equal(bus.drained, 1);
    assert_true(pull_unsubscribed(pull));
}

static void test_a_draining_pull_that_never_becomes_quiet_unsubscribes_all_the_same(void **state)
{
    (void)state;
    go_round();
    drain();
    for (int i = 0; i < 13; i++) {
        arrive_messages(1);
        wait_ms(40);
    }
    assert_int_equal(bus.drained, 1);
}

static void test_a_draining_pull_with_nothing_asked_for_unsubscribes_at_once(void **state)
{
    (void)state;
    drain();
    go_round();
    assert_int_equal(bus.drained, 1);
}

static void test_what_happened_is_counted(void **state)
{
    (void)state;
    go_round();
    arrive_messages(2);
    arrive_status(0, "408", "Request Timeout", 98);
    go_round();
    const struct pull_counts *counts = pull_counts(pull);
    assert_int_equal(counts->messages, 2);
    assert_int_equal(counts->ended, 1);
    assert_int_equal(counts->requests, WINDOW / BATCH);
}

/* --- opening --- */

static void test_a_subscription_that_fails_is_an_error(void **state)
{
    (void)state;
    struct pull_options options = {.stream = "S", .durable = "C", .batch = 1, .window = 1};
    struct pull *failed = NULL;
    struct error err;
    bus.subscribe_status = NATS_CONNECTION_CLOSED;
    assert_int_equal(pull_open(&failed, NULL, 0, &options, &err), -1);
    assert_string_equal(err.text, "cannot subscribe for pulls from S/C: Connection Closed");
    assert_null(failed);
}

static void test_names_too_long_for_a_subject_are_an_error(void **state)
{
    (void)state;
    char name[400];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct pull_options options = {.stream = name, .durable = "C", .batch = 1, .window = 1};
    struct pull *failed = NULL;
    struct error err;
    assert_int_equal(pull_open(&failed, NULL, 0, &options, &err), -1);
    assert_null(failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_listens_on_an_inbox_of_its_own_without_limits),
        TEST(test_it_asks_for_a_window_of_batches),
        TEST(test_delivered_messages_keep_their_place_until_they_are_settled),
        TEST(test_settling_more_than_there_is_changes_nothing),
        TEST(test_on_hold_it_asks_for_nothing),
        TEST(test_without_a_connection_it_asks_for_nothing),
        TEST(test_what_could_not_be_sent_is_no_credit),
        TEST(test_the_window_grows_to_what_is_settled_in_a_tenth_of_a_second),
        TEST(test_the_window_grows_to_a_bound),
        TEST(test_a_window_of_large_messages_stays),
        TEST(test_the_window_shrinks_when_settling_slows_down),
        TEST(test_a_message_comes_with_its_ack_subject),
        TEST(test_a_users_header_named_status_makes_no_status),
        TEST(test_anything_else_on_the_inbox_is_thrown_away),
        TEST(test_the_rest_of_an_expired_request_is_asked_for_again),
        TEST(test_a_rest_larger_than_all_credit_leaves_none),
        TEST(test_a_status_of_an_earlier_time_means_nothing),
        TEST(test_after_a_leadership_change_everything_is_asked_for_again),
        TEST(test_late_messages_of_forgotten_requests_are_messages),
        TEST(test_a_draining_pull_asks_for_nothing_and_still_takes_messages),
        TEST(test_a_draining_pull_unsubscribes_once_when_it_has_become_quiet),
        TEST(test_a_draining_pull_that_never_becomes_quiet_unsubscribes_all_the_same),
        TEST(test_a_draining_pull_with_nothing_asked_for_unsubscribes_at_once),
        TEST(test_what_happened_is_counted),
        TEST(test_a_subscription_that_fails_is_an_error),
        TEST(test_names_too_long_for_a_subject_are_an_error),
    };
    return cmocka_run_group_tests_name("pull", tests, open_library, close_library);
}
