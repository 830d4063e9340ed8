#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "base/units.h"

/* tidemill dead, on dead letters as mill/dead_letter.c writes them, and on those of a real run. */

enum { HEADERS_MAX = 8 };

struct letter {
    const char *subject, *reason, *rule; /* of the input */
    const char *error;
    const char *payload;
    size_t size;                          /* 0: that of the text */
    const char *headers[HEADERS_MAX + 1]; /* name, value, ..., NULL */
};

static void add(natsMsg *message, const char *name, const char *value)
{
    if (value != NULL)
        assert_int_equal(natsMsgHeader_Add(message, name, value), NATS_OK);
}

static void put_letter(struct harness *h, const struct letter *letter)
{
    natsMsg *message = NULL;
    size_t size = letter->size > 0 ? letter->size : strlen(letter->payload);
    assert_int_equal(
        natsMsg_Create(&message, "dead.sensors.mill", NULL, letter->payload, (int)size), NATS_OK);
    add(message, "Tidemill-Subject", letter->subject);
    add(message, "Tidemill-Reason", letter->reason);
    add(message, "Tidemill-Rule", letter->rule);
    add(message, "Tidemill-Error", letter->error);
    add(message, "Tidemill-Stream", "sensors");
    add(message, "Tidemill-Sequence", "42");
    add(message, "Tidemill-Delivered", "5");
    add(message, "Tidemill-Rules-Version", "abc123");
    for (size_t i = 0; letter->headers[i] != NULL; i += 2)
        add(message, letter->headers[i], letter->headers[i + 1]);
    natsStatus s = js_PublishMsg(NULL, harness_js(h), message, NULL, NULL);
    natsMsg_Destroy(message);
    assert_int_equal(s, NATS_OK);
}

#define LETTER_WITH(h, s, r, u, e, p, ...)                                                         \
    put_letter(h, &(struct letter){.subject = (s),                                                 \
                                   .reason = (r),                                                  \
                                   .rule = (u),                                                    \
                                   .error = (e),                                                   \
                                   .payload = (p),                                                 \
                                   __VA_ARGS__})
#define LETTER(h, s, r, u, e, p) LETTER_WITH(h, s, r, u, e, p, .size = 0)

static void make_streams(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_stream(h, "dead", "dead.>");
}

/* Runs `tidemill dead ...` to its end. */
static struct process *run_dead(struct harness *h, int status, const char *const *arguments)
{
    struct process *dead = harness_start_tidemill(h, arguments);
    int ended = harness_wait_exit(dead, 20000);
    if (ended != status)
        fail_msg("tidemill dead %s ended with %d, not %d:\n%s", arguments[1], ended, status,
                 harness_log(dead));
    return dead;
}

#define DEAD(h, status, ...) run_dead(h, status, (const char *const[]){"dead", __VA_ARGS__, NULL})

static void expect(struct process *process, const char *text)
{
    if (strstr(harness_log(process), text) == NULL)
        fail_msg("\"%s\" is not in:\n%s", text, harness_log(process));
}

static void expect_not(struct process *process, const char *text)
{
    if (strstr(harness_log(process), text) != NULL)
        fail_msg("\"%s\" is in:\n%s", text, harness_log(process));
}

/* ---- list ---- */

static void test_the_list_has_a_line_for_each_with_aligned_columns(struct harness *h)
{
    make_streams(h);
    LETTER(h, "sensors.a", "error", "high", "rules/high.lua:7: no value\\nstack traceback:", "1");
    LETTER(h, "sensors.much.longer", "rejected", "a_long_rule_name", "of no use", "2");
    LETTER(h, "sensors.c", "max_deliver", NULL, NULL, "3");
    struct process *list = DEAD(h, 0, "list");
    assert_int_equal(harness_log_count(list, "\n"), 4);
    expect(list, "SEQUENCE  TIME                  REASON       RULE              SUBJECT      ");
    expect(list, "Z  error        high              sensors.a            5      rules/high.lua:7: "
                 "no value\n2         ");
    expect(list, "Z  rejected     a_long_rule_name  sensors.much.longer  5      of no use\n");
    expect(list, "Z  max_deliver  -                 sensors.c            5      -\n");
}

static void test_filters_choose_by_rule_reason_and_time(struct harness *h)
{
    make_streams(h);
    LETTER(h, "sensors.a", "error", "one", "e", "1");
    LETTER(h, "sensors.b", "timeout", "one", "e", "2");
    LETTER(h, "sensors.c", "error", "two", "e", "3");
    struct process *rule = DEAD(h, 0, "list", "--rule", "one");
    expect(rule, "sensors.a");
    expect(rule, "sensors.b");
    expect_not(rule, "sensors.c");
    struct process *both = DEAD(h, 0, "list", "--rule=one", "--reason=error");
    assert_int_equal(harness_log_count(both, "sensors."), 1);
    expect(both, "sensors.a");
    assert_int_equal(harness_log_count(DEAD(h, 0, "list", "--since", "1h"), "sensors."), 3);
    expect(DEAD(h, 0, "list", "--until", "1h"), "no dead letter matches in stream dead\n");
    expect(DEAD(h, 0, "list", "--since", "2200-01-01T00:00:00Z"), "no dead letter matches");
    struct process *limit = DEAD(h, 0, "list", "--limit", "2");
    assert_int_equal(harness_log_count(limit, "sensors."), 2);
    expect_not(limit, "sensors.c");
}

static void test_since_and_until_mean_the_moment_of_storing(struct harness *h)
{
    make_streams(h);
    for (int i = 0; i < 3; i++)
        LETTER(h, "sensors.a", "error", "one", "e", "1");
    const struct harness_messages *messages = harness_read(h, "dead");
    jsMsgMetaData *meta = NULL;
    assert_int_equal(natsMsg_GetMetaData(&meta, messages->items[1].msg), NATS_OK);
    int64_t middle = meta->Timestamp;
    jsMsgMetaData_Destroy(meta);
    char text[UNITS_TIME_TEXT];
    units_format_time(middle, 9, text);
    struct process *since = DEAD(h, 0, "list", "--json", "--since", text);
    assert_int_equal(harness_log_count(since, "{\"sequence\":"), 2);
    expect_not(since, "{\"sequence\":1,");
    struct process *until = DEAD(h, 0, "list", "--json", "--until", text);
    assert_int_equal(harness_log_count(until, "{\"sequence\":"), 2);
    expect_not(until, "{\"sequence\":3,");
}

static void test_json_is_one_object_per_line_with_everything(struct harness *h)
{
    make_streams(h);
    LETTER_WITH(h, "sensors.a", "error", "high",
                "x.lua:7: \"no\"\\nstack\ttraceback:", "{\"v\": 1}",
                .headers = {"Site", "north", "Site", "south", "Nats-Msg-Id", "sensors:42:mill:dead",
                            "Tidemill-Original-Nats-Msg-Id", "mine"});
    LETTER_WITH(h, "sensors.b", "payload", NULL, NULL, "\xff\x00z", .size = 3);
    struct process *list = DEAD(h, 0, "list", "--json");
    assert_int_equal(harness_log_count(list, "\n"), 2);
    expect(list, "{\"sequence\":1,\"time\":\"");
    expect(list, "Z\",\"reason\":\"error\",\"rule\":\"high\",\"error\":\"x.lua:7: \\\"no\\\"\\n"
                 "stack\\ttraceback:\",\"subject\":\"sensors.a\",\"stream\":\"sensors\","
                 "\"stream_sequence\":42,\"consumer\":\"mill\",\"delivered\":5,"
                 "\"rules_version\":\"abc123\",\"headers\":{");
    expect(list, "\"Site\":[\"north\",\"south\"]");
    expect(list, "\"Nats-Msg-Id\":[\"mine\"]");
    expect(list, "\"size\":8,\"payload\":\"{\\\"v\\\": 1}\"}\n");
    expect(list, "\"rule\":null,\"error\":null,");
    expect(list, "\"headers\":{},\"size\":3,\"payload_base64\":\"/wB6\"}\n");
}

static void test_an_empty_list_says_so(struct harness *h)
{
    make_streams(h);
    expect(DEAD(h, 0, "list"), "no dead letters in stream dead\n");
    expect(DEAD(h, 0, "retry", "--all"), "no dead letters in stream dead\n");
    expect(DEAD(h, 0, "purge", "--all", "--yes"), "no dead letters in stream dead\n");
}

static void test_what_a_sensor_sent_cannot_command_the_terminal(struct harness *h)
{
    make_streams(h);
    LETTER(h, "sensors.a", "error", "r\x1b[2J", "bad \x1b]0;title\x07 value", "1");
    struct process *list = DEAD(h, 0, "list");
    expect(list, "r\\x1b[2J");
    expect_not(list, "\x1b");
    expect_not(DEAD(h, 0, "show", "1"), "\x1b");
}

static void make_many(void *context, size_t number, struct harness_draft *draft)
{
    (void)context;
    snprintf(draft->subject, sizeof(draft->subject), "dead.sensors.mill");
    snprintf(draft->payload, sizeof(draft->payload), "%zu", number);
}

static void test_thousands_are_listed_and_removed_quickly(struct harness *h)
{
    enum { MANY = 3000 };
    make_streams(h);
    harness_feed_with(h, MANY, make_many, NULL);
    struct process *list = DEAD(h, 0, "list");
    assert_int_equal(harness_log_count(list, "\n"), MANY + 1);
    expect(list, "\n3000      ");
    struct process *json = DEAD(h, 0, "list", "--json");
    assert_int_equal(harness_log_count(json, "\n"), MANY);
    expect(json, "\"payload\":\"2999\"");
    expect(DEAD(h, 0, "purge", "--all", "--yes"), "3000 purged\n");
    harness_wait_count(h, "dead", 0, 1000);
}

static void test_only_dead_letters_are_read_from_a_stream_that_holds_more(struct harness *h)
{
    harness_stream(h, "everything", "dead.>", "other.>");
    harness_publish(h, "other.a", "keep me");
    LETTER(h, "sensors.a", "error", "one", "e", "1");
    harness_publish(h, "other.b", "keep me too");
    assert_int_equal(harness_log_count(DEAD(h, 0, "list", "--json"), "\n"), 1);
    expect(DEAD(h, 1, "show", "3"), "stream everything has no dead letter 3\n");
    expect(DEAD(h, 1, "show", "1"), "stream everything has no dead letter 1\n");
    expect(DEAD(h, 1, "purge", "1", "--yes"), "1: stream everything has no such dead letter");
    expect(DEAD(h, 0, "purge", "--all", "--yes"), "1 purged\n");
    harness_wait_count(h, "everything", 2, 1000);
}

/* ---- show ---- */

static void test_show_prints_headers_traceback_and_payload(struct harness *h)
{
    make_streams(h);
    LETTER_WITH(h, "sensors.a", "error", "high",
                "rules/high.lua:7: no value\\nstack traceback:\\n\t[C]: in function 'error'",
                "{\"value\":\n 91}",
                .headers = {"Site", "north", "Tidemill-Original-Tidemill-Mark", "x"});
    struct process *show = DEAD(h, 0, "show", "1");
    expect(show, "dead letter 1 of stream dead, stored 2");
    expect(show, "subject:  sensors.a\ninput:    sensors sequence 42\n"
                 "consumer: mill, tries: 5\nreason:   error\n"
                 "rule:     high, rules version abc123\nheaders:\n");
    expect(show, "  Site: north\n");
    expect(show, "  Tidemill-Mark: x\n");
    expect(show, "error:\n  rules/high.lua:7: no value\n  stack traceback:\n"
                 "  \t[C]: in function 'error'\npayload:  14 bytes\n{\"value\":\n 91}\n");
}

static void test_payload_alone_is_byte_for_byte(struct harness *h)
{
    make_streams(h);
    LETTER(h, "sensors.a", "payload", NULL, "not JSON", "\x01\xff\r\n\x1b[0m");
    struct process *show = DEAD(h, 0, "show", "1", "--payload");
    assert_string_equal(harness_log(show), "\x01\xff\r\n\x1b[0m");
    struct process *json = DEAD(h, 0, "show", "--json", "1");
    assert_int_equal(harness_log_count(json, "\n"), 1);
    expect(json, "\"payload_base64\":\"Af8NChtbMG0=\"");
}

/* ---- retry ---- */

static void test_a_retried_message_is_the_input_again(struct harness *h)
{
    make_streams(h);
    LETTER_WITH(h, "sensors.a", "error", "high", "e", "{\"value\": 91}",
                .headers = {"Site", "north", "Nats-Msg-Id", "sensors:42:mill:dead",
                            "Tidemill-Original-Nats-Msg-Id", "mine",
                            "Tidemill-Original-Tidemill-Mark", "x"});
    LETTER(h, "sensors.b", "error", "high", "e", "2");
    expect(DEAD(h, 0, "retry", "1"), "1 retried\n");
    harness_wait_count(h, "sensors", 1, 1000);
    harness_wait_count(h, "dead", 1, 1000);
    const struct harness_message *again = &harness_read(h, "sensors")->items[0];
    assert_string_equal(again->subject, "sensors.a");
    assert_string_equal(again->payload, "{\"value\": 91}");
    assert_string_equal(harness_header(again, "Site"), "north");
    assert_string_equal(harness_header(again, "Tidemill-Mark"), "x");
    assert_null(harness_header(again, "Tidemill-Reason"));
    assert_null(harness_header(again, "Tidemill-Original-Nats-Msg-Id"));
    assert_int_equal(strncmp(again->id, "dead:1:", 7), 0);
}

static void test_the_window_of_the_input_stream_does_not_swallow_a_retry(struct harness *h)
{
    make_streams(h);
    natsMsg *message = NULL;
    natsMsg_Create(&message, "sensors.a", NULL, "1", 1);
    add(message, "Nats-Msg-Id", "mine");
    assert_int_equal(js_PublishMsg(NULL, harness_js(h), message, NULL, NULL), NATS_OK);
    natsMsg_Destroy(message);
    LETTER_WITH(h, "sensors.a", "error", "high", "e", "1",
                .headers = {"Tidemill-Original-Nats-Msg-Id", "mine"});
    DEAD(h, 0, "retry", "--all");
    harness_wait_count(h, "sensors", 2, 1000);
}

static void test_a_retry_that_broke_off_stores_nothing_twice(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "dead";
    config.Subjects = (const char *[]){"dead.>"};
    config.SubjectsLen = 1;
    config.DenyDelete = true; /* the second of its two steps fails */
    assert_int_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
    LETTER(h, "sensors.a", "error", "high", "e", "1");
    expect(DEAD(h, 1, "retry", "1"), "1: stored again, but not removed from stream dead");
    expect(DEAD(h, 1, "retry", "--all"), "0 retried, 1 failed\n");
    harness_wait_count(h, "sensors", 1, 1000);
    harness_wait_count(h, "dead", 1, 1000);
}

static void test_what_no_stream_stores_stays_a_dead_letter(struct harness *h)
{
    make_streams(h);
    LETTER(h, "nowhere.a", "error", "high", "e", "1");
    LETTER(h, "sensors.b", "error", "high", "e", "2");
    struct process *retry = DEAD(h, 1, "retry", "--all");
    expect(retry, "tidemill dead: 1: kept: no stream stores its subject\n");
    expect(retry, "1 retried, 1 failed\n");
    harness_wait_count(h, "dead", 1, 1000);
    harness_wait_count(h, "sensors", 1, 1000);
    expect(DEAD(h, 1, "retry", "7"), "7: stream dead has no such dead letter");
}

static void test_what_its_stream_refuses_stays_a_dead_letter(struct harness *h)
{
    harness_stream(h, "dead", "dead.>");
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "sensors";
    config.Subjects = (const char *[]){"sensors.>"};
    config.SubjectsLen = 1;
    config.MaxMsgs = 1;
    config.Discard = js_DiscardNew;
    assert_int_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
    harness_publish(h, "sensors.x", "full");
    LETTER(h, "sensors.a", "error", "high", "e", "1");
    expect(DEAD(h, 1, "retry", "--all"), "1: kept: its stream refuses it: maximum messages");
    harness_wait_count(h, "dead", 1, 1000);
}

static void test_a_forged_dead_letter_cannot_call_the_server(struct harness *h)
{
    make_streams(h);
    LETTER(h, "$JS.API.STREAM.DELETE.sensors", "error", "high", "e", "");
    LETTER(h, "sensors.*", "error", "high", "e", "");
    harness_publish(h, "dead.sensors.mill", "no header at all");
    struct process *retry = DEAD(h, 1, "retry", "--all");
    expect(retry, "1: kept: its Tidemill-Subject is none to publish to");
    expect(retry, "2: kept: its Tidemill-Subject is none to publish to");
    expect(retry, "3: kept: it has no header Tidemill-Subject");
    harness_wait_count(h, "dead", 3, 1000);
    assert_int_equal(harness_count(h, "sensors"), 0);
}

static void test_filters_choose_what_is_retried_in_order(struct harness *h)
{
    char payload[32];
    make_streams(h);
    for (int i = 0; i < 600; i++) {
        snprintf(payload, sizeof(payload), "%d", i);
        LETTER(h, "sensors.a", i % 2 == 0 ? "error" : "rejected", "high", "e", payload);
    }
    expect(DEAD(h, 0, "retry", "--all", "--reason", "error", "--limit", "1"), "1 retried\n");
    expect(DEAD(h, 0, "retry", "--all", "--reason", "error"), "299 retried\n");
    harness_wait_count(h, "dead", 300, 1000);
    const struct harness_messages *messages = harness_read(h, "sensors");
    assert_int_equal(messages->count, 300);
    for (size_t i = 0; i < 300; i++) {
        snprintf(payload, sizeof(payload), "%zu", i * 2);
        assert_string_equal(messages->items[i].payload, payload);
    }
}

/* ---- purge ---- */

static void test_purge_removes_what_it_was_told_and_counts(struct harness *h)
{
    make_streams(h);
    for (int i = 0; i < 5; i++)
        LETTER(h, "sensors.a", i < 2 ? "error" : "rejected", "high", "e", "1");
    expect(DEAD(h, 0, "purge", "4", "5", "--yes"), "2 purged\n");
    expect(DEAD(h, 0, "purge", "--all", "--reason", "error", "--yes"), "2 purged\n");
    struct process *again = DEAD(h, 1, "purge", "3", "4", "--yes");
    expect(again, "4: stream dead has no such dead letter");
    expect(again, "1 purged, 1 failed\n");
    harness_wait_count(h, "dead", 0, 1000);
}

static void test_what_is_left_after_a_purge_is_still_listed(struct harness *h)
{
    make_streams(h);
    for (int i = 0; i < 5; i++)
        LETTER(h, "sensors.a", "error", "high", "e", "1");
    DEAD(h, 0, "purge", "4", "5", "1", "2", "--yes");
    struct process *list = DEAD(h, 0, "list", "--json");
    expect(list, "{\"sequence\":3,");
    assert_int_equal(harness_log_count(list, "\n"), 1);
    expect(DEAD(h, 0, "retry", "3"), "1 retried\n");
}

static void test_purge_without_a_terminal_wants_a_yes(struct harness *h)
{
    make_streams(h);
    LETTER(h, "sensors.a", "error", "high", "e", "1");
    expect(DEAD(h, 2, "purge", "--all"), "say --yes");
    harness_wait_count(h, "dead", 1, 1000);
}

/* ---- the command ---- */

static void test_wrong_usage_is_one_line_and_status_2(struct harness *h)
{
    static const struct {
        const char *arguments[6];
        const char *text;
    } wrong[] = {
        {{"dead", NULL}, "list, show, retry or purge is expected"},
        {{"dead", "lsit", NULL}, "unknown word lsit: did you mean list?"},
        {{"dead", "list", "--rul", "x", NULL}, "unknown flag --rul: did you mean --rule?"},
        {{"dead", "list", "7", NULL}, "list takes no sequence"},
        {{"dead", "list", "--since", "soon", NULL}, "--since soon: a time ("},
        {{"dead", "show", NULL}, "show wants one sequence"},
        {{"dead", "show", "x1", NULL}, "x1: a sequence as"},
        {{"dead", "show", "0", NULL}, "0: a sequence as"},
        {{"dead", "retry", NULL}, "retry wants sequences, or --all"},
        {{"dead", "retry", "1", "--all", NULL}, "sequences or --all, not both"},
        {{"dead", "retry", "1", "--rule", "x", NULL}, "filters go with --all"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct process *dead = run_dead(h, 2, wrong[i].arguments);
        expect(dead, wrong[i].text);
        assert_int_equal(harness_log_count(dead, "\n"), 1);
    }
}

static void test_no_stream_for_dead_letters_is_one_line(struct harness *h)
{
    struct process *list = DEAD(h, 1, "list");
    expect(list, "tidemill dead: no stream stores dead letters (dead.*.*)");
    assert_int_equal(harness_log_count(list, "\n"), 1);
}

static void test_no_server_is_one_line(struct harness *h)
{
    struct process *list = DEAD(h, 1, "list");
    expect(list, "no server answers there");
    assert_int_equal(harness_log_count(list, "\n"), 1);
}

static void test_a_credentials_file_that_is_missing_is_one_line(struct harness *h)
{
    struct process *list = DEAD(h, 1, "list", "--nats", harness_url(h), "--creds", "missing");
    assert_int_equal(harness_log_count(list, "\n"), 1);
    expect(list, "missing");
}

static void test_the_configuration_names_server_and_subject(struct harness *h)
{
    char config[512];
    harness_stream(h, "lost", "lost.letters.>");
    harness_publish(h, "lost.letters.sensors.mill", "here");
    snprintf(
        config, sizeof(config),
        "return { nats = { url = \"%s\" }, sources = { { stream = \"s\", durable = \"d\" } },\n"
        "  dead_letter = { subject = \"lost.letters\" } }",
        harness_url(h));
    harness_setenv(h, "NATS_URL", NULL);
    harness_write_file(h, "other.lua", config);
    expect(DEAD(h, 0, "list", "--json", "-c", "other.lua"), "\"payload\":\"here\"");
    harness_write_file(h, "tidemill.lua", config);
    expect(DEAD(h, 0, "list", "--json"), "\"payload\":\"here\"");
    expect(DEAD(h, 1, "list", "--subject", "dead"), "no stream stores dead letters (dead.*.*)");
    harness_write_file(h, "tidemill.lua", "return { sorces = {} }");
    expect(DEAD(h, 2, "list"), "sorces");
}

/* ---- with a real run ---- */

static const char RUN_CONFIG[] =
    "return { sources = { { stream = \"sensors\", durable = \"mill\", ack_wait = \"2s\",\n"
    "    max_deliver = 2, backoff = { \"50ms\" }, format = \"raw\" } } }\n";

static void test_what_a_rule_failed_on_is_repaired_and_retried(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_stream(h, "alerts", "alerts.>");
    harness_write_file(h, "tidemill.lua", RUN_CONFIG);
    harness_write_file(h, "rules/broken.lua",
                       "return { subjects = { \"sensors.>\" }, on_message = function(msg)\n"
                       "  error(\"no luck\")\nend }\n");
    struct process *mill = harness_tidemill(h, "run");
    harness_publish(h, "sensors.value", "{\"value\": 91}");
    harness_wait_log(mill, "dead letter", 15000);
    harness_wait_drained(h, "sensors", "mill", 15000);
    struct process *show = DEAD(h, 0, "show", "1");
    expect(show, "reason:   error\nrule:     broken");
    expect(show, "\nerror:\n  rules/broken.lua:2: no luck\n  stack traceback:\n");
    expect(show, "consumer: mill, tries: 2\n");
    expect(show, "payload:  13 bytes\n{\"value\": 91}\n");

    harness_write_file(h, "rules/broken.lua",
                       "return { subjects = { \"sensors.>\" }, on_message = function(msg)\n"
                       "  mill.publish(\"alerts.a\", msg.raw)\nend }\n");
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "reload", 15000);
    expect(DEAD(h, 0, "retry", "--all", "--rule", "broken"), "1 retried\n");
    harness_wait_count(h, "alerts", 1, 15000);
    assert_string_equal(harness_read(h, "alerts")->items[0].payload, "{\"value\": 91}");
    expect(DEAD(h, 0, "list"), "no dead letters in stream dead\n");
    harness_stop(mill, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_the_list_has_a_line_for_each_with_aligned_columns),
        harness_test(test_filters_choose_by_rule_reason_and_time),
        harness_test(test_since_and_until_mean_the_moment_of_storing),
        harness_test(test_json_is_one_object_per_line_with_everything),
        harness_test(test_an_empty_list_says_so),
        harness_test(test_what_a_sensor_sent_cannot_command_the_terminal),
        harness_test(test_thousands_are_listed_and_removed_quickly),
        harness_test(test_only_dead_letters_are_read_from_a_stream_that_holds_more),
        harness_test(test_show_prints_headers_traceback_and_payload),
        harness_test(test_payload_alone_is_byte_for_byte),
        harness_test(test_a_retried_message_is_the_input_again),
        harness_test(test_the_window_of_the_input_stream_does_not_swallow_a_retry),
        harness_test(test_a_retry_that_broke_off_stores_nothing_twice),
        harness_test(test_what_no_stream_stores_stays_a_dead_letter),
        harness_test(test_what_its_stream_refuses_stays_a_dead_letter),
        harness_test(test_a_forged_dead_letter_cannot_call_the_server),
        harness_test(test_filters_choose_what_is_retried_in_order),
        harness_test(test_purge_removes_what_it_was_told_and_counts),
        harness_test(test_what_is_left_after_a_purge_is_still_listed),
        harness_test(test_purge_without_a_terminal_wants_a_yes),
        harness_test_with(test_wrong_usage_is_one_line_and_status_2, .no_server = true),
        harness_test(test_no_stream_for_dead_letters_is_one_line),
        harness_test_with(test_no_server_is_one_line, .no_server = true),
        harness_test(test_a_credentials_file_that_is_missing_is_one_line),
        harness_test(test_the_configuration_names_server_and_subject),
        harness_test(test_what_a_rule_failed_on_is_repaired_and_retried),
    };
    return cmocka_run_group_tests_name("dead", tests, NULL, NULL);
}
