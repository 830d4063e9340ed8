#include "harness.h"

#include <string.h>

/*
 * tidemill check: what is wrong is said, each in a line; what is only doubtful is a warning; what
 * does not load is never "ok". (Wrong configurations: test_bad_input.c.)
 */

enum { PATIENCE_MS = 15000 };

static const char config[] =
    "return {\n"
    "  nats = { url = env('NATS_URL') },\n"
    "  streams = { { name = 'in', subjects = { 'sensors.value', 'sensors.*.raw', 'logs.>' } } },\n"
    "  sources = { { stream = 'in', durable = 'd' } },\n"
    "}";

static const char good_rule[] = "return { subjects = { 'sensors.value' },\n"
                                "  on_message = function(msg) mill.log.info(msg.subject) end }";

static void write_good(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/good.lua", good_rule);
}

#define expect(process, ...) harness_expect_end(process, PATIENCE_MS, __VA_ARGS__)

static void test_good_rules_are_ok_without_a_word_more(struct harness *h)
{
    write_good(h);
    expect(harness_tidemill(h, "check", "--strict"), 0, 1, "ok: tidemill.lua and 1 rule in rules");
}

static void test_the_sample_rules_are_without_warnings(struct harness *h)
{
    expect(harness_tidemill(h, "check", "--strict", "-c", harness_source_path(h, "tidemill.lua"),
                            "--rules", harness_source_path(h, "rules")),
           0, 1, "ok: ");
}

static void test_all_broken_files_are_told_at_once(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "rules/a.lua", "return {");
    harness_write_file(h, "rules/b.lua", "return { subject = { 'sensors.value' } }");
    harness_write_file(h, "rules/c.lua", "local limit = nil\nreturn limit.x");
    harness_write_file(h, "rules/d.lua",
                       "return { subjects = { 'sensors.value' }, on_message = print,\n"
                       "on_load = function() error('no table') end }");
    struct process *check = harness_tidemill(h, "check");
    expect(check, 2, 4, "rules/a.lua:1: ", "rules/b.lua: unknown key 'subject'",
           "rules/c.lua:2: attempt to index a nil value", "rules/d.lua:2: no table");
    assert_int_equal(harness_log_count(check, "ok:"), 0);
}

static void test_misspelt_names_are_warnings_with_file_and_line(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "rules/lib/units.lua", "return { f = function() return limt end }");
    harness_write_file(h, "rules/typos.lua",
                       "return { subjects = { 'sensors.value' }, on_message = function(msg)\n"
                       "  mill.publsh('alerts.x', msg.dat)\n"
                       "end }");
    expect(harness_tidemill(h, "check"), 0, 4,
           "tidemill: rules/typos.lua:2: warning: mill.publsh does not exist "
           "(did you mean 'publish'?)\n",
           "tidemill: rules/typos.lua:2: warning: msg has no field 'dat' (did you mean 'data'?)\n",
           "tidemill: rules/lib/units.lua:1: warning: undefined global 'limt'\n",
           "ok: tidemill.lua and 2 rules in rules", ", 3 warnings\n");
}

static void test_strict_makes_warnings_errors(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "rules/typo.lua",
                       "return { subjects = { 'sensors.value' }, on_message = function(msg)\n"
                       "  mill.log.wran(msg.raw)\n"
                       "end }");
    struct process *check = harness_tidemill(h, "check", "--strict");
    expect(check, 2, 1, "rules/typo.lua:2: warning: mill.log.wran does not exist");
}

static void test_subjects_that_no_source_delivers_are_warnings(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/x.lua",
                       "return { subjects = { 'sensor.value', 'sensors.pump.raw', 'sensors.>',\n"
                       "  'log.app.error', 'orders', 'logs.>' }, on_message = print }");
    expect(harness_tidemill(h, "check"), 0, 4,
           "tidemill: rules/x.lua: warning: subjects \"sensor.value\": no source delivers it "
           "(did you mean \"sensors.value\"?)\n",
           "subjects \"log.app.error\": no source delivers it (did you mean \"logs.app.error\"?)\n",
           "subjects \"orders\": no source delivers it\n", ", 3 warnings\n");
}

static void test_a_filter_counts_and_an_unknown_stream_may_have_any_subject(struct harness *h)
{
    harness_write_file(h, "rules/x.lua",
                       "return { subjects = { 'a.x', 'b.x' }, on_message = print }");
    harness_write_file(
        h, "tidemill.lua",
        "return { sources = { { stream = 'in', durable = 'd', filter = { 'a.>' } } } }");
    expect(harness_tidemill(h, "check"), 0, 2, "subjects \"b.x\": no source delivers it");
    harness_write_file(h, "tidemill.lua",
                       "return { sources = { { stream = 'in', durable = 'd' } } }");
    expect(harness_tidemill(h, "check"), 0, 1, "ok: ");
}

static void test_a_rule_that_is_switched_off_may_want_anything(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "rules/off.lua",
                       "return { enabled = false, subjects = { 'nowhere' }, on_message = print }");
    expect(harness_tidemill(h, "check"), 0, 1, "ok: ");
}

static const char publishing_rule[] =
    "return { subjects = { 'sensors.value' }, on_message = function(msg)\n"
    "  mill.publish('alerts.high', msg.raw)\n"
    "  mill.publish('alarms.high', msg.raw)\n"
    "  mill.publish('lost.high', msg.raw, { durable = false })\n"
    "  mill.publish('logs.high', msg.raw)\n" /* tidemill run would create that stream */
    "  mill.publish('alarms.' .. msg.subject, msg.raw)\n"
    "end }";

static void test_online_a_subject_that_no_stream_stores_is_a_warning(struct harness *h)
{
    harness_stream(h, "alerts", "alerts.>");
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/x.lua", publishing_rule);
    expect(harness_tidemill(h, "check"), 0, 1, "ok: ");
    expect(harness_tidemill(h, "check", "--online"), 0, 2,
           "tidemill: rules/x.lua:3: warning: \"alarms.high\": no stream on the server stores it\n",
           ", 1 warning\n");
}

static void test_online_without_a_server_fails(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "rules/x.lua", publishing_rule);
    struct process *check = harness_tidemill(h, "check", "--online");
    expect(check, 1, 1, "127.0.0.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_good_rules_are_ok_without_a_word_more, .no_server = true),
        harness_test_with(test_the_sample_rules_are_without_warnings, .no_server = true),
        harness_test_with(test_all_broken_files_are_told_at_once, .no_server = true),
        harness_test_with(test_misspelt_names_are_warnings_with_file_and_line, .no_server = true),
        harness_test_with(test_strict_makes_warnings_errors, .no_server = true),
        harness_test_with(test_subjects_that_no_source_delivers_are_warnings, .no_server = true),
        harness_test_with(test_a_filter_counts_and_an_unknown_stream_may_have_any_subject,
                          .no_server = true),
        harness_test_with(test_a_rule_that_is_switched_off_may_want_anything, .no_server = true),
        harness_test(test_online_a_subject_that_no_stream_stores_is_a_warning),
        harness_test_with(test_online_without_a_server_fails, .no_server = true),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
