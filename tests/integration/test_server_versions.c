#include "faults.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/*
 * What differs from one nats-server to the next, as docs/operations.md says under "nats-server
 * versions": each test asks which one runs, and expects what that one does. scripts/compat-check
 * runs them with 2.10 and 2.15.
 */

enum { PATIENCE_MS = 20000, REQUEST_MS = 5000, SHORT_MS = 300, TEXT_SIZE = 2048 };

static natsMsg *release_later(struct harness *h, natsMsg *msg)
{
    harness_defer(h, (void (*)(void *))natsMsg_Destroy, msg);
    return msg;
}

/* One call of the JetStream API, which must succeed; the answer's text. */
static const char *call(struct harness *h, const char *operation, const char *body)
{
    char subject[256];
    natsMsg *reply = NULL;
    snprintf(subject, sizeof(subject), "$JS.API.%s", operation);
    assert_int_equal(
        natsConnection_RequestString(&reply, harness_nats(h), subject, body, REQUEST_MS), NATS_OK);
    const char *text = natsMsg_GetData(release_later(h, reply));
    if (strstr(text, "\"error\"") != NULL)
        harness_fail(h, "%s: %s", subject, text);
    return text;
}

static natsSubscription *listen_to(struct harness *h, const char *subject)
{
    natsSubscription *subscription = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&subscription, harness_nats(h), subject),
                     NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    harness_defer(h, (void (*)(void *))natsSubscription_Destroy, subscription);
    return subscription;
}

static const char *next_text(struct harness *h, natsSubscription *subscription)
{
    natsMsg *msg = NULL;
    if (natsSubscription_NextMsg(&msg, subscription, PATIENCE_MS) != NATS_OK)
        harness_fail(h, "nothing has come");
    return natsMsg_GetData(release_later(h, msg));
}

static void expect_in(struct harness *h, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        harness_fail(h, "%s is not in: %s", part, text);
}

/* Subjects "in.*" and "out.*", a durable "d", a rule that publishes what it gets. */
static void write_job(struct harness *h, const char *source, const char *handler)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' } },\n"
             "  sources = { { stream = 'in', durable = 'd', ack_wait = '2s', max_deliver = 2,\n"
             "                backoff = { '100ms' }, %s } } }\n",
             source);
    harness_write_file(h, "tidemill.lua", text);
    snprintf(text, sizeof(text),
             "return { subjects = { 'in.>' }, on_message = function(msg)\n"
             "  %s\nend }\n",
             handler);
    harness_write_file(h, "rules/a.lua", text);
}

static const char copy[] = "mill.publish('out.' .. msg.subject:sub(4), msg.raw)";

/* ---- filters ---- */

static void test_several_filters_in_one_source(struct harness *h)
{
    write_job(h, "filter = { 'in.a', 'in.b.*' }", copy);
    if (!server_at_least(2, 10, 0)) {
        struct process *refused = harness_tidemill(h, "run");
        assert_int_equal(harness_wait_exit(refused, PATIENCE_MS), 1);
        expect_in(h, harness_log(refused), "several filters need nats-server 2.10 or newer");
        return;
    }
    struct process *mill = faults_start(h);
    harness_publish(h, "in.c", "1");
    harness_publish(h, "in.b.x", "2");
    harness_publish(h, "in.b", "3");
    harness_publish(h, "in.a", "4");
    harness_wait_count(h, "out", 2, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    const struct harness_messages *out = harness_read(h, "out");
    assert_string_equal(out->items[0].subject, "out.b.x");
    assert_string_equal(out->items[1].subject, "out.a");
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(faults_complaints(mill), 0);

    write_job(h, "filter = { 'in.a', 'in.c' }", copy); /* more of them, and fewer */
    mill = faults_start(h);
    assert_int_equal(harness_log_count(mill, "updated: "), 1);
    harness_publish(h, "in.b.x", "5");
    harness_publish(h, "in.c", "6");
    harness_wait_count(h, "out", 3, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* 2.9 loses messages here: docs/operations.md says what to do about it. */
static void test_a_filter_with_a_wildcard_finds_all_beside_deleted_messages(struct harness *h)
{
    if (!server_at_least(2, 10, 0))
        skip();
    harness_stream(h, "in", "in.>");
    harness_feed(h, "in.b.x", 1, 3, "{\"n\":#}");
    harness_feed(h, "in.a", 4, 20, "{\"n\":#}");
    harness_feed(h, "in.b.y", 24, 3, "{\"n\":#}");
    for (int sequence = 4; sequence < 24; sequence += 2) {
        char body[64];
        snprintf(body, sizeof(body), "{\"seq\":%d}", sequence);
        call(h, "STREAM.MSG.DELETE.in", body);
    }
    call(h, "STREAM.MSG.DELETE.in", "{\"seq\":2}");
    write_job(h, "filter = { 'in.b.*' }", copy);
    struct process *mill = faults_start(h);
    harness_wait_count(h, "out", 5, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- acknowledgements ---- */

static void test_the_server_is_told_why_a_message_is_dead(struct harness *h)
{
    write_job(h, "", "msg:reject('no sensor_id')");
    struct process *mill = faults_start(h);
    natsSubscription *told = listen_to(h, "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.in.d");
    harness_publish(h, "in.a", "{}");
    const char *advisory = next_text(h, told);
    expect_in(h, advisory, "\"stream_seq\":1");
    if (server_at_least(2, 10, 4))
        expect_in(h, advisory, "\"reason\":\"rejected: dead letter stored\"");
    else
        assert_null(strstr(advisory, "\"reason\""));
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* Subjects of acknowledgements with the account in them, which 2.14 makes when told to. */
static void long_subjects(struct harness *h, const char *source)
{
    if (!server_at_least(2, 14, 0))
        skip();
    harness_server_config(h, "feature_flags { js_ack_fc_v2: true }");
    harness_server_start(h);
    natsSubscription *acks = listen_to(h, "$JS.ACK.*.*.in.d.>");
    faults_job(h, source, "if msg.delivered == 1 and msg.data.n % 10 == 3 then error('again') end");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, 200);
    faults_wait_outputs(h, 200);
    faults_check_all(h, 200);
    harness_stop(mill, PATIENCE_MS);
    next_text(h, acks);
}

static void test_acknowledgements_with_the_account_in_their_subject(struct harness *h)
{
    long_subjects(h, "confirm = true");
}

static void test_cumulative_acknowledgements_with_the_account_in_their_subject(struct harness *h)
{
    long_subjects(h, "ack = 'cumulative'");
}

/* ---- what others have set on the consumer ---- */

static void test_an_update_leaves_what_a_newer_server_knows_of_a_consumer(struct harness *h)
{
    if (!server_at_least(2, 10, 0))
        skip();
    harness_stream(h, "in", "in.>");
    call(h, "CONSUMER.DURABLE.CREATE.in.d",
         "{\"stream_name\":\"in\",\"config\":{\"durable_name\":\"d\",\"ack_policy\":\"explicit\","
         "\"metadata\":{\"team\":\"sensors \\u00e4 \\\"x\\\"\"}}}");
    write_job(h, "", copy);
    struct process *mill = faults_start(h);
    assert_int_equal(harness_log_count(mill, "updated: "), 1);
    const char *info = call(h, "CONSUMER.INFO.in.d", "");
    expect_in(h, info, "\"ack_wait\":2000000000");
    expect_in(h, info, "\"team\":\"sensors \xc3\xa4 \\\"x\\\"\"");
    harness_publish(h, "in.a", "1");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_consumer_with_a_start_time_takes_another_ack_wait(struct harness *h)
{
    write_job(h, "start = { time = '2020-01-01T00:00:00Z' }", copy);
    struct process *mill = faults_start(h);
    harness_stop(mill, PATIENCE_MS);
    write_job(h, "start = { time = '2020-01-01T00:00:00Z' }, max_ack_pending = 77", copy);
    if (!server_at_least(2, 10, 0)) {
        mill = harness_tidemill(h, "run");
        assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 1);
        expect_in(h, harness_log(mill), "max_ack_pending");
        return;
    }
    mill = faults_start(h);
    expect_in(h, call(h, "CONSUMER.INFO.in.d", ""), "\"max_ack_pending\":77");
    harness_stop(mill, PATIENCE_MS);
}

/* A pause is no fault: nothing comes, the server answers, and later it goes on. */
static void test_a_paused_consumer_is_waited_for(struct harness *h)
{
    if (!server_at_least(2, 11, 0))
        skip();
    write_job(h, "", copy);
    struct process *mill = faults_start(h);
    expect_in(h, call(h, "CONSUMER.PAUSE.in.d", "{\"pause_until\":\"2099-01-01T00:00:00Z\"}"),
              "\"paused\":true");
    harness_publish(h, "in.a", "1");
    faults_pause(SHORT_MS);
    assert_int_equal(harness_count(h, "out"), 0);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    mill = faults_start(h); /* bound to a paused one, and not changed */
    assert_int_equal(harness_log_count(mill, "updated: "), 0);
    call(h, "CONSUMER.PAUSE.in.d", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(faults_complaints(mill), 0);
}

static void test_a_consumer_that_wants_groups_named_is_refused(struct harness *h)
{
    if (!server_at_least(2, 11, 0))
        skip();
    harness_stream(h, "in", "in.>");
    call(h, "CONSUMER.DURABLE.CREATE.in.d",
         "{\"stream_name\":\"in\",\"config\":{\"durable_name\":\"d\",\"ack_policy\":\"explicit\","
         "\"priority_policy\":\"overflow\",\"priority_groups\":[\"g\"]}}");
    write_job(h, "", copy);
    struct process *mill = harness_tidemill(h, "run");
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 1);
    expect_in(h, harness_log(mill), "priority_groups");
}

/* ---- messages that end by themselves ---- */

static void test_an_output_with_a_ttl_is_gone_after_it(struct harness *h)
{
    harness_stream(h, "in", "in.>");
    call(h, "STREAM.CREATE.out",
         "{\"name\":\"out\",\"subjects\":[\"out.>\"],\"storage\":\"file\",\"num_replicas\":1,"
         "\"allow_msg_ttl\":true}");
    write_job(h, "", "mill.publish('out.short', 'x', { ttl = 1 }) mill.publish('out.long', 'x')");
    struct process *mill = faults_start(h);
    harness_publish(h, "in.a", "{}");
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    assert_int_equal(harness_count(h, "dead"), 0);
    assert_string_equal(harness_header(&harness_read(h, "out")->items[0], "Nats-TTL"), "1s");
    if (server_at_least(2, 11, 0)) {
        int64_t deadline = harness_deadline(PATIENCE_MS);
        while (harness_count(h, "out") != 1 && clock_monotonic_ns() < deadline)
            faults_pause(20);
        assert_string_equal(harness_read(h, "out")->items[0].subject, "out.long");
    } else {
        assert_int_equal(harness_count(h, "out"), 2);
    }
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_stream_without_ttl_makes_a_dead_letter_of_one(struct harness *h)
{
    write_job(h, "", "mill.publish('out.a', 'x', { ttl = 60 })");
    struct process *mill = faults_start(h);
    harness_publish(h, "in.a", "{}");
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    if (server_at_least(2, 11, 0)) {
        assert_int_equal(harness_count(h, "out"), 0);
        assert_int_equal(harness_count(h, "dead"), 1);
        const char *error = harness_header(&harness_read(h, "dead")->items[0], "Tidemill-Error");
        assert_non_null(error);
        expect_in(h, error, "TTL");
    } else {
        assert_int_equal(harness_count(h, "out"), 1);
    }
    harness_stop(mill, PATIENCE_MS);
}

/* A key of a bucket whose time is over leaves a marker behind, which is no value. */
static void test_a_key_that_has_expired_is_gone_for_rules_too(struct harness *h)
{
    if (!server_at_least(2, 11, 0))
        skip();
    call(h, "STREAM.CREATE.KV_b",
         "{\"name\":\"KV_b\",\"subjects\":[\"$KV.b.>\"],\"storage\":\"memory\",\"num_replicas\":1,"
         "\"max_msgs_per_subject\":1,\"allow_rollup_hdrs\":true,\"discard\":\"new\","
         "\"allow_direct\":true,\"max_age\":1000000000,\"allow_msg_ttl\":true,"
         "\"subject_delete_marker_ttl\":60000000000}");
    write_job(h, "",
              "local kv = mill.kv('b')\n"
              "if msg.data == 1 then kv:put('k', 'v') end\n"
              "local value = kv:get('k')\n"
              "mill.publish('out.a', tostring(value) .. ' ' .. #kv:keys())\n"
              "if msg.data == 2 then mill.publish('out.b', tostring(kv:create('k', 'w'))) end");
    struct process *mill = faults_start(h);
    natsSubscription *told = listen_to(h, "out.>");
    harness_publish(h, "in.a", "1");
    assert_string_equal(next_text(h, told), "v 1");
    int64_t deadline = harness_deadline(PATIENCE_MS);
    while (strstr(call(h, "STREAM.INFO.KV_b", ""), "\"last_seq\":2") == NULL &&
           clock_monotonic_ns() < deadline)
        faults_pause(20); /* the marker */
    harness_publish(h, "in.a", "2");
    assert_string_equal(next_text(h, told), "nil 0");
    assert_string_equal(next_text(h, told), "3");
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_several_filters_in_one_source),
        harness_test(test_a_filter_with_a_wildcard_finds_all_beside_deleted_messages),
        harness_test(test_the_server_is_told_why_a_message_is_dead),
        harness_test_with(test_acknowledgements_with_the_account_in_their_subject,
                          .no_server = true),
        harness_test_with(test_cumulative_acknowledgements_with_the_account_in_their_subject,
                          .no_server = true),
        harness_test(test_an_update_leaves_what_a_newer_server_knows_of_a_consumer),
        harness_test(test_a_consumer_with_a_start_time_takes_another_ack_wait),
        harness_test(test_a_paused_consumer_is_waited_for),
        harness_test(test_a_consumer_that_wants_groups_named_is_refused),
        harness_test(test_an_output_with_a_ttl_is_gone_after_it),
        harness_test(test_a_stream_without_ttl_makes_a_dead_letter_of_one),
        harness_test(test_a_key_that_has_expired_is_gone_for_rules_too),
    };
    return cmocka_run_group_tests_name("server_versions", tests, NULL, NULL);
}
