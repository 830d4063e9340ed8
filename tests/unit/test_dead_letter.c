#include "mill/dead_letter.h"
#include "unit/bus_fake.h"

/* Dead letters, sent through a real outbox on a fake link. */

static const struct source_config config = {.stream = "clientA_sensor", .durable = "executor"};
static struct source source;
static struct outbox *outbox;

static void on_done(void *context, void *token, const struct outbox_result *result)
{
    (void)context;
    (void)token;
    (void)result;
}

static int open_outbox(void **state)
{
    (void)state;
    memset(&source, 0, sizeof(source));
    source.config = &config;
    return outbox_open(&outbox, &bus.link, INT64_C(30000000000), on_done, NULL, NULL);
}

static int close_outbox(void **state)
{
    (void)state;
    while (source.oldest != NULL)
        delivery_free(source.oldest);
    source_free_spares(&source);
    outbox_free(outbox);
    int status = bus.outgoing_live == 0 ? 0 : -1;
    bus_fake_reset();
    return status;
}

static struct wire_message message = {
    .subject = "sensors.value", .payload = "{\"value\":1}", .payload_size = 11};

/* The delivery of a message with these headers (NULL: none), delivered for the fifth time. */
static struct delivery *deliver(const struct fake_header *headers)
{
    struct ack_subject ack = {.stream_sequence = 1042, .delivered = 5};
    message.headers = headers;
    struct delivery *delivery = delivery_new(&source, &message, &ack, 1);
    assert_non_null(delivery);
    return delivery;
}

static void bury(struct delivery *delivery)
{
    struct error err;
    assert_int_equal(dead_letter_send(outbox, "dead", "v1", delivery, 1, &err), 0);
    assert_int_equal(bus.sent_count, 1);
}

static void assert_header(const char *name, const char *value)
{
    const char *found = outgoing_header_of(bus.last, name);
    assert_non_null(found);
    assert_string_equal(found, value);
}

static void assert_no_header(const char *name)
{
    assert_null(outgoing_header_of(bus.last, name));
}

static void test_a_dead_letter_is_the_message_on_a_subject_of_its_own(void **state)
{
    (void)state;
    bury(deliver(NULL));
    assert_string_equal(bus.sent[0].subject, "dead.clientA_sensor.executor");
    assert_string_equal(bus.sent[0].payload, "{\"value\":1}");
    assert_int_equal(bus.sent[0].kind, REPLY_PUBLISH);
}

static void test_its_id_is_the_same_however_often_it_is_sent(void **state)
{
    (void)state;
    bury(deliver(NULL));
    assert_string_equal(bus.sent[0].id, "clientA_sensor:1042:executor:dead");
}

static void test_its_headers_say_what_happened(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(NULL);
    delivery_fail(delivery, VERDICT_AGAIN, "error", "high_value", "rules/high_value.lua:7: boom",
                  NULL);
    bury(delivery);
    assert_header("Tidemill-Reason", "error");
    assert_header("Tidemill-Rule", "high_value");
    assert_header("Tidemill-Error", "rules/high_value.lua:7: boom");
    assert_header("Tidemill-Subject", "sensors.value");
    assert_header("Tidemill-Stream", "clientA_sensor");
    assert_header("Tidemill-Sequence", "1042");
    assert_header("Tidemill-Delivered", "5");
    assert_header("Tidemill-Rules-Version", "v1");
}

static void test_its_time_is_utc(void **state)
{
    (void)state;
    int year, month, day, hour, minute, second, millisecond, end = 0;
    bury(deliver(NULL));
    const char *time = outgoing_header_of(bus.last, "Tidemill-Time");
    assert_non_null(time);
    assert_int_equal(sscanf(time, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour,
                            &minute, &second, &millisecond, &end),
                     7);
    assert_int_equal(time[end], '\0');
    assert_in_range(year, 2024, 2262);
}

static void test_no_rules_fault_names_no_rule(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(NULL);
    delivery_fail(delivery, VERDICT_REJECT, "max_deliver", NULL, "delivered 6 times", NULL);
    bury(delivery);
    assert_no_header("Tidemill-Rule");
    assert_header("Tidemill-Reason", "max_deliver");
}

static void test_line_ends_are_written_as_escapes(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(NULL);
    delivery_fail(delivery, VERDICT_AGAIN, "error", "a", "one\r\ntwo", "stack:\n\tx.lua:1");
    bury(delivery);
    assert_header("Tidemill-Error", "one\\r\\ntwo\\nstack:\\n\tx.lua:1");
}

static void test_a_header_can_not_be_smuggled_in_by_an_error(void **state)
{
    (void)state;
    struct delivery *delivery = deliver(NULL);
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "a", "x\r\nNats-TTL: 1s\r\n\r\n", NULL);
    bury(delivery);
    assert_header("Tidemill-Error", "x\\r\\nNats-TTL: 1s\\r\\n\\r\\n");
    assert_no_header("Nats-TTL");
}

static void test_a_huge_error_is_cut(void **state)
{
    (void)state;
    enum { HUGE_SIZE = 100000, KEPT_MAX = 8192 };
    struct delivery *delivery = deliver(NULL);
    char *text = malloc(HUGE_SIZE);
    assert_non_null(text);
    memset(text, '\n', HUGE_SIZE - 1);
    text[HUGE_SIZE - 1] = '\0';
    delivery_fail(delivery, VERDICT_AGAIN, "error", "a", text, text);
    free(text);
    bury(delivery);
    const char *error = outgoing_header_of(bus.last, "Tidemill-Error");
    assert_in_range(strlen(error), KEPT_MAX - 16, KEPT_MAX - 1);
    assert_null(strchr(error, '\n'));
    assert_int_equal(strlen(error) % 2, 0); /* no escape is cut in half */
}

static void test_the_messages_own_headers_go_along(void **state)
{
    (void)state;
    bury(deliver((struct fake_header[]){{"Trace", "7"}, {"x-empty", ""}, {NULL, NULL}}));
    assert_header("Trace", "7");
    assert_header("x-empty", "");
}

static void test_all_values_of_a_header_go_along(void **state)
{
    (void)state;
    bury(deliver((struct fake_header[]){{"Via", "a"}, {"Via", "b"}, {NULL, NULL}}));
    size_t found = 0;
    for (size_t i = 0; i < bus.last->header_count; i++) {
        const struct fake_header *header = &bus.last->headers[i];
        if (strcmp(header->name, "Via") == 0)
            assert_string_equal(header->value, found++ == 0 ? "a" : "b");
    }
    assert_int_equal(found, 2);
}

static void test_headers_the_server_acts_upon_are_renamed(void **state)
{
    (void)state;
    bury(deliver((struct fake_header[]){{"Nats-Msg-Id", "theirs"},
                                        {"nats-ttl", "5s"},
                                        {"Nats-Expected-Last-Sequence", "3"},
                                        {NULL, NULL}}));
    assert_string_equal(bus.sent[0].id, "clientA_sensor:1042:executor:dead");
    assert_header("Tidemill-Original-Nats-Msg-Id", "theirs");
    assert_header("Tidemill-Original-nats-ttl", "5s");
    assert_header("Tidemill-Original-Nats-Expected-Last-Sequence", "3");
    assert_no_header("Nats-TTL");
    assert_no_header("Nats-Expected-Last-Sequence");
}

static void test_a_message_cannot_forge_why_it_is_dead(void **state)
{
    (void)state;
    struct delivery *delivery = deliver((struct fake_header[]){
        {"Tidemill-Reason", "forged"}, {"tidemill-rule", "forged"}, {NULL, NULL}});
    delivery_fail(delivery, VERDICT_REJECT, "rejected", "a", "no", NULL);
    bury(delivery);
    assert_header("Tidemill-Reason", "rejected");
    assert_header("Tidemill-Rule", "a");
    assert_header("Tidemill-Original-Tidemill-Reason", "forged");
    assert_header("Tidemill-Original-tidemill-rule", "forged");
}

static void test_without_memory_nothing_is_sent(void **state)
{
    (void)state;
    struct error err = {""};
    struct delivery *delivery = deliver((struct fake_header[]){{"Trace", "7"}, {NULL, NULL}});
    bus.no_memory = true;
    assert_int_equal(dead_letter_send(outbox, "dead", "v1", delivery, 1, &err), -1);
    assert_string_equal(err.text, "out of memory");
    bus.no_memory = false;
    for (int headers = 0; headers < 8; headers++) {
        bus.headers_left = headers;
        assert_int_equal(dead_letter_send(outbox, "dead", "v1", delivery, 1, &err), -1);
    }
    assert_int_equal(bus.sent_count, 0);
    assert_int_equal(outbox_count(outbox), 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_outbox, close_outbox)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_dead_letter_is_the_message_on_a_subject_of_its_own),
        TEST(test_its_id_is_the_same_however_often_it_is_sent),
        TEST(test_its_headers_say_what_happened),
        TEST(test_its_time_is_utc),
        TEST(test_no_rules_fault_names_no_rule),
        TEST(test_line_ends_are_written_as_escapes),
        TEST(test_a_header_can_not_be_smuggled_in_by_an_error),
        TEST(test_a_huge_error_is_cut),
        TEST(test_the_messages_own_headers_go_along),
        TEST(test_all_values_of_a_header_go_along),
        TEST(test_headers_the_server_acts_upon_are_renamed),
        TEST(test_a_message_cannot_forge_why_it_is_dead),
        TEST(test_without_memory_nothing_is_sent),
    };
    return cmocka_run_group_tests_name("dead_letter", tests, NULL, NULL);
}
