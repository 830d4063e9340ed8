#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "bus/json_scan.h"
#include "process.h"

/*
 * The log of a running service: its level can be switched, a flood of one kind becomes few lines,
 * each line is one JSON object where that is asked for, and no secret is ever in it.
 */

enum { PATIENCE_MS = 20000, FLOOD = 3000 };

/* One try, so that each bad message is one dead letter at once. */
#define CONFIG(more)                                                                               \
    "return { streams = { { name = 'in', subjects = { 'in.>' } },\n"                               \
    "                     { name = 'dead', subjects = { 'dead.>' } } },\n"                         \
    "  sources = { { stream = 'in', durable = 'd', max_deliver = 1 } },\n" more "}"

static const char failing_rule[] = "return { subjects = { 'in.bad' }, on_message = function(msg)\n"
                                   "  mill.log.debug('seen', msg.sequence)\n"
                                   "  error('no good')\n"
                                   "end }";

static struct process *start(struct harness *h, const char *config, const char *rule)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/a.lua", rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "running: ", PATIENCE_MS);
    return mill;
}

/* Calls `visit` for each line of the log; returns how many there are. */
static size_t each_line(struct process *mill, void (*visit)(const char *line, size_t size))
{
    size_t count = 0;
    for (const char *line = harness_log(mill); *line != '\0'; count++) {
        const char *end = strchr(line, '\n');
        assert_non_null(end);
        visit(line, (size_t)(end - line));
        line = end + 1;
    }
    return count;
}

/* --- the level --- */

static void test_sigusr2_turns_debug_on_and_back(struct harness *h)
{
    struct process *mill = start(h, CONFIG(""), failing_rule);
    harness_publish(h, "in.bad", "{}");
    harness_wait_log(mill, "sequence 1 (in.bad)", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "debug"), 0);

    harness_signal(mill, SIGUSR2);
    harness_wait_log(mill, "SIGUSR2: log level debug", PATIENCE_MS);
    harness_publish(h, "in.bad", "{}");
    harness_wait_log(mill, "debug rule a: seen 2", PATIENCE_MS);
    harness_wait_log(mill, "sequence 2 (in.bad)", PATIENCE_MS);

    harness_signal(mill, SIGUSR2);
    harness_wait_log(mill, "SIGUSR2: log level info", PATIENCE_MS);
    harness_publish(h, "in.bad", "{}");
    harness_wait_log(mill, "sequence 3 (in.bad)", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "seen 3"), 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_sigusr2_before_it_runs_is_not_deadly(struct harness *h)
{
    harness_server_stop(h);
    harness_write_file(h, "tidemill.lua", CONFIG(""));
    harness_write_file(h, "rules/a.lua", failing_rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "waiting for the server", PATIENCE_MS);
    harness_signal(mill, SIGUSR2);
    harness_wait_log(mill, "SIGUSR2: log level debug", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* --- floods --- */

static void test_a_flood_of_dead_letters_becomes_few_lines_with_their_number(struct harness *h)
{
    struct process *mill = start(h, CONFIG("log = { fold = 10, interval = '10m' }"), failing_rule);
    harness_feed(h, "in.bad", 1, FLOOD, "{\"n\":#}");
    harness_wait_count(h, "dead", FLOOD, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    /* Of the handler's error and of the dead letter: ten lines each, and one for the rest. */
    assert_int_equal(harness_log_count(mill, "warn  dead letter: in sequence "), 10);
    assert_int_equal(harness_log_count(mill, "warn  dead letter: 2990 more like this in"), 1);
    assert_int_equal(harness_log_count(mill, "warn  rule a: 2990 more like this in"), 1);
    assert_non_null(strstr(harness_log(mill), "the last: in sequence 3000 (in.bad)"));
}

static void test_a_flood_is_told_at_the_interval_without_another_line(struct harness *h)
{
    struct process *mill = start(h, CONFIG("log = { fold = 1, interval = '1s' }"), failing_rule);
    harness_feed(h, "in.bad", 1, 3, "{}");
    harness_wait_log(mill, "dead letter: 2 more like this in 1.", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_rule_that_logs_each_message_is_folded_too(struct harness *h)
{
    struct process *mill = start(h, CONFIG("log = { flood = 100, interval = '10m' }"),
                                 "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                 "  mill.log.info('got', msg.sequence)\n"
                                 "  mill.log.warn('look at', msg.sequence)\n"
                                 "end }");
    harness_feed(h, "in.a", 1, FLOOD, "{}");
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "info  rule a: got "), 100);
    assert_int_equal(harness_log_count(mill, "info  rule a: 2900 more like this"), 1);
    assert_int_equal(harness_log_count(mill, "warn  rule a: 2900 more like this"), 1);
}

static void test_zero_switches_folding_off(struct harness *h)
{
    struct process *mill = start(h, CONFIG("log = { fold = 0 }"), failing_rule);
    harness_feed(h, "in.bad", 1, 200, "{}");
    harness_wait_count(h, "dead", 200, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "warn  dead letter: in sequence "), 200);
}

/* --- JSON --- */

static void check_json_line(const char *line, size_t size)
{
    static const char *const members[] = {"time", "level", "component", "message"};
    char text[8192];
    if (!json_scan_valid(line, size))
        fail_msg("not JSON: %.*s", (int)size, line);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        assert_true(json_scan_string(line, size, members[i], text, sizeof(text)));
}

static void test_every_line_is_an_object_whatever_a_message_holds(struct harness *h)
{
    struct process *mill =
        start(h, CONFIG("log = { format = 'json', fold = 2, level = 'debug' }"),
              "return { subjects = { 'in.bad' }, on_message = function(msg)\n"
              "  for byte = 0, 255 do mill.log.info('byte', string.char(byte), msg.raw) end\n"
              "  error('\"\\\\\\n\\0\\xff\\xc3')\n"
              "end }");
    harness_feed(h, "in.bad", 1, 5, "[\"\\u0000\\\"\\\\\"]");
    harness_wait_count(h, "dead", 5, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_signal(mill, SIGUSR1);
    harness_wait_log(mill, "in flight", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_in_range(each_line(mill, check_json_line), 5 * 256, 6 * 256);
    assert_int_equal(harness_log_count(mill, ",\"repeated\":3,\"seconds\":"), 2);
}

/* --- secrets --- */

static const char user_config[] = "authorization { user: ann, password: 's3cretWord' }";
static const char token_config[] = "authorization { token: 't0kenWord' }";

/* A url with the harness's port. */
static const char *url_with(struct harness *h, const char *userinfo)
{
    static char url[256];
    snprintf(url, sizeof(url), "nats://%s@127.0.0.1:%d", userinfo, harness_port(h));
    return url;
}

static void expect_no_secret(struct process *process)
{
    static const char *const secrets[] = {"s3cretWord", "t0kenWord", "wr0ngWord"};
    const char *body = NULL;
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        assert_null(strstr(harness_log(process), secrets[i]));
        if (harness_http(process, "/status", &body) != 0)
            assert_null(strstr(body, secrets[i]));
        if (harness_http(process, "/metrics", &body) != 0)
            assert_null(strstr(body, secrets[i]));
    }
}

/* Starts, loses its server, gets it back, and ends; says everything it can. */
static void run_with_url(struct harness *h, const char *url)
{
    harness_setenv(h, "NATS_URL", url);
    struct process *mill = start(h, CONFIG("log = { level = 'debug' }"),
                                 "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                 "  mill.log.info('camera at', msg.data)\n"
                                 "end }");
    harness_publish(h, "in.a", "\"rtsp://ann:s3cretWord@camera/1\"");
    harness_wait_log(mill, "camera at rtsp://***@camera/1", PATIENCE_MS);
    expect_no_secret(mill);
    harness_server_stop(h);
    harness_wait_log(mill, "disconnected", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 503, PATIENCE_MS);
    expect_no_secret(mill);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_signal(mill, SIGUSR1);
    harness_wait_log(mill, "in flight", PATIENCE_MS);
    expect_no_secret(mill);
    harness_stop(mill, PATIENCE_MS);
    expect_no_secret(mill);
}

static void test_a_password_in_the_url_is_never_shown(struct harness *h)
{
    run_with_url(h, url_with(h, "ann:s3cretWord"));
}

/* Wrong and malformed urls: whatever is said about them, the secret is not. */
static void fail_with_secrets(struct harness *h, const char *const *command)
{
    static const char *const urls[] = {
        "nats://ann:wr0ngWord@127.0.0.1:%d",       "nats://wr0ngWord@127.0.0.1:%d",
        "nats://ann:wr0ngWord@127.0.0.1:99999%d",  "nats://ann:wr0ngWord@127.0.0.1:port%d",
        "nats://ann:wr0ng/wr0ngWord@127.0.0.1:%d", "nats://ann:wr0ng@wr0ngWord@127.0.0.1:%d",
        "nats://ann:wr0ng wr0ngWord@127.0.0.1:%d", "http://ann:wr0ngWord@127.0.0.1:%d",
        "ann:wr0ngWord@127.0.0.1:99999%d",         "nats://ann:wr0ngWord@[127.0.0.1:%d",
        "tls://ann:wr0ngWord@127.0.0.1:%d",        "nats://ann:wr0ngWord%%zz@127.0.0.1:%d",
    };
    harness_write_file(h, "tidemill.lua", CONFIG(""));
    harness_write_file(h, "rules/a.lua", failing_rule);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        char url[256];
        snprintf(url, sizeof(url), urls[i], harness_port(h));
        harness_setenv(h, "NATS_URL", url);
        struct process *process = harness_start_tidemill(h, command);
        /* One that waits for a server that will never come has to be told to leave. */
        if (process_wait_text(process, "waiting for", harness_deadline(PATIENCE_MS)))
            harness_signal(process, SIGTERM);
        harness_wait_exit(process, PATIENCE_MS);
        assert_int_not_equal(harness_log_count(process, "\n"), 0);
        expect_no_secret(process);
    }
}

static void test_no_error_of_the_service_shows_a_secret(struct harness *h)
{
    fail_with_secrets(h, (const char *const[]){"run", NULL});
}

static void test_no_error_of_a_command_shows_a_secret(struct harness *h)
{
    fail_with_secrets(h, (const char *const[]){"feed", "in.a", NULL});
}

/* The sandboxed file can read the environment, and may complain with what it has read. */
static void test_a_configuration_that_fails_shows_no_password(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", "error('no good: ' .. env('NATS_URL'))");
    harness_setenv(h, "NATS_URL", url_with(h, "ann:s3cretWord"));
    struct process *mill = harness_tidemill(h, "run");
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 2);
    assert_int_equal(harness_log_count(mill, "no good: nats://***@"), 1);
    expect_no_secret(mill);
}

static void test_a_token_in_the_url_is_never_shown(struct harness *h)
{
    harness_server_config(h, token_config);
    harness_server_stop(h);
    harness_server_start(h);
    harness_setenv(h, "NATS_URL", url_with(h, "t0kenWord"));
    harness_write_file(h, "tidemill.lua", CONFIG("log = { level = 'debug' }"));
    harness_write_file(h, "rules/a.lua", failing_rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "running: ", PATIENCE_MS);
    expect_no_secret(mill);
    harness_stop(mill, PATIENCE_MS);
    expect_no_secret(mill);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_sigusr2_turns_debug_on_and_back),
        harness_test(test_sigusr2_before_it_runs_is_not_deadly),
        harness_test(test_a_flood_of_dead_letters_becomes_few_lines_with_their_number),
        harness_test(test_a_flood_is_told_at_the_interval_without_another_line),
        harness_test(test_a_rule_that_logs_each_message_is_folded_too),
        harness_test(test_zero_switches_folding_off),
        harness_test(test_every_line_is_an_object_whatever_a_message_holds),
        harness_test_with(test_a_password_in_the_url_is_never_shown, .server_config = user_config,
                          .user = "ann", .password = "s3cretWord"),
        harness_test_with(test_no_error_of_the_service_shows_a_secret, .server_config = user_config,
                          .user = "ann", .password = "s3cretWord"),
        harness_test_with(test_no_error_of_a_command_shows_a_secret, .server_config = user_config,
                          .user = "ann", .password = "s3cretWord"),
        harness_test(test_a_configuration_that_fails_shows_no_password),
        harness_test(test_a_token_in_the_url_is_never_shown),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
