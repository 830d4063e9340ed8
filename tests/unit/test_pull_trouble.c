#include "unit/pull_fixture.h"

/* The pull in trouble: silence, refusals, and how long it waits before it asks again. */

static void arrive_503(void)
{
    bus.queue[bus.last++] = NULL;
}

static void assert_why(const char *text)
{
    const char *why;
    pull_doubts(pull, &why);
    assert_string_equal(why, text);
}

/* Something was asked for since the last look. */
static void assert_asks_again(void)
{
    assert_true(bus.request_count > 0);
    bus.request_count = 0;
}

/* --- silence --- */

static void test_two_heartbeats_of_silence_lose_the_requests(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    pass(2 * HEARTBEAT);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
    pass(500 * NS_PER_MS);
    assert_asks_again();
    assert_int_equal(doubts(), 1);
    assert_why("no heartbeat from the consumer");
}

static void test_silence_that_goes_on_counts_on(void **state)
{
    (void)state;
    pass(60 * NS_PER_S);
    assert_in_range(doubts(), 4, 6);
}

static void test_a_heartbeat_is_a_sign_of_life(void **state)
{
    (void)state;
    go_round();
    for (int i = 0; i < 10; i++) {
        pass(2 * HEARTBEAT - 500 * NS_PER_MS);
        arrive_status(0, "100", "Idle Heartbeat", -1);
    }
    assert_int_equal(doubts(), 0);
    assert_requests(WINDOW / BATCH);
    assert_int_equal(pull_counts(pull)->heartbeats, 9);
}

static void test_a_message_is_a_sign_of_life(void **state)
{
    (void)state;
    go_round();
    for (int i = 0; i < 10; i++) {
        pass(2 * HEARTBEAT - 500 * NS_PER_MS);
        arrive_messages(1);
    }
    assert_int_equal(doubts(), 0);
}

static void test_a_sign_of_life_ends_the_doubts(void **state)
{
    (void)state;
    pass(40 * NS_PER_S);
    assert_true(doubts() > 0);
    arrive_messages(1);
    go_round();
    assert_int_equal(doubts(), 0);
}

static void test_with_a_full_window_nobody_has_to_speak(void **state)
{
    (void)state;
    go_round();
    arrive_messages(WINDOW);
    go_round();
    pass(600 * NS_PER_S);
    assert_int_equal(doubts(), 0);
    settle(WINDOW);
    pass(HEARTBEAT);
    assert_int_equal(doubts(), 0);
}

/* --- trouble --- */

static void test_without_jetstream_it_waits_longer_each_time(void **state)
{
    (void)state;
    int64_t waits[] = {250 * NS_PER_MS, 500 * NS_PER_MS, NS_PER_S, 2 * NS_PER_S};
    go_round();
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        bus.request_count = 0;
        for (int k = 0; k < WINDOW / BATCH; k++)
            arrive_503(); /* one for each request, as a server would */
        go_round();
        now_ns += waits[i] - 1;
        go_round();
        assert_requests(0);
        assert_int_equal(doubts(), i + 1);
        now_ns += 1;
        go_round();
        assert_asks_again();
    }
    assert_why("JetStream does not answer (503)");
}

static void test_after_a_sign_of_life_waits_begin_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        go_round();
        arrive_503();
        go_round();
        now_ns += 20 * NS_PER_S;
    }
    go_round();
    arrive_messages(1);
    go_round();
    arrive_503();
    go_round();
    bus.request_count = 0;
    now_ns += 250 * NS_PER_MS;
    go_round();
    assert_true(bus.request_count > 0);
}

static void test_a_deleted_consumer_is_not_asked_in_a_hurry(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    for (int i = 0; i < WINDOW / BATCH; i++)
        arrive_status(0, "409", "Consumer Deleted", -1);
    go_round();
    assert_requests(0);
    assert_int_equal(doubts(), 1);
    assert_why("the consumer was deleted");
    assert_true(pull_counts(pull)->lost > 0);
    now_ns += 250 * NS_PER_MS;
    go_round();
    assert_asks_again();
}

static void test_a_refusal_is_told_with_the_servers_words(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_status(0, "409", "Consumer is push based", -1);
    go_round();
    assert_requests(0);
    assert_why("the server refuses the pull: 409 Consumer is push based");
    assert_int_equal(doubts(), 1);
    assert_int_equal(pull_counts(pull)->refused, 1);
}

static void test_a_restart_asks_again_at_once(void **state)
{
    (void)state;
    go_round();
    arrive_503();
    go_round();
    bus.request_count = 0;
    pull_restart(pull, now_ns);
    go_round();
    assert_asks_again();
}

/* The server refuses the requests of `epoch`; then a message comes, so that there is no doubt. */
static void refuse(unsigned epoch, const char *description)
{
    arrive_status(epoch, "409", description, -1);
    go_round();
    bus.request_count = 0;
    now_ns += 20 * NS_PER_S;
    arrive_messages(1);
    go_round();
    settle(1);
    go_round();
}

static void test_where_too_many_wait_it_asks_fewer_times(void **state)
{
    (void)state;
    go_round();
    for (unsigned epoch = 0; epoch < 8; epoch++) {
        refuse(epoch, "Exceeded MaxWaiting");
        if (epoch == 0)
            assert_int_equal(bus.request_count, WINDOW / BATCH / 2);
    }
    assert_non_null(strstr(bus.requests[0], "\"batch\":100,"));
    assert_requests(1);
}

/* The growth goes for good, the window of before stays. */
static void test_where_too_many_wait_for_a_grown_window_it_grows_no_more(void **state)
{
    (void)state;
    go_round();
    work_fast(9 * WINDOW, 100);
    refuse(0, "Exceeded MaxWaiting");
    assert_requests(WINDOW / BATCH);
    assert_int_equal(work_fast(WINDOW, 100), WINDOW / BATCH);
    assert_int_equal(work_fast(9 * WINDOW, 100), WINDOW / BATCH);
}

static void test_where_batches_are_too_large_it_asks_for_less_not_more_often(void **state)
{
    (void)state;
    go_round();
    for (unsigned epoch = 0; epoch < 12; epoch++) {
        refuse(epoch, "Exceeded MaxRequestBatch of 1");
        if (epoch == 0)
            assert_non_null(strstr(bus.requests[0], "\"batch\":50,"));
        assert_int_equal(bus.request_count, WINDOW / BATCH);
    }
    assert_non_null(strstr(bus.requests[0], "\"batch\":1,"));
}

static void test_where_requests_may_not_last_so_long_it_asks_for_shorter_ones(void **state)
{
    (void)state;
    go_round();
    for (unsigned epoch = 0; epoch < 3; epoch++)
        refuse(epoch, "Exceeded MaxRequestExpires of 5s");
    assert_string_equal(bus.requests[0], "_INBOX.x.p7.3 {\"batch\":100,\"expires\":3750000000,"
                                         "\"idle_heartbeat\":1875000000}");
    assert_requests(WINDOW / BATCH);
}

static void test_a_request_over_the_consumers_limits_is_a_doubt(void **state)
{
    (void)state;
    go_round();
    arrive_status(0, "409", "Exceeded MaxRequestBatch of 10", -1);
    go_round();
    assert_int_equal(doubts(), 1);
    assert_why("the server refuses the request: 409 Exceeded MaxRequestBatch of 10");
    assert_int_equal(pull_counts(pull)->refused, 1);
    assert_int_equal(pull_counts(pull)->ended, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_heartbeats_of_silence_lose_the_requests),
        TEST(test_silence_that_goes_on_counts_on),
        TEST(test_a_heartbeat_is_a_sign_of_life),
        TEST(test_a_message_is_a_sign_of_life),
        TEST(test_a_sign_of_life_ends_the_doubts),
        TEST(test_with_a_full_window_nobody_has_to_speak),
        TEST(test_without_jetstream_it_waits_longer_each_time),
        TEST(test_after_a_sign_of_life_waits_begin_anew),
        TEST(test_a_deleted_consumer_is_not_asked_in_a_hurry),
        TEST(test_a_refusal_is_told_with_the_servers_words),
        TEST(test_a_restart_asks_again_at_once),
        TEST(test_where_too_many_wait_it_asks_fewer_times),
        TEST(test_where_too_many_wait_for_a_grown_window_it_grows_no_more),
        TEST(test_where_batches_are_too_large_it_asks_for_less_not_more_often),
        TEST(test_where_requests_may_not_last_so_long_it_asks_for_shorter_ones),
        TEST(test_a_request_over_the_consumers_limits_is_a_doubt),
    };
    return cmocka_run_group_tests_name("pull_trouble", tests, open_library, close_library);
}
