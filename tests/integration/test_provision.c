#include "harness.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/api.h"
#include "bus/control.h"
#include "bus/json_scan.h"
#include "bus/provision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Streams and consumers on a real server: what is made, left alone, updated and refused. */

static void close_control(void *control)
{
    control_close(control);
}

static void free_config(void *config)
{
    free(config);
}

static struct nats_config *nats_config(struct harness *h)
{
    static char *urls[1];
    struct nats_config *config = calloc(1, sizeof(*config));
    assert_non_null(config);
    harness_defer(h, free_config, config);
    urls[0] = (char *)(uintptr_t)harness_url(h);
    config->urls = (struct string_list){.items = urls, .count = 1};
    config->connect_timeout_ns = 2 * NS_PER_S;
    config->reconnect_wait_ns = 50 * NS_PER_MS;
    config->max_reconnects = -1;
    return config;
}

static struct control *open_control(struct harness *h)
{
    struct control *control;
    struct error err;
    if (control_open(&control, nats_config(h), NULL, &err) != 0)
        harness_fail(h, "%s", err.text);
    harness_defer(h, close_control, control);
    return control;
}

/* Calls the API and checks that the server takes it. */
static void call(struct control *control, const char *operation, const char *body)
{
    struct api_reply reply;
    struct error err;
    assert_int_equal(api_call(control, &reply, body, &err, "%s", operation), 0);
    assert_string_equal(reply.description, "");
    api_reply_free(&reply);
}

static int64_t info_integer(struct control *control, const char *operation, const char *path)
{
    struct api_reply reply;
    struct error err;
    int64_t value = -99;
    assert_int_equal(api_call(control, &reply, NULL, &err, "%s", operation), 0);
    json_scan_integer(reply.text, reply.size, path, &value);
    api_reply_free(&reply);
    return value;
}

/* The string at `path`, "" when there is none; good until the next call. */
static const char *info_string(struct control *control, const char *operation, const char *path)
{
    static char text[256];
    struct api_reply reply;
    struct error err;
    assert_int_equal(api_call(control, &reply, NULL, &err, "%s", operation), 0);
    json_scan_string(reply.text, reply.size, path, text, sizeof(text));
    api_reply_free(&reply);
    return text;
}

static struct string_list list(char **items)
{
    size_t count = 0;
    while (items[count] != NULL)
        count++;
    return (struct string_list){.items = items, .count = count};
}

#define LIST(...) list((char *[]){__VA_ARGS__, NULL})

static struct stream_config stream(char *name, struct string_list subjects)
{
    return (struct stream_config){.name = name,
                                  .subjects = subjects,
                                  .max_bytes = -1,
                                  .max_msgs = -1,
                                  .duplicate_window_ns = 120 * NS_PER_S,
                                  .replicas = 1};
}

static struct source_config source(void)
{
    return (struct source_config){.stream = "orders",
                                  .durable = "rules",
                                  .ack_wait_ns = 30 * NS_PER_S,
                                  .max_ack_pending = 20000};
}

/* What the log says while it is captured. */
static struct {
    FILE *file;
    char text[8192];
} capture;

static void start_capture(void)
{
    capture.file = tmpfile();
    assert_non_null(capture.file);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, capture.file);
}

static const char *end_capture(void)
{
    rewind(capture.file);
    capture.text[fread(capture.text, 1, sizeof(capture.text) - 1, capture.file)] = '\0';
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL);
    fclose(capture.file);
    return capture.text;
}

static void expect_text(struct harness *h, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        harness_fail(h, "\"%s\" is not in: %s", part, text);
}

static void test_a_missing_stream_is_created_as_configured(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    struct stream_config wanted = stream("orders", LIST("orders.>", "returns.*"));
    wanted.max_age_ns = 60 * NS_PER_S; /* shorter than the duplicate window, which is cut to it */
    wanted.max_msgs = 1000;
    assert_int_equal(provision_stream(control, &wanted, &err), 0);
    assert_int_equal(info_integer(control, "STREAM.INFO.orders", "config.max_age"), 60 * NS_PER_S);
    assert_int_equal(info_integer(control, "STREAM.INFO.orders", "config.max_msgs"), 1000);
    assert_int_equal(info_integer(control, "STREAM.INFO.orders", "config.duplicate_window"),
                     60 * NS_PER_S);
    assert_string_equal(info_string(control, "STREAM.INFO.orders", "config.subjects.1"),
                        "returns.*");
    assert_string_equal(info_string(control, "STREAM.INFO.orders", "config.storage"), "file");
    start_capture();
    assert_int_equal(provision_stream(control, &wanted, &err), 0);
    assert_string_equal(end_capture(), ""); /* the second time there is nothing to say */
}

static void test_an_existing_stream_is_left_alone_and_its_differences_are_logged(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    struct stream_config wanted = stream("orders", LIST("orders.>"));
    assert_int_equal(provision_stream(control, &wanted, &err), 0);
    wanted.max_age_ns = 7 * 86400 * NS_PER_S;
    wanted.subjects = LIST("orders.a");
    start_capture();
    assert_int_equal(provision_stream(control, &wanted, &err), 0);
    const char *log = end_capture();
    expect_text(h, log, "stream orders exists and is left as it is");
    expect_text(h, log, "max_age is 7d in the configuration");
    expect_text(h, log, "subjects are orders.a in the configuration and orders.> in the server");
    assert_int_equal(info_integer(control, "STREAM.INFO.orders", "config.max_age"), 0);
}

static void test_subjects_of_another_stream_are_an_error_that_names_it(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "first", "orders.>");
    struct stream_config wanted = stream("second", LIST("fine", "orders.new"));
    assert_int_equal(provision_stream(control, &wanted, &err), -1);
    expect_text(h, err.text, "stream second: its subject orders.new overlaps");
    expect_text(h, err.text, "stream first");
}

static void test_dead_letters_get_a_stream_of_their_own(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    assert_int_equal(provision_dead_letter(control, "dead.letters", &err), 0);
    assert_string_equal(info_string(control, "STREAM.INFO.dead_letters", "config.subjects.0"),
                        "dead.letters.>");
    assert_int_equal(provision_dead_letter(control, "dead.letters", &err), 0);
}

static void test_dead_letters_go_to_a_stream_that_takes_them_already(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "everything", "dead.*.*", "other");
    assert_int_equal(provision_dead_letter(control, "dead", &err), 0);
    assert_int_equal(info_integer(control, "STREAM.INFO.dead", "error.err_code"),
                     API_STREAM_MISSING);
}

static void test_a_stream_with_a_part_of_the_dead_letters_is_an_error(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "half", "dead.orders.>");
    assert_int_equal(provision_dead_letter(control, "dead", &err), -1);
    expect_text(h, err.text, "stream half takes a part");
}

static void test_a_stream_with_the_dead_letters_name_is_an_error(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "dead", "ringers.>");
    assert_int_equal(provision_dead_letter(control, "dead", &err), -1);
    expect_text(h, err.text, "stream dead exists and takes other subjects");
}

static void test_a_missing_consumer_is_created_as_configured(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    struct source_config wanted = source();
    wanted.filter = LIST("orders.new");
    wanted.start = START_TIME;
    wanted.start_time_ns = INT64_C(1767225600) * NS_PER_S;
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    static const char info[] = "CONSUMER.INFO.orders.rules";
    assert_string_equal(info_string(control, info, "config.ack_policy"), "explicit");
    assert_string_equal(info_string(control, info, "config.filter_subject"), "orders.new");
    assert_string_equal(info_string(control, info, "config.opt_start_time"),
                        "2026-01-01T00:00:00Z");
    assert_int_equal(info_integer(control, info, "config.max_deliver"), -1);
    assert_int_equal(info_integer(control, info, "config.ack_wait"), 30 * NS_PER_S);
    assert_int_equal(info_integer(control, info, "config.max_ack_pending"), 20000);
    start_capture();
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    assert_string_equal(end_capture(), "");
}

static void test_a_cumulative_source_acknowledges_all(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    struct source_config wanted = source();
    wanted.ack = ACK_CUMULATIVE;
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    assert_string_equal(info_string(control, "CONSUMER.INFO.orders.rules", "config.ack_policy"),
                        "all");
}

static void test_what_may_change_is_updated_and_the_rest_is_kept(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    static const char info[] = "CONSUMER.INFO.orders.rules";
    harness_stream(h, "orders", "orders.>");
    call(control, "CONSUMER.DURABLE.CREATE.orders.rules",
         "{\"stream_name\":\"orders\",\"config\":{\"durable_name\":\"rules\",\"description\":"
         "\"made by \\\"hand\\\"\",\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\","
         "\"backoff\":[1000000000,2000000000],\"max_deliver\":5,\"max_waiting\":77,"
         "\"filter_subject\":\"orders.old\"}}");
    struct source_config wanted = source();
    wanted.filter = LIST("orders.new");
    start_capture();
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    expect_text(h, end_capture(),
                "updated: filter is orders.new in the configuration and orders.old in the server");
    assert_string_equal(info_string(control, info, "config.filter_subject"), "orders.new");
    assert_string_equal(info_string(control, info, "config.description"), "made by \"hand\"");
    assert_int_equal(info_integer(control, info, "config.max_deliver"), -1);
    assert_int_equal(info_integer(control, info, "config.ack_wait"), 30 * NS_PER_S);
    assert_int_equal(info_integer(control, info, "config.max_ack_pending"), 20000);
    assert_int_equal(info_integer(control, info, "config.max_waiting"), 77);
    assert_int_equal(info_integer(control, info, "config.backoff.0"), -99);
    start_capture();
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    assert_string_equal(end_capture(), "");
}

static void test_another_start_is_an_error_that_names_the_field(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    struct source_config wanted = source();
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    wanted.start = START_NEW;
    assert_int_equal(provision_consumer(control, &wanted, &err), -1);
    expect_text(h, err.text,
                "consumer rules of stream orders: start (deliver_policy) is new in "
                "the configuration and all in the existing consumer");
}

static void test_another_ack_policy_is_an_error_that_names_the_field(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    struct source_config wanted = source();
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    wanted.ack = ACK_CUMULATIVE;
    assert_int_equal(provision_consumer(control, &wanted, &err), -1);
    expect_text(h, err.text, "ack (ack_policy) is all in the configuration and explicit");
}

static void test_a_push_consumer_is_an_error(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    call(control, "CONSUMER.DURABLE.CREATE.orders.rules",
         "{\"stream_name\":\"orders\",\"config\":{\"durable_name\":\"rules\","
         "\"deliver_subject\":\"push.here\",\"ack_policy\":\"explicit\"}}");
    struct source_config wanted = source();
    assert_int_equal(provision_consumer(control, &wanted, &err), -1);
    expect_text(h, err.text, "is a push consumer");
}

static void test_a_missing_stream_is_an_error_that_says_what_to_do(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    struct source_config wanted = source();
    assert_int_equal(provision_consumer(control, &wanted, &err), -1);
    expect_text(h, err.text, "stream orders does not exist: add it to `streams`");
}

static void test_a_filter_outside_the_stream_is_an_error(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    struct source_config wanted = source();
    wanted.filter = LIST("sensors.>");
    int result = provision_consumer(control, &wanted, &err);
    if (control_server_at_least(control, 2, 10, 0)) /* newer servers take any filter */
        return;
    assert_int_equal(result, -1);
    expect_text(h, err.text, "filter: the stream has no subject that matches it");
}

static void test_several_filters_need_a_server_that_knows_them(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    harness_stream(h, "orders", "orders.>");
    struct source_config wanted = source();
    wanted.filter = LIST("orders.new", "orders.paid");
    int result = provision_consumer(control, &wanted, &err);
    if (!control_server_at_least(control, 2, 10, 0)) {
        assert_int_equal(result, -1);
        expect_text(h, err.text, "several filters need nats-server 2.10 or newer");
        return;
    }
    assert_int_equal(result, 0);
    static const char info[] = "CONSUMER.INFO.orders.rules";
    assert_string_equal(info_string(control, info, "config.filter_subjects.1"), "orders.paid");
    wanted.filter = LIST("orders.old");
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    assert_string_equal(info_string(control, info, "config.filter_subject"), "orders.old");
}

static void test_the_state_of_a_consumer_tells_its_counts(struct harness *h)
{
    struct control *control = open_control(h);
    struct consumer_counts counts;
    struct error err;
    assert_int_equal(provision_consumer_state(control, "orders", "rules", &counts, &err),
                     CONSUMER_MISSING);
    harness_stream(h, "orders", "orders.>");
    assert_int_equal(provision_consumer_state(control, "orders", "rules", &counts, &err),
                     CONSUMER_MISSING);
    struct source_config wanted = source();
    assert_int_equal(provision_consumer(control, &wanted, &err), 0);
    harness_publish(h, "orders.new", "1");
    harness_publish(h, "orders.new", "2");
    int64_t deadline = harness_deadline(10000);
    do { /* 2.15 counts a moment after it has stored */
        assert_int_equal(provision_consumer_state(control, "orders", "rules", &counts, &err),
                         CONSUMER_PRESENT);
    } while (counts.num_pending < 2 && clock_monotonic_ns() < deadline);
    assert_int_equal(counts.num_pending, 2);
    assert_int_equal(counts.num_ack_pending, 0);
    assert_int_equal(counts.delivered_sequence, 0);
}

static void test_the_control_connection_waits_for_a_server_that_is_not_up(struct harness *h)
{
    atomic_bool cancelled = true;
    struct control *control;
    struct error err;
    start_capture();
    assert_int_equal(control_open(&control, nats_config(h), &cancelled, &err), -1);
    expect_text(h, end_capture(), "waiting for the server: nats://127.0.0.1");
    expect_text(h, err.text, "stopped while waiting");
    harness_server_start(h);
    control = open_control(h);
    assert_true(control_connected(control));
    assert_true(control_has_jetstream(control));
    assert_true(control_server_at_least(control, 2, 9, 0));
    assert_false(control_server_at_least(control, 99, 0, 0));
}

static void test_a_wrong_password_is_an_error_at_once(struct harness *h)
{
    struct nats_config *config = nats_config(h);
    struct control *control;
    struct error err;
    config->user = "bob";
    config->password = "wrong";
    assert_int_equal(control_open(&control, config, NULL, &err), -1);
    expect_text(h, err.text, "authorization violation: check nats.user and nats.password");
    assert_null(strstr(err.text, "wrong"));
}

static void test_after_a_restart_of_the_server_calls_work_again(struct harness *h)
{
    struct control *control = open_control(h);
    struct error err;
    struct stream_config wanted = stream("orders", LIST("orders.>"));
    harness_server_kill(h);
    harness_server_start(h);
    assert_int_equal(provision_stream(control, &wanted, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_missing_stream_is_created_as_configured),
        harness_test(test_an_existing_stream_is_left_alone_and_its_differences_are_logged),
        harness_test(test_subjects_of_another_stream_are_an_error_that_names_it),
        harness_test(test_dead_letters_get_a_stream_of_their_own),
        harness_test(test_dead_letters_go_to_a_stream_that_takes_them_already),
        harness_test(test_a_stream_with_a_part_of_the_dead_letters_is_an_error),
        harness_test(test_a_stream_with_the_dead_letters_name_is_an_error),
        harness_test(test_a_missing_consumer_is_created_as_configured),
        harness_test(test_a_cumulative_source_acknowledges_all),
        harness_test(test_what_may_change_is_updated_and_the_rest_is_kept),
        harness_test(test_another_start_is_an_error_that_names_the_field),
        harness_test(test_another_ack_policy_is_an_error_that_names_the_field),
        harness_test(test_a_push_consumer_is_an_error),
        harness_test(test_a_missing_stream_is_an_error_that_says_what_to_do),
        harness_test(test_a_filter_outside_the_stream_is_an_error),
        harness_test(test_several_filters_need_a_server_that_knows_them),
        harness_test(test_the_state_of_a_consumer_tells_its_counts),
        harness_test_with(test_the_control_connection_waits_for_a_server_that_is_not_up,
                          .no_server = true),
        harness_test_with(test_a_wrong_password_is_an_error_at_once,
                          .server_config = "authorization { user: bob, password: right }",
                          .user = "bob", .password = "right"),
        harness_test(test_after_a_restart_of_the_server_calls_work_again),
    };
    return cmocka_run_group_tests_name("provision", tests, NULL, NULL);
}
