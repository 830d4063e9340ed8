#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What somebody may do wrong, and what they are told: one line that says what is wrong, where, and
 * what to do; exit status 2 for wrong usage or configuration, 1 for what only the server or the
 * machine could tell. Nothing follows that one line.
 */

enum { PATIENCE_MS = 15000 };

static const char good_config[] = "return {\n"
                                  "  streams = { { name = 'in', subjects = { 'in.>' } } },\n"
                                  "  sources = { { stream = 'in', durable = 'd' } },\n"
                                  "}";
static const char good_rule[] = "return { subjects = { 'in.a' }, on_message = function(msg) end }";

#define expect(process, ...) harness_expect_end(process, PATIENCE_MS, __VA_ARGS__)

/* The same from `check` and from `run`, neither of which has got as far as asking a server. */
static void expect_of_both(struct harness *h, size_t lines, const char *const *texts)
{
    harness_check_end(harness_tidemill(h, "check"), PATIENCE_MS, 2, lines, texts);
    harness_check_end(harness_tidemill(h, "run"), PATIENCE_MS, 2, lines, texts);
}

#define expect_both(h, lines, ...)                                                                 \
    expect_of_both(h, lines, (const char *const[]){__VA_ARGS__, NULL})

static void write_good(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", good_config);
    harness_write_file(h, "rules/a.lua", good_rule);
}

/* ---- the configuration file ---- */

static void test_a_configuration_that_is_not_there(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", good_rule);
    expect_both(h, 1, "tidemill: tidemill.lua", "No such file", "-c FILE");
    expect(harness_tidemill(h, "check", "-c", "elsewhere.lua"), 2, 1,
           "elsewhere.lua: cannot be read: No such file");
}

static void test_a_configuration_that_is_a_folder(struct harness *h)
{
    expect(harness_tidemill(h, "run", "-c", "."), 2, 1, ".: cannot be read: Is a directory");
}

static void test_a_configuration_that_may_not_be_read(struct harness *h)
{
    if (geteuid() == 0)
        return; /* root may read everything */
    write_good(h);
    assert_int_equal(chmod(harness_path(h, "tidemill.lua"), 0), 0);
    expect_both(h, 1, "tidemill.lua: cannot be read: Permission denied");
}

static void test_a_configuration_that_is_no_lua_or_no_table(struct harness *h)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"return {\n  nats = { url = }\n}", "tidemill.lua:2: "},
        {"return {", "tidemill.lua:1: "},
        {"", "must end in return { ... }"},
        {"return 5", "must end in return { ... }"},
        {"\x1bLua", "compiled Lua"},
        {"\n\nerror('no luck today')", "tidemill.lua:3: no luck today"},
        {"\nreturn { nats = { url = os.getenv('X') } }", "tidemill.lua:2: "},
        {"\nwhile true do end", "tidemill.lua:2: "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        harness_write_file(h, "tidemill.lua", cases[i].text);
        expect(harness_tidemill(h, "check"), 2, 1, cases[i].says);
    }
}

static void test_unknown_keys_and_wrong_values_are_all_told_at_once(struct harness *h)
{
    write_good(h);
    harness_write_file(
        h, "tidemill.lua",
        "return {\n"
        "  nats = { usr = 'bob' },\n"
        "  sources = { { stream = 'in', durable = 'd', ack_wait = '30 parsecs' } },\n"
        "  rules = { watch = 'yes' },\n"
        "  htpp = {},\n"
        "}");
    expect_both(h, 4, "nats.usr: unknown key (did you mean user?)",
                "sources[1].ack_wait: ", "rules.watch: ", "htpp: unknown key (did you mean http?)");
}

static void test_a_configuration_without_a_source(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", "return {}");
    expect_both(h, 1, "tidemill.lua: sources: at least one is needed");
}

static void test_a_log_level_that_does_not_exist(struct harness *h)
{
    write_good(h);
    expect(harness_tidemill(h, "run", "--log-level", "loud"), 2, 1, "--log-level", "'loud'",
           "debug, info, warn or error");
}

static void test_a_url_that_is_none(struct harness *h)
{
    write_good(h);
    expect(harness_tidemill(h, "run", "--nats", "http://127.0.0.1"), 2, 1, "--nats", "http://",
           "nats://");
}

/* ---- the rules ---- */

static void test_a_rules_folder_that_is_not_there(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", good_config);
    expect_both(h, 1, "rules directory rules: No such file or directory", "rules.dir");
    expect(harness_tidemill(h, "check", "--rules", "tidemill.lua"), 2, 1,
           "tidemill.lua: ", "Not a directory");
}

static void test_rules_that_do_not_load(struct harness *h)
{
    static const struct {
        const char *text, *place, *says;
    } cases[] = {
        {"local x = \nreturn {}", "rules/b.lua:2: ", "unexpected symbol"},
        {"", "rules/b.lua: ", "must return a table"},
        {"return true", "rules/b.lua: ", "must return a table"},
        {"return { subjects = { 'in.a' }, on_mesage = print }",
         "rules/b.lua: ", "did you mean 'on_message'?"},
        {"return { subjects = { 'in.>.a' }, on_message = print }", "rules/b.lua: ", "in.>.a"},
        {"return { subjects = { 'in..a' }, on_message = print }", "rules/b.lua: ", "in..a"},
        {"return { subjects = { 'in a' }, on_message = print }", "rules/b.lua: ", "in a"},
        {"return { subjects = 'in.a', on_message = print }", "rules/b.lua: ", "list of subjects"},
        {"\nerror('not today')", "rules/b.lua:2: ", "not today"},
        {"\nfoo()", "rules/b.lua:2: ", "'foo'"},
        {"\n\nrequire 'metdata'", "rules/b.lua:3: ", "module 'metdata' not found"},
        {"return { subjects = { 'in.a' }, on_message = print,\n"
         "  on_load = function() error('no table') end }",
         "rules/b.lua:2: ", "no table"},
    };
    write_good(h);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        harness_write_file(h, "rules/b.lua", cases[i].text);
        expect(harness_tidemill(h, "check"), 2, 1, cases[i].place, cases[i].says);
    }
}

static void test_run_says_the_same_of_a_rule_as_check(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "rules/b.lua", "local x = \nreturn {}");
    expect_both(h, 1, "rules/b.lua:2: unexpected symbol near 'return'");
}

static void test_a_folder_without_rules_is_warned_of(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", good_config);
    harness_write_file(h, "rules/readme.txt", "nothing here");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "no rules in rules: every message is acknowledged", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* ---- the server ---- */

/* `run`, with nothing in the log but errors. */
static struct process *run_quietly(struct harness *h)
{
    return harness_tidemill(h, "run", "--log-level", "error");
}

static void test_a_source_stream_that_does_not_exist(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "tidemill.lua",
                       "return { sources = { { stream = 'nowhere', durable = 'd' } } }");
    expect(run_quietly(h), 1, 1, "stream nowhere", "does not exist", "streams");
}

static void test_cumulative_acks_on_a_stream_that_drops_single_messages(struct harness *h)
{
    jsStreamConfig config;
    const char *subjects[] = {"latest.>"};
    write_good(h);
    jsStreamConfig_Init(&config);
    config.Name = "latest";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.MaxMsgsPerSubject = 1;
    assert_int_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
    harness_write_file(
        h, "tidemill.lua",
        "return { sources = { { stream = 'latest', durable = 'd', ack = 'cumulative' } } }");
    expect(run_quietly(h), 1, 1, "stream latest", "max_msgs_per_subject", "\"each\"");
}

static void test_a_consumer_that_differs_where_the_server_cannot_change_it(struct harness *h)
{
    jsConsumerConfig config;
    jsConsumerConfig_Init(&config);
    config.Durable = "d";
    config.AckPolicy = js_AckExplicit;
    config.DeliverPolicy = js_DeliverNew;
    write_good(h);
    harness_stream(h, "in", "in.>");
    natsStatus s = js_AddConsumer(NULL, harness_js(h), "in", &config, NULL, NULL);
    assert_int_equal(s, NATS_OK);
    expect(run_quietly(h), 1, 1, "d", "start", "deliver_policy");
}

static void test_a_push_consumer_of_the_same_name(struct harness *h)
{
    jsConsumerConfig config;
    jsConsumerConfig_Init(&config);
    config.Durable = "d";
    config.AckPolicy = js_AckExplicit;
    config.DeliverSubject = "somewhere";
    write_good(h);
    harness_stream(h, "in", "in.>");
    natsStatus s = js_AddConsumer(NULL, harness_js(h), "in", &config, NULL, NULL);
    assert_int_equal(s, NATS_OK);
    expect(run_quietly(h), 1, 1, "push");
}

static void test_subjects_that_another_stream_has(struct harness *h)
{
    write_good(h);
    harness_stream(h, "other", "in.a");
    expect(run_quietly(h), 1, 1, "stream in", "overlap");
}

static void test_a_filter_that_the_stream_does_not_store(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "tidemill.lua",
                       "return { streams = { { name = 'in', subjects = { 'in.>' } } },\n"
                       "  sources = { { stream = 'in', durable = 'd', filter = 'out.>' } } }");
    expect_both(h, 1, "sources[1].filter[1]: 'out.>' matches no subject of the stream in");
}

static void test_a_wrong_password(struct harness *h)
{
    write_good(h);
    harness_write_file(h, "tidemill.lua",
                       "return { nats = { user = 'bob', password = 'wrong' },\n"
                       "  sources = { { stream = 'in', durable = 'd' } } }");
    expect(run_quietly(h), 1, 1, "authorization violation", "check nats.user and nats.password");
}

static void test_no_password_where_one_is_wanted(struct harness *h)
{
    write_good(h);
    expect(run_quietly(h), 1, 1, "authorization violation", "nats.user");
}

static void test_a_server_without_jetstream(struct harness *h)
{
    write_good(h);
    expect(run_quietly(h), 1, 1, "JetStream");
}

static void test_an_http_port_that_is_taken(struct harness *h)
{
    char taken[64];
    write_good(h);
    snprintf(taken, sizeof(taken), "127.0.0.1:%d", harness_port(h));
    harness_setenv(h, "TIDEMILL_HTTP", taken);
    expect(run_quietly(h), 1, 1, taken, "in use");
}

static void test_an_http_address_that_is_none(struct harness *h)
{
    write_good(h);
    harness_setenv(h, "TIDEMILL_HTTP", "127.0.0.1:http");
    expect(harness_tidemill(h, "check"), 2, 1, "TIDEMILL_HTTP", "127.0.0.1:http");
}

/* ---- the command line ---- */

static void test_wrong_words_on_the_command_line(struct harness *h)
{
    expect(harness_tidemill(h, "rnu"), 2, 1, "unknown command rnu", "did you mean run?");
    expect(harness_tidemill(h, "frobnicate"), 2, 1, "unknown command frobnicate", "tidemill help");
    expect(harness_tidemill(h, "run", "--wach"), 2, 1, "unknown flag --wach",
           "did you mean --watch?");
    expect(harness_tidemill(h, "run", "-c"), 2, 1, "-c wants a value");
    expect(harness_tidemill(h, "run", "--watch=yes"), 2, 1, "--watch takes no value");
    expect(harness_tidemill(h, "run", "rules"), 2, 1, "unexpected argument rules");
    expect(harness_tidemill(h, "check", "--rules"), 2, 1, "--rules wants a value");
    expect(harness_tidemill(h, "tap"), 2, 1, "SUBJECT");
    expect(harness_tidemill(h, "feed"), 2, 1, "SUBJECT");
    expect(harness_tidemill(h, "feed", "a.*"), 2, 1, "a.*");
    expect(harness_tidemill(h, "feed", "a", "--rate", "fast"), 2, 1, "--rate fast");
    expect(harness_tidemill(h, "tap", "a", "--timeout", "soon"), 2, 1, "--timeout");
    expect(harness_tidemill(h, "feed", "a", "no-such-file"), 1, 1, "no-such-file", "No such file");
    expect(harness_tidemill(h, "help", "fead"), 2, 1, "did you mean feed?");
}

static void test_no_word_at_all_shows_the_commands(struct harness *h)
{
    struct process *none = harness_start_tidemill(h, (const char *const[]){NULL});
    assert_int_equal(harness_wait_exit(none, PATIENCE_MS), 2);
    assert_non_null(strstr(harness_log(none), "tidemill run "));
}

int main(void)
{
    static const char users[] = "authorization { user: bob, password: right }";
    const struct CMUnitTest tests[] = {
        harness_test_with(test_a_configuration_that_is_not_there, .no_server = true),
        harness_test_with(test_a_configuration_that_is_a_folder, .no_server = true),
        harness_test_with(test_a_configuration_that_may_not_be_read, .no_server = true),
        harness_test_with(test_a_configuration_that_is_no_lua_or_no_table, .no_server = true),
        harness_test_with(test_unknown_keys_and_wrong_values_are_all_told_at_once,
                          .no_server = true),
        harness_test_with(test_a_configuration_without_a_source, .no_server = true),
        harness_test_with(test_a_log_level_that_does_not_exist, .no_server = true),
        harness_test_with(test_a_url_that_is_none, .no_server = true),
        harness_test_with(test_a_rules_folder_that_is_not_there, .no_server = true),
        harness_test_with(test_rules_that_do_not_load, .no_server = true),
        harness_test_with(test_run_says_the_same_of_a_rule_as_check, .no_server = true),
        harness_test(test_a_folder_without_rules_is_warned_of),
        harness_test(test_a_source_stream_that_does_not_exist),
        harness_test(test_cumulative_acks_on_a_stream_that_drops_single_messages),
        harness_test(test_a_consumer_that_differs_where_the_server_cannot_change_it),
        harness_test(test_a_push_consumer_of_the_same_name),
        harness_test(test_subjects_that_another_stream_has),
        harness_test(test_a_filter_that_the_stream_does_not_store),
        harness_test_with(test_a_wrong_password, .server_config = users),
        harness_test_with(test_no_password_where_one_is_wanted, .server_config = users),
        harness_test_with(test_a_server_without_jetstream,
                          .server_config = "accounts { A: { users: [ { user: u } ] } }\n"
                                           "no_auth_user: u"),
        harness_test(test_an_http_port_that_is_taken),
        harness_test_with(test_an_http_address_that_is_none, .no_server = true),
        harness_test_with(test_wrong_words_on_the_command_line, .no_server = true),
        harness_test_with(test_no_word_at_all_shows_the_commands, .no_server = true),
    };
    return cmocka_run_group_tests_name("bad_input", tests, NULL, NULL);
}
