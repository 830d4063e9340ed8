#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Reloads that do not simply happen: one that a running worker refuses, and one that is asked for
 * while another is under way.
 */

enum { PATIENCE_MS = 15000 };

static const char config[] =
    "return { streams = { { name = 'in', subjects = { 'in.>' } },\n"
    "                     { name = 'out', subjects = { 'out.>' } } },\n"
    "  sources = { { stream = 'in', durable = 'd', backoff = { '100ms' }, workers = 2 } },\n"
    "  rules = { timeout = '5s' } }";

/* Publishes its version; `before` is what stands at the top of the file, `first` in the handler. */
static void write_rule(struct harness *h, int version, const char *before, const char *first)
{
    char text[512];
    snprintf(text, sizeof(text),
             "%s\nreturn { subjects = { 'in.a' }, on_message = function(msg)\n"
             "  %s\n  mill.publish('out.a', tostring(%d))\nend }",
             before, first, version);
    harness_write_file(h, "rules/a.lua", text);
}

static struct process *start(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    return mill;
}

/* Publishes the n-th message; the version of the rule that has run for it. */
static int version_at_work(struct harness *h, uint64_t n)
{
    harness_publish(h, "in.a", "{}");
    harness_wait_count(h, "out", n, PATIENCE_MS);
    const struct harness_messages *out = harness_read(h, "out");
    return atoi(out->items[n - 1].payload);
}

/* One of the two workers has something that cannot be carried over: then neither changes. */
static void test_state_that_cannot_be_kept_leaves_all_workers_on_the_old_rules(struct harness *h)
{
    write_rule(h, 1, "local kept = mill.state('kept')", "kept.print = print");
    struct process *mill = start(h);
    assert_int_equal(version_at_work(h, 1), 1);

    write_rule(h, 2, "local kept = mill.state('kept')", "");
    harness_signal(mill, SIGHUP);

    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "a function cannot be kept"), 1);
    for (uint64_t n = 2; n < 12; n++)
        assert_int_equal(version_at_work(h, n), 1);
    assert_int_equal(harness_log_count(mill, "rules reloaded"), 0);
    harness_stop(mill, PATIENCE_MS);
}

/* The file takes a moment to run, and says so: then the next reload is asked for, twice. */
static void test_a_reload_during_another_one_takes_what_is_there_by_then(struct harness *h)
{
    static const char slow[] = "mill.log.info('it runs')\n"
                               "local start = os.clock() while os.clock() - start < 0.3 do end";
    write_rule(h, 1, "", "");
    struct process *mill = start(h);

    write_rule(h, 2, slow, "");
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "it runs", PATIENCE_MS);
    write_rule(h, 3, "", "");
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);

    assert_int_equal(version_at_work(h, 1), 3);
    assert_int_equal(harness_log_count(mill, "rules reloaded"), 2);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_state_that_cannot_be_kept_leaves_all_workers_on_the_old_rules),
        harness_test(test_a_reload_during_another_one_takes_what_is_there_by_then),
    };
    return cmocka_run_group_tests_name("reload_refused", tests, NULL, NULL);
}
