#include "reload_rules.h"

#include <poll.h>

/* Reloading by SIGHUP: rules that work, rules that do not, handlers that wait, and under load. */

static void reload(struct process *mill)
{
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
}

static int member(const char *payload, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    const char *found = strstr(payload, quoted);
    assert_non_null(found);
    return atoi(found + strlen(quoted));
}

static void expect_once(struct process *mill, const char *text)
{
    assert_int_equal(harness_log_count(mill, text), 1);
}

/* ---- rules that work ---- */

static void test_the_very_next_message_after_a_reload_follows_the_new_rules(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, NULL);
    assert_int_equal(version_at_work(h, 1), 1);
    for (int version = 2; version <= 6; version++) {
        harness_write_file(h, "rules/a.lua", rule_of(h, version));
        reload(mill);
        assert_int_equal(version_at_work(h, version), version);
    }
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_new_file_is_taken_in_and_a_removed_one_is_gone(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, NULL);
    assert_int_equal(version_at_work(h, 1), 1);
    harness_write_file(h, "rules/b.lua", rule_of(h, 2));
    harness_remove_file(h, "rules/a.lua");
    reload(mill);
    assert_int_equal(version_at_work(h, 2), 2);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_reload_without_a_change_is_said_and_harmless(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, NULL);
    reload(mill);
    assert_int_equal(version_at_work(h, 1), 1);
    harness_stop(mill, PATIENCE_MS);
}

static void test_state_survives_a_reload(struct harness *h)
{
    static const char counting[] = "local seen = mill.state('seen')\n"
                                   "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                   "  seen.count = (seen.count or 0) + 1\n"
                                   "  mill.publish('out.a', { v = seen.count, n = msg.data.n })\n"
                                   "end } -- edited";
    harness_write_file(h, "rules/a.lua", counting);
    struct process *mill = start(h, NULL);
    assert_int_equal(version_at_work(h, 1), 1);
    assert_int_equal(version_at_work(h, 2), 2);
    char edited[sizeof(counting) + 8];
    snprintf(edited, sizeof(edited), "%s more", counting);
    harness_write_file(h, "rules/a.lua", edited);
    reload(mill);
    assert_int_equal(version_at_work(h, 3), 3);
    harness_stop(mill, PATIENCE_MS);
}

static void test_timers_of_the_old_rules_end_with_the_reload(struct harness *h)
{
    static const char ticking[] = "return { every = { 0.02, function()\n"
                                  "  mill.publish('out.tick', { v = %d })\n"
                                  "end } }";
    char text[sizeof(ticking) + 8];
    snprintf(text, sizeof(text), ticking, 1);
    harness_write_file(h, "rules/tick.lua", text);
    harness_stream(h, "out", "out.>");
    struct process *mill = start(h, NULL);
    while (harness_count(h, "out") < 3)
        poll(NULL, 0, 5);
    snprintf(text, sizeof(text), ticking, 2);
    harness_write_file(h, "rules/tick.lua", text);
    reload(mill);
    uint64_t before = harness_count(h, "out");
    int64_t count = 0;
    for (const struct harness_messages *out; count < 5;
         count = (int64_t)out->count - (int64_t)before) {
        out = harness_read(h, "out");
        int last = 1;
        for (size_t i = 0; i < out->count; i++) {
            assert_true(member(out->items[i].payload, "v") >= last);
            last = member(out->items[i].payload, "v");
        }
        poll(NULL, 0, 20);
    }
    harness_stop(mill, PATIENCE_MS);
    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(member(out->items[0].payload, "v"), 1);
    assert_int_equal(member(out->items[out->count - 1].payload, "v"), 2);
}

static void test_on_unload_runs_when_the_rules_go(struct harness *h)
{
    harness_write_file(h, "rules/a.lua",
                       "return { subjects = { 'in.a' }, on_message = function() end,\n"
                       "  on_unload = function() print('good', 'bye') end }");
    struct process *mill = start(h, NULL);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    reload(mill);
    expect_once(mill, "bye");
    harness_stop(mill, PATIENCE_MS);
}

/* ---- handlers that wait ---- */

/*
 * A rule whose handler waits until this test answers on "gate", and a second rule that tells when a
 * message has been delivered.
 */
static const char waiting_rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                   "  if msg.data.n == 1 then\n"
                                   "    assert(mill.request('gate', {}, 15))\n"
                                   "  end\n"
                                   "  mill.publish('out.a', { v = 1, n = msg.data.n })\n"
                                   "end }";
static const char telling_rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                   "  print('delivered ' .. msg.data.n)\n"
                                   "end }";

/* Starts the two rules; message 1 waits at the gate when this returns, 2 is queued behind it. */
static struct process *hold_at_gate(struct harness *h, natsSubscription **gate, natsMsg **asked)
{
    harness_write_file(h, "rules/a.lua", waiting_rule);
    harness_write_file(h, "rules/b.lua", telling_rule);
    struct process *mill = start(h, NULL);
    assert_int_equal(natsConnection_SubscribeSync(gate, harness_nats(h), "gate"), NATS_OK);
    publish_number(h, 1);
    assert_int_equal(natsSubscription_NextMsg(asked, *gate, PATIENCE_MS), NATS_OK);
    publish_number(h, 2);
    harness_wait_log(mill, "delivered 2", PATIENCE_MS);
    assert_int_equal(harness_count(h, "out"), 0);
    return mill;
}

static void open_gate(struct harness *h, natsSubscription *gate, natsMsg *asked)
{
    natsConnection_PublishString(harness_nats(h), natsMsg_GetReply(asked), "go on");
    natsMsg_Destroy(asked);
    natsSubscription_Destroy(gate);
}

static void test_a_waiting_handler_ends_on_the_old_rules_and_queued_messages_run_on_the_new(
    struct harness *h)
{
    natsSubscription *gate = NULL;
    natsMsg *asked = NULL;
    struct process *mill = hold_at_gate(h, &gate, &asked);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    reload(mill);
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    open_gate(h, gate, asked);
    harness_wait_count(h, "out", 2, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);

    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(member(out->items[0].payload, "n"), 2);
    assert_int_equal(member(out->items[0].payload, "v"), 2);
    assert_int_equal(member(out->items[1].payload, "n"), 1);
    assert_int_equal(member(out->items[1].payload, "v"), 1);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_sleeping_handler_ends_on_the_old_rules(struct harness *h)
{
    harness_write_file(h, "rules/a.lua",
                       "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                       "  print('asleep')\n"
                       "  mill.sleep(0.7)\n"
                       "  mill.publish('out.a', { v = 1, n = msg.data.n })\n"
                       "end }");
    struct process *mill = start(h, NULL);
    publish_number(h, 1);
    harness_wait_log(mill, "asleep", PATIENCE_MS);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    reload(mill);
    assert_int_equal(harness_count(h, "out"), 0); /* the reload did not wait for it */
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    assert_int_equal(member(harness_read(h, "out")->items[0].payload, "v"), 1);
    assert_int_equal(version_at_work(h, 2), 2);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_queued_message_whose_rule_is_gone_is_acknowledged(struct harness *h)
{
    natsSubscription *gate = NULL;
    natsMsg *asked = NULL;
    struct process *mill = hold_at_gate(h, &gate, &asked);
    harness_remove_file(h, "rules/a.lua");
    reload(mill);
    open_gate(h, gate, asked);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    assert_int_equal(harness_count(h, "out"), 1);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- rules that do not load ---- */

static const struct broken {
    const char *file, *text, *place, *says;
} broken_files[] = {
    {"rules/b.lua", "local x = \nreturn {", "rules/b.lua:2:", "unexpected symbol"},
    {"rules/b.lua", "-- nothing\n", "rules/b.lua", "return"},
    {"rules/b.lua", "return 7", "rules/b.lua", "table"},
    {"rules/b.lua", "return { subjects = { 'in.a' }, on_mesage = function() end }", "rules/b.lua",
     "on_message"},
    {"rules/b.lua", "return { subjects = { 'in.a' } }", "rules/b.lua", "on_message"},
    {"rules/b.lua", "return { subjects = { 'in.>.a' }, on_message = function() end }",
     "rules/b.lua", "in.>.a"},
    {"rules/b.lua",
     "return { subjects = { 'in.a' }, on_message = function() end,\n"
     "  on_load = function()\n    error('no table today')\n  end }",
     "rules/b.lua:3:", "no table today"},
    {"rules/b.lua", "\nlocal m = require 'metdata'\nreturn {}", "rules/b.lua:2:", "metdata"},
    {"rules/b.lua", "\n\nlocal x = nil + 1", "rules/b.lua:3:", "arithmetic"},
    {"rules/b.lua", "while true do end", "rules/b.lua:1:", "300"},
    {"rules/lib/metadata.lua", "local m = {}\nreturn m m", "rules/lib/metadata.lua:2:", "'m'"},
};

static void break_and_reload(struct harness *h, struct process *mill, const struct broken *broken)
{
    harness_write_file(h, broken->file, broken->text);
    size_t lines = harness_log_count(mill, "\n");
    size_t refused = harness_log_count(mill, "rules not reloaded");
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    harness_wait_log(mill, "\n", PATIENCE_MS);
    if (harness_log_count(mill, "\n") != lines + 1)
        harness_fail(h, "more than one line on: %s", broken->text);
    assert_int_equal(harness_log_count(mill, "rules not reloaded"), refused + 1);
    const char *line = harness_log(mill);
    for (const char *next; (next = strstr(line, "rules not reloaded")) != NULL; line = next + 1)
        ;
    if (strstr(line, broken->place) == NULL || strstr(line, broken->says) == NULL)
        harness_fail(h, "\"%s\" and \"%s\" should be in the line on: %s", broken->place,
                     broken->says, broken->text);
}

static void test_a_broken_file_changes_nothing_and_one_line_names_it(struct harness *h)
{
    static const char user[] = "local metadata = require 'metadata'\n"
                               "return { subjects = { 'in.b' }, on_message = function() end }";
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    harness_write_file(h, "rules/b.lua", user);
    harness_write_file(h, "rules/lib/metadata.lua", "return {}");
    struct process *mill = start(h, NULL);
    int n = 0;
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2)); /* must not come in by itself */
    for (size_t i = 0; i < sizeof(broken_files) / sizeof(broken_files[0]); i++) {
        const char *status = NULL;
        break_and_reload(h, mill, &broken_files[i]);
        assert_int_equal(version_at_work(h, ++n), 1);
        assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
        assert_int_equal(harness_http(mill, "/status", &status), 200);
        assert_non_null(strstr(status, "\"ok\":false"));
        assert_non_null(strstr(status, broken_files[i].place));
        harness_write_file(h, "rules/b.lua", user);
    }
    harness_write_file(h, "rules/lib/metadata.lua", "return {}");
    reload(mill);
    assert_int_equal(version_at_work(h, ++n), 2);
    const char *status = NULL;
    harness_http(mill, "/status", &status);
    assert_null(strstr(status, "\"ok\":false"));
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_rules_folder_that_is_gone_changes_nothing(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, NULL);
    assert_int_equal(rename(harness_path(h, "rules"), harness_path(h, "elsewhere")), 0);
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    assert_int_equal(version_at_work(h, 1), 1);
    expect_once(mill, "No such file or directory");
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_changed_configuration_is_said_to_need_a_restart(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, NULL);
    harness_write_file(h, "tidemill.lua", "this is not even Lua");
    reload(mill);
    expect_once(mill, "restart to apply it");
    assert_int_equal(version_at_work(h, 1), 1);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- under load ---- */

enum { RELOADS = 50, BETWEEN = 400 };

struct reloading_feed {
    struct harness *h;
    struct process *mill;
    int version;
};

/*
 * A rule whose output has an id of its own each time it runs, so that the server drops no second
 * output of one message.
 */
static void write_counting_rule(struct harness *h, int version)
{
    char text[RULE_SIZE];
    snprintf(text, sizeof(text),
             "local runs = mill.state('runs')\n"
             "return { subjects = { 'in.a' }, on_message = function(msg)\n"
             "  runs.count = (runs.count or 0) + 1\n"
             "  mill.publish('out.a', { v = %d, n = msg.data.n, run = runs.count },\n"
             "               { id = 'run ' .. runs.count })\n"
             "end }",
             version);
    harness_write_file(h, "rules/a.lua", text);
}

static void make_and_reload(void *context, size_t number, struct harness_draft *draft)
{
    struct reloading_feed *feed = context;
    if (number % BETWEEN == 0) {
        if (feed->version > 1) /* the reload before this one, while messages were flowing */
            harness_wait_log(feed->mill, "rules reloaded", PATIENCE_MS);
        write_counting_rule(feed->h, ++feed->version);
        harness_signal(feed->mill, SIGHUP);
    }
    strcpy(draft->subject, "in.a");
    snprintf(draft->payload, sizeof(draft->payload), "{\"n\":%zu}", number);
}

static void test_50_reloads_under_load_lose_and_double_nothing(struct harness *h)
{
    write_counting_rule(h, 1);
    struct process *mill = start(h, NULL);
    struct reloading_feed feed = {.h = h, .mill = mill, .version = 1};
    harness_feed_with(h, (size_t)RELOADS * BETWEEN, make_and_reload, &feed);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);

    assert_int_equal(harness_log_count(mill, "rules reloaded"), RELOADS);
    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(out->count, RELOADS * BETWEEN);
    int version = 0;
    for (size_t i = 0; i < out->count; i++) {
        const char *payload = out->items[i].payload;
        assert_int_equal(member(payload, "n"), i);
        assert_int_equal(member(payload, "run"), i + 1); /* the state went along, each time */
        assert_true(member(payload, "v") >= version);    /* and nothing ran on older rules again */
        version = member(payload, "v");
    }
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_the_very_next_message_after_a_reload_follows_the_new_rules),
        harness_test(test_a_new_file_is_taken_in_and_a_removed_one_is_gone),
        harness_test(test_a_reload_without_a_change_is_said_and_harmless),
        harness_test(test_state_survives_a_reload),
        harness_test(test_timers_of_the_old_rules_end_with_the_reload),
        harness_test(test_on_unload_runs_when_the_rules_go),
        harness_test(
            test_a_waiting_handler_ends_on_the_old_rules_and_queued_messages_run_on_the_new),
        harness_test(test_a_sleeping_handler_ends_on_the_old_rules),
        harness_test(test_a_queued_message_whose_rule_is_gone_is_acknowledged),
        harness_test(test_a_broken_file_changes_nothing_and_one_line_names_it),
        harness_test(test_a_rules_folder_that_is_gone_changes_nothing),
        harness_test(test_a_changed_configuration_is_said_to_need_a_restart),
        harness_test(test_50_reloads_under_load_lose_and_double_nothing),
    };
    return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
