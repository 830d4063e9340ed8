#include "base/clock.h"
#include "mill/cumulative.h"
#include "unit/bus_fake.h"

/* What is sent for a floor, and what the answers do, on a fake link. */

static const char INFO[] = "$JS.API.CONSUMER.INFO.S.C";
static struct source_config config = {.stream = "S",
                                      .durable = "C",
                                      .batch = 10,
                                      .max_ack_pending = 100,
                                      .ack_wait_ns = 30 * NS_PER_S};
static struct cumulative *cumulative;
static int64_t now_ns;

static int open_all(void **state)
{
    (void)state;
    now_ns = 1000 * NS_PER_S;
    cumulative = cumulative_new(&bus.link, &config, 3);
    return cumulative == NULL ? -1 : 0;
}

static int close_all(void **state)
{
    (void)state;
    cumulative_free(cumulative);
    bus_fake_reset();
    return 0;
}

static void round_after(int64_t ms)
{
    now_ns += ms * NS_PER_MS;
    cumulative_round(cumulative, now_ns);
}

/* Exactly one thing was sent since the last look. */
static uint64_t expect_sent(const char *subject, const char *payload)
{
    assert_int_equal(bus.sent_count, 1);
    assert_string_equal(bus.sent[0].subject, subject);
    assert_string_equal(bus.sent[0].payload, payload);
    bus.sent_count = 0;
    return bus.sent[0].token;
}

static void reply(uint64_t token, const char *text)
{
    struct wire_message message = {.payload = text, .payload_size = strlen(text)};
    cumulative_reply(cumulative, token, &message, false);
}

static void tell(int created, int acked, int delivered, int pending)
{
    char text[256];
    snprintf(text, sizeof(text),
             "{\"created\":\"2026-01-01T00:00:%02dZ\",\"num_ack_pending\":%d,"
             "\"ack_floor\":{\"stream_seq\":%d,\"consumer_seq\":%d},"
             "\"delivered\":{\"stream_seq\":%d,\"consumer_seq\":%d}}",
             created, pending, acked, acked, delivered, delivered);
    reply(expect_sent(INFO, ""), text);
}

static enum floor_arrival arrive(int sequence, uint64_t *slot)
{
    char text[96];
    struct ack_subject ack = {.delivered = 1,
                              .stream_sequence = (uint64_t)sequence,
                              .consumer_sequence = (uint64_t)sequence};
    snprintf(text, sizeof(text), "$JS.ACK.D.H.S.C.1.%d.%d.77.9.tail", sequence, sequence);
    ack.consumer = strstr(text, "C.");
    ack.consumer_size = 1;
    return cumulative_arrived(cumulative, text, &ack, slot);
}

static void arrive_settled(int sequence)
{
    uint64_t slot;
    assert_int_equal(arrive(sequence, &slot), FLOOR_NEW);
    cumulative_settled(cumulative, (uint64_t)sequence, slot);
}

static void test_an_ack_goes_to_the_subject_deliveries_come_with(void **state)
{
    (void)state;
    round_after(0);
    tell(1, 0, 0, 0);
    arrive_settled(1);
    arrive_settled(2);
    round_after(0);
    expect_sent("$JS.ACK.D.H.S.C.1.2.2.77.9.tail", "+ACK");
}

static void test_one_ack_is_under_way_at_a_time_and_one_in_two_milliseconds(void **state)
{
    (void)state;
    round_after(0);
    tell(1, 0, 0, 0);
    arrive_settled(1);
    round_after(0);
    uint64_t token = expect_sent("$JS.ACK.D.H.S.C.1.1.1.77.9.tail", "+ACK");
    arrive_settled(2);
    round_after(100);
    assert_int_equal(bus.sent_count, 0);
    assert_int_equal(cumulative_due_ns(cumulative), -1);
    reply(token + 1, ""); /* another's */
    round_after(0);
    assert_int_equal(bus.sent_count, 0);
    reply(token, "");
    round_after(0);
    token = expect_sent("$JS.ACK.D.H.S.C.1.2.2.77.9.tail", "+ACK");
    arrive_settled(3);
    reply(token, "");
    round_after(0);
    assert_int_equal(bus.sent_count, 0);
    assert_int_equal(cumulative_due_ns(cumulative), now_ns + 2 * NS_PER_MS);
    round_after(2);
    expect_sent("$JS.ACK.D.H.S.C.1.3.3.77.9.tail", "+ACK");
}

static void test_without_an_answer_the_server_is_asked_where_it_is(void **state)
{
    (void)state;
    round_after(0);
    tell(1, 0, 0, 0);
    arrive_settled(1);
    round_after(0);
    uint64_t late = expect_sent("$JS.ACK.D.H.S.C.1.1.1.77.9.tail", "+ACK");
    round_after(2100);
    reply(late, "");
    tell(1, 0, 1, 0);
    round_after(10);
    expect_sent("$JS.ACK.D.H.S.C.1.1.1.77.9.tail", "+ACK");
}

static void test_another_consumer_gets_no_ack_of_what_was_here_before(void **state)
{
    (void)state;
    uint64_t slot;
    round_after(0);
    tell(1, 0, 0, 0);
    arrive_settled(1);
    cumulative_doubt(cumulative);
    round_after(0);
    tell(2, 0, 1, 1);
    round_after(0);
    assert_int_equal(bus.sent_count, 0);
    cumulative_reset(cumulative);
    round_after(0);
    tell(2, 0, 0, 0);
    assert_int_equal(arrive(1, &slot), FLOOR_NEW);
    round_after(0);
    assert_int_equal(bus.sent_count, 0);
}

/* Settled messages above one that is open: +WPI while all is known. */
static void test_what_waits_for_the_floor_is_renewed(void **state)
{
    (void)state;
    uint64_t slot;
    round_after(0);
    tell(1, 0, 0, 0);
    arrive(1, &slot);
    arrive_settled(2);
    round_after(9000);
    assert_int_equal(bus.sent_count, 0);
    round_after(6000);
    expect_sent("$JS.ACK.D.H.S.C.1.2.2.77.9.tail", "+WPI");
}

static void test_what_a_dead_process_held_is_asked_for_once(void **state)
{
    (void)state;
    round_after(0);
    tell(1, 4, 7, 3);
    round_after(0);
    reply(expect_sent("$JS.API.STREAM.INFO.S", ""), "{\"state\":{\"first_seq\":6}}");
    assert_int_equal(bus.sent_count, 0); /* it may be on its way */
    round_after(1000);
    tell(1, 4, 7, 3);
    round_after(0);
    reply(expect_sent("$JS.API.STREAM.INFO.S", ""), "{\"state\":{\"first_seq\":6}}");
    assert_int_equal(bus.sent_count, 2);
    assert_string_equal(bus.sent[0].subject, "$JS.ACK.S.C.1.6.7.0.0");
    assert_string_equal(bus.sent[0].payload, "-NAK {\"delay\":1000000}");
    assert_string_equal(bus.sent[1].subject, "$JS.ACK.S.C.1.7.7.0.0");
    bus.sent_count = 0;
    round_after(1000);
    tell(1, 4, 7, 3);
    round_after(0);
    reply(expect_sent("$JS.API.STREAM.INFO.S", ""), "{\"state\":{\"first_seq\":6}}");
    assert_int_equal(bus.sent_count, 0);
}

static void test_the_end_acknowledges_and_gives_the_rest_back(void **state)
{
    (void)state;
    uint64_t slot;
    round_after(0);
    tell(1, 0, 0, 0);
    arrive_settled(1);
    arrive(2, &slot);
    arrive_settled(3);
    cumulative_leave(cumulative);
    assert_int_equal(bus.sent_count, 2);
    assert_string_equal(bus.sent[0].subject, "$JS.ACK.D.H.S.C.1.1.1.77.9.tail");
    assert_string_equal(bus.sent[0].payload, "+ACK");
    assert_string_equal(bus.sent[1].subject, "$JS.ACK.D.H.S.C.1.3.3.77.9.tail");
    assert_string_equal(bus.sent[1].payload, "-NAK");
}

static void test_without_a_connection_nothing_is_sent(void **state)
{
    (void)state;
    bus.disconnected = true;
    round_after(0);
    assert_int_equal(bus.sent_count, 0);
    assert_int_equal(cumulative_due_ns(cumulative), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define on_link(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
        on_link(test_an_ack_goes_to_the_subject_deliveries_come_with),
        on_link(test_one_ack_is_under_way_at_a_time_and_one_in_two_milliseconds),
        on_link(test_without_an_answer_the_server_is_asked_where_it_is),
        on_link(test_another_consumer_gets_no_ack_of_what_was_here_before),
        on_link(test_what_waits_for_the_floor_is_renewed),
        on_link(test_what_a_dead_process_held_is_asked_for_once),
        on_link(test_the_end_acknowledges_and_gives_the_rest_back),
        on_link(test_without_a_connection_nothing_is_sent),
    };
    return cmocka_run_group_tests_name("cumulative", tests, NULL, NULL);
}
