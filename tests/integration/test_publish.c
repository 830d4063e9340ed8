#include "harness.h"

#include <string.h>

/*
 * What mill.publish says beside subject and data, as it reaches the streams; what counts as stored;
 * and what becomes of timers' outputs, for which no message would come again.
 */

enum { PATIENCE_MS = 15000 };

static struct process *start(struct harness *h, const char *rule)
{
    harness_write_file(h, "tidemill.lua",
                       "return { streams = { { name = 'in' }, { name = 'out' } },\n"
                       "  sources = { { stream = 'in', durable = 'd', ack_wait = '5s',\n"
                       "                backoff = { '100ms' } } } }");
    harness_write_file(h, "rules/x.lua", rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void expect_header(const struct harness_message *message, const char *name,
                          const char *value)
{
    const char *found = harness_header(message, name);
    if (found == NULL || strcmp(found, value) != 0)
        fail_msg("header %s is %s, not %s", name, found != NULL ? found : "missing", value);
}

/*
 * Which from nats-server 2.11 on takes a ttl only when it is told to; libnats has no word for it.
 */
static void make_stream_that_takes_ttl(struct harness *h)
{
    natsMsg *reply = NULL;
    assert_int_equal(natsConnection_RequestString(
                         &reply, harness_nats(h), "$JS.API.STREAM.CREATE.out",
                         "{\"name\":\"out\",\"subjects\":[\"out.>\"],\"allow_msg_ttl\":true}",
                         PATIENCE_MS),
                     NATS_OK);
    assert_null(strstr(natsMsg_GetData(reply), "\"error\""));
    natsMsg_Destroy(reply);
}

static void test_headers_id_and_ttl_reach_the_stream(struct harness *h)
{
    make_stream_that_takes_ttl(h);
    struct process *mill =
        start(h, "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                 "  mill.publish('out.a', 'x', { headers = { Site = 'hall 2', Unit = 'C' },\n"
                 "    id = 'mine', ttl = 59.5 })\n"
                 "end }");
    harness_publish(h, "in.a", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    const struct harness_message *out = &harness_read(h, "out")->items[0];
    assert_string_equal(out->id, "mine");
    expect_header(out, "Site", "hall 2");
    expect_header(out, "Unit", "C");
    expect_header(out, "Nats-TTL", "60s"); /* whole seconds, never fewer than asked for */
    harness_stop(mill, PATIENCE_MS);
}

/* The next message on a subscription, its header included. */
static void expect_core(natsSubscription *subscription, const char *payload, const char *site)
{
    natsMsg *message = NULL;
    const char *value = "";
    assert_int_equal(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS), NATS_OK);
    assert_string_equal(natsMsg_GetData(message), payload);
    assert_int_equal(natsMsgHeader_Get(message, "Site", &value), NATS_OK);
    assert_string_equal(value, site);
    natsMsg_Destroy(message);
}

static void destroy_subscription(void *subscription)
{
    natsSubscription_Destroy(subscription);
}

static void test_what_is_not_durable_reaches_who_listens_from_messages_and_timers(struct harness *h)
{
    natsSubscription *listener = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&listener, harness_nats(h), "live.>"), NATS_OK);
    harness_defer(h, destroy_subscription, listener);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    struct process *mill =
        start(h, "local options = { durable = false, headers = { Site = 'hall 2' } }\n"
                 "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                 "  mill.publish('live.message', 'now', options)\n"
                 "  mill.after(0.01, function() mill.publish('live.timer', 'later', options) end)\n"
                 "end }");
    harness_publish(h, "in.a", "{}");
    expect_core(listener, "now", "hall 2");
    expect_core(listener, "later", "hall 2");
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_an_output_of_a_timer_that_its_stream_refuses_is_told_as_lost(struct harness *h)
{
    jsStreamConfig config;
    const char *subjects[] = {"small.>"};
    jsStreamConfig_Init(&config);
    config.Name = "small";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.MaxMsgSize = 10;
    assert_int_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
    struct process *mill =
        start(h, "mill.after(0.05, function() mill.publish('small.x', ('x'):rep(11)) end)\n"
                 "return { subjects = { 'in.a' }, on_message = function() end }");
    harness_wait_log(mill, "an output of a timer is lost: ", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "message size exceeds maximum allowed"), 1);
    harness_stop(mill, PATIENCE_MS);
}

/* The test answers in place of a stream's leader: first that it knows the id and has no message. */
static void test_an_id_that_is_staged_is_no_stored_output(struct harness *h)
{
    static const char *const answers[] = {
        "{\"stream\":\"led\", \"seq\":0,\"duplicate\": true}",
        "{\"error\":{\"code\":409,\"err_code\":10158,"
        "\"description\":\"duplicate message id is in process\"},\"stream\":\"led\",\"seq\":0}",
        "{\"stream\":\"led\", \"seq\":7,\"duplicate\": true}"};
    natsSubscription *leader = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&leader, harness_nats(h), "led.a"), NATS_OK);
    struct process *mill = start(h, "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                    "  mill.publish('led.a', 'x', { id = 'mine' })\n"
                                    "end }");
    harness_publish(h, "in.a", "{}");
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        natsMsg *request = NULL;
        const char *id = NULL;
        assert_int_equal(natsSubscription_NextMsg(&request, leader, PATIENCE_MS), NATS_OK);
        assert_int_equal(natsMsgHeader_Get(request, "Nats-Msg-Id", &id), NATS_OK);
        assert_string_equal(id, "mine");
        assert_int_equal(harness_unacked(h, "in", "d"), 1);
        natsConnection_PublishString(harness_nats(h), natsMsg_GetReply(request), answers[i]);
        natsMsg_Destroy(request);
    }
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    natsSubscription_Destroy(leader);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_timer_that_fails_is_told_with_its_line_and_goes_on(struct harness *h)
{
    struct process *mill =
        start(h, "local count = 0\n"
                 "return { every = { 0.05, function()\n"
                 "  count = count + 1\n"
                 "  if count == 1 then error('not today') end\n"
                 "  mill.publish('out.a', { count = count }, { id = 'second' })\n"
                 "end } }");
    harness_wait_log(mill, "rule x: rules/x.lua:4: not today", PATIENCE_MS);
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_headers_id_and_ttl_reach_the_stream),
        harness_test(test_what_is_not_durable_reaches_who_listens_from_messages_and_timers),
        harness_test(test_an_output_of_a_timer_that_its_stream_refuses_is_told_as_lost),
        harness_test(test_an_id_that_is_staged_is_no_stored_output),
        harness_test(test_a_timer_that_fails_is_told_with_its_line_and_goes_on),
    };
    return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
