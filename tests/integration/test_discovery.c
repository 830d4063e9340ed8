#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "bus/json_scan.h"

/*
 * Each instance answers NATS' own service discovery (ADR-32) as `nats micro` asks it: raw requests,
 * the way that tool sends them.
 */

enum { PATIENCE_MS = 20000, ANSWERS_MAX = 8, ANSWER_SIZE = 8192, QUIET_MS = 300 };

#define CONFIG(nats)                                                                               \
    "return { nats = { " nats " },\n"                                                              \
    "  streams = { { name = 'in', subjects = { 'in.>' } } },\n"                                    \
    "  sources = { { stream = 'in', durable = 'd', filter = 'in.a.*', max_deliver = 1 } } }"

static const char rule[] = "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                           "  mill.sleep(0.02)\n"
                           "  if msg.data == 'bad' then error('no \"good\" \\xff') end\n"
                           "end }";

struct answers {
    char items[ANSWERS_MAX][ANSWER_SIZE];
    size_t count;
};

static struct answers answers;

/* Asks as many as there are: until `count` have answered, and then a moment longer. */
static void ask(struct harness *h, const char *subject, size_t count)
{
    natsInbox *inbox = NULL;
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    answers.count = 0;
    assert_int_equal(natsInbox_Create(&inbox), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&subscription, harness_nats(h), inbox), NATS_OK);
    assert_int_equal(natsConnection_PublishRequest(harness_nats(h), subject, inbox, "", 0),
                     NATS_OK);
    while (natsSubscription_NextMsg(&message, subscription,
                                    answers.count < count ? PATIENCE_MS : QUIET_MS) == NATS_OK) {
        if (natsMsg_GetDataLength(message) == 0) /* a 503 */
            fail_msg("nobody answers %s", subject);
        assert_true(answers.count < ANSWERS_MAX);
        snprintf(answers.items[answers.count++], ANSWER_SIZE, "%.*s",
                 natsMsg_GetDataLength(message), natsMsg_GetData(message));
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(subscription);
    natsInbox_Destroy(inbox);
    if (answers.count != count)
        harness_fail(h, "%zu instead of %zu answers to %s", answers.count, count, subject);
}

static const char *member(const char *json, const char *path)
{
    static char text[4][1024];
    static int turn;
    turn = (turn + 1) % 4;
    if (!json_scan_string(json, strlen(json), path, text[turn], sizeof(text[turn])))
        fail_msg("no string %s in %s", path, json);
    return text[turn];
}

static int64_t number(const char *json, const char *path)
{
    int64_t value = 0;
    if (!json_scan_integer(json, strlen(json), path, &value))
        fail_msg("no integer %s in %s", path, json);
    return value;
}

/* The first of a list, by itself. */
static const char *first_of(const char *json, const char *list)
{
    static char text[ANSWER_SIZE];
    const char *raw = NULL;
    size_t size = 0;
    assert_true(json_scan_raw(json, strlen(json), list, &raw, &size));
    assert_true(size > 2 && raw[0] == '[');
    snprintf(text, sizeof(text), "%.*s", (int)size - 2, raw + 1);
    assert_true(json_scan_valid(text, strlen(text))); /* there is just one */
    return text;
}

static void expect_identity(const char *json, const char *type, const char *name)
{
    static const char version[] = TIDEMILL_VERSION;
    assert_true(json_scan_valid(json, strlen(json)));
    assert_true(utf8_is_valid(json, strlen(json)));
    assert_string_equal(member(json, "type"), type);
    assert_string_equal(member(json, "name"), name);
    assert_string_equal(member(json, "version"), version);
    assert_true(strlen(member(json, "id")) >= 10);
    assert_int_equal(strspn(member(json, "id"), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                                                "uvwxyz0123456789-_"),
                     strlen(member(json, "id")));
    assert_true(strlen(member(json, "metadata.host")) > 0);
    assert_true(strlen(member(json, "metadata.pid")) > 0);
}

static struct process *start(struct harness *h, const char *config)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/a.lua", rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "running: ", PATIENCE_MS);
    return mill;
}

static void test_all_nine_subjects_are_answered(struct harness *h)
{
    static const struct {
        const char *verb, *type;
        int members;
    } verbs[] = {
        {"PING", "io.nats.micro.v1.ping_response", 5},
        {"INFO", "io.nats.micro.v1.info_response", 7},
        {"STATS", "io.nats.micro.v1.stats_response", 7},
    };
    struct process *mill = start(h, CONFIG("name = 'pump station.7'"));
    ask(h, "$SRV.PING", 1);
    char id[64], subject[256];
    snprintf(id, sizeof(id), "%s", member(answers.items[0], "id"));
    for (size_t i = 0; i < 3; i++) {
        for (size_t form = 0; form < 3; form++) {
            snprintf(subject, sizeof(subject), "$SRV.%s%s%s%s", verbs[i].verb,
                     form > 0 ? ".pump-station-7" : "", form > 1 ? "." : "", form > 1 ? id : "");
            ask(h, subject, 1);
            const char *answer = answers.items[0];
            expect_identity(answer, verbs[i].type, "pump-station-7");
            assert_string_equal(member(answer, "id"), id);
            assert_int_equal(json_scan_count(answer, strlen(answer), ""), verbs[i].members);
        }
    }
    harness_stop(mill, PATIENCE_MS);
}

static void test_info_has_an_endpoint_for_each_source(struct harness *h)
{
    struct process *mill = start(h, CONFIG(""));
    ask(h, "$SRV.INFO.tidemill", 1);
    const char *answer = answers.items[0];
    assert_true(strlen(member(answer, "description")) > 0);
    const char *endpoint = first_of(answer, "endpoints");
    assert_string_equal(member(endpoint, "name"), "in-d");
    assert_string_equal(member(endpoint, "subject"), "in.a.*");
    assert_string_equal(member(endpoint, "queue_group"), "d");
    assert_string_equal(member(endpoint, "metadata.stream"), "in");
    assert_string_equal(member(endpoint, "metadata.durable"), "d");
    assert_string_equal(member(endpoint, "metadata.filter"), "in.a.*");
    harness_stop(mill, PATIENCE_MS);
}

static void test_stats_count_messages_errors_and_time(struct harness *h)
{
    struct process *mill = start(h, CONFIG(""));
    ask(h, "$SRV.STATS", 1);
    const char *endpoint = first_of(answers.items[0], "endpoints");
    assert_int_equal(strlen(member(answers.items[0], "started")),
                     strlen("2026-01-01T00:00:00.000Z"));
    assert_int_equal(number(endpoint, "num_requests"), 0);
    assert_int_equal(number(endpoint, "num_errors"), 0);
    assert_int_equal(number(endpoint, "average_processing_time"), 0);
    assert_string_equal(member(endpoint, "last_error"), "");

    harness_feed(h, "in.a.x", 1, 4, "{\"n\":#}");
    harness_publish(h, "in.a.x", "\"bad\"");
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    ask(h, "$SRV.STATS", 1);
    endpoint = first_of(answers.items[0], "endpoints");
    assert_int_equal(number(endpoint, "num_requests"), 5);
    assert_int_equal(number(endpoint, "num_errors"), 1);
    int64_t time = number(endpoint, "processing_time");
    assert_in_range(time, 5 * 20 * NS_PER_MS, 60 * NS_PER_S); /* each handler waits 20 ms */
    assert_int_equal(number(endpoint, "average_processing_time"), time / 5);
    assert_string_equal(member(endpoint, "last_error"),
                        "error in rule a: rules/a.lua:3: no \"good\" \xef\xbf\xbd");
    assert_int_equal(number(endpoint, "data.acked"), 4);
    assert_int_equal(number(endpoint, "data.dead_letters"), 1);
    assert_true(strlen(member(endpoint, "data.rules_version")) > 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_the_version_of_the_rules_follows_a_reload(struct harness *h)
{
    struct process *mill = start(h, CONFIG(""));
    char before[64];
    ask(h, "$SRV.STATS", 1);
    snprintf(before, sizeof(before), "%s",
             member(first_of(answers.items[0], "endpoints"), "data.rules_version"));
    harness_write_file(h, "rules/b.lua", rule);
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    ask(h, "$SRV.STATS", 1);
    assert_string_not_equal(member(first_of(answers.items[0], "endpoints"), "data.rules_version"),
                            before);
    harness_stop(mill, PATIENCE_MS);
}

static void test_every_instance_answers_with_an_id_of_its_own(struct harness *h)
{
    enum { INSTANCES = 3 };
    struct process *mills[INSTANCES];
    char ids[INSTANCES][64], subject[256];
    for (size_t i = 0; i < INSTANCES; i++)
        mills[i] = start(h, CONFIG(""));
    ask(h, "$SRV.PING.tidemill", INSTANCES);
    for (size_t i = 0; i < INSTANCES; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%s", member(answers.items[i], "id"));
        for (size_t other = 0; other < i; other++)
            assert_string_not_equal(ids[i], ids[other]);
    }
    for (size_t i = 0; i < INSTANCES; i++) {
        snprintf(subject, sizeof(subject), "$SRV.INFO.tidemill.%s", ids[i]);
        ask(h, subject, 1);
        assert_string_equal(member(answers.items[0], "id"), ids[i]);
    }
    for (size_t i = 0; i < INSTANCES; i++)
        harness_stop(mills[i], PATIENCE_MS);
}

/* Asks until one answers: the control connection has no event that tells when it is back. */
static void wait_for_answer(struct harness *h)
{
    int64_t deadline_ns = harness_deadline(PATIENCE_MS);
    natsMsg *message = NULL;
    while (natsConnection_RequestString(&message, harness_nats(h), "$SRV.PING", "", 200) !=
           NATS_OK) {
        if (clock_monotonic_ns() > deadline_ns)
            harness_fail(h, "no answer to $SRV.PING");
        nats_Sleep(20);
    }
    natsMsg_Destroy(message);
}

static void test_answers_come_again_after_the_server_has_been_away(struct harness *h)
{
    struct process *mill = start(h, CONFIG("reconnect_wait = '100ms'"));
    ask(h, "$SRV.PING", 1);
    char id[64];
    snprintf(id, sizeof(id), "%s", member(answers.items[0], "id"));
    harness_server_kill(h);
    harness_wait_log(mill, "disconnected", PATIENCE_MS);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    wait_for_answer(h);
    ask(h, "$SRV.PING", 1);
    assert_string_equal(member(answers.items[0], "id"), id);
    harness_stop(mill, PATIENCE_MS);
}

/* --- without the permission --- */

#define USERS(permissions)                                                                         \
    "authorization { users: [ { user: h, password: h },\n"                                         \
    "  { user: mill, password: mill, permissions { " permissions " } } ] }"

static void work_without_answers(struct harness *h, const char *told)
{
    struct process *mill = start(h, CONFIG("user = 'mill', password = 'mill'"));
    natsMsg *message = NULL;
    natsStatus s = natsConnection_RequestString(&message, harness_nats(h), "$SRV.PING", "", 500);
    natsMsg_Destroy(message);
    assert_int_not_equal(s, NATS_OK);
    harness_feed(h, "in.a.x", 1, 10, "{\"n\":#}");
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    /* Another connection, another refusal, and no other line. */
    harness_server_kill(h);
    harness_wait_log(mill, "disconnected", PATIENCE_MS);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    natsConnection_RequestString(&message, harness_nats(h), "$SRV.PING", "", 500);
    natsMsg_Destroy(message);
    harness_stop(mill, PATIENCE_MS);
    if (harness_log_count(mill, told) != 1)
        harness_fail(h, "%zu times \"%s\"", harness_log_count(mill, told), told);
    assert_int_equal(harness_log_count(mill, "ermission"), 1);
}

static void test_no_permission_to_subscribe_is_one_warning(struct harness *h)
{
    work_without_answers(h, "warn  nats: no service discovery: permission is missing: the server "
                            "denies this user to subscribe to $SRV.");
}

static void test_no_permission_to_answer_is_one_warning(struct harness *h)
{
    work_without_answers(h, "warn  nats: no service discovery: permission is missing: the server "
                            "denies this user to publish to _INBOX.");
}

static void test_it_can_be_switched_off(struct harness *h)
{
    struct process *mill = start(h, CONFIG("discovery = false"));
    natsMsg *message = NULL;
    assert_int_equal(
        natsConnection_RequestString(&message, harness_nats(h), "$SRV.PING", "", PATIENCE_MS),
        NATS_NO_RESPONDERS);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_all_nine_subjects_are_answered),
        harness_test(test_info_has_an_endpoint_for_each_source),
        harness_test(test_stats_count_messages_errors_and_time),
        harness_test(test_the_version_of_the_rules_follows_a_reload),
        harness_test(test_every_instance_answers_with_an_id_of_its_own),
        harness_test(test_answers_come_again_after_the_server_has_been_away),
        harness_test_with(test_no_permission_to_subscribe_is_one_warning,
                          .server_config = USERS("subscribe: { deny: [ \"$SRV.>\" ] }"),
                          .user = "h", .password = "h"),
        harness_test_with(test_no_permission_to_answer_is_one_warning,
                          .server_config = USERS("publish: { deny: [ \"_INBOX.>\" ] }"),
                          .user = "h", .password = "h"),
        harness_test(test_it_can_be_switched_off),
    };
    return cmocka_run_group_tests_name("discovery", tests, NULL, NULL);
}
