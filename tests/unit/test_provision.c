#include "base/clock.h"
#include "bus/json_scan.h"
#include "bus/provision_compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The comparison of the configuration with what the server has; the server's part is text here. */

#define CONFIG_OF_STREAM                                                                           \
    "\"name\":\"orders\",\"subjects\":[\"orders.\\u003e\",\"returns.*\"],\"max_msgs\":-1,"         \
    "\"max_bytes\":-1,\"max_age\":0,\"storage\":\"file\",\"num_replicas\":1,"                      \
    "\"duplicate_window\":120000000000"

static const char STREAM_INFO[] = "{\"config\":{" CONFIG_OF_STREAM "}}";

static char *stream_subjects[] = {"returns.*", "orders.>"};

static struct stream_config stream(void)
{
    return (struct stream_config){.name = "orders",
                                  .subjects = {.items = stream_subjects, .count = 2},
                                  .max_bytes = -1,
                                  .max_msgs = -1,
                                  .duplicate_window_ns = 120 * NS_PER_S,
                                  .replicas = 1};
}

/* A consumer as servers up to 2.9 tell of it, and some fields that are not ours. */
#define CONFIG_OF_CONSUMER                                                                         \
    "\"durable_name\":\"rules\",\"description\":\"a \\\"quoted\\\" word\","                        \
    "\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"ack_wait\":30000000000,"             \
    "\"max_deliver\":-1,\"replay_policy\":\"instant\",\"max_waiting\":77,"                         \
    "\"max_ack_pending\":20000,\"num_replicas\":0"

static struct source_config source(void)
{
    return (struct source_config){.stream = "orders",
                                  .durable = "rules",
                                  .ack_wait_ns = 30 * NS_PER_S,
                                  .max_ack_pending = 20000};
}

static int consumer_compare(const struct source_config *wanted, const char *info,
                            char text[DIFFERENCES_SIZE])
{
    return consumer_differences(wanted, info, strlen(info), text);
}

static void expect_text_at(const char *json, const char *path, const char *expected)
{
    char text[256];
    assert_non_null(json);
    if (!json_scan_string(json, strlen(json), path, text, sizeof(text)))
        fail_msg("no string %s in %s", path, json);
    assert_string_equal(text, expected);
}

static void expect_integer_at(const char *json, const char *path, int64_t expected)
{
    int64_t value;
    assert_non_null(json);
    if (!json_scan_integer(json, strlen(json), path, &value))
        fail_msg("no integer %s in %s", path, json);
    assert_true(value == expected);
}

static void test_a_stream_as_configured_does_not_differ(void **state)
{
    (void)state;
    char text[DIFFERENCES_SIZE];
    struct stream_config wanted = stream(); /* its subjects come in another order */
    assert_int_equal(stream_differences(&wanted, STREAM_INFO, strlen(STREAM_INFO), text), 0);
    assert_string_equal(text, "");
}

static void test_every_field_of_a_stream_that_differs_is_named_with_both_values(void **state)
{
    (void)state;
    char text[DIFFERENCES_SIZE];
    struct stream_config wanted = stream();
    wanted.memory_storage = true;
    wanted.max_age_ns = 7 * 86400 * NS_PER_S;
    wanted.max_msgs = 5;
    wanted.replicas = 3;
    assert_int_equal(stream_differences(&wanted, STREAM_INFO, strlen(STREAM_INFO), text), 4);
    assert_string_equal(text, "storage is memory in the configuration and file in the server, "
                              "max_age is 7d in the configuration and 0s in the server, "
                              "max_msgs is 5 in the configuration and -1 in the server, "
                              "replicas is 3 in the configuration and 1 in the server");
}

static void test_another_subject_of_a_stream_is_a_difference(void **state)
{
    (void)state;
    char text[DIFFERENCES_SIZE];
    struct stream_config wanted = stream();
    wanted.subjects.count = 1;
    assert_int_equal(stream_differences(&wanted, STREAM_INFO, strlen(STREAM_INFO), text), 1);
    assert_string_equal(text, "subjects are returns.* in the configuration and orders.> returns.* "
                              "in the server");
}

static void test_long_differences_are_cut_and_still_counted(void **state)
{
    (void)state;
    char text[DIFFERENCES_SIZE], subject[300];
    memset(subject, 'a', sizeof(subject) - 1);
    subject[sizeof(subject) - 1] = '\0';
    char *subjects[] = {subject};
    struct stream_config wanted = stream();
    wanted.subjects = (struct string_list){.items = subjects, .count = 1};
    wanted.memory_storage = true;
    wanted.max_age_ns = wanted.max_msgs = wanted.max_bytes = 1;
    wanted.duplicate_window_ns = wanted.replicas = 7;
    assert_int_equal(stream_differences(&wanted, STREAM_INFO, strlen(STREAM_INFO), text), 7);
    assert_true(strlen(text) < DIFFERENCES_SIZE);
}

static void test_a_stream_is_created_with_all_that_is_configured(void **state)
{
    (void)state;
    struct stream_config wanted = stream();
    wanted.max_bytes = 1024;
    char *body = stream_create_body(&wanted);
    expect_text_at(body, "name", "orders");
    expect_text_at(body, "subjects.1", "orders.>");
    expect_text_at(body, "storage", "file");
    expect_integer_at(body, "max_bytes", 1024);
    expect_integer_at(body, "max_msgs", -1);
    expect_integer_at(body, "duplicate_window", 120 * NS_PER_S);
    expect_integer_at(body, "num_replicas", 1);
    free(body);
}

static void test_the_duplicate_window_is_cut_to_max_age(void **state)
{
    (void)state;
    struct stream_config wanted = stream();
    wanted.max_age_ns = 10 * NS_PER_S;
    char *body = stream_create_body(&wanted);
    expect_integer_at(body, "duplicate_window", 10 * NS_PER_S);
    free(body);
}

static void test_a_pattern_covers_another_when_it_matches_all_of_it(void **state)
{
    (void)state;
    assert_true(pattern_covers("dead.>", "dead.*.*"));
    assert_true(pattern_covers("dead.*.*", "dead.*.*"));
    assert_true(pattern_covers(">", "dead.>"));
    assert_true(pattern_covers("dead.>", "dead.>"));
    assert_true(pattern_covers("*.a", "dead.a"));
    assert_false(pattern_covers("dead.*", "dead.*.*"));
    assert_false(pattern_covers("dead.*.*", "dead.>"));
    assert_false(pattern_covers("dead.a.*", "dead.*.*"));
    assert_false(pattern_covers("dead.>", "dead"));
    assert_false(pattern_covers("dead.a", "dead.*"));
    assert_false(pattern_covers("dea.>", "dead.a"));
    assert_false(pattern_covers("dead.a.b", "dead.a"));
}

static void test_a_stream_takes_what_one_of_its_subjects_covers(void **state)
{
    (void)state;
    size_t size = strlen(STREAM_INFO);
    assert_true(stream_takes(STREAM_INFO, size, "orders.*.*"));
    assert_true(stream_takes(STREAM_INFO, size, "returns.a"));
    assert_false(stream_takes(STREAM_INFO, size, "returns.>"));
    assert_false(stream_takes("{}", 2, "orders.a"));
}

static void test_a_consumer_as_configured_does_not_differ(void **state)
{
    (void)state;
    static const char info[] = "{\"config\":{" CONFIG_OF_CONSUMER "}}";
    char text[DIFFERENCES_SIZE];
    struct error err;
    struct source_config wanted = source();
    assert_int_equal(consumer_compare(&wanted, info, text), 0);
    assert_int_equal(consumer_check_fixed(&wanted, info, strlen(info), &err), 0);
}

static void test_one_filter_and_several_are_compared_as_sets(void **state)
{
    (void)state;
    static const char none[] = "{\"config\":{" CONFIG_OF_CONSUMER "}}";
    static const char one[] = "{\"config\":{\"filter_subject\":\"a\"," CONFIG_OF_CONSUMER "}}";
    static const char two[] =
        "{\"config\":{\"filter_subjects\":[\"a\",\"b\"]," CONFIG_OF_CONSUMER "}}";
    char text[DIFFERENCES_SIZE];
    char *filters[] = {"b", "a"};
    struct source_config wanted = source();
    assert_int_equal(consumer_compare(&wanted, one, text), 1);
    assert_string_equal(text,
                        "filter is the whole stream in the configuration and a in the server");
    wanted.filter = (struct string_list){.items = filters, .count = 2};
    assert_int_equal(consumer_compare(&wanted, two, text), 0);
    assert_int_equal(consumer_compare(&wanted, one, text), 1);
    assert_string_equal(text, "filter is b a in the configuration and a in the server");
    wanted.filter.count = 1;
    assert_int_equal(consumer_compare(&wanted, none, text), 1);
    assert_string_equal(text,
                        "filter is b in the configuration and the whole stream in the server");
    wanted.filter.items = filters + 1;
    assert_int_equal(consumer_compare(&wanted, one, text), 0);
}

static void test_what_can_be_updated_is_named_with_both_values(void **state)
{
    (void)state;
    static const char info[] =
        "{\"config\":{\"inactive_threshold\":5000000000," CONFIG_OF_CONSUMER "}}";
    char text[DIFFERENCES_SIZE];
    struct source_config wanted = source();
    wanted.ack_wait_ns = 90 * NS_PER_S;
    wanted.max_ack_pending = 5;
    assert_int_equal(consumer_compare(&wanted, info, text), 3);
    assert_string_equal(text, "ack_wait is 90s in the configuration and 30s in the server, "
                              "max_ack_pending is 5 in the configuration and 20000 in the server, "
                              "inactive_threshold is 0s in the configuration and 5s in the server");
}

static void test_an_update_keeps_what_is_not_ours(void **state)
{
    (void)state;
    static const char info[] = "{\"config\":{\"filter_subject\":\"a\",\"backoff\":[1,2],"
                               "\"inactive_threshold\":5," CONFIG_OF_CONSUMER "}}";
    char *filters[] = {"b", "c"};
    struct source_config wanted = source();
    wanted.ack_wait_ns = 5 * NS_PER_S;
    wanted.filter = (struct string_list){.items = filters, .count = 2};
    char *body = consumer_update_body(&wanted, info, strlen(info));
    expect_text_at(body, "stream_name", "orders");
    expect_text_at(body, "config.durable_name", "rules");
    expect_text_at(body, "config.description", "a \"quoted\" word");
    expect_text_at(body, "config.deliver_policy", "all");
    expect_integer_at(body, "config.max_waiting", 77);
    expect_integer_at(body, "config.ack_wait", 5 * NS_PER_S);
    expect_text_at(body, "config.filter_subjects.1", "c");
    assert_false(json_scan_has(body, strlen(body), "config.filter_subject"));
    assert_false(json_scan_has(body, strlen(body), "config.backoff"));
    assert_false(json_scan_has(body, strlen(body), "config.inactive_threshold"));
    free(body);
}

static void test_a_consumer_is_created_with_its_start(void **state)
{
    (void)state;
    struct source_config wanted = source();
    wanted.start = START_SEQUENCE;
    wanted.start_sequence = 42;
    char *body = consumer_create_body(&wanted);
    expect_text_at(body, "config.deliver_policy", "by_start_sequence");
    expect_integer_at(body, "config.opt_start_seq", 42);
    expect_integer_at(body, "config.max_deliver", -1);
    free(body);
    wanted.start = START_TIME;
    wanted.start_time_ns = INT64_C(1767225600) * NS_PER_S + 5;
    body = consumer_create_body(&wanted);
    expect_text_at(body, "config.deliver_policy", "by_start_time");
    expect_text_at(body, "config.opt_start_time", "2026-01-01T00:00:00.000000005Z");
    free(body);
}

static void test_names_are_escaped_in_bodies(void **state)
{
    (void)state;
    struct source_config wanted = source();
    wanted.durable = "a\"b\\c\n";
    char *body = consumer_create_body(&wanted);
    expect_text_at(body, "config.durable_name", "a\"b\\c\n");
    free(body);
}

/* consumer_check_fixed must refuse and name `field`. */
static void expect_refusal(const struct source_config *wanted, const char *info, const char *field)
{
    struct error err = {""};
    assert_int_equal(consumer_check_fixed(wanted, info, strlen(info), &err), -1);
    if (strstr(err.text, field) == NULL)
        fail_msg("no \"%s\" in: %s", field, err.text);
}

static void test_what_no_update_can_change_is_refused(void **state)
{
    (void)state;
    static const char info[] = "{\"config\":{" CONFIG_OF_CONSUMER "}}";
    static const char push[] = "{\"config\":{\"deliver_subject\":\"x\"," CONFIG_OF_CONSUMER "}}";
    static const char groups[] = "{\"config\":{\"priority_policy\":\"overflow\","
                                 "\"priority_groups\":[\"g\"]," CONFIG_OF_CONSUMER "}}";
    struct source_config wanted = source();
    expect_refusal(&wanted, push, "push consumer");
    expect_refusal(&wanted, groups, "priority_groups");
    wanted.ack = ACK_CUMULATIVE;
    expect_refusal(&wanted, info, "ack (ack_policy) is all in the configuration and explicit");
    wanted.start = START_LAST;
    expect_refusal(&wanted, info, "start (deliver_policy) is last in the configuration and all");
}

static void test_another_start_sequence_or_time_is_refused(void **state)
{
    (void)state;
    static const char sequence[] = "{\"config\":{\"deliver_policy\":\"by_start_sequence\","
                                   "\"opt_start_seq\":5,\"ack_policy\":\"explicit\"}}";
    static const char time[] = "{\"config\":{\"deliver_policy\":\"by_start_time\","
                               "\"opt_start_time\":\"2026-01-01T00:00:00Z\","
                               "\"ack_policy\":\"explicit\"}}";
    struct error err;
    struct source_config wanted = source();
    wanted.start = START_SEQUENCE;
    wanted.start_sequence = 5;
    assert_int_equal(consumer_check_fixed(&wanted, sequence, strlen(sequence), &err), 0);
    wanted.start_sequence = 6;
    expect_refusal(&wanted, sequence, "opt_start_seq) is 6 in the configuration and 5 in");
    wanted.start = START_TIME;
    wanted.start_time_ns = INT64_C(1767225600) * NS_PER_S;
    assert_int_equal(consumer_check_fixed(&wanted, time, strlen(time), &err), 0);
    wanted.start_time_ns += 1;
    expect_refusal(&wanted, time, "2026-01-01T00:00:00.000000001Z");
}

static void test_cumulative_acks_are_refused_where_single_messages_leave(void **state)
{
    (void)state;
    static const struct {
        const char *config, *said;
    } cases[] = {
        {"\"retention\":\"workqueue\"", "workqueue"},
        {"\"retention\":\"limits\",\"max_msgs_per_subject\":3", "max_msgs_per_subject = 3"},
        {"\"max_msgs_per_subject\":-1,\"allow_msg_ttl\":true", "allow_msg_ttl"},
        {"\"retention\":\"limits\",\"max_msgs_per_subject\":-1,\"max_age\":5", NULL},
        {"\"retention\":\"interest\",\"allow_msg_ttl\":false", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char info[256];
        struct error err = {""};
        snprintf(info, sizeof(info), "{\"config\":{%s}}", cases[i].config);
        int result = stream_check_cumulative(info, strlen(info), &err);
        assert_int_equal(result, cases[i].said != NULL ? -1 : 0);
        if (cases[i].said != NULL && strstr(err.text, cases[i].said) == NULL)
            fail_msg("no \"%s\" in: %s", cases[i].said, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_as_configured_does_not_differ),
        cmocka_unit_test(test_every_field_of_a_stream_that_differs_is_named_with_both_values),
        cmocka_unit_test(test_another_subject_of_a_stream_is_a_difference),
        cmocka_unit_test(test_long_differences_are_cut_and_still_counted),
        cmocka_unit_test(test_a_stream_is_created_with_all_that_is_configured),
        cmocka_unit_test(test_the_duplicate_window_is_cut_to_max_age),
        cmocka_unit_test(test_a_pattern_covers_another_when_it_matches_all_of_it),
        cmocka_unit_test(test_a_stream_takes_what_one_of_its_subjects_covers),
        cmocka_unit_test(test_a_consumer_as_configured_does_not_differ),
        cmocka_unit_test(test_one_filter_and_several_are_compared_as_sets),
        cmocka_unit_test(test_what_can_be_updated_is_named_with_both_values),
        cmocka_unit_test(test_an_update_keeps_what_is_not_ours),
        cmocka_unit_test(test_a_consumer_is_created_with_its_start),
        cmocka_unit_test(test_names_are_escaped_in_bodies),
        cmocka_unit_test(test_cumulative_acks_are_refused_where_single_messages_leave),
        cmocka_unit_test(test_what_no_update_can_change_is_refused),
        cmocka_unit_test(test_another_start_sequence_or_time_is_refused),
    };
    return cmocka_run_group_tests_name("provision", tests, NULL, NULL);
}
