#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

/*
 * tidemill replay on stored messages: what it prints, what it leaves alone, and where two rule sets
 * part. The stream is "in"; the rules publish to "out", which nobody needs to have.
 */

enum { PATIENCE_MS = 20000 };

static const char CONFIG[] =
    "return { sources = { { stream = 'in', durable = 'mill' } }, http = false }\n";

/* A rule on "in.>" whose handler has this body. */
static void write_rule(struct harness *h, const char *path, const char *head, const char *body)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "%s\nreturn { subjects = { 'in.>' }, on_message = function(msg)\n%s\nend }\n", head,
             body);
    harness_write_file(h, path, text);
}

static void set_up(struct harness *h)
{
    harness_stream(h, "in", "in.>");
    harness_write_file(h, "tidemill.lua", CONFIG);
}

/*
 * The arguments are one at least: NULL for none. Runs it to its end, which must have this status.
 * Returns all it printed on both outputs.
 */
#define replay(h, status, ...)                                                                     \
    run_replay(h, status, (const char *const[]){"replay", __VA_ARGS__, NULL})
static const char *run_replay(struct harness *h, int status, const char *const *arguments)
{
    struct process *process = harness_start_tidemill(h, arguments);
    int got = harness_wait_exit(process, PATIENCE_MS);
    const char *output = harness_log(process);
    if (got != status)
        harness_fail(h, "exit status %d, wanted %d: %s", got, status, output);
    return output;
}

/* Returns where it stands. */
static const char *expect_text(struct harness *h, const char *output, const char *wanted)
{
    const char *at = strstr(output, wanted);
    if (at == NULL)
        harness_fail(h, "wanted \"%s\" in \"%s\"", wanted, output);
    return at;
}

static void expect_no_text(struct harness *h, const char *output, const char *unwanted)
{
    if (strstr(output, unwanted) != NULL)
        harness_fail(h, "did not want \"%s\" in \"%s\"", unwanted, output);
}

/* --- what is printed --- */

static void test_every_output_is_a_line_of_json(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/high.lua", "",
               "local n = msg.data.n\n"
               "if n == 1 then mill.publish('out.a', { z = 1, a = { y = {}, x = 2 } }) end\n"
               "if n == 2 then mill.publish('out.b', 'plain \"text\"\\n') end\n"
               "if n == 3 then mill.publish('out.c', '\\255\\0') end\n"
               "if n == 4 then mill.publish('out.d', '[1, 2]', { id = 'mine', ttl = 90,\n"
               "  headers = { B = '2', A = '1' }, durable = false })\n"
               "  mill.publish('out.e', '') end");
    harness_feed(h, "in.x", 1, 5, "{\"n\":#}");
    const char *output = replay(h, 0, NULL);
    expect_text(h, output,
                "{\"sequence\":1,\"rule\":\"high\",\"subject\":\"out.a\","
                "\"data\":{\"a\":{\"x\":2,\"y\":{}},\"z\":1},\"id\":\"in:1:high:1\"}\n");
    expect_text(h, output,
                "{\"sequence\":2,\"rule\":\"high\",\"subject\":\"out.b\","
                "\"raw\":\"plain \\\"text\\\"\\n\",\"id\":\"in:2:high:1\"}\n");
    expect_text(h, output,
                "{\"sequence\":3,\"rule\":\"high\",\"subject\":\"out.c\","
                "\"raw_base64\":\"/wA=\",\"id\":\"in:3:high:1\"}\n");
    expect_text(h, output,
                "{\"sequence\":4,\"rule\":\"high\",\"subject\":\"out.d\",\"data\":[1,2],"
                "\"headers\":{\"A\":\"1\",\"B\":\"2\"},\"ttl\":90,\"durable\":false,"
                "\"id\":\"mine\"}\n"
                "{\"sequence\":4,\"rule\":\"high\",\"subject\":\"out.e\",\"raw\":\"\","
                "\"id\":\"in:4:high:2\"}\n");
    expect_no_text(h, output, "{\"sequence\":5");
    expect_text(h, output, "5 messages of in (sequence 1 to 5)");
    expect_text(h, output, "would publish 5; errors 0, retries 0, rejects 0, without a rule 0");
}

static void test_verdicts_are_lines_too(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/picky.lua", "",
               "mill.publish('out.never', 'x')\n"
               "if msg.data.n == 1 then error('broken') end\n"
               "if msg.data.n == 2 then msg:retry(2.5) end\n"
               "msg:reject('no good')");
    harness_feed(h, "in.x", 1, 3, "{\"n\":#}");
    harness_publish(h, "in.x", "no json");
    const char *output = replay(h, 0, NULL);
    expect_text(
        h, output,
        "{\"sequence\":1,\"rule\":\"picky\",\"verdict\":\"error\",\"reason\":\"error\","
        "\"error\":\"rules/picky.lua:4: broken\"}\n"
        "{\"sequence\":2,\"rule\":\"picky\",\"verdict\":\"retry\",\"delay\":2.5}\n"
        "{\"sequence\":3,\"rule\":\"picky\",\"verdict\":\"reject\",\"reason\":\"rejected\"");
    expect_text(h, output,
                "{\"sequence\":4,\"rule\":\"picky\",\"verdict\":\"reject\",\"reason\":\"payload\"");
    expect_no_text(h, output, "out.never");
    expect_text(h, output, "would publish 0; errors 1, retries 1, rejects 2, without a rule 0");
}

static void test_nothing_is_published_acknowledged_or_left_behind(struct harness *h)
{
    set_up(h);
    harness_stream(h, "out", "out.>");
    write_rule(h, "rules/all.lua", "", "mill.publish('out.x', msg.raw)");
    harness_feed(h, "in.x", 1, 50, "#");
    expect_text(h, replay(h, 0, NULL), "would publish 50;");
    assert_int_equal(harness_count(h, "out"), 0);
    jsStreamInfo *info = NULL;
    assert_int_equal(js_GetStreamInfo(&info, harness_js(h), "in", NULL, NULL), NATS_OK);
    assert_int_equal(info->State.Msgs, 50);
    assert_int_equal(info->State.Consumers, 0);
    jsStreamInfo_Destroy(info);
}

static void test_a_rule_sees_the_message_as_it_was_stored(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/looks.lua", "",
               "mill.publish('out.x', table.concat({ msg.subject, msg.stream, msg.consumer,\n"
               "  msg.sequence, msg.delivered, msg.headers.Colour or '-', msg.raw }, ' '))\n"
               "mill.publish('out.time', mill.now() == msg.time and 'then' or 'not then')");
    natsMsg *message = NULL;
    assert_int_equal(natsMsg_Create(&message, "in.a.b", NULL, "42", 2), NATS_OK);
    assert_int_equal(natsMsgHeader_Set(message, "Colour", "red"), NATS_OK);
    assert_int_equal(js_PublishMsg(NULL, harness_js(h), message, NULL, NULL), NATS_OK);
    natsMsg_Destroy(message);
    const char *output = replay(h, 0, NULL);
    expect_text(h, output, "\"raw\":\"in.a.b in mill 1 1 red 42\"");
    expect_text(h, output, "\"raw\":\"then\"");
}

/* --- which messages --- */

static void test_a_range_of_sequences_is_replayed(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/all.lua", "", "mill.publish('out.x', msg.raw)");
    harness_feed(h, "in.x", 1, 30, "#");
    expect_text(h, replay(h, 0, "--from", "11", "--to", "20"),
                "10 messages of in (sequence 11 to 20)");
    expect_text(h, replay(h, 0, "--from", "25"), "6 messages of in (sequence 25 to 30)");
    expect_text(h, replay(h, 0, "--to", "2"), "2 messages of in (sequence 1 to 2)");
    expect_text(h, replay(h, 0, "--from", "3", "--limit", "4"),
                "4 messages of in (sequence 3 to 6)");
    expect_text(h, replay(h, 0, "--from", "31"), "0 messages of in");
}

static void test_a_range_of_times_is_replayed(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/all.lua", "", "mill.publish('out.x', msg.raw)");
    harness_feed(h, "in.x", 1, 3, "#");
    jsStreamInfo *info = NULL;
    assert_int_equal(js_GetStreamInfo(&info, harness_js(h), "in", NULL, NULL), NATS_OK);
    int64_t last_ns = info->State.LastTime;
    jsStreamInfo_Destroy(info);
    char exact[UNITS_TIME_TEXT];
    units_format_time(last_ns, 9, exact);
    expect_text(h, replay(h, 0, "--from", exact), "1 message of in (sequence 3 to 3)");
    expect_text(h, replay(h, 0, "--to", exact), "3 messages of in (sequence 1 to 3)");
    expect_text(h, replay(h, 0, "--from", "1h"), "3 messages of in (sequence 1 to 3)");
    expect_text(h, replay(h, 0, "--to", "1h"), "0 messages of in");
    expect_text(h, replay(h, 0, "--from", "2026-01-01T00:00:00Z", "--to", "2"),
                "2 messages of in (sequence 1 to 2)");
}

static void test_the_sources_filter_holds_unless_a_subject_is_given(struct harness *h)
{
    set_up(h);
    harness_write_file(h, "tidemill.lua",
                       "return { sources = { { stream = 'in', durable = 'mill',\n"
                       "  filter = { 'in.a' }, format = 'raw' } } }\n");
    write_rule(h, "rules/all.lua", "", "mill.publish('out.x', msg.raw)");
    harness_publish(h, "in.a", "no json");
    harness_publish(h, "in.b", "no json");
    expect_text(h, replay(h, 0, NULL), "1 message of in (sequence 1 to 1)");
    expect_text(h, replay(h, 0, "--subject", "in.b"), "1 message of in (sequence 2 to 2)");
    expect_text(h, replay(h, 0, "--subject", "in.*"), "would publish 2;");
}

/* --- time --- */

static void test_a_handler_that_waits_is_printed_in_its_messages_place(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/slow.lua", "",
               "if msg.data.n == 1 then mill.sleep(30) end\n"
               "mill.publish('out.x', msg.raw)");
    write_rule(h, "rules/quick.lua", "", "mill.publish('out.y', msg.raw)");
    harness_feed(h, "in.x", 1, 3, "{\"n\":#}");
    const char *output = replay(h, 0, NULL); /* of 30 s nothing is felt */
    expect_text(h, output, "would publish 6;");
    const char *at = output;
    for (int i = 1; i <= 3; i++) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "{\"sequence\":%d,\"rule\":\"slow\"", i);
        at = expect_text(h, at, wanted);
    }
}

static void test_timers_fire_in_the_messages_time(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/beats.lua",
               "local beats = 0\n"
               "mill.every(10, function()\n"
               "  beats = beats + 1\n"
               "  mill.publish('out.beat', tostring(beats))\n"
               "end)",
               "if msg.data.n == 1 then mill.sleep(35) end");
    harness_feed(h, "in.x", 1, 2, "{\"n\":#}");
    /* A timer waits while its rule is busy and never catches up: one beat after the 35 s. */
    const char *output = replay(h, 0, NULL);
    expect_text(h, output, "{\"timer\":\"");
    expect_text(h, output, "\"rule\":\"beats\",\"subject\":\"out.beat\",\"data\":1}");
}

static void test_a_handler_that_never_stops_waiting_is_ended(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/waits.lua", "", "while true do mill.sleep(60) end");
    harness_publish(h, "in.x", "{}");
    expect_text(h, replay(h, 0, NULL), "the replay ends, and the rule has waited for an hour");
}

static void test_requests_and_buckets_are_not_available(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/asks.lua", "",
               "local a, why = mill.request('somebody', 'x')\n"
               "mill.publish('out.x', why)\n"
               "a, why = mill.kv('b'):get('k')\n"
               "mill.publish('out.x', why)\n"
               "mill.counter('seen'):inc()\n"
               "msg:in_progress()");
    harness_publish(h, "in.x", "{}");
    const char *output = replay(h, 0, NULL);
    const char *first = expect_text(h, output, "\"raw\":\"not available in a replay\"");
    expect_text(h, first + 1, "\"raw\":\"not available in a replay\"");
    expect_text(h, output, "errors 0");
}

static void test_thousands_of_messages_behind_one_that_waits_keep_their_order(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/slow.lua", "",
               "if msg.sequence % 100 == 1 then mill.sleep(1000) end\n"
               "mill.publish('out.x', msg.raw)");
    harness_feed(h, "in.x", 1, 5000, "#");
    const char *output = replay(h, 0, NULL);
    expect_text(h, output, "would publish 5000;");
    const char *at = output;
    for (int i = 1; i <= 5000; i++) {
        assert_int_equal(strncmp(at, "{\"sequence\":", 12), 0);
        assert_int_equal(strtol(at + 12, NULL, 10), i);
        at = strchr(at, '\n') + 1;
    }
}

/* --- two rule sets --- */

static void test_the_same_rules_under_another_name_do_not_differ(struct harness *h)
{
    /* Tables come out in another order in each engine, errors name another file and line. */
    static const char body[] =
        "if msg.data.n == 5 then error('five') end\n"
        "mill.publish('out.x', { a = 1, b = 2, c = 3, d = 4, e = { f = 5, g = 6, h = 7 } })";
    set_up(h);
    write_rule(h, "rules/old_name.lua", "", body);
    write_rule(h, "other/new_name.lua", "\n\n\n", body);
    harness_feed(h, "in.x", 1, 50, "{\"n\":#}");
    const char *output = replay(h, 0, "--diff", "other");
    expect_text(h, output, "50 messages of in (sequence 1 to 50)");
    expect_text(h, output, ": 0 decided differently by rules (version ");
    assert_int_equal(strncmp(output, "50 messages", 11), 0); /* and nothing else */
}

static void test_what_differs_is_shown_per_message(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/limit.lua", "",
               "if msg.data.n > 1 then mill.publish('out.high', { n = msg.data.n }) end\n"
               "mill.publish('out.seen', 'yes')");
    write_rule(h, "other/limit.lua", "",
               "if msg.data.n == 4 then msg:reject('four') end\n"
               "if msg.data.n > 2 then mill.publish('out.high', { n = msg.data.n }) end\n"
               "mill.publish('out.seen', 'yes')");
    harness_feed(h, "in.x", 1, 4, "{\"n\":#}");
    const char *output = replay(h, 1, "--diff", "other");
    expect_text(h, output, "\n- limit: out.high {\"n\":2}\n4 in.x 20");
    expect_text(h, output,
                "\n- limit: out.high {\"n\":4}\n- limit: out.seen yes\n+ limit: reject: ");
    expect_text(h, output, ": 2 decided differently");
    expect_no_text(h, output, "1 in.x");
    expect_no_text(h, output, "3 in.x");
}

static void test_headers_ids_and_the_like_are_compared_and_shown(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/a.lua", "",
               "mill.publish('out.x', 'same')\n"
               "mill.publish('out.y', 'old', { headers = { Site = 'hall 2' }, id = 'i' })");
    write_rule(h, "other/a.lua", "",
               "mill.publish('out.x', 'same', { ttl = 90, durable = false })\n"
               "mill.publish('out.y', 'old', { headers = { Site = 'hall 2' }, id = 'j' })");
    harness_feed(h, "in.x", 1, 1, "{\"n\":#}");
    const char *output = replay(h, 1, "--diff", "other");
    expect_text(h, output, "\n- a: out.x same\n");
    expect_text(h, output, "\n+ a: out.x same [ttl 90 s] [not durable]\n");
    expect_text(h, output, "\n- a: out.y old [Site: hall 2] [id i]\n");
    expect_text(h, output, "\n+ a: out.y old [Site: hall 2] [id j]\n");
}

static void test_differences_come_as_json_too(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/a.lua", "", "mill.publish('out.x', { n = msg.data.n })");
    write_rule(h, "other/b.lua", "", "msg:retry(1)");
    harness_feed(h, "in.x", 7, 1, "{\"n\":#}");
    const char *output = replay(h, 1, "--diff", "other", "--json");
    expect_text(h, output, "{\"sequence\":1,\"subject\":\"in.x\",\"time\":\"20");
    expect_text(h, output,
                "\"old\":[{\"rule\":\"a\",\"subject\":\"out.x\",\"data\":{\"n\":7}}],"
                "\"new\":[{\"rule\":\"b\",\"verdict\":\"retry\",\"delay\":1}]}\n");
}

/* --- what handlers say --- */

static void test_warnings_of_handlers_are_told_and_lesser_words_are_not(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/a.lua", "", "mill.log.warn('mind', msg.data.n) mill.log.info('heard')");
    harness_feed(h, "in.x", 7, 1, "{\"n\":#}");
    const char *output = replay(h, 0, NULL);
    expect_text(h, output, "warn  rule a: mind 7\n");
    expect_no_text(h, output, "heard");
}

/* --- trouble --- */

static void test_trouble_has_one_line_and_its_exit_status(struct harness *h)
{
    set_up(h);
    write_rule(h, "rules/good.lua", "", "");
    harness_write_file(h, "bad/broken.lua", "return {");
    harness_publish(h, "in.x", "{}");
    expect_text(h, replay(h, 1, "--stream", "nowhere"), "reading stream nowhere: stream not found");
    expect_text(h, replay(h, 2, "--stream", "nowhere", "--diff", "bad"), "stream not found");
    expect_text(h, replay(h, 2, "--diff", "bad"), "bad/broken.lua:1:");
    expect_text(h, replay(h, 1, "--rules", "bad"), "bad/broken.lua:1:");
    expect_text(h, replay(h, 2, "--from", "yesterday"), "--from yesterday: a sequence, a time");
    expect_text(h, replay(h, 2, "--from", "0"), "--from 0: a sequence, a time");
    expect_text(h, replay(h, 2, "--subject", "a..b"), "--subject: ");
    expect_text(h, replay(h, 2, "extra"), "unexpected argument extra");
    expect_text(h, replay(h, 2, "--rules", "nowhere"), "nowhere");
}

static void test_with_several_streams_one_must_be_named(struct harness *h)
{
    set_up(h);
    harness_stream(h, "more", "more.>");
    harness_write_file(h, "tidemill.lua",
                       "return { sources = { { stream = 'in', durable = 'a' },\n"
                       "  { stream = 'more', durable = 'b' } } }\n");
    write_rule(h, "rules/good.lua", "", "");
    harness_publish(h, "more.x", "{}");
    expect_text(h, replay(h, 2, NULL), "--stream is missing");
    expect_text(h, replay(h, 0, "--stream", "more"), "1 message of more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_every_output_is_a_line_of_json),
        harness_test(test_verdicts_are_lines_too),
        harness_test(test_nothing_is_published_acknowledged_or_left_behind),
        harness_test(test_a_rule_sees_the_message_as_it_was_stored),
        harness_test(test_a_range_of_sequences_is_replayed),
        harness_test(test_a_range_of_times_is_replayed),
        harness_test(test_the_sources_filter_holds_unless_a_subject_is_given),
        harness_test(test_a_handler_that_waits_is_printed_in_its_messages_place),
        harness_test(test_timers_fire_in_the_messages_time),
        harness_test(test_a_handler_that_never_stops_waiting_is_ended),
        harness_test(test_requests_and_buckets_are_not_available),
        harness_test(test_thousands_of_messages_behind_one_that_waits_keep_their_order),
        harness_test(test_the_same_rules_under_another_name_do_not_differ),
        harness_test(test_what_differs_is_shown_per_message),
        harness_test(test_headers_ids_and_the_like_are_compared_and_shown),
        harness_test(test_differences_come_as_json_too),
        harness_test(test_warnings_of_handlers_are_told_and_lesser_words_are_not),
        harness_test(test_trouble_has_one_line_and_its_exit_status),
        harness_test(test_with_several_streams_one_must_be_named),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
