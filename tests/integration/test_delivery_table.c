#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/*
 * The delivery table of docs/delivery.md, row by row, and every pair of rules on one message. The
 * input stream is "in", outputs go to "out", dead letters to "dead". "lost.>" belongs to no stream.
 */

enum { PATIENCE_MS = 20000 };

/* Starts tidemill; `settings` is more text for the table that the configuration returns. */
static struct process *start(struct harness *h, const char *source, const char *settings)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' } },\n"
             "  sources = { { stream = 'in', durable = 'mill', ack_wait = '2s', %s } },\n"
             "  %s }\n",
             source, settings);
    harness_write_file(h, "tidemill.lua", text);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void write_rule(struct harness *h, const char *name, const char *handler)
{
    char path[128], text[2048];
    snprintf(path, sizeof(path), "rules/%s.lua", name);
    snprintf(text, sizeof(text),
             "return { subjects = { 'in.>' }, on_message = function(msg)\n%s\nend }\n", handler);
    harness_write_file(h, path, text);
}

static void wait_settled(struct harness *h)
{
    harness_wait_drained(h, "in", "mill", PATIENCE_MS);
}

static const struct harness_message *only_dead_letter(struct harness *h)
{
    harness_wait_count(h, "dead", 1, PATIENCE_MS);
    return &harness_read(h, "dead")->items[0];
}

static void expect_header(const struct harness_message *message, const char *name,
                          const char *value)
{
    const char *found = harness_header(message, name);
    if (found == NULL)
        fail_msg("the dead letter has no %s", name);
    assert_string_equal(found, value);
}

static void expect_header_with(const struct harness_message *message, const char *name,
                               const char *part)
{
    const char *found = harness_header(message, name);
    if (found == NULL || strstr(found, part) == NULL)
        fail_msg("%s is \"%s\", without \"%s\"", name, found != NULL ? found : "", part);
}

/* Takes requests, and never answers them. */
static natsSubscription *swallow(struct harness *h, const char *subject)
{
    natsSubscription *subscription = NULL;
    assert_int_equal(natsConnection_SubscribeSync(&subscription, harness_nats(h), subject),
                     NATS_OK);
    assert_int_equal(natsConnection_Flush(harness_nats(h)), NATS_OK);
    harness_defer(h, (void (*)(void *))natsSubscription_Destroy, subscription);
    return subscription;
}

/* ---- ack ---- */

static void test_a_message_is_acked_when_its_outputs_are_stored(struct harness *h)
{
    write_rule(h, "copy", "mill.publish('out.a', msg.raw) mill.publish('out.b', msg.raw)");
    struct process *mill = start(h, "", "");
    harness_publish(h, "in.x", "{}");
    wait_settled(h);
    assert_int_equal(harness_count(h, "out"), 2);
    assert_int_equal(harness_count(h, "dead"), 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_message_that_no_rule_wants_is_acked_as_unmatched(struct harness *h)
{
    harness_write_file(h, "rules/other.lua",
                       "return { subjects = { 'in.other' }, on_message = function() end }");
    struct process *mill = start(h, "", "");
    harness_publish(h, "in.x", "{}");
    wait_settled(h);
    harness_signal(mill, SIGUSR1);
    harness_wait_log(mill, "1 acked (1 unmatched)", PATIENCE_MS);
    assert_int_equal(harness_count(h, "dead"), 0);
}

/* ---- nak ---- */

/* The seconds that a rule printed after `word`, for the nth time. */
static double logged_time(struct process *mill, const char *word, int nth)
{
    const char *at = harness_log(mill);
    for (int i = 0; i < nth && at != NULL; i++)
        at = strstr(at, word) != NULL ? strstr(at, word) + strlen(word) : NULL;
    if (at == NULL)
        fail_msg("\"%s\" is not logged %d times", word, nth);
    return strtod(at, NULL);
}

static void test_an_error_comes_again_after_the_delays_of_backoff(struct harness *h)
{
    write_rule(h, "broken", "print('tried at', mill.now()) error('no')");
    struct process *mill = start(h, "max_deliver = 4, backoff = { '200ms', '900ms' }", "");
    harness_publish(h, "in.x", "{}");
    only_dead_letter(h);
    wait_settled(h);
    assert_int_equal(harness_log_count(mill, "tried at"), 4);
    double times[4];
    for (int i = 0; i < 4; i++)
        times[i] = logged_time(mill, "tried at ", i + 1);
    assert_true(times[1] - times[0] >= 0.2);
    assert_true(times[2] - times[1] >= 0.9); /* the second */
    assert_true(times[3] - times[2] >= 0.9); /* and the last one repeats */
    assert_true(times[1] - times[0] < 0.9);  /* not yet the second */
}

static void test_a_retry_comes_again_after_its_own_delay_without_its_outputs(struct harness *h)
{
    write_rule(h, "later",
               "print('tried at', mill.now()) mill.publish('out.' .. msg.delivered, '')\n"
               "if msg.delivered == 1 then msg:retry(0.7) end");
    struct process *mill = start(h, "backoff = { '10ms' }", "");
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    wait_settled(h);
    assert_true(logged_time(mill, "tried at ", 2) - logged_time(mill, "tried at ", 1) >= 0.7);
    assert_string_equal(harness_read(h, "out")->items[0].subject, "out.2");
}

static void test_a_retry_without_end_becomes_a_dead_letter(struct harness *h)
{
    write_rule(h, "later", "msg:retry(0)");
    start(h, "max_deliver = 3", "");
    harness_publish(h, "in.x", "{}");
    const struct harness_message *dead = only_dead_letter(h);
    expect_header(dead, "Tidemill-Reason", "retry");
    expect_header(dead, "Tidemill-Delivered", "3");
    wait_settled(h);
}

/* ---- dead letter ---- */

static void test_a_rejected_message_is_dead_at_once_without_its_outputs(struct harness *h)
{
    write_rule(h, "picky", "mill.publish('out.a', '') msg:reject('no sensor_id')");
    start(h, "", "");
    harness_publish(h, "in.x", "{}");
    const struct harness_message *dead = only_dead_letter(h);
    expect_header(dead, "Tidemill-Reason", "rejected");
    expect_header(dead, "Tidemill-Delivered", "1");
    expect_header_with(dead, "Tidemill-Error", "no sensor_id");
    wait_settled(h);
    assert_int_equal(harness_count(h, "out"), 0);
}

static void test_a_payload_that_is_not_json_is_dead_at_once(struct harness *h)
{
    write_rule(h, "reader", "mill.publish('out.a', msg.data)");
    start(h, "", "");
    harness_publish(h, "in.x", "{\"value\":");
    const struct harness_message *dead = only_dead_letter(h);
    expect_header(dead, "Tidemill-Reason", "payload");
    expect_header(dead, "Tidemill-Delivered", "1");
    wait_settled(h);
}

/* Every byte value there is, zero first and last. */
enum { ODD_SIZE = 513 };

static void publish_odd(struct harness *h)
{
    char payload[ODD_SIZE];
    for (int i = 0; i < ODD_SIZE; i++)
        payload[i] = (char)(i % 256);
    natsMsg *msg = NULL;
    jsErrCode code = 0;
    assert_int_equal(natsMsg_Create(&msg, "in.odd", NULL, payload, ODD_SIZE), NATS_OK);
    assert_int_equal(natsMsgHeader_Set(msg, "Plant", "hall 3: \xc3\xa4"), NATS_OK);
    assert_int_equal(natsMsgHeader_Set(msg, "Nats-Msg-Id", "reading-1"), NATS_OK);
    assert_int_equal(js_PublishMsg(NULL, harness_js(h), msg, NULL, &code), NATS_OK);
    natsMsg_Destroy(msg);
}

static void test_a_dead_letter_is_the_message_itself_and_says_why(struct harness *h)
{
    harness_write_file(h, "rules/broken.lua",
                       "local function deep(msg)\n  error('valve ' .. msg.subject)\nend\n"
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  local _ = deep(msg)\nend }\n");
    start(h, "max_deliver = 2, backoff = { '50ms' }", "");
    publish_odd(h);
    const struct harness_message *dead = only_dead_letter(h);
    assert_string_equal(dead->subject, "dead.in.mill");
    assert_int_equal(dead->size, ODD_SIZE);
    for (int i = 0; i < ODD_SIZE; i++)
        assert_int_equal((unsigned char)dead->payload[i], i % 256);
    expect_header(dead, "Plant", "hall 3: \xc3\xa4");
    expect_header(dead, "Tidemill-Original-Nats-Msg-Id", "reading-1");
    expect_header(dead, "Nats-Msg-Id", "in:1:mill:dead");
    expect_header(dead, "Tidemill-Reason", "error");
    expect_header(dead, "Tidemill-Rule", "broken");
    expect_header_with(dead, "Tidemill-Error", "rules/broken.lua:2: valve in.odd");
    expect_header_with(dead, "Tidemill-Error", "stack traceback:");
    expect_header_with(dead, "Tidemill-Error", "rules/broken.lua:5:");
    expect_header(dead, "Tidemill-Subject", "in.odd");
    expect_header(dead, "Tidemill-Stream", "in");
    expect_header(dead, "Tidemill-Sequence", "1");
    expect_header(dead, "Tidemill-Delivered", "2");
    assert_int_equal(strlen(harness_header(dead, "Tidemill-Time")),
                     strlen("2026-01-01T00:00:00.000Z"));
    assert_true(strlen(harness_header(dead, "Tidemill-Rules-Version")) >= 8);
    wait_settled(h);
}

/* A stream that refuses what passes its limit, and is full already. */
static void full_stream(struct harness *h, const char *name, const char *subjects)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = &subjects;
    config.SubjectsLen = 1;
    config.MaxMsgs = 1;
    config.Discard = js_DiscardNew;
    char subject[64];
    snprintf(subject, sizeof(subject), "%.*sfull.up", (int)strlen(subjects) - 1, subjects);
    assert_int_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
    harness_publish(h, subject, "");
}

static void make_room(struct harness *h, const char *stream)
{
    assert_int_equal(js_PurgeStream(harness_js(h), stream, NULL, NULL), NATS_OK);
}

static void test_the_input_is_termed_only_when_its_dead_letter_is_stored(struct harness *h)
{
    full_stream(h, "dead", "dead.>");
    write_rule(h, "picky", "msg:reject('never')");
    struct process *mill = start(h, "backoff = { '100ms' }", "");
    harness_publish(h, "in.x", "{}");
    harness_wait_log(mill, "sequence 1 stays in the stream: dead.in.mill could not be stored",
                     PATIENCE_MS);
    assert_int_equal(harness_unacked(h, "in", "mill"), 1);
    make_room(h, "dead");
    wait_settled(h);
    expect_header(only_dead_letter(h), "Tidemill-Reason", "rejected");
}

static void test_a_message_that_kills_the_process_is_dead_before_a_rule_sees_it(struct harness *h)
{
    write_rule(h, "killer", "print('seen', msg.delivered) mill.sleep(60)");
    struct process *mill = start(h, "max_deliver = 1", "");
    harness_publish(h, "in.x", "{}");
    harness_wait_log(mill, "seen 1", PATIENCE_MS);
    harness_signal(mill, SIGKILL);
    harness_wait_exit(mill, PATIENCE_MS);
    mill = harness_tidemill(h, "run");
    const struct harness_message *dead = only_dead_letter(h);
    expect_header(dead, "Tidemill-Reason", "max_deliver");
    expect_header(dead, "Tidemill-Delivered", "2");
    assert_null(harness_header(dead, "Tidemill-Rule"));
    wait_settled(h);
    assert_int_equal(harness_log_count(mill, "seen"), 0);
}

/* ---- outputs that cannot be stored ---- */

static void test_an_output_without_a_stream_is_stored_once_there_is_one(struct harness *h)
{
    write_rule(h, "copy", "mill.publish('late.x', msg.raw)");
    struct process *mill = start(h, "backoff = { '100ms' }", "");
    harness_publish(h, "in.x", "{}");
    harness_wait_log(mill, "late.x could not be stored: no stream captures the subject",
                     PATIENCE_MS);
    assert_int_equal(harness_unacked(h, "in", "mill"), 1);
    harness_stream(h, "late", "late.>");
    harness_wait_count(h, "late", 1, PATIENCE_MS);
    wait_settled(h);
    assert_string_equal(harness_read(h, "late")->items[0].id, "in:1:copy:1");
    assert_int_equal(harness_count(h, "dead"), 0);
}

static void test_an_output_of_a_full_stream_is_stored_once_there_is_room(struct harness *h)
{
    full_stream(h, "narrow", "narrow.>");
    write_rule(h, "copy", "mill.publish('narrow.x', msg.raw)");
    struct process *mill = start(h, "backoff = { '100ms' }", "");
    harness_publish(h, "in.x", "{}");
    harness_wait_log(mill, "narrow.x could not be stored: maximum messages exceeded", PATIENCE_MS);
    make_room(h, "narrow");
    harness_wait_count(h, "narrow", 1, PATIENCE_MS);
    wait_settled(h);
    assert_int_equal(harness_count(h, "dead"), 0);
}

#define DENYING                                                                                    \
    "authorization { users = [ { user: h, password: h },\n"                                        \
    "  { user: mill, password: mill, permissions: { publish: { deny: ['out.denied.>'] } } } ] }\n"
#define AS_MILL "nats = { user = 'mill', password = 'mill' },"

static void test_a_denied_output_fails_at_once_and_says_what_is_missing(struct harness *h)
{
    write_rule(h, "both", "mill.publish('out.denied.' .. msg.raw, '')");
    write_rule(h, "fine", "mill.publish('out.fine', '')");
    struct process *mill = start(h, "max_deliver = 1", AS_MILL);
    int64_t began_ns = clock_monotonic_ns();
    harness_publish(h, "in.x", "a");
    harness_publish(h, "in.x", "b");
    harness_wait_count(h, "dead", 2, PATIENCE_MS);
    wait_settled(h);
    /* Four PubAcks that never came would have taken 4 s and more. */
    assert_true(clock_monotonic_ns() - began_ns < 3 * NS_PER_S);
    const struct harness_messages *dead = harness_read(h, "dead");
    for (size_t i = 0; i < 2; i++) {
        char subject[32];
        snprintf(subject, sizeof(subject), "out.denied.%s", dead->items[i].payload);
        expect_header(&dead->items[i], "Tidemill-Reason", "output");
        expect_header(&dead->items[i], "Tidemill-Rule", "both");
        expect_header_with(&dead->items[i], "Tidemill-Error", subject);
        expect_header_with(&dead->items[i], "Tidemill-Error", "permission is missing");
    }
    assert_int_equal(harness_count(h, "out"), 2); /* of the rule that may */
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_denied_core_message_is_named_in_the_log(struct harness *h)
{
    write_rule(h, "core", "mill.publish('out.denied.x', '', { durable = false })");
    struct process *mill = start(h, "", AS_MILL);
    harness_publish(h, "in.x", "{}");
    harness_wait_log(mill,
                     "permission is missing: the server denies this user to publish to "
                     "out.denied.x",
                     PATIENCE_MS);
    wait_settled(h);
}

static void test_a_puback_that_never_comes_is_waited_for_in_bounds(struct harness *h)
{
    natsSubscription *requests = swallow(h, "lost.>");
    write_rule(h, "copy", "print('try', msg.delivered) mill.publish('lost.x', msg.raw)");
    struct process *mill = start(h, "max_deliver = 2, backoff = { '10ms' }", "");
    harness_publish(h, "in.x", "{}");
    for (int i = 0; i < 4; i++) { /* the same id each time */
        natsMsg *request = NULL;
        const char *id = NULL;
        assert_int_equal(natsSubscription_NextMsg(&request, requests, PATIENCE_MS), NATS_OK);
        assert_int_equal(natsMsgHeader_Get(request, "Nats-Msg-Id", &id), NATS_OK);
        assert_string_equal(id, "in:1:copy:1");
        natsMsg_Destroy(request);
    }
    assert_int_equal(harness_log_count(mill, "try"), 1); /* sent again, not run again */
    harness_wait_log(mill, "lost.x could not be stored: no PubAck in time", PATIENCE_MS);
    natsSubscription_Unsubscribe(requests);
    harness_stream(h, "lost", "lost.>");
    harness_wait_count(h, "lost", 1, PATIENCE_MS);
    wait_settled(h);
    assert_int_equal(harness_log_count(mill, "try"),
                     2); /* +WPI held it: no delivery but the nak's */
    assert_int_equal(harness_count(h, "dead"), 0);
}

/* ---- several rules on one message ---- */

/* What a rule does, and how bad that is: 0 ack, 1 reject, 2 again. */
static const struct {
    const char *name, *handler, *reason;
    int severity;
} kinds[] = {
    {"success", "mill.publish('out.' .. msg.sequence, '')", NULL, 0},
    {"error", "error('no')", "error", 2},
    {"timeout", "while true do end", "timeout", 2},
    {"memory", "local s = ('x'):rep(16777000)", "memory", 2},
    {"retry", "msg:retry(0.05)", "retry", 2},
    {"reject", "msg:reject('never')", "rejected", 1},
    {"payload", "return msg.data.x", "payload", 1},
    {"nostream", "mill.publish('lost.x', '')", "output", 2},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), PAIRS = KINDS * KINDS, NOSTREAM = KINDS - 1 };

static void write_pair_rules(struct harness *h)
{
    for (int i = 0; i < 2 * KINDS; i++) {
        int kind = i / 2;
        char path[64], text[512];
        snprintf(path, sizeof(path), "rules/%c_%s.lua", i % 2 == 0 ? 'a' : 'b', kinds[kind].name);
        snprintf(text, sizeof(text),
                 "return { subjects = { 'in.%s.%s' }, on_message = function(msg)\n"
                 "  print('ran', msg.sequence .. ';')\n  %s\nend }\n",
                 i % 2 == 0 ? kinds[kind].name : "*", i % 2 == 0 ? "*" : kinds[kind].name,
                 kinds[kind].handler);
        harness_write_file(h, path, text);
    }
}

static void make_pair(void *context, size_t number, struct harness_draft *draft)
{
    (void)context;
    snprintf(draft->subject, sizeof(draft->subject), "in.%s.%s", kinds[number / KINDS].name,
             kinds[number % KINDS].name);
    strcpy(draft->payload, "not JSON");
}

/* Which of the two decides; an unstored output is known last. -1: neither, the message is acked. */
static int deciding(int a, int b)
{
    int worst = kinds[a].severity > kinds[b].severity ? kinds[a].severity : kinds[b].severity;
    if (worst == 0)
        return -1;
    if (kinds[a].severity != worst || (a == NOSTREAM && kinds[b].severity == worst))
        return b;
    return a;
}

static const struct harness_message *dead_letter_of(const struct harness_messages *dead,
                                                    int sequence)
{
    for (size_t i = 0; i < dead->count; i++) {
        if (atoi(harness_header(&dead->items[i], "Tidemill-Sequence")) == sequence)
            return &dead->items[i];
    }
    return NULL;
}

static size_t runs_of(struct process *mill, char letter, int kind, int sequence)
{
    char line[96];
    snprintf(line, sizeof(line), "rule %c_%s: ran %d;", letter, kinds[kind].name, sequence);
    return harness_log_count(mill, line);
}

static void check_runs(struct process *mill, char letter, int kind, int sequence, size_t tries)
{
    size_t expected = kinds[kind].severity == 0 ? 1 : tries;
    size_t runs = runs_of(mill, letter, kind, sequence);
    if (runs != expected)
        fail_msg("%c_%s ran %zu times instead of %zu for sequence %d", letter, kinds[kind].name,
                 runs, expected, sequence);
}

static void check_pair(struct process *mill, const struct harness_messages *dead, int a, int b)
{
    int sequence = a * KINDS + b + 1, decides = deciding(a, b);
    const struct harness_message *letter = dead_letter_of(dead, sequence);
    size_t tries = decides >= 0 && kinds[decides].severity == 2 ? 2 : 1;
    if ((letter != NULL) != (decides >= 0))
        fail_msg("%s and %s: %s", kinds[a].name, kinds[b].name,
                 letter != NULL ? "a dead letter" : "no dead letter");
    if (letter != NULL) {
        const char *reason = harness_header(letter, "Tidemill-Reason");
        if (strcmp(reason, kinds[decides].reason) != 0)
            fail_msg("%s and %s: dead of \"%s\"", kinds[a].name, kinds[b].name, reason);
        expect_header(letter, "Tidemill-Delivered", tries == 2 ? "2" : "1");
        expect_header_with(letter, "Tidemill-Rule", kinds[decides].name);
    }
    check_runs(mill, 'a', a, sequence, tries);
    check_runs(mill, 'b', b, sequence, tries);
}

static void test_of_two_rules_the_worse_verdict_counts_and_success_is_not_repeated(
    struct harness *h)
{
    write_pair_rules(h);
    struct process *mill = start(h, "max_deliver = 2, backoff = { '50ms' }",
                                 "rules = { timeout = '200ms', memory = '16MB' },");
    harness_feed_with(h, PAIRS, make_pair, NULL);
    wait_settled(h);
    const struct harness_messages *dead = harness_read(h, "dead");
    assert_int_equal(dead->count, PAIRS - 1);
    for (int pair = 0; pair < PAIRS; pair++)
        check_pair(mill, dead, pair / KINDS, pair % KINDS);
    assert_int_equal(harness_count(h, "out"), 2 * KINDS); /* each success, once */
    assert_int_equal(harness_duplicate_ids(harness_read(h, "out")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_message_is_acked_when_its_outputs_are_stored),
        harness_test(test_a_message_that_no_rule_wants_is_acked_as_unmatched),
        harness_test(test_an_error_comes_again_after_the_delays_of_backoff),
        harness_test(test_a_retry_comes_again_after_its_own_delay_without_its_outputs),
        harness_test(test_a_retry_without_end_becomes_a_dead_letter),
        harness_test(test_a_rejected_message_is_dead_at_once_without_its_outputs),
        harness_test(test_a_payload_that_is_not_json_is_dead_at_once),
        harness_test(test_a_dead_letter_is_the_message_itself_and_says_why),
        harness_test(test_the_input_is_termed_only_when_its_dead_letter_is_stored),
        harness_test(test_a_message_that_kills_the_process_is_dead_before_a_rule_sees_it),
        harness_test(test_an_output_without_a_stream_is_stored_once_there_is_one),
        harness_test(test_an_output_of_a_full_stream_is_stored_once_there_is_room),
        harness_test_with(test_a_denied_output_fails_at_once_and_says_what_is_missing,
                          .server_config = DENYING, .user = "h", .password = "h"),
        harness_test_with(test_a_denied_core_message_is_named_in_the_log, .server_config = DENYING,
                          .user = "h", .password = "h"),
        harness_test(test_a_puback_that_never_comes_is_waited_for_in_bounds),
        harness_test(test_of_two_rules_the_worse_verdict_counts_and_success_is_not_repeated),
    };
    return cmocka_run_group_tests_name("delivery_table", tests, NULL, NULL);
}
