#include "faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/*
 * Each metric moves as docs/operations.md says, asked over HTTP of a running process; the page as a
 * whole (promtool, the table in the documentation) is test_metrics_page.c's.
 */

enum { PATIENCE_MS = 20000, STEP_MS = 20, KEY_SIZE = 256 };

/* ---- what the page says ---- */

static const char *scrape(struct process *mill)
{
    const char *body = NULL;
    assert_int_equal(harness_http(mill, "/metrics", &body), 200);
    return body;
}

/* The value of a series, named as on the page: "tidemill_ready", "name{label=\"value\"}". */
static double value_on(const char *page, const char *series)
{
    size_t size = strlen(series);
    for (const char *line = page; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, size) == 0 && line[size] == ' ')
            return strtod(line + size, NULL);
    }
    return -1; /* it is not there */
}

static double value_of(struct process *mill, const char *series)
{
    return value_on(scrape(mill), series);
}

static void assert_value(struct process *mill, const char *series, double expected)
{
    double value = value_of(mill, series);
    if (value != expected)
        fail_msg("%s is %g instead of %g", series, value, expected);
}

/* Waits until it is that, and fails when it never is. */
static void wait_value(struct process *mill, const char *series, double expected)
{
    int64_t deadline = harness_deadline(PATIENCE_MS);
    double value;
    while ((value = value_of(mill, series)) != expected) {
        if (clock_monotonic_ns() > deadline)
            fail_msg("%s is %g and does not become %g", series, value, expected);
        faults_pause(STEP_MS);
    }
}

/* How many series a metric has, and how many stand on the page that begin so. */
static size_t series_of(const char *page, const char *beginning)
{
    size_t count = 0, size = strlen(beginning);
    for (const char *line = page; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        count += strncmp(line, beginning, size) == 0;
    }
    return count;
}

#define BY_REASON(metric, labels, reason) metric "{" labels ",reason=\"" reason "\"}"
#define OF_SOURCE                         "stream=\"in\",consumer=\"d\""

/* ---- the job ---- */

/* `source` and `more` are more text for the source and for the configuration. */
static void configure(struct harness *h, const char *source, const char *more)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "return {\n"
             "  nats = { url = env('NATS_URL') },\n"
             "  streams = { { name = 'in', subjects = { 'in.>' } },\n"
             "              { name = 'out', subjects = { 'out.>' } } },\n"
             "  sources = { { stream = 'in', durable = 'd', ack_wait = '4s', max_deliver = 2,\n"
             "                backoff = { '50ms' }, %s } },\n"
             "  %s\n"
             "}\n",
             source, more);
    harness_write_file(h, "tidemill.lua", text);
}

/* A rule called `name` that wants in.<name>. */
static void write_rule(struct harness *h, const char *name, const char *handler)
{
    char path[128], text[512];
    snprintf(path, sizeof(path), "rules/%s.lua", name);
    snprintf(text, sizeof(text),
             "return { subjects = { 'in.%s' }, on_message = function(msg)\n  %s\nend }\n", name,
             handler);
    harness_write_file(h, path, text);
}

static struct process *start(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    return mill;
}

/* ---- rules and messages ---- */

static void test_rule_errors_and_dead_letters_are_counted_by_reason(struct harness *h)
{
    static const char *const reasons[] = {"error", "timeout",  "memory", "output",
                                          "retry", "rejected", "payload"};
    static const int tries[] = {2, 2, 2, 2, 2, 1, 1};
    configure(h, "", "rules = { timeout = '500ms', memory = '16MB' },");
    write_rule(h, "error", "error('no')");
    write_rule(h, "timeout", "while true do end");
    write_rule(h, "memory", "return #('x'):rep(16777000)");
    write_rule(h, "output", "mill.publish('nowhere.at.all', 'x')");
    write_rule(h, "retry", "msg:retry(0.05)");
    write_rule(h, "rejected", "msg:reject('no')");
    write_rule(h, "payload", "return msg.data.value");
    struct process *mill = start(h);
    assert_value(mill, BY_REASON("tidemill_rule_errors_total", "rule=\"error\"", "error"), 0);

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        char subject[64];
        snprintf(subject, sizeof(subject), "in.%s", reasons[i]);
        harness_publish(h, subject, strcmp(reasons[i], "payload") == 0 ? "{no json" : "{}");
    }

    wait_value(mill, "tidemill_messages_settled_total{" OF_SOURCE ",outcome=\"dead_letter\"}", 7);
    const char *page = scrape(mill);
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        char key[KEY_SIZE];
        for (size_t j = 0; j < sizeof(reasons) / sizeof(reasons[0]); j++) {
            snprintf(key, sizeof(key), "tidemill_rule_errors_total{rule=\"%s\",reason=\"%s\"}",
                     reasons[i], reasons[j]);
            double value = value_on(page, key);
            if (value != (i == j ? tries[i] : 0))
                fail_msg("%s is %g", key, value);
        }
        snprintf(key, sizeof(key), "tidemill_rule_calls_total{rule=\"%s\"}", reasons[i]);
        assert_true(value_on(page, key) == tries[i]);
        snprintf(key, sizeof(key), "tidemill_dead_letters_total{" OF_SOURCE ",reason=\"%s\"}",
                 reasons[i]);
        assert_true(value_on(page, key) == 1);
    }
    assert_true(
        value_on(page, BY_REASON("tidemill_dead_letters_total", OF_SOURCE, "max_deliver")) == 0);
    assert_true(value_on(page, "tidemill_outputs_total{worker=\"1\",outcome=\"failed\"}") == 2);
    assert_true(value_on(page, "tidemill_messages_settled_total{" OF_SOURCE ",outcome=\"nak\"}") ==
                5);
    harness_stop(mill, PATIENCE_MS);
}

static void test_latency_counts_what_was_acked_and_publish_ack_what_was_stored(struct harness *h)
{
    enum { INPUTS = 2000, UNMATCHED = 30 };
    configure(h, "workers = 2", "");
    write_rule(h, "twice", "mill.publish('out.a', msg.data) mill.publish('out.b', msg.data)");
    struct process *mill = start(h);

    harness_feed(h, "in.twice", 0, INPUTS, "{\"n\":#}");
    harness_feed(h, "in.other", 0, UNMATCHED, "{\"n\":#}");

    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    const char *page = scrape(mill);
    assert_true(value_on(page, "tidemill_messages_settled_total{" OF_SOURCE ",outcome=\"ack\"}") ==
                INPUTS + UNMATCHED);
    assert_true(value_on(page, "tidemill_message_latency_seconds_count{" OF_SOURCE "}") ==
                INPUTS + UNMATCHED);
    assert_true(value_on(page, "tidemill_messages_unmatched_total{" OF_SOURCE "}") == UNMATCHED);
    double stored = 0;
    for (int worker = 1; worker <= 2; worker++) {
        char key[KEY_SIZE];
        snprintf(key, sizeof(key), "tidemill_outputs_total{worker=\"%d\",outcome=\"stored\"}",
                 worker);
        stored += value_on(page, key);
    }
    assert_true(stored == 2 * INPUTS);
    assert_true(value_on(page, "tidemill_publish_ack_seconds_count") == stored);
    assert_true(value_on(page, "tidemill_rule_calls_total{rule=\"twice\"}") == INPUTS);
    assert_true(value_on(page, "tidemill_rule_duration_seconds_count{rule=\"twice\"}") == INPUTS);
    double latency = value_on(page, "tidemill_message_latency_seconds_sum{" OF_SOURCE "}");
    double publish = value_on(page, "tidemill_publish_ack_seconds_sum");
    assert_true(publish > 0 && publish / stored < PATIENCE_MS / 1000.0);
    assert_true(latency > 0 && latency / INPUTS < PATIENCE_MS / 1000.0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_the_latency_of_a_message_begins_when_it_is_stored(struct harness *h)
{
    configure(h, "", "");
    write_rule(h, "a", "return");
    harness_stream(h, "in", "in.>");
    harness_publish(h, "in.a", "{}");
    faults_pause(600);
    struct process *mill = start(h);

    wait_value(mill, "tidemill_message_latency_seconds_count{" OF_SOURCE "}", 1);
    assert_true(value_of(mill, "tidemill_message_latency_seconds_sum{" OF_SOURCE "}") > 0.6);
    assert_value(mill, "tidemill_message_latency_seconds_bucket{" OF_SOURCE ",le=\"0.5\"}", 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_handler_s_duration_includes_its_waiting(struct harness *h)
{
    configure(h, "", "");
    write_rule(h, "sleepy", "mill.sleep(0.3)");
    struct process *mill = start(h);

    harness_publish(h, "in.sleepy", "{}");

    wait_value(mill, "tidemill_rule_duration_seconds_count{rule=\"sleepy\"}", 1);
    assert_value(mill, "tidemill_rule_duration_seconds_bucket{rule=\"sleepy\",le=\"0.25\"}", 0);
    assert_true(value_of(mill, "tidemill_rule_duration_seconds_sum{rule=\"sleepy\"}") >= 0.3);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_timer_counts_as_a_call_of_its_rule(struct harness *h)
{
    configure(h, "", "");
    harness_write_file(h, "rules/clock.lua",
                       "local n = 0\n"
                       "return { every = { 0.05, function()\n"
                       "  n = n + 1\n"
                       "  if n == 2 then error('no') end\n"
                       "  if n > 3 then mill.sleep(600) end\n"
                       "end } }\n");
    struct process *mill = start(h);

    wait_value(mill, "tidemill_rule_calls_total{rule=\"clock\"}", 3);
    assert_value(mill, BY_REASON("tidemill_rule_errors_total", "rule=\"clock\"", "error"), 1);
    harness_signal(mill, SIGKILL);
}

/* ---- the consumer ---- */

/* Four requests of one message are open at a time, and the rule holds the first message. */
static void test_pending_is_right_when_the_worker_is_held(struct harness *h)
{
    configure(h, "batch = 1", "");
    write_rule(h, "a", "mill.sleep(600)");
    struct process *mill = start(h);
    wait_value(mill, "tidemill_consumer_pending{" OF_SOURCE "}", 0);

    harness_feed(h, "in.a", 0, 10, "{\"n\":#}");
    wait_value(mill, "tidemill_consumer_pending{" OF_SOURCE "}", 6);
    wait_value(mill, "tidemill_consumer_ack_pending{" OF_SOURCE "}", 4);
    assert_value(mill, "tidemill_messages_in_flight{" OF_SOURCE "}", 4);

    harness_feed(h, "in.a", 10, 5, "{\"n\":#}"); /* nothing arrives that could tell */
    wait_value(mill, "tidemill_consumer_pending{" OF_SOURCE "}", 11);
    harness_signal(mill, SIGKILL);
}

static void test_pull_requests_and_statuses_are_counted(struct harness *h)
{
    configure(h, "batch = 10", "");
    write_rule(h, "a", "return");
    struct process *mill = start(h);
    assert_value(mill, "tidemill_pull_statuses_total{" OF_SOURCE ",status=\"lost\"}", 0);
    wait_value(mill, "tidemill_pull_requests_total{" OF_SOURCE "}", 4);

    int64_t deadline = harness_deadline(PATIENCE_MS);
    while (value_of(mill, "tidemill_pull_statuses_total{" OF_SOURCE ",status=\"heartbeat\"}") < 2)
        assert_true(clock_monotonic_ns() < deadline);
    js_DeleteConsumer(harness_js(h), "in", "d", NULL, NULL);
    harness_wait_log(mill, "was gone", PATIENCE_MS);
    while (value_of(mill, "tidemill_pull_statuses_total{" OF_SOURCE ",status=\"lost\"}") < 1)
        assert_true(clock_monotonic_ns() < deadline);
    while (value_of(mill, "tidemill_pull_requests_total{" OF_SOURCE "}") <= 4) /* a moment later */
        assert_true(clock_monotonic_ns() < deadline);
    harness_stop(mill, PATIENCE_MS);
}

/* A consumer with a limit of its own, which the pull meets and then keeps to. */
static void test_a_refused_pull_request_is_counted(struct harness *h)
{
    configure(h, "batch = 10", "");
    write_rule(h, "a", "return");
    harness_stream(h, "in", "in.>");
    jsConsumerConfig config;
    jsConsumerConfig_Init(&config);
    config.Durable = "d";
    config.AckPolicy = js_AckExplicit;
    config.AckWait = 4 * NS_PER_S;
    config.MaxRequestBatch = 1;
    assert_int_equal(js_AddConsumer(NULL, harness_js(h), "in", &config, NULL, NULL), NATS_OK);
    struct process *mill = start(h);

    int64_t deadline = harness_deadline(PATIENCE_MS);
    while (value_of(mill, "tidemill_pull_statuses_total{" OF_SOURCE ",status=\"refused\"}") < 1)
        assert_true(clock_monotonic_ns() < deadline);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- reloads ---- */

static void reload(struct process *mill, const char *line)
{
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, line, PATIENCE_MS);
}

static void test_reloads_are_counted_and_dated(struct harness *h)
{
    configure(h, "", "");
    write_rule(h, "a", "return");
    struct process *mill = start(h);
    double first = value_of(mill, "tidemill_reload_last_attempt_timestamp_seconds");
    assert_true(first > 1e9);
    assert_value(mill, "tidemill_reload_last_success_timestamp_seconds", first);

    write_rule(h, "a", "return 2");
    reload(mill, "rules reloaded");
    wait_value(mill, "tidemill_reloads_total{result=\"ok\"}", 1);
    double second = value_of(mill, "tidemill_reload_last_success_timestamp_seconds");
    assert_true(second > first);
    assert_value(mill, "tidemill_reload_last_attempt_timestamp_seconds", second);
    assert_int_equal(series_of(scrape(mill), "tidemill_rules_info{"), 1);

    write_rule(h, "a", "this is no Lua");
    reload(mill, "rules not reloaded");
    wait_value(mill, "tidemill_reloads_total{result=\"failed\"}", 1);
    assert_value(mill, "tidemill_reload_last_success_timestamp_seconds", second);
    assert_true(value_of(mill, "tidemill_reload_last_attempt_timestamp_seconds") > second);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_rule_that_is_gone_keeps_its_counters(struct harness *h)
{
    configure(h, "", "");
    write_rule(h, "old", "return");
    struct process *mill = start(h);
    harness_feed(h, "in.old", 0, 5, "{\"n\":#}");
    wait_value(mill, "tidemill_rule_calls_total{rule=\"old\"}", 5);

    harness_remove_file(h, "rules/old.lua");
    write_rule(h, "new", "return");
    reload(mill, "rules reloaded");
    harness_feed(h, "in.new", 0, 3, "{\"n\":#}");
    wait_value(mill, "tidemill_rule_calls_total{rule=\"new\"}", 3);
    assert_value(mill, "tidemill_rule_calls_total{rule=\"old\"}", 5);
    assert_value(mill, "tidemill_rule_duration_seconds_count{rule=\"old\"}", 5);

    write_rule(h, "old", "return 'again'");
    reload(mill, "rules reloaded");
    harness_feed(h, "in.old", 5, 2, "{\"n\":#}");
    wait_value(mill, "tidemill_rule_calls_total{rule=\"old\"}", 7);
    harness_stop(mill, PATIENCE_MS);
}

static void test_rules_beyond_the_bound_share_one_label(struct harness *h)
{
    enum { RULES = 600, BOUND = 1000 };
    configure(h, "", "");
    for (int i = 0; i < RULES; i++) {
        char name[32];
        snprintf(name, sizeof(name), "first%d", i);
        write_rule(h, name, "return");
    }
    struct process *mill = start(h);
    assert_int_equal(series_of(scrape(mill), "tidemill_rule_calls_total{"), RULES);

    for (int i = 0; i < RULES; i++) {
        char path[64];
        snprintf(path, sizeof(path), "rules/first%d.lua", i);
        harness_remove_file(h, path);
        snprintf(path, sizeof(path), "second%d", i);
        write_rule(h, path, "return");
    }
    reload(mill, "rules reloaded");
    for (int i = 0; i < RULES; i++) {
        char subject[64];
        snprintf(subject, sizeof(subject), "in.second%d", i);
        harness_publish(h, subject, "{}");
    }

    wait_value(mill, "tidemill_rule_calls_total{rule=\"overflow\"}", 2 * RULES - BOUND);
    assert_int_equal(series_of(scrape(mill), "tidemill_rule_calls_total{"), BOUND + 1);
    assert_int_equal(series_of(scrape(mill), "tidemill_rule_duration_seconds_count{"), BOUND + 1);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- the process ---- */

static void test_running_in_the_log_is_ready(struct harness *h)
{
    configure(h, "", "");
    write_rule(h, "a", "return");
    struct process *mill = start(h);

    assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
    assert_value(mill, "tidemill_ready", 1);

    harness_server_stop(h);
    wait_value(mill, "tidemill_ready", 0);
    wait_value(mill, "tidemill_connected{worker=\"1\"}", 0);
    harness_server_start(h);
    wait_value(mill, "tidemill_ready", 1);
    wait_value(mill, "tidemill_reconnects_total{worker=\"1\"}", 1);
    harness_stop(mill, PATIENCE_MS);
}

static void test_the_status_tells_the_main_figures(struct harness *h)
{
    configure(h, "", "");
    write_rule(h, "good", "mill.publish('out.a', 'x')");
    write_rule(h, "bad", "msg:reject('no')");
    struct process *mill = start(h);
    harness_publish(h, "in.good", "{}");
    harness_publish(h, "in.bad", "{}");
    harness_publish(h, "in.other", "{}");
    wait_value(mill, "tidemill_messages_settled_total{" OF_SOURCE ",outcome=\"ack\"}", 2);
    wait_value(mill, "tidemill_messages_settled_total{" OF_SOURCE ",outcome=\"dead_letter\"}", 1);
    wait_value(mill, "tidemill_consumer_pending{" OF_SOURCE "}", 0);

    const char *body = NULL;
    assert_int_equal(harness_http(mill, "/status", &body), 200);
    static const char *const parts[] = {
        "\"sources\":[{\"stream\":\"in\",\"consumer\":\"d\",\"pending\":0,\"ack_pending\":",
        "\"in_flight\":0,\"delivered\":3,\"redelivered\":0,\"acked\":2,\"unmatched\":1,"
        "\"given_back\":0,\"dead_letters\":{\"total\":1,\"rejected\":1}}]",
        "\"workers\":[{\"worker\":1,\"connected\":true,\"reconnects\":0,\"calls\":2,\"errors\":1,"
        "\"outputs_stored\":2,\"outputs_repeated\":0,\"outputs_failed\":0,\"lua_memory_bytes\":",
        "{\"rule\":\"bad\",\"calls\":1,\"seconds\":0.0",
        "\"errors\":{\"total\":1,\"rejected\":1}}",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strstr(body, parts[i]) == NULL)
            fail_msg("/status has no %s: %s", parts[i], body);
    }
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_rule_errors_and_dead_letters_are_counted_by_reason),
        harness_test(test_latency_counts_what_was_acked_and_publish_ack_what_was_stored),
        harness_test(test_the_latency_of_a_message_begins_when_it_is_stored),
        harness_test(test_a_handler_s_duration_includes_its_waiting),
        harness_test(test_a_timer_counts_as_a_call_of_its_rule),
        harness_test(test_pending_is_right_when_the_worker_is_held),
        harness_test(test_pull_requests_and_statuses_are_counted),
        harness_test(test_a_refused_pull_request_is_counted),
        harness_test(test_reloads_are_counted_and_dated),
        harness_test(test_a_rule_that_is_gone_keeps_its_counters),
        harness_test(test_rules_beyond_the_bound_share_one_label),
        harness_test(test_running_in_the_log_is_ready),
        harness_test(test_the_status_tells_the_main_figures),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
