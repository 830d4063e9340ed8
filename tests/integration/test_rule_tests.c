#include "harness.h"

#include <string.h>

/* `tidemill test` as people and CI servers use it: what it prints, and its exit status. */

enum { PATIENCE_MS = 15000 };

static const char rule[] = "return { subjects = { 'in' }, on_message = function(msg)\n"
                           "  mill.publish('out', { value = msg.data.value * 2 })\n"
                           "end }\n";

static const char passing[] =
    "describe('double', function()\n"
    "  it('doubles', function()\n"
    "    local published = mill.test():send { subject = 'in', data = { value = 2 } }\n"
    "    expect(published).to.equal { { subject = 'out', data = { value = 4 } } }\n"
    "  end)\n"
    "end)\n";

static const char failing[] =
    "describe('double', function()\n"
    "  it('triples', function()\n"
    "    local published = mill.test('double'):send { subject = 'in', data = { value = 2 } }\n"
    "    expect(published).to.equal { { subject = 'out', data = { value = 6 } } }\n"
    "  end)\n"
    "  it('is <still> to come')\n"
    "end)\n";

static void write_rule(struct harness *h)
{
    harness_write_file(h, "rules/double.lua", rule);
    harness_write_file(h, "rules/double_test.lua", passing);
}

/* Its end, and what it must have printed. */
static void expect_end(struct harness *h, struct process *process, int status,
                       const char *const *texts)
{
    int ended = harness_wait_exit(process, PATIENCE_MS);
    if (ended != status)
        harness_fail(h, "exit status %d instead of %d: %s", ended, status, harness_log(process));
    for (; *texts != NULL; texts++) {
        if (strstr(harness_log(process), *texts) == NULL)
            harness_fail(h, "\"%s\" is missing in: %s", *texts, harness_log(process));
    }
}

#define expect(h, process, status, ...)                                                            \
    expect_end(h, process, status, (const char *const[]){__VA_ARGS__, NULL})

static void test_tests_that_pass_end_with_0(struct harness *h)
{
    write_rule(h);
    expect(h, harness_tidemill(h, "test"), 0,
           "rules/double_test.lua\n  ok      double doubles\n\n1 passed, 0 failed (");
}

static void test_a_failure_shows_place_and_difference_and_ends_with_1(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/triple_test.lua", failing);
    expect(h, harness_tidemill(h, "test"), 1, "  ok      double doubles\n",
           "rules/triple_test.lua\n"
           "  FAILED  double triples\n"
           "      rules/triple_test.lua:4: not equal\n"
           "        at [1].data.value\n"
           "          expected: 6\n"
           "          got:      4\n"
           "  pending double is <still> to come\n"
           "\n1 passed, 1 failed, 1 pending (");
}

static void test_a_broken_test_file_fails_and_the_others_run(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/a_test.lua", "describe('x', function()");
    expect(h, harness_tidemill(h, "test"), 1, "rules/a_test.lua:1: 'end' expected",
           "  ok      double doubles", "1 passed, 1 failed");
}

static void test_a_rule_that_is_not_there_is_named(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/a_test.lua", "it('x', function() mill.test('doubel') end)");
    expect(h, harness_tidemill(h, "test", "rules/a_test.lua"), 1,
           "rules/a_test.lua:1: no rule 'doubel' in rules (did you mean 'double'?)",
           "0 passed, 1 failed");
}

static void test_a_broken_rule_is_told_with_its_own_line(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/double.lua", "return {\n  subject = { 'in' }\n}");
    expect(h, harness_tidemill(h, "test"), 1, "rules/double.lua: unknown key 'subject'");
}

static void test_what_a_test_file_prints_has_its_name(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/double_test.lua",
                       "print('once', 1)\nit('is there', function() print('twice') end)");
    struct process *process = harness_tidemill(h, "test");
    assert_int_equal(harness_wait_exit(process, PATIENCE_MS), 0);
    assert_int_equal(harness_log_count(process, "double_test: once 1\n"), 1);
    assert_int_equal(harness_log_count(process, "double_test: twice\n"), 1);
}

static void test_nothing_to_run_ends_with_2(struct harness *h)
{
    expect(h, harness_tidemill(h, "test"), 2, "tidemill test: rules: No such file or directory\n");
    harness_write_file(h, "rules/double.lua", rule);
    expect(h, harness_tidemill(h, "test"), 2, "tidemill test: no *_test.lua in rules\n");
    write_rule(h);
    expect(h, harness_tidemill(h, "test", "--filter", "trouble"), 2, "no test matches trouble\n");
}

static void test_wrong_usage_ends_with_2(struct harness *h)
{
    write_rule(h);
    expect(h, harness_tidemill(h, "test", "--format", "xml"), 2, "text, tap or junit is expected");
    expect(h, harness_tidemill(h, "test", "--filtre", "x"), 2, "did you mean --filter?");
}

static void test_a_filter_picks_tests_by_name(struct harness *h)
{
    harness_write_file(h, "rules/double.lua", rule);
    harness_write_file(h, "rules/triple_test.lua", failing);
    expect(h, harness_tidemill(h, "test", "--filter", "come"), 0, "0 passed, 0 failed, 1 pending");
}

static void test_tap_is_for_machines(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/triple_test.lua", failing);
    expect(h, harness_tidemill(h, "test", "--format", "tap"), 1,
           "TAP version 13\n"
           "ok 1 - rules/double_test.lua: double doubles\n"
           "not ok 2 - rules/triple_test.lua: double triples\n"
           "  # rules/triple_test.lua:4: not equal\n",
           "ok 3 - rules/triple_test.lua: double is <still> to come # SKIP pending\n"
           "1..3\n");
}

static void test_junit_is_for_ci_servers(struct harness *h)
{
    write_rule(h);
    harness_write_file(h, "rules/triple_test.lua", failing);
    expect(h, harness_tidemill(h, "test", "--format", "junit"), 1,
           "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
           "<testsuite name=\"tidemill\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"",
           "<testcase classname=\"rules/double_test.lua\" name=\"double doubles\" time=\"",
           "<failure message=\"rules/triple_test.lua:4: not equal\">",
           "name=\"double is &lt;still&gt; to come\"", "<skipped/></testcase>\n</testsuite>\n");
}

static void test_watching_runs_the_tests_again_when_a_rule_changes(struct harness *h)
{
    write_rule(h);
    struct process *process = harness_tidemill(h, "test", "--watch");
    harness_wait_log(process, "1 passed, 0 failed", PATIENCE_MS);
    harness_wait_log(process, "watching", PATIENCE_MS);
    harness_write_file(h, "rules/double.lua", "return {");
    harness_wait_log(process, "0 passed, 1 failed", PATIENCE_MS);
    harness_wait_log(process, "watching", PATIENCE_MS);
    harness_write_file(h, "rules/double.lua", rule);
    harness_wait_log(process, "1 passed, 0 failed", PATIENCE_MS);
    harness_signal(process, SIGINT);
    if (harness_wait_exit(process, PATIENCE_MS) != 128 + SIGINT)
        harness_fail(h, "SIGINT did not end it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_tests_that_pass_end_with_0, .no_server = true),
        harness_test_with(test_a_failure_shows_place_and_difference_and_ends_with_1,
                          .no_server = true),
        harness_test_with(test_a_broken_test_file_fails_and_the_others_run, .no_server = true),
        harness_test_with(test_a_rule_that_is_not_there_is_named, .no_server = true),
        harness_test_with(test_a_broken_rule_is_told_with_its_own_line, .no_server = true),
        harness_test_with(test_what_a_test_file_prints_has_its_name, .no_server = true),
        harness_test_with(test_nothing_to_run_ends_with_2, .no_server = true),
        harness_test_with(test_wrong_usage_ends_with_2, .no_server = true),
        harness_test_with(test_a_filter_picks_tests_by_name, .no_server = true),
        harness_test_with(test_tap_is_for_machines, .no_server = true),
        harness_test_with(test_junit_is_for_ci_servers, .no_server = true),
        harness_test_with(test_watching_runs_the_tests_again_when_a_rule_changes,
                          .no_server = true),
    };
    return cmocka_run_group_tests_name("rule_tests", tests, NULL, NULL);
}
