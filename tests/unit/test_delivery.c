#include "base/clock.h"
#include "mill/delivery.h"
#include "unit/bus_fake.h"

/* One source, and deliveries in it. */

static const struct source_config config = {
    .stream = "clientA_sensor", .durable = "rule_executor", .format = PAYLOAD_JSON};

static struct source source;
static const struct wire_message message = {
    .subject = "sensors.value",
    .reply = "$JS.ACK.first",
    .payload = "{\"value\":1}",
    .payload_size = 11,
    .headers = (struct fake_header[]){{"Trace", "7"}, {NULL, NULL}}};

static int open_source(void **state)
{
    (void)state;
    memset(&source, 0, sizeof(source));
    source.config = &config;
    return 0;
}

static int close_source(void **state)
{
    (void)state;
    while (source.oldest != NULL)
        delivery_free(source.oldest);
    source_free_spares(&source);
    bus_fake_reset();
    return source.newest == NULL ? 0 : -1;
}

static struct delivery *arrive(uint64_t sequence, int64_t now_ns)
{
    struct ack_subject ack = {
        .stream_sequence = sequence, .delivered = 2, .pending = 9, .time_ns = 1234};
    struct delivery *delivery =
        delivery_new(&source, (struct wire_message *)(uintptr_t)&message, &ack, now_ns);
    assert_non_null(delivery);
    return delivery;
}

/* The sequences in the source's list, oldest first; both directions must agree. */
static const char *in_flight(void)
{
    static char text[256];
    size_t forth = 0, back = 0;
    text[0] = '\0';
    for (struct delivery *at = source.oldest; at != NULL; at = at->newer) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%d", used > 0 ? " " : "",
                 (int)at->ack.stream_sequence);
        forth++;
    }
    for (struct delivery *at = source.newest; at != NULL; at = at->older)
        back++;
    assert_int_equal(forth, back);
    return text;
}

/* --- arrival --- */

static void note_header(void *context, const char *name, const char *value)
{
    snprintf(context, 32, "%s=%s", name, value);
}

static void test_a_delivery_shows_the_message_to_the_rules(void **state)
{
    (void)state;
    const struct input *input = &arrive(42, 1)->input;
    assert_string_equal(input->subject, "sensors.value");
    assert_ptr_equal(input->payload, message.payload);
    assert_int_equal(input->payload_size, 11);
    assert_string_equal(input->stream, "clientA_sensor");
    assert_string_equal(input->consumer, "rule_executor");
    assert_int_equal(input->sequence, 42);
    assert_int_equal(input->delivered, 2);
    assert_int_equal(input->pending, 9);
    assert_int_equal(input->time_ns, 1234);
    assert_int_equal(input->format, PAYLOAD_JSON);
    char header[32] = "";
    input->each_header(input, note_header, header);
    assert_string_equal(header, "Trace=7");
}

static void test_a_new_delivery_is_unseen_and_to_be_acknowledged(void **state)
{
    (void)state;
    const struct delivery *delivery = arrive(1, 1);
    assert_int_equal(delivery->phase, PHASE_QUEUED);
    assert_int_equal(delivery->verdict, VERDICT_ACK);
    assert_int_equal(delivery->run_count, 0);
    assert_false(delivery->delay_given);
    assert_ptr_equal(delivery->dead_letter.delivery, delivery);
}

static void test_the_latest_copy_is_the_one_to_acknowledge(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    struct wire_message again = {.reply = "$JS.ACK.second"};
    assert_string_equal(delivery_reply(delivery), "$JS.ACK.first");
    delivery->latest = &again;
    assert_string_equal(delivery_reply(delivery), "$JS.ACK.second");
}

/* --- the list in flight --- */

static void test_deliveries_are_listed_in_the_order_of_arrival(void **state)
{
    (void)state;
    arrive(5, 1);
    arrive(3, 2);
    arrive(9, 3);
    assert_string_equal(in_flight(), "5 3 9");
}

static void test_any_delivery_may_leave_the_list(void **state)
{
    (void)state;
    struct delivery *first = arrive(1, 1), *second = arrive(2, 2), *third = arrive(3, 3);
    struct delivery *fourth = arrive(4, 4);
    delivery_free(second);
    assert_string_equal(in_flight(), "1 3 4");
    delivery_free(first);
    assert_string_equal(in_flight(), "3 4");
    delivery_free(fourth);
    assert_string_equal(in_flight(), "3");
    delivery_free(third);
    assert_string_equal(in_flight(), "");
}

static void test_a_sign_of_life_moves_a_delivery_to_the_end(void **state)
{
    (void)state;
    struct delivery *first = arrive(1, 1), *second = arrive(2, 2);
    arrive(3, 3);
    delivery_touched(first, 10);
    assert_string_equal(in_flight(), "2 3 1");
    assert_int_equal(first->touched_ns, 10);
    delivery_touched(first, 11);
    assert_string_equal(in_flight(), "2 3 1");
    delivery_touched(second, 12);
    assert_string_equal(in_flight(), "3 1 2");
}

static void test_a_sign_of_life_of_the_only_delivery_keeps_it_listed(void **state)
{
    (void)state;
    delivery_touched(arrive(1, 1), 2);
    assert_string_equal(in_flight(), "1");
}

/* --- finding --- */

static void test_a_delivery_is_found_by_its_sequence(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(7, 1);
    assert_ptr_equal(delivery_find(&source, 7), delivery);
    assert_null(delivery_find(&source, 8));
    assert_null(delivery_find(&source, 7 + SOURCE_BUCKETS));
    delivery_free(delivery);
    assert_null(delivery_find(&source, 7));
}

static void test_sequences_of_one_bucket_are_kept_apart(void **state)
{
    (void)state;
    struct delivery *found[5];
    for (uint64_t i = 0; i < 5; i++)
        found[i] = arrive(3 + i * SOURCE_BUCKETS, 1);
    delivery_free(found[2]);
    delivery_free(found[4]);
    delivery_free(found[0]);
    assert_null(delivery_find(&source, 3));
    assert_ptr_equal(delivery_find(&source, 3 + SOURCE_BUCKETS), found[1]);
    assert_null(delivery_find(&source, 3 + 2 * SOURCE_BUCKETS));
    assert_ptr_equal(delivery_find(&source, 3 + 3 * SOURCE_BUCKETS), found[3]);
}

static void test_the_largest_sequence_is_found(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(UINT64_MAX, 1);
    assert_ptr_equal(delivery_find(&source, UINT64_MAX), delivery);
}

static void test_of_two_with_one_sequence_each_can_leave(void **state)
{
    (void)state;
    struct delivery *first = arrive(7, 1), *second = arrive(7, 2);
    delivery_free(first);
    assert_ptr_equal(delivery_find(&source, 7), second);
    delivery_free(second);
    assert_null(delivery_find(&source, 7));
}

/* --- runs --- */

static void assert_runs(size_t count)
{
    struct delivery *delivery = arrive(count, 1);
    assert_int_equal(delivery_make_runs(delivery, count), 0);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(delivery->runs[i].delivery, delivery);
        assert_false(delivery->runs[i].ended);
        assert_false(delivery->runs[i].failed);
        delivery->runs[i].ended = true; /* it is ours to write */
    }
    assert_int_equal(delivery->run_count, 0);
}

static void test_there_is_room_for_few_runs_and_for_many(void **state)
{
    (void)state;
    for (size_t count = 0; count <= DELIVERY_FEW_RUNS + 1; count++)
        assert_runs(count);
    assert_runs(10000);
}

/* --- the verdict --- */

static void test_the_verdict_only_gets_worse(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "a", "no such sensor", NULL);
    assert_int_equal(delivery->verdict, VERDICT_REJECT);
    delivery_fail(delivery, VERDICT_AGAIN, "error", "b", "b.lua:7: boom", "traceback");
    assert_int_equal(delivery->verdict, VERDICT_AGAIN);
    assert_string_equal(delivery->failure.reason, "error");
    assert_string_equal(delivery->failure.rule, "b");
    assert_string_equal(delivery->failure.error, "b.lua:7: boom");
    assert_string_equal(delivery->failure.traceback, "traceback");
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "c", "no", NULL);
    assert_int_equal(delivery->verdict, VERDICT_AGAIN);
    assert_string_equal(delivery->failure.rule, "b");
}

static void test_of_equally_bad_failures_the_first_is_kept(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    delivery_fail(delivery, VERDICT_AGAIN, "error", "a", "first", "trace");
    delivery_fail(delivery, VERDICT_AGAIN, "timeout", "b", "second", NULL);
    assert_string_equal(delivery->failure.reason, "error");
    assert_string_equal(delivery->failure.rule, "a");
    assert_string_equal(delivery->failure.error, "first");
    assert_string_equal(delivery->failure.traceback, "trace");
}

static void test_a_worse_failure_leaves_nothing_of_the_one_before(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "a", "first", "trace");
    delivery_fail(delivery, VERDICT_AGAIN, "memory", NULL, NULL, NULL);
    assert_string_equal(delivery->failure.reason, "memory");
    assert_null(delivery->failure.rule);
    assert_null(delivery->failure.error);
    assert_null(delivery->failure.traceback);
}

static void test_texts_of_a_failure_are_copied(void **state)
{
    (void)state;
    char rule[] = "alpha";
    struct delivery *delivery = arrive(1, 1);
    delivery_fail(delivery, VERDICT_AGAIN, "error", rule, "x", NULL);
    rule[0] = 'x';
    assert_string_equal(delivery->failure.rule, "alpha");
}

static void test_a_wish_for_another_try_comes_with_its_delay(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    delivery_retry(delivery, "a", 0);
    assert_int_equal(delivery->verdict, VERDICT_AGAIN);
    assert_true(delivery->delay_given);
    assert_int_equal(delivery->delay_ns, 0);
    assert_string_equal(delivery->failure.reason, "retry");
    assert_string_equal(delivery->failure.error, "the rule asked for another try in 0.000 s");
}

static void test_of_several_delays_the_longest_holds(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    delivery_retry(delivery, "a", 2 * NS_PER_S);
    delivery_retry(delivery, "b", 7 * NS_PER_S);
    delivery_retry(delivery, "c", NS_PER_S);
    assert_int_equal(delivery->delay_ns, 7 * NS_PER_S);
}

static void test_another_try_wins_over_a_rejection(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "a", "no", NULL);
    delivery_retry(delivery, "b", NS_PER_S);
    assert_int_equal(delivery->verdict, VERDICT_AGAIN);
    assert_string_equal(delivery->failure.reason, "retry");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_source, close_source)

static void test_a_new_try_forgets_the_last_one_and_counts(void **state)
{
    (void)state;
    struct delivery *delivery = arrive(1, 1);
    assert_int_equal(delivery_make_runs(delivery, DELIVERY_FEW_RUNS + 1), 0);
    delivery->run_count = DELIVERY_FEW_RUNS + 1;
    delivery_retry(delivery, "a", 5);
    delivery_again(delivery);
    assert_int_equal(delivery->verdict, VERDICT_ACK);
    assert_false(delivery->delay_given);
    assert_null(delivery->failure.error);
    assert_int_equal(delivery->run_count, 0);
    assert_int_equal(delivery->ack.delivered, 3);
    assert_int_equal(delivery->input.delivered, 3);
}

static void test_with_cumulative_acks_tries_are_counted_here(void **state)
{
    (void)state;
    struct source_config limited = config;
    limited.max_deliver = 2;
    source.config = &limited;
    struct delivery *delivery = arrive(1, 1);
    assert_int_equal(delivery_tries(delivery), 2);
    source.cumulative = (struct cumulative *)(uintptr_t)&source;
    assert_int_equal(delivery_tries(delivery), 1);
    delivery->ack.delivered = 8;
    assert_false(delivery_is_hopeless(delivery));
    delivery->ack.delivered = 9;
    assert_true(delivery_is_hopeless(delivery));
    delivery->ack.delivered = 1;
    delivery_again(delivery);
    assert_false(delivery_is_hopeless(delivery));
    delivery_again(delivery);
    assert_true(delivery_is_hopeless(delivery));
    source.config = &config;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_delivery_shows_the_message_to_the_rules),
        TEST(test_a_new_delivery_is_unseen_and_to_be_acknowledged),
        TEST(test_the_latest_copy_is_the_one_to_acknowledge),
        TEST(test_deliveries_are_listed_in_the_order_of_arrival),
        TEST(test_any_delivery_may_leave_the_list),
        TEST(test_a_sign_of_life_moves_a_delivery_to_the_end),
        TEST(test_a_sign_of_life_of_the_only_delivery_keeps_it_listed),
        TEST(test_a_delivery_is_found_by_its_sequence),
        TEST(test_sequences_of_one_bucket_are_kept_apart),
        TEST(test_the_largest_sequence_is_found),
        TEST(test_of_two_with_one_sequence_each_can_leave),
        TEST(test_there_is_room_for_few_runs_and_for_many),
        TEST(test_the_verdict_only_gets_worse),
        TEST(test_of_equally_bad_failures_the_first_is_kept),
        TEST(test_a_worse_failure_leaves_nothing_of_the_one_before),
        TEST(test_texts_of_a_failure_are_copied),
        TEST(test_a_wish_for_another_try_comes_with_its_delay),
        TEST(test_of_several_delays_the_longest_holds),
        TEST(test_another_try_wins_over_a_rejection),
        TEST(test_a_new_try_forgets_the_last_one_and_counts),
        TEST(test_with_cumulative_acks_tries_are_counted_here),
    };
    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
