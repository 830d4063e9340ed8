#define BUS_FAKE_LINK_ONLY
#include "bus_fake.h"

#include "base/clock.h"
#include "bus/kv.h"
#include "mill/pipeline_kv.h"

#include <nats/nats.h>

/*
 * What the server's answers about a bucket mean (bus/kv.h), and the calls on buckets that take
 * several questions or never get an answer (mill/pipeline_kv.h).
 */

static char why[KV_WHY_SIZE];

/* --- answers --- */

static void test_a_puback_tells_the_revision(void **state)
{
    (void)state;
    static const char text[] = "{\"stream\":\"KV_b\",\"seq\":42}";
    uint64_t revision = 0;
    assert_int_equal(kv_read_stored(text, strlen(text), &revision, why), KV_ANSWER_DONE);
    assert_int_equal(revision, 42);
}

static void test_a_wrong_last_sequence_is_a_conflict(void **state)
{
    (void)state;
    static const char text[] = "{\"error\":{\"code\":400,\"err_code\":10071,\"description\":"
                               "\"wrong last sequence: 4\"},\"stream\":\"KV_b\",\"seq\":0}";
    uint64_t revision = 0;
    assert_int_equal(kv_read_stored(text, strlen(text), &revision, why), KV_ANSWER_CONFLICT);
}

static void test_any_other_refusal_is_told_in_the_servers_words(void **state)
{
    (void)state;
    static const char text[] = "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":"
                               "\"maximum bytes exceeded\"}}";
    uint64_t revision = 0;
    assert_int_equal(kv_read_stored(text, strlen(text), &revision, why), KV_ANSWER_FAILED);
    assert_string_equal(why, "maximum bytes exceeded (10077)");
}

static void test_what_is_no_answer_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "{", "hello", "{}", "{\"seq\":\"1\"}", "[]"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t number = 0;
        struct kv_entry entry;
        size_t size = strlen(texts[i]);
        assert_int_equal(kv_read_stored(texts[i], size, &number, why), KV_ANSWER_FAILED);
        assert_int_equal(kv_read_entry(texts[i], size, &entry, why), KV_ANSWER_FAILED);
        assert_int_equal(kv_read_list(texts[i], size, &number, why), KV_ANSWER_FAILED);
        assert_string_equal(why, "the answer is not understood");
    }
}

static void expect_entry(const char *message, const char *value, size_t size, bool deleted)
{
    char text[512];
    struct kv_entry entry = {0};
    snprintf(text, sizeof(text), "{\"message\":{\"subject\":\"$KV.b.a\",\"seq\":7%s}}", message);
    assert_int_equal(kv_read_entry(text, strlen(text), &entry, why), KV_ANSWER_DONE);
    assert_int_equal(entry.size, size);
    assert_memory_equal(entry.value, value, size);
    assert_int_equal(entry.revision, 7);
    assert_int_equal(entry.deleted, deleted);
    free(entry.value);
}

static void test_a_value_is_decoded_from_base64(void **state)
{
    (void)state;
    expect_entry("", "", 0, false);
    expect_entry(",\"data\":\"\"", "", 0, false);
    expect_entry(",\"data\":\"YQ==\"", "a", 1, false);
    expect_entry(",\"data\":\"YWI=\"", "ab", 2, false);
    expect_entry(",\"data\":\"YWJj\"", "abc", 3, false);
    expect_entry(",\"data\":\"+/8A/w==\"", "\xfb\xff\0\xff", 4, false);
}

static void test_bad_base64_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"message\":{\"seq\":7,\"data\":\"Y*==\"}}";
    struct kv_entry entry;
    assert_int_equal(kv_read_entry(text, strlen(text), &entry, why), KV_ANSWER_FAILED);
}

static void test_markers_are_known_by_their_headers(void **state)
{
    (void)state;
    /* NATS/1.0 and: KV-Operation: DEL, KV-Operation: PURGE and Nats-Rollup: sub,
       Nats-Marker-Reason: MaxAge, KV-Operation: PUT, X-Op: DEL */
    expect_entry(",\"hdrs\":\"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==\"", "", 0, true);
    expect_entry(",\"hdrs\":\"TkFUUy8xLjANCk5hdHMtUm9sbHVwOiBzdWINCktWLU9wZXJhdGlvbjogUFVSR0UNCg0K"
                 "\"",
                 "", 0, true);
    expect_entry(",\"hdrs\":\"TkFUUy8xLjANCk5hdHMtTWFya2VyLVJlYXNvbjogTWF4QWdlDQoNCg==\"", "", 0,
                 true);
    expect_entry(",\"hdrs\":\"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogUFVUDQoNCg==\"", "", 0, false);
    expect_entry(",\"hdrs\":\"TkFUUy8xLjANClgtT3A6IERFTA0KDQo=\"", "", 0, false);
}

static void test_no_message_is_none_and_no_stream_is_no_bucket(void **state)
{
    (void)state;
    static const char none[] = "{\"error\":{\"code\":404,\"err_code\":10037,\"description\":"
                               "\"no message found\"}}";
    static const char missing[] = "{\"error\":{\"code\":404,\"err_code\":10059,\"description\":"
                                  "\"stream not found\"}}";
    struct kv_entry entry;
    assert_int_equal(kv_read_entry(none, strlen(none), &entry, why), KV_ANSWER_NONE);
    assert_int_equal(kv_read_entry(missing, strlen(missing), &entry, why), KV_ANSWER_FAILED);
    assert_string_equal(why, "no bucket");
}

/* --- calls --- */

static struct {
    struct kv_calls *calls;
    int answers;
    uint32_t generation;
    uint64_t wait, revision;
    char error[200], payload[200];
    bool again; /* the answer begins another call */
} seen;

static void begin(enum kv_operation operation, int64_t now_ns)
{
    struct error err;
    struct kv_request request = {.operation = operation,
                                 .bucket = "b",
                                 .key = operation == KV_KEYS ? NULL : "a",
                                 .value = "value",
                                 .size = 5,
                                 .revision = 3};
    assert_int_equal(kv_calls_begin(seen.calls, 2, 77, &request, now_ns, &err), 0);
}

static void on_answered(void *context, uint32_t generation, uint64_t wait,
                        const struct reply *reply)
{
    assert_ptr_equal(context, &seen);
    seen.answers++;
    seen.generation = generation;
    seen.wait = wait;
    seen.revision = reply->revision;
    snprintf(seen.error, sizeof(seen.error), "%s", reply->error != NULL ? reply->error : "");
    snprintf(seen.payload, sizeof(seen.payload), "%s",
             reply->payload != NULL ? reply->payload : "(none)");
    if (seen.again)
        begin(KV_GET, 60 * NS_PER_S);
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    seen.calls = kv_calls_new(&bus.link, on_answered, &seen);
    return seen.calls != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    kv_calls_free(seen.calls);
    int left = (int)bus.outgoing_live;
    bus_fake_reset();
    return left;
}

static const struct sent *last_sent(void)
{
    assert_true(bus.sent_count > 0);
    return &bus.sent[bus.sent_count - 1];
}

/* Answers the last question. */
static void answer(const char *text, bool no_responders)
{
    natsMsg *message = NULL;
    assert_int_equal(natsMsg_Create(&message, "_INBOX.x", NULL, text, (int)strlen(text)), NATS_OK);
    kv_calls_reply(seen.calls, last_sent()->token, (struct wire_message *)message, no_responders);
    natsMsg_Destroy(message);
}

static void test_a_put_goes_to_the_keys_subject_and_is_answered_once(void **state)
{
    (void)state;
    begin(KV_PUT, 0);
    assert_string_equal(last_sent()->subject, "$KV.b.a");
    assert_string_equal(last_sent()->payload, "value");
    answer("{\"seq\":9}", false);
    answer("{\"seq\":10}", false);
    assert_int_equal(seen.answers, 1);
    assert_int_equal(seen.generation, 2);
    assert_int_equal(seen.wait, 77);
    assert_int_equal(seen.revision, 9);
    assert_int_equal(kv_calls_count(seen.calls), 0);
}

static void test_a_create_over_a_marker_is_done_again_with_its_revision(void **state)
{
    (void)state;
    static const char conflict[] = "{\"error\":{\"code\":400,\"err_code\":10071}}";
    begin(KV_CREATE, 0);
    answer(conflict, false);
    assert_string_equal(last_sent()->subject, "$JS.API.STREAM.MSG.GET.KV_b");
    assert_string_equal(last_sent()->payload, "{\"last_by_subj\":\"$KV.b.a\"}");
    answer("{\"message\":{\"seq\":4,\"hdrs\":\"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==\"}}",
           false);
    assert_string_equal(last_sent()->subject, "$KV.b.a");
    assert_string_equal(last_sent()->payload, "value");
    assert_int_equal(seen.answers, 0);
    answer(conflict, false); /* somebody else was faster */
    assert_string_equal(seen.error, "exists");
    assert_int_equal(kv_calls_count(seen.calls), 0);
}

static void test_a_put_that_nobody_takes_asks_whether_there_is_a_bucket(void **state)
{
    (void)state;
    begin(KV_PUT, 0);
    answer("", true);
    assert_string_equal(last_sent()->subject, "$JS.API.STREAM.INFO.KV_b");
    answer("{\"config\":{}}", false);
    assert_string_equal(seen.error, "no responders");
    begin(KV_PUT, 0);
    answer("", true);
    answer("", true);
    assert_string_equal(seen.error, "no responders");
}

static void test_a_list_removes_its_consumer(void **state)
{
    (void)state;
    begin(KV_KEYS, 0);
    answer("{\"name\":\"x\",\"num_pending\":2}", false);
    assert_non_null(strstr(last_sent()->subject, "$JS.API.CONSUMER.MSG.NEXT.KV_b.unique-k-"));
    assert_non_null(strstr(last_sent()->payload, "\"batch\":2"));
    answer("", false); /* a status: there is no more */
    assert_int_equal(seen.answers, 1);
    assert_string_equal(seen.payload, "");
    assert_non_null(strstr(last_sent()->subject, "$JS.API.CONSUMER.DELETE.KV_b.unique-k-"));
}

static void test_what_cannot_be_sent_is_an_error_at_once(void **state)
{
    (void)state;
    struct error err;
    struct kv_request request = {.operation = KV_GET, .bucket = "b", .key = "a"};
    bus.refusal = "closed";
    assert_int_equal(kv_calls_begin(seen.calls, 1, 1, &request, 0, &err), -1);
    assert_int_equal(kv_calls_count(seen.calls), 0);
    bus.refusal = NULL;
    begin(KV_CREATE, 0);
    bus.refusal = "closed";
    answer("{\"error\":{\"err_code\":10071}}", false);
    assert_string_equal(seen.error, "the request could not be sent");
    assert_int_equal(kv_calls_count(seen.calls), 0);
}

static void test_what_is_never_answered_is_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        begin(KV_GET, i);
    assert_int_equal(kv_calls_count(seen.calls), 100);
    begin(KV_GET, 11 * NS_PER_S);
    assert_int_equal(kv_calls_count(seen.calls), 1);
    assert_int_equal(seen.answers, 0);
}

static void test_the_answer_may_begin_another_call_long_after_the_first(void **state)
{
    (void)state;
    begin(KV_GET, 0);
    seen.again = true;
    answer("{\"message\":{\"seq\":1,\"data\":\"YQ==\"}}", false);
    assert_int_equal(seen.answers, 1);
    assert_int_equal(kv_calls_count(seen.calls), 1);
}

#define call_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_puback_tells_the_revision),
        cmocka_unit_test(test_a_wrong_last_sequence_is_a_conflict),
        cmocka_unit_test(test_any_other_refusal_is_told_in_the_servers_words),
        cmocka_unit_test(test_what_is_no_answer_is_refused),
        cmocka_unit_test(test_a_value_is_decoded_from_base64),
        cmocka_unit_test(test_bad_base64_is_refused),
        cmocka_unit_test(test_markers_are_known_by_their_headers),
        cmocka_unit_test(test_no_message_is_none_and_no_stream_is_no_bucket),
        call_test(test_a_put_goes_to_the_keys_subject_and_is_answered_once),
        call_test(test_a_create_over_a_marker_is_done_again_with_its_revision),
        call_test(test_a_put_that_nobody_takes_asks_whether_there_is_a_bucket),
        call_test(test_a_list_removes_its_consumer),
        call_test(test_what_cannot_be_sent_is_an_error_at_once),
        call_test(test_what_is_never_answered_is_forgotten),
        call_test(test_the_answer_may_begin_another_call_long_after_the_first),
    };
    if (nats_Open(-1) != NATS_OK)
        return 1;
    int failed = cmocka_run_group_tests_name("bus_kv", tests, NULL, NULL);
    nats_Close();
    return failed;
}
