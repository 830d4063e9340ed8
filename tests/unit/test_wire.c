#include "bus/library.h"
#include "bus/wire.h"

#include <nats/nats.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* --- acknowledgement subjects --- */

static void assert_slice(const char *slice, size_t size, const char *wanted)
{
    assert_int_equal(size, strlen(wanted));
    assert_memory_equal(slice, wanted, size);
}

static void assert_no_ack_subject(const char *reply)
{
    struct ack_subject ack;
    if (ack_subject_parse(reply, &ack) != -1)
        fail_msg("taken for an acknowledgement subject: %s", reply != NULL ? reply : "NULL");
}

static void test_an_ack_subject_has_nine_tokens(void **state)
{
    (void)state;
    struct ack_subject ack;
    const char *reply = "$JS.ACK.clientA_sensor.rule_executor.3.1042.2001.1732300000123456789.77";
    assert_int_equal(ack_subject_parse(reply, &ack), 0);
    assert_slice(ack.stream, ack.stream_size, "clientA_sensor");
    assert_slice(ack.consumer, ack.consumer_size, "rule_executor");
    assert_int_equal(ack.delivered, 3);
    assert_int_equal(ack.stream_sequence, 1042);
    assert_int_equal(ack.consumer_sequence, 2001);
    assert_int_equal(ack.time_ns, INT64_C(1732300000123456789));
    assert_int_equal(ack.pending, 77);
}

static void assert_second_version(const char *reply)
{
    struct ack_subject ack;
    assert_int_equal(ack_subject_parse(reply, &ack), 0);
    assert_slice(ack.stream, ack.stream_size, "S");
    assert_slice(ack.consumer, ack.consumer_size, "C");
    assert_int_equal(ack.delivered, 1);
    assert_int_equal(ack.stream_sequence, 2);
    assert_int_equal(ack.consumer_sequence, 3);
    assert_int_equal(ack.time_ns, 4);
    assert_int_equal(ack.pending, 5);
}

static void test_an_ack_subject_of_the_second_version_names_domain_and_account(void **state)
{
    (void)state;
    assert_second_version("$JS.ACK._.AHASH.S.C.1.2.3.4.5");
    assert_second_version("$JS.ACK.hub.AHASH.S.C.1.2.3.4.5");
}

static void test_tokens_after_the_eleventh_are_for_later_versions(void **state)
{
    (void)state;
    assert_second_version("$JS.ACK._.AHASH.S.C.1.2.3.4.5.random");
    assert_second_version("$JS.ACK._.AHASH.S.C.1.2.3.4.5.a.b.c.d.e.f.g.h");
    assert_second_version("$JS.ACK._.AHASH.S.C.1.2.3.4.5.");
}

static void test_any_other_number_of_tokens_is_no_ack_subject(void **state)
{
    (void)state;
    assert_no_ack_subject("$JS.ACK.");
    assert_no_ack_subject("$JS.ACK.S");
    assert_no_ack_subject("$JS.ACK.S.C.1.2.3.4");
    assert_no_ack_subject("$JS.ACK._.AHASH.S.C.1.2.3.4");
}

static void test_what_is_no_ack_subject_is_refused(void **state)
{
    (void)state;
    assert_no_ack_subject(NULL);
    assert_no_ack_subject("");
    assert_no_ack_subject("$JS.ACK");
    assert_no_ack_subject("$JS.NAK.S.C.1.2.3.4.5");
    assert_no_ack_subject("$js.ack.S.C.1.2.3.4.5");
    assert_no_ack_subject("_INBOX.x.$JS.ACK.S.C.1.2.3.4.5");
    assert_no_ack_subject("........");
    assert_no_ack_subject("$JS.ACK.......");
}

static void test_the_numbers_of_an_ack_subject_are_checked(void **state)
{
    (void)state;
    assert_no_ack_subject("$JS.ACK.S.C.x.2.3.4.5");
    assert_no_ack_subject("$JS.ACK.S.C.1.-2.3.4.5");
    assert_no_ack_subject("$JS.ACK.S.C.1.+2.3.4.5");
    assert_no_ack_subject("$JS.ACK.S.C.1. 2.3.4.5");
    assert_no_ack_subject("$JS.ACK.S.C.1.2.3.4.");
    assert_no_ack_subject("$JS.ACK.S.C..2.3.4.5");
    assert_no_ack_subject("$JS.ACK.S.C.1.2.3.4.5x");
    assert_no_ack_subject("$JS.ACK.S.C.1.2.3.4.0x5");
    assert_no_ack_subject("$JS.ACK.S.C.1.18446744073709551616.3.4.5");
    assert_no_ack_subject("$JS.ACK.S.C.1.99999999999999999999999999999999.3.4.5");
}

static void test_a_time_that_int64_cannot_hold_makes_no_ack_subject(void **state)
{
    (void)state;
    assert_no_ack_subject("$JS.ACK.S.C.1.2.3.9223372036854775808.5");
    assert_no_ack_subject("$JS.ACK._.AHASH.S.C.1.2.3.18446744073709551615.5");
}

static void test_the_largest_number_of_an_ack_subject_fits(void **state)
{
    (void)state;
    struct ack_subject ack;
    const char *reply = "$JS.ACK.S.C.1.18446744073709551615.3.4.18446744073709551615";
    assert_int_equal(ack_subject_parse(reply, &ack), 0);
    assert_true(ack.stream_sequence == UINT64_MAX);
    assert_true(ack.pending == UINT64_MAX);
}

static void test_stream_and_consumer_of_an_ack_subject_are_not_empty(void **state)
{
    (void)state;
    assert_no_ack_subject("$JS.ACK..C.1.2.3.4.5");
    assert_no_ack_subject("$JS.ACK.S..1.2.3.4.5");
}

/* --- statuses --- */

static void test_each_status_has_its_meaning(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *description;
        enum pull_status status;
    } rows[] = {
        {100, "Idle Heartbeat", PULL_STATUS_HEARTBEAT},
        {404, "No Messages", PULL_STATUS_ENDED},
        {408, "Request Timeout", PULL_STATUS_ENDED},
        {408, "Requests Pending", PULL_STATUS_ENDED},
        {408, "Interest Expired", PULL_STATUS_ENDED},
        {409, "Exceeded MaxWaiting", PULL_STATUS_TOO_MANY},
        {409, "Exceeded MaxRequestBatch of 10", PULL_STATUS_LIMIT},
        {409, "Exceeded MaxRequestExpires of 1s", PULL_STATUS_LIMIT},
        {409, "Exceeded MaxRequestMaxBytes of 1024", PULL_STATUS_LIMIT},
        {409, "Message Size Exceeds MaxBytes", PULL_STATUS_ENDED},
        {409, "Batch Completed", PULL_STATUS_ENDED},
        {409, "Leadership Change", PULL_STATUS_ALL_ENDED},
        {409, "Server Shutdown", PULL_STATUS_ALL_ENDED},
        {409, "Consumer Deleted", PULL_STATUS_DELETED},
        {409, "Consumer is push based", PULL_STATUS_REFUSED},
        {409, "something of a later server", PULL_STATUS_ENDED},
        {409, NULL, PULL_STATUS_ENDED},
        {400, "Bad Request - heartbeat value too large", PULL_STATUS_REFUSED},
        {412, "Required Api Level", PULL_STATUS_REFUSED},
        {423, "Nats-Wrong-Pin-Id", PULL_STATUS_REFUSED},
        {503, NULL, PULL_STATUS_UNAVAILABLE},
        {0, NULL, PULL_STATUS_REFUSED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (pull_status_of(rows[i].code, rows[i].description) != rows[i].status)
            fail_msg("%d %s", rows[i].code, rows[i].description);
    }
}

static void test_the_case_of_a_description_does_not_matter(void **state)
{
    (void)state;
    assert_int_equal(pull_status_of(409, "leadership change"), PULL_STATUS_ALL_ENDED);
    assert_int_equal(pull_status_of(409, "exceeded maxwaiting"), PULL_STATUS_TOO_MANY);
}

/* --- messages --- */

/* A message with the headers given as name, value, ... up to NULL. */
static struct wire_message *message_of(const char *payload, const char *const *headers)
{
    natsMsg *message = NULL;
    int size = (int)strlen(payload);
    assert_int_equal(natsMsg_Create(&message, "_INBOX.x.p0.1", NULL, payload, size), NATS_OK);
    for (; *headers != NULL; headers += 2)
        assert_int_equal(natsMsgHeader_Add(message, headers[0], headers[1]), NATS_OK);
    return (struct wire_message *)message;
}

struct seen_status {
    enum pull_status status;
    int code;
    char description[64];
    uint64_t pending;
};

static struct seen_status status_of(const char *payload, const char *const *headers)
{
    struct seen_status seen = {.description = ""};
    const char *description;
    struct wire_message *message = message_of(payload, headers);
    seen.status = wire_pull_status(message, &seen.code, &description, &seen.pending);
    if (description != NULL)
        snprintf(seen.description, sizeof(seen.description), "%s", description);
    wire_free(message);
    return seen;
}

#define HEADERS(...) ((const char *const[]){__VA_ARGS__, NULL, NULL})

static void test_a_status_tells_what_is_left_of_the_request(void **state)
{
    (void)state;
    struct seen_status seen =
        status_of("", HEADERS("Status", "408", "Description", "Request Timeout",
                              "Nats-Pending-Messages", "499", "Nats-Pending-Bytes", "0"));
    assert_int_equal(seen.status, PULL_STATUS_ENDED);
    assert_int_equal(seen.code, 408);
    assert_string_equal(seen.description, "Request Timeout");
    assert_int_equal(seen.pending, 499);
}

static void test_a_rest_that_is_no_number_is_none(void **state)
{
    (void)state;
    assert_int_equal(status_of("", HEADERS("Status", "408", "Nats-Pending-Messages", "-1")).pending,
                     0);
    assert_int_equal(status_of("", HEADERS("Status", "408", "Nats-Pending-Messages", "")).pending,
                     0);
    assert_int_equal(status_of("", HEADERS("Status", "408")).pending, 0);
}

static void test_a_message_with_a_payload_is_no_status(void **state)
{
    (void)state;
    assert_int_equal(status_of("{}", HEADERS("Status", "408")).status, PULL_STATUS_NONE);
}

static void test_an_empty_message_without_a_status_is_no_status(void **state)
{
    (void)state;
    assert_int_equal(status_of("", HEADERS("X", "1")).status, PULL_STATUS_NONE);
    assert_int_equal(status_of("", HEADERS(NULL)).status, PULL_STATUS_NONE);
}

static void test_a_status_that_is_no_number_is_a_refusal(void **state)
{
    (void)state;
    assert_int_equal(status_of("", HEADERS("Status", "soon")).status, PULL_STATUS_REFUSED);
    assert_int_equal(status_of("", HEADERS("Status", "99999999999999999999")).status,
                     PULL_STATUS_REFUSED);
}

static void test_a_header_is_found_by_its_name(void **state)
{
    (void)state;
    struct wire_message *message = message_of("x", HEADERS("Trace", "a", "Trace", "b"));
    assert_string_equal(wire_header(message, "Trace"), "a");
    assert_null(wire_header(message, "Other"));
    assert_string_equal(wire_subject(message), "_INBOX.x.p0.1");
    assert_null(wire_reply(message));
    assert_int_equal(wire_payload_size(message), 1);
    assert_memory_equal(wire_payload(message), "x", 1);
    wire_free(message);
}

struct seen_headers {
    char text[256];
};

static void note_header(void *context, const char *name, const char *value)
{
    struct seen_headers *seen = context;
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof(seen->text) - used, "%s=%s;", name, value);
}

static void test_each_header_is_visited_once_with_its_first_value(void **state)
{
    (void)state;
    struct seen_headers seen = {""};
    struct wire_message *message = message_of("x", HEADERS("Trace", "a", "Trace", "b"));
    wire_each_header(message, note_header, &seen);
    assert_string_equal(seen.text, "Trace=a;");
    wire_free(message);
}

static void test_each_value_of_a_header_can_be_visited(void **state)
{
    (void)state;
    struct seen_headers seen = {""};
    struct wire_message *message = message_of("x", HEADERS("Trace", "a", "Trace", ""));
    wire_each_header_value(message, note_header, &seen);
    assert_string_equal(seen.text, "Trace=a;Trace=;");
    wire_free(message);
}

static void test_a_message_without_headers_visits_none(void **state)
{
    (void)state;
    struct seen_headers seen = {""};
    struct wire_message *message = message_of("x", HEADERS(NULL));
    wire_each_header(message, note_header, &seen);
    wire_each_header_value(message, note_header, &seen);
    assert_string_equal(seen.text, "");
    wire_free(message);
}

/* --- all of them --- */

static int open_library(void **state)
{
    (void)state;
    return library_open(NULL);
}

static int close_library(void **state)
{
    (void)state;
    library_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ack_subject_has_nine_tokens),
        cmocka_unit_test(test_an_ack_subject_of_the_second_version_names_domain_and_account),
        cmocka_unit_test(test_tokens_after_the_eleventh_are_for_later_versions),
        cmocka_unit_test(test_any_other_number_of_tokens_is_no_ack_subject),
        cmocka_unit_test(test_what_is_no_ack_subject_is_refused),
        cmocka_unit_test(test_the_numbers_of_an_ack_subject_are_checked),
        cmocka_unit_test(test_a_time_that_int64_cannot_hold_makes_no_ack_subject),
        cmocka_unit_test(test_the_largest_number_of_an_ack_subject_fits),
        cmocka_unit_test(test_stream_and_consumer_of_an_ack_subject_are_not_empty),
        cmocka_unit_test(test_each_status_has_its_meaning),
        cmocka_unit_test(test_the_case_of_a_description_does_not_matter),
        cmocka_unit_test(test_a_status_tells_what_is_left_of_the_request),
        cmocka_unit_test(test_a_rest_that_is_no_number_is_none),
        cmocka_unit_test(test_a_message_with_a_payload_is_no_status),
        cmocka_unit_test(test_an_empty_message_without_a_status_is_no_status),
        cmocka_unit_test(test_a_status_that_is_no_number_is_a_refusal),
        cmocka_unit_test(test_a_header_is_found_by_its_name),
        cmocka_unit_test(test_each_header_is_visited_once_with_its_first_value),
        cmocka_unit_test(test_each_value_of_a_header_can_be_visited),
        cmocka_unit_test(test_a_message_without_headers_visits_none),
    };
    return cmocka_run_group_tests_name("wire", tests, open_library, close_library);
}
