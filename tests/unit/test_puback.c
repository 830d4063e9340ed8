#include "bus/puback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static char why[128];

/* Parses a copy of just the text's size, so that a read past its end is seen by a sanitizer. */
static enum puback parse(const char *text)
{
    size_t size = strlen(text);
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    memset(why, 'x', sizeof(why));
    why[0] = '\0';
    enum puback puback = puback_parse(copy, size, why, sizeof(why));
    free(copy);
    return puback;
}

#define ERROR(code, err_code, description)                                                         \
    "{\"error\":{\"code\":" code ",\"err_code\":" err_code ",\"description\":\"" description       \
    "\"},\"stream\":\"E\",\"seq\":0}"

static void test_a_stored_message_is_answered_with_stream_and_sequence(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"stream\":\"E\", \"seq\":60001}"), PUBACK_STORED);
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":1}"), PUBACK_STORED);
    assert_int_equal(parse(" \r\n{ \"seq\" : 1 , \"stream\" : \"E\" } "), PUBACK_STORED);
}

static void test_fields_of_newer_servers_change_nothing(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"stream\":\"E\",\"domain\":\"hub\",\"seq\":1}"), PUBACK_STORED);
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":9,\"batch\":\"b1\",\"count\":3}"),
                     PUBACK_STORED);
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":9,\"val\":\"12\"}"), PUBACK_STORED);
}

static void test_a_duplicate_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"stream\":\"E\", \"seq\":120006,\"duplicate\": true}"),
                     PUBACK_DUPLICATE);
    assert_int_equal(parse("{\"duplicate\":true,\"stream\":\"E\",\"seq\":2}"), PUBACK_DUPLICATE);
}

/* Seen of nats-server 2.10.27 after a leader was stopped; 2.11 and later say it as an error. */
static void test_an_id_that_is_known_while_nothing_is_stored_is_no_duplicate(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"stream\":\"E\", \"seq\":0,\"duplicate\": true}"), PUBACK_STAGED);
    assert_string_equal(why, "the stream's leader knows the id, but has not stored the message");
    assert_int_equal(parse(ERROR("409", "10158", "duplicate message id is in process")),
                     PUBACK_STAGED);
    assert_string_equal(why, "duplicate message id is in process (10158)");
}

static void test_without_a_sequence_nothing_is_stored(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":0}"), PUBACK_STAGED);
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":-1}"), PUBACK_STAGED);
}

static void test_only_a_true_duplicate_is_one(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":2,\"duplicate\":false}"), PUBACK_STORED);
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":2,\"duplicate\":null}"), PUBACK_STORED);
    assert_int_equal(parse("{\"stream\":\"duplicate\",\"seq\":2}"), PUBACK_STORED);
    assert_int_equal(parse("{\"stream\":\"E\",\"seq\":2,\"x\":{\"duplicate\":true}}"),
                     PUBACK_STORED);
}

static void test_an_error_counts_before_the_sequence(void **state)
{
    (void)state;
    assert_int_equal(parse(ERROR("400", "10071", "wrong last sequence: 180000")), PUBACK_REFUSED);
    assert_string_equal(why, "wrong last sequence: 180000 (10071)");
}

static void test_a_full_stream_is_a_refusal_that_passes(void **state)
{
    (void)state;
    assert_int_equal(parse(ERROR("503", "10077", "maximum messages exceeded")), PUBACK_PASSING);
    assert_string_equal(why, "maximum messages exceeded (10077)");
}

static void test_what_the_server_lacks_for_now_passes(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ERROR("503", "10008", "JetStream system temporarily unavailable"),
        ERROR("503", "10023", "insufficient resources"),
        ERROR("500", "10028", "JetStream memory resources exceeded"),
        ERROR("503", "10039", "JetStream not enabled for account"),
        ERROR("500", "10047", "JetStream storage resources exceeded"),
        ERROR("500", "10118", "stream is offline"),
        ERROR("429", "10167", "too many requests"),
        "{\"error\":{\"code\":503,\"description\":\"x\"}}",
        "{\"error\":{\"code\":500}}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i]) != PUBACK_PASSING)
            fail_msg("%s", texts[i]);
    }
}

static void test_an_unknown_fault_of_the_server_passes(void **state)
{
    (void)state;
    assert_int_equal(parse(ERROR("500", "19999", "of a later server")), PUBACK_PASSING);
}

static void test_what_asking_again_cannot_change_is_refused_for_good(void **state)
{
    (void)state;
    static const char *const texts[] = {
        ERROR("400", "10054", "message size exceeds maximum allowed"),
        ERROR("400", "10060", "expected stream does not match"),
        ERROR("400", "10070", "wrong last msg ID: x"),
        ERROR("400", "10109", "invalid operation on sealed stream"),
        ERROR("400", "10164", "wrong last sequence"),
        ERROR("400", "10166", "per-message TTL is disabled"),
        ERROR("400", "19999", "of a later server"),
        "{\"error\":{}}",
        "{\"error\":{\"code\":404}}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i]) != PUBACK_REFUSED)
            fail_msg("%s", texts[i]);
    }
}

static void test_a_refusal_without_words_has_its_code(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"error\":{\"code\":404}}"), PUBACK_REFUSED);
    assert_string_equal(why, "refused (404)");
    assert_int_equal(parse("{\"error\":{\"code\":400,\"err_code\":10070}}"), PUBACK_REFUSED);
    assert_string_equal(why, "refused (10070)");
}

static void test_a_null_error_is_none(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"error\":null,\"stream\":\"E\",\"seq\":2}"), PUBACK_STORED);
}

static void test_an_answer_that_is_no_puback_is_refused_with_a_hint(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "ok",
        "null",
        "[]",
        "{}",
        "\"seq\"",
        "{\"seq\":1",
        "{\"seq\":\"1\"}",
        "{\"seq\":1.5}",
        "{\"seq\":99999999999999999999}",
        "{\"seq\":1}{\"seq\":2}",
        "{\"stream\":\"E\"}",
        "{\"seq\":1,\"error\":",
        "{\"error\":\"no\"",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i]) != PUBACK_REFUSED)
            fail_msg("%s", texts[i]);
        assert_string_equal(why,
                            "the answer is no PubAck: is a responder listening on the subject?");
    }
}

static void test_a_description_too_long_to_keep_does_not_hide_the_code(void **state)
{
    (void)state;
    char text[2048] = "{\"error\":{\"code\":400,\"err_code\":10052,\"description\":\"";
    memset(text + strlen(text), 'y', 1500);
    strcat(text, "\"}}");
    assert_int_equal(parse(text), PUBACK_REFUSED);
    assert_non_null(strstr(why, "(10052)"));
}

static void test_the_words_are_cut_to_the_room_given(void **state)
{
    (void)state;
    char small[8] = "1234567";
    const char *text = ERROR("400", "10052", "a description");
    assert_int_equal(puback_parse(text, strlen(text), small, 4), PUBACK_REFUSED);
    assert_memory_equal(small,
                        "a d\0"
                        "567",
                        8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stored_message_is_answered_with_stream_and_sequence),
        cmocka_unit_test(test_fields_of_newer_servers_change_nothing),
        cmocka_unit_test(test_a_duplicate_is_told_apart),
        cmocka_unit_test(test_an_id_that_is_known_while_nothing_is_stored_is_no_duplicate),
        cmocka_unit_test(test_without_a_sequence_nothing_is_stored),
        cmocka_unit_test(test_only_a_true_duplicate_is_one),
        cmocka_unit_test(test_an_error_counts_before_the_sequence),
        cmocka_unit_test(test_a_full_stream_is_a_refusal_that_passes),
        cmocka_unit_test(test_what_the_server_lacks_for_now_passes),
        cmocka_unit_test(test_an_unknown_fault_of_the_server_passes),
        cmocka_unit_test(test_what_asking_again_cannot_change_is_refused_for_good),
        cmocka_unit_test(test_a_refusal_without_words_has_its_code),
        cmocka_unit_test(test_a_null_error_is_none),
        cmocka_unit_test(test_an_answer_that_is_no_puback_is_refused_with_a_hint),
        cmocka_unit_test(test_a_description_too_long_to_keep_does_not_hide_the_code),
        cmocka_unit_test(test_the_words_are_cut_to_the_room_given),
    };
    return cmocka_run_group_tests_name("puback", tests, NULL, NULL);
}
