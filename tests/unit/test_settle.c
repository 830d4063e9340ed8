#include "base/clock.h"
#include "base/log.h"
#include "mill/cumulative.h"
#include "mill/settle.h"
#include "unit/bus_fake.h"

/* What the input gets: the delivery table, on a fake link with a real outbox and real progress. */

static const int64_t backoff[] = {NS_PER_S, 5 * NS_PER_S, 30 * NS_PER_S};
static const char REPLY[] = "$JS.ACK.S.C.1.1042.1.1.0";
static const char FULL[] = "{\"error\":{\"code\":400,\"err_code\":10109,\"description\":"
                           "\"invalid operation on sealed stream\"}}";

static struct source_config config;
static struct source_counters counters;
static struct source source;
static struct settler settler;
static struct {
    unsigned count;
    void *token;
    bool stored;
    char error[256];
} done; /* what the outbox reported */

static void on_done(void *context, void *token, const struct outbox_result *result)
{
    (void)context;
    done.count++;
    done.token = token;
    done.stored = result->stored;
    snprintf(done.error, sizeof(done.error), "%s", result->error != NULL ? result->error : "");
}

static int open_all(void **state)
{
    (void)state;
    config = (struct source_config){.stream = "S",
                                    .durable = "C",
                                    .max_deliver = 5,
                                    .ack_wait_ns = 30 * NS_PER_S,
                                    .backoff_ns = (int64_t *)(uintptr_t)backoff,
                                    .backoff_count = 3};
    memset(&done, 0, sizeof(done));
    memset(&counters, 0, sizeof(counters));
    memset(&source, 0, sizeof(source));
    source.config = &config;
    source.index = 3;
    source.counters = &counters;
    settler = (struct settler){.link = &bus.link,
                               .progress = progress_new(),
                               .dead_letter_root = "dead",
                               .rules_version = "v1"};
    return outbox_open(&settler.outbox, &bus.link, config.ack_wait_ns, on_done, NULL, NULL);
}

static int close_all(void **state)
{
    (void)state;
    while (source.oldest != NULL)
        delivery_free(source.oldest);
    outbox_free(settler.outbox);
    settle_close(&settler);
    source_free_spares(&source);
    progress_free(settler.progress);
    int status = bus.outgoing_live == 0 ? 0 : -1;
    bus_fake_reset();
    return status;
}

static const struct wire_message message = {
    .subject = "sensors.value", .reply = REPLY, .payload = "{}", .payload_size = 2};

/* Message 1042, delivered for the `delivered`th time, nothing of it open any more. */
static struct delivery *deliver(uint64_t delivered)
{
    struct ack_subject ack = {.stream_sequence = 1042, .delivered = delivered};
    struct delivery *delivery =
        delivery_new(&source, (struct wire_message *)(uintptr_t)&message, &ack, 1);
    assert_non_null(delivery);
    delivery->phase = PHASE_RULES;
    return delivery;
}

static void add_run(struct delivery *delivery, const char *name, bool failed)
{
    struct run *run = &delivery->runs[delivery->run_count++];
    run->delivery = delivery;
    run->name = name;
    run->ended = true;
    run->failed = failed;
}

static struct delivery *deliver_failed(uint64_t delivered)
{
    struct delivery *delivery = deliver(delivered);
    add_run(delivery, "bad", true);
    delivery_fail(delivery, VERDICT_AGAIN, "error", "bad", "bad.lua:1: boom", NULL);
    return delivery;
}

/* Exactly this was sent to the message's acknowledgement subject. */
static void assert_answered(const char *text)
{
    assert_int_equal(bus.sent_count, 1);
    assert_string_equal(bus.sent[0].subject, REPLY);
    assert_string_equal(bus.sent[0].payload, text);
}

/* Answers the dead letter, the last that was sent, and hands the report on as the pipeline does. */
static bool answer_dead_letter(struct delivery *delivery, const char *text)
{
    struct wire_message answer = {.payload = text, .payload_size = strlen(text)};
    uint64_t slot = bus.sent[bus.sent_count - 1].token;
    bus.sent_count = 0;
    outbox_reply(settler.outbox, slot, &answer, false, 2);
    assert_int_equal(done.count, 1);
    assert_ptr_equal(done.token, &delivery->dead_letter);
    return settle_dead_letter_done(&settler, delivery, done.stored, done.error);
}

static void assert_dead_letter_sent(const struct delivery *delivery)
{
    assert_int_equal(bus.sent_count, 1);
    assert_string_equal(bus.sent[0].subject, "dead.S.C");
    assert_int_equal(delivery->phase, PHASE_DEAD_LETTER);
}

/* --- ack --- */

static void test_a_message_that_all_rules_took_is_acknowledged(void **state)
{
    (void)state;
    assert_true(settle(&settler, deliver(1), 1));
    settle_flush(&settler);
    assert_answered("");
    assert_int_equal(bus.sent[0].kind, 0);
    assert_int_equal(counter_get(counters.acked), 1);
}

static void test_the_latest_copy_is_acknowledged(void **state)
{
    (void)state;
    struct wire_message latest = {.reply = "$JS.ACK.S.C.2.1042.9.1.0"};
    struct delivery *delivery = deliver(1);
    delivery->latest = &latest;
    assert_true(settle(&settler, delivery, 1));
    settle_flush(&settler);
    assert_string_equal(bus.sent[0].subject, "$JS.ACK.S.C.2.1042.9.1.0");
}

static void test_acks_leave_together_each_once_and_in_order(void **state)
{
    (void)state;
    struct wire_message messages[300];
    char replies[300][24];
    for (size_t i = 0; i < 300; i++) {
        struct ack_subject ack = {.stream_sequence = i, .delivered = 1};
        snprintf(replies[i], sizeof(replies[i]), "reply.%zu", i);
        messages[i] = (struct wire_message){.reply = replies[i], .payload = ""};
        struct delivery *delivery = delivery_new(&source, &messages[i], &ack, 1);
        assert_true(settle(&settler, delivery, 1));
        delivery_free(delivery);
    }
    assert_int_equal(bus.sent_count, 0);
    settle_flush(&settler);
    settle_flush(&settler);
    assert_int_equal(bus.sent_count, 300);
    for (size_t i = 0; i < 300; i++)
        assert_string_equal(bus.sent[i].subject, replies[i]);
}

static void test_an_acknowledged_message_is_forgotten(void **state)
{
    (void)state;
    progress_note(settler.progress, 3, 1042, "a");
    progress_note(settler.progress, 3, 1043, "a");
    progress_note(settler.progress, 2, 1042, "a");
    assert_true(settle(&settler, deliver(2), 1));
    assert_false(progress_has(settler.progress, 3, 1042, "a"));
    assert_true(progress_has(settler.progress, 3, 1043, "a"));
    assert_true(progress_has(settler.progress, 2, 1042, "a"));
}

static void test_a_closed_connection_does_not_hold_an_ack(void **state)
{
    (void)state;
    bus.refusal = "closed";
    assert_true(settle(&settler, deliver(1), 1));
    settle_flush(&settler);
    assert_int_equal(bus.sent_count, 0);
}

/* --- confirm --- */

static void test_a_confirmed_ack_waits_for_the_servers_answer(void **state)
{
    (void)state;
    config.confirm = true;
    struct delivery *delivery = deliver(1);
    assert_false(settle(&settler, delivery, 77));
    assert_answered("+ACK");
    assert_int_equal(bus.sent[0].kind, REPLY_ACK);
    assert_int_equal(delivery->phase, PHASE_CONFIRM);
    assert_int_equal(delivery->touched_ns, 77);
}

static void test_the_token_of_a_confirmed_ack_names_source_and_sequence(void **state)
{
    (void)state;
    config.confirm = true;
    settle(&settler, deliver(1), 1);
    assert_int_equal(confirm_token_source(bus.sent[0].token), 3);
    assert_int_equal(confirm_token_sequence(bus.sent[0].token), 1042);
}

static void test_an_unanswered_confirm_is_sent_three_times_in_all(void **state)
{
    (void)state;
    config.confirm = true;
    struct delivery *delivery = deliver(1);
    settle(&settler, delivery, 1);
    assert_true(settle_confirm_again(&settler, delivery, 2));
    assert_true(settle_confirm_again(&settler, delivery, 3));
    assert_int_equal(delivery->touched_ns, 3);
    assert_false(settle_confirm_again(&settler, delivery, 4));
    assert_int_equal(bus.sent_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(bus.sent[i].payload, "+ACK");
        assert_int_equal(bus.sent[i].kind, REPLY_ACK);
        assert_true(bus.sent[i].token == bus.sent[0].token);
    }
    assert_int_equal(counter_get(counters.acked), 1);
}

/* --- nak --- */

static void assert_delay(uint64_t delivered, const char *text)
{
    struct delivery *delivery = deliver_failed(delivered);
    bus.sent_count = 0;
    assert_true(settle(&settler, delivery, 1));
    assert_answered(text);
    delivery_free(delivery);
}

static void test_the_delay_follows_the_backoff_whose_last_step_repeats(void **state)
{
    (void)state;
    assert_delay(1, "-NAK {\"delay\":1000000000}");
    assert_delay(2, "-NAK {\"delay\":5000000000}");
    assert_delay(3, "-NAK {\"delay\":30000000000}");
    assert_delay(4, "-NAK {\"delay\":30000000000}");
    assert_int_equal(counter_get(counters.naked), 4);
}

static void test_without_a_backoff_the_delay_is_a_second(void **state)
{
    (void)state;
    config.backoff_count = 0;
    assert_delay(1, "-NAK {\"delay\":1000000000}");
    assert_delay(4, "-NAK {\"delay\":1000000000}");
}

static void test_a_rule_may_say_the_delay(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(1);
    delivery_retry(delivery, "a", 2500 * NS_PER_MS);
    assert_true(settle(&settler, delivery, 1));
    assert_answered("-NAK {\"delay\":2500000000}");
}

static void test_a_retry_at_once_has_no_delay(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(1);
    delivery_retry(delivery, "a", 0);
    assert_true(settle(&settler, delivery, 1));
    assert_answered("-NAK");
}

static void test_a_delivered_count_of_nothing_takes_the_first_delay(void **state)
{
    (void)state;
    assert_delay(0, "-NAK {\"delay\":1000000000}");
}

static void test_giving_back_remembers_who_has_succeeded(void **state)
{
    (void)state;
    struct delivery *delivery = deliver_failed(1);
    add_run(delivery, "good", false);
    add_run(delivery, "under_way", false);
    delivery->runs[2].ended = false;
    assert_true(settle(&settler, delivery, 1));
    assert_true(progress_has(settler.progress, 3, 1042, "good"));
    assert_false(progress_has(settler.progress, 3, 1042, "bad"));
    assert_false(progress_has(settler.progress, 3, 1042, "under_way"));
}

static void test_giving_back_adds_to_what_earlier_tries_have_done(void **state)
{
    (void)state;
    progress_note(settler.progress, 3, 1042, "earlier");
    assert_true(settle(&settler, deliver_failed(2), 1));
    assert_true(progress_has(settler.progress, 3, 1042, "earlier"));
}

static void assert_latency(int64_t sum_ns)
{
    unsigned long long count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += counter_get(counters.latency.buckets[i]);
    assert_int_equal(count, 1);
    assert_int_equal(counter_get(counters.latency.sum_ns), sum_ns);
}

static void test_latency_is_from_the_storing_to_the_ack_by_the_wall_clock(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(1);
    delivery->ack.time_ns = INT64_C(1700000000) * NS_PER_S;
    settler.wall_offset_ns = delivery->ack.time_ns - 40;
    settle(&settler, delivery, 100);
    assert_latency(60);
}

static void test_the_latency_of_a_message_from_the_future_is_zero(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(1);
    delivery->ack.time_ns = 500;
    settle(&settler, delivery, 100);
    assert_latency(0);
}

/* --- dead letter --- */

static void test_a_rejected_message_goes_to_the_dead_letters_at_once(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(1);
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "a", "no such sensor", NULL);
    assert_false(settle(&settler, delivery, 1));
    assert_dead_letter_sent(delivery);
    assert_int_equal(counter_get(counters.dead), 0);
}

static void test_the_last_try_goes_to_the_dead_letters(void **state)
{
    (void)state;
    struct delivery *delivery = deliver_failed(5);
    assert_false(settle(&settler, delivery, 1));
    assert_dead_letter_sent(delivery);
}

static void test_more_tries_than_allowed_go_there_too(void **state)
{
    (void)state;
    struct delivery *delivery = deliver_failed(9);
    assert_false(settle(&settler, delivery, 1));
    assert_dead_letter_sent(delivery);
}

static void test_msg_retry_does_not_outlive_the_tries(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(5);
    delivery_retry(delivery, "a", NS_PER_S);
    assert_false(settle(&settler, delivery, 1));
    assert_dead_letter_sent(delivery);
}

static void test_only_a_stored_dead_letter_lets_the_message_go(void **state)
{
    (void)state;
    struct delivery *delivery = deliver_failed(5);
    settle(&settler, delivery, 1);
    progress_note(settler.progress, 3, 1042, "good");
    assert_true(answer_dead_letter(delivery, "{\"stream\":\"dead\",\"seq\":1}"));
    assert_answered("+TERM");
    assert_int_equal(counter_get(counters.dead), 1);
    assert_int_equal(counter_get(counters.dead_of[REASON_ERROR]), 1);
    assert_int_equal(counter_get(counters.naked), 0);
    assert_false(progress_has(settler.progress, 3, 1042, "good"));
}

static void test_a_dead_letter_that_is_there_already_will_do(void **state)
{
    (void)state;
    struct delivery *delivery = deliver_failed(5);
    settle(&settler, delivery, 1);
    assert_true(answer_dead_letter(delivery, "{\"stream\":\"d\",\"seq\":1,\"duplicate\":true}"));
    assert_answered("+TERM");
}

static void test_a_server_that_understands_it_is_told_the_reason(void **state)
{
    (void)state;
    settler.term_reasons = true;
    struct delivery *delivery = deliver_failed(5);
    settle(&settler, delivery, 1);
    assert_true(answer_dead_letter(delivery, "{\"stream\":\"dead\",\"seq\":1}"));
    assert_answered("+TERM error: dead letter stored");
}

static void test_a_dead_letter_that_cannot_be_stored_gives_the_message_back(void **state)
{
    (void)state;
    struct delivery *delivery = deliver_failed(5);
    add_run(delivery, "good", false);
    settle(&settler, delivery, 1);
    assert_true(answer_dead_letter(delivery, FULL));
    assert_answered("-NAK {\"delay\":30000000000}");
    assert_int_equal(counter_get(counters.dead), 0);
    assert_int_equal(counter_get(counters.naked), 1);
    assert_true(progress_has(settler.progress, 3, 1042, "good"));
}

static void test_a_dead_letter_that_fails_ignores_the_delay_of_the_rule(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(5);
    delivery_retry(delivery, "a", 0);
    settle(&settler, delivery, 1);
    assert_true(answer_dead_letter(delivery, FULL));
    assert_answered("-NAK {\"delay\":30000000000}");
}

static void test_without_memory_for_a_dead_letter_the_message_is_given_back(void **state)
{
    (void)state;
    bus.no_memory = true;
    struct delivery *delivery = deliver_failed(5);
    assert_true(settle(&settler, delivery, 1));
    assert_answered("-NAK {\"delay\":30000000000}");
    assert_int_equal(done.count, 0);
}

/* --- the rest --- */

static void test_a_sign_of_life_restarts_the_servers_clock(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(1);
    deliver(1);
    settle_in_progress(&settler, delivery, 99);
    assert_answered("+WPI");
    assert_int_equal(delivery->touched_ns, 99);
    assert_ptr_equal(source.newest, delivery);
}

static void test_what_no_rule_has_seen_is_given_back_at_once(void **state)
{
    (void)state;
    settle_give_back(&settler, deliver(1));
    assert_answered("-NAK");
    assert_int_equal(counter_get(counters.naked), 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

/* --- cumulative acks --- */

static void test_with_cumulative_acks_a_failed_message_waits_here(void **state)
{
    (void)state;
    struct retries retries = {NULL, NULL};
    settler.retries = &retries;
    config.batch = config.max_ack_pending = 10;
    source.cumulative = cumulative_new(&bus.link, &config, 3);
    assert_non_null(source.cumulative);

    struct delivery *delivery = deliver_failed(1);
    assert_false(settle(&settler, delivery, 1));
    assert_int_equal(bus.sent_count, 0);
    assert_int_equal(delivery->phase, PHASE_WAITING);
    assert_true(retries_due_ns(&retries) > clock_monotonic_ns());
    assert_ptr_equal(retries_take(&retries, INT64_MAX), delivery);
    assert_true(settle(&settler, deliver(1), 1));
    settle_flush(&settler);
    assert_int_equal(bus.sent_count, 0);
    assert_int_equal(counter_get(counters.acked), 1);

    settler.draining = true;
    assert_true(settle(&settler, delivery, 1));
    assert_answered("-NAK {\"delay\":1000000000}");
    cumulative_free(source.cumulative);
    source.cumulative = NULL;
}

int main(void)
{
    FILE *nowhere = fopen("/dev/null", "w");
    if (nowhere == NULL)
        return 1;
    log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, nowhere);
    const struct CMUnitTest tests[] = {
        TEST(test_a_message_that_all_rules_took_is_acknowledged),
        TEST(test_latency_is_from_the_storing_to_the_ack_by_the_wall_clock),
        TEST(test_the_latency_of_a_message_from_the_future_is_zero),
        TEST(test_the_latest_copy_is_acknowledged),
        TEST(test_acks_leave_together_each_once_and_in_order),
        TEST(test_an_acknowledged_message_is_forgotten),
        TEST(test_a_closed_connection_does_not_hold_an_ack),
        TEST(test_a_confirmed_ack_waits_for_the_servers_answer),
        TEST(test_the_token_of_a_confirmed_ack_names_source_and_sequence),
        TEST(test_an_unanswered_confirm_is_sent_three_times_in_all),
        TEST(test_the_delay_follows_the_backoff_whose_last_step_repeats),
        TEST(test_without_a_backoff_the_delay_is_a_second),
        TEST(test_a_rule_may_say_the_delay),
        TEST(test_a_retry_at_once_has_no_delay),
        TEST(test_a_delivered_count_of_nothing_takes_the_first_delay),
        TEST(test_giving_back_remembers_who_has_succeeded),
        TEST(test_giving_back_adds_to_what_earlier_tries_have_done),
        TEST(test_a_rejected_message_goes_to_the_dead_letters_at_once),
        TEST(test_the_last_try_goes_to_the_dead_letters),
        TEST(test_more_tries_than_allowed_go_there_too),
        TEST(test_msg_retry_does_not_outlive_the_tries),
        TEST(test_only_a_stored_dead_letter_lets_the_message_go),
        TEST(test_a_dead_letter_that_is_there_already_will_do),
        TEST(test_a_server_that_understands_it_is_told_the_reason),
        TEST(test_a_dead_letter_that_cannot_be_stored_gives_the_message_back),
        TEST(test_a_dead_letter_that_fails_ignores_the_delay_of_the_rule),
        TEST(test_without_memory_for_a_dead_letter_the_message_is_given_back),
        TEST(test_a_sign_of_life_restarts_the_servers_clock),
        TEST(test_what_no_rule_has_seen_is_given_back_at_once),
        TEST(test_with_cumulative_acks_a_failed_message_waits_here),
    };
    int status = cmocka_run_group_tests_name("settle", tests, NULL, NULL);
    fclose(nowhere);
    return status;
}
