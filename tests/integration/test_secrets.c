#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Secrets: where they may come from, what is said of a file that is of no use, and that they appear
 * nowhere else.
 */

enum { PATIENCE_MS = 15000, TEXT_SIZE = 2048, LARGE = 10000 };

#define USERS(password) "authorization { user: mill, password: \"" password "\" }"
#define SECRET          "s3cret-word"

static void write_config(struct harness *h, const char *nats)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text),
             "return { nats = { reconnect_wait = '50ms', %s },\n"
             "  streams = { { name = 'in', subjects = { 'in.>' } } },\n"
             "  sources = { { stream = 'in', durable = 'd' } } }",
             nats);
    harness_write_file(h, "tidemill.lua", text);
    harness_write_file(h, "rules/a.lua",
                       "return { subjects = { 'in.a' }, on_message = function(msg) end }");
}

static struct process *run(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run", "--log-level", "debug");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void expect_nowhere(struct harness *h, struct process *mill, const char *secret)
{
    static const char *const paths[] = {"/status", "/metrics", "/readyz", "/healthz"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const char *body;
        harness_http(mill, paths[i], &body);
        if (strstr(body, secret) != NULL)
            harness_fail(h, "the secret stands in %s", paths[i]);
    }
    harness_signal(mill, SIGUSR1);
    harness_wait_log(mill, "status", PATIENCE_MS);
    if (harness_log_count(mill, secret) != 0)
        harness_fail(h, "the secret stands in the log: %s", harness_log(mill));
}

static void expect_it_runs(struct harness *h)
{
    struct process *mill = run(h);
    expect_nowhere(h, mill, SECRET);
    if (harness_log_count(mill, " warn ") != 0)
        harness_fail(h, "there is a warning: %s", harness_log(mill));
    harness_stop(mill, PATIENCE_MS);
    if (harness_log_count(mill, SECRET) != 0)
        harness_fail(h, "the secret stands in the log: %s", harness_log(mill));
}

static void test_a_password_comes_from_a_file(struct harness *h)
{
    static const char *const texts[] = {SECRET, SECRET "\n", SECRET "\r\n", "\n " SECRET " \n\n"};
    write_config(h, "user = 'mill', password_file = 'run/secrets/password'");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        harness_write_file(h, "run/secrets/password", texts[i]);
        expect_it_runs(h);
    }
}

/* As Kubernetes and Docker mount them. */
static void test_a_secret_that_others_may_read_is_no_cause_for_a_warning(struct harness *h)
{
    write_config(h, "user = 'mill', password_file = 'password'");
    harness_write_file(h, "password", SECRET "\n");
    assert_int_equal(chmod(harness_path(h, "password"), 0644), 0);
    expect_it_runs(h);
}

static void test_a_password_comes_from_the_environment(struct harness *h)
{
    write_config(h, "user = env('NATS_USER'), password = env('NATS_PASSWORD')");
    harness_setenv(h, "NATS_USER", "mill");
    harness_setenv(h, "NATS_PASSWORD", SECRET);
    expect_it_runs(h);
}

static void test_a_password_in_the_url_appears_nowhere(struct harness *h)
{
    char url[128];
    write_config(h, "");
    snprintf(url, sizeof(url), "nats://mill:" SECRET "@127.0.0.1:%d", harness_port(h));
    harness_setenv(h, "NATS_URL", url);
    expect_it_runs(h);
}

static void test_a_token_comes_from_a_file(struct harness *h)
{
    write_config(h, "token_file = 'token'");
    harness_write_file(h, "token", SECRET "\n");
    expect_it_runs(h);
}

static void test_an_nkey_comes_from_a_file(struct harness *h)
{
    static const char seed[] = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
    char text[TEXT_SIZE];
    write_config(h, "nkey_seed = 'seed'");
    snprintf(text, sizeof(text), "\r\n  %s \r\n\n", seed);
    harness_write_file(h, "seed", text);
    struct process *mill = run(h);
    expect_nowhere(h, mill, seed);
    harness_stop(mill, PATIENCE_MS);
}

/* `check` and `run` end with status 2, and name key and file. */
static void expect_refused(struct harness *h, const char *says)
{
    harness_expect_end(harness_tidemill(h, "check"), PATIENCE_MS, 2, 1, says);
    harness_expect_end(harness_tidemill(h, "run"), PATIENCE_MS, 2, 1, says);
}

static void test_a_file_of_no_use_is_named(struct harness *h)
{
    char large[LARGE + 1];
    memset(large, 'x', LARGE);
    large[LARGE] = '\0';
    write_config(h, "user = 'mill', password_file = 'password'");
    expect_refused(h, "nats.password_file: password cannot be read: No such file or directory");
    harness_write_file(h, "password", "");
    expect_refused(h, "nats.password_file: password is empty");
    harness_write_file(h, "password", " \n\n");
    expect_refused(h, "nats.password_file: password is empty");
    harness_write_file(h, "password", "one\ntwo\n");
    expect_refused(h, "nats.password_file: password has more than one line");
    harness_write_file(h, "password", large);
    expect_refused(h, "nats.password_file: password has more than");
    harness_remove_file(h, "password");
    assert_int_equal(mkdir(harness_path(h, "password"), 0700), 0);
    expect_refused(h, "nats.password_file: password cannot be read: Is a directory");
    write_config(h, "user = 'mill', password = 'x', password_file = 'password'");
    expect_refused(h, "nats.password_file: password is given too; one of the two is enough");
}

/* The server has another password from now on. */
static void change_password(struct harness *h, struct process *mill)
{
    harness_server_stop(h);
    harness_server_config(h, USERS("another"));
    harness_server_start(h);
    harness_wait_log(mill, "disconnected", PATIENCE_MS);
}

static void test_a_changed_password_is_taken_up_by_the_next_start(struct harness *h)
{
    write_config(h, "user = 'mill', password_file = 'password'");
    harness_write_file(h, "password", SECRET);
    struct process *mill = run(h);
    harness_write_file(h, "password", "another");
    change_password(h, mill);
    harness_wait_log(mill, "authorization violation: check nats.user and nats.password",
                     PATIENCE_MS);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS),
                     1); /* whoever watches it starts it anew */
    assert_int_equal(harness_log_count(mill, SECRET), 0);
    harness_stop(run(h), PATIENCE_MS);
}

int main(void)
{
#define AS_MILL .server_config = USERS(SECRET), .user = "mill", .password = SECRET
    const struct CMUnitTest tests[] = {
        harness_test_with(test_a_password_comes_from_a_file, AS_MILL),
        harness_test_with(test_a_secret_that_others_may_read_is_no_cause_for_a_warning, AS_MILL),
        harness_test_with(test_a_password_comes_from_the_environment, AS_MILL),
        harness_test_with(test_a_password_in_the_url_appears_nowhere, AS_MILL),
        harness_test_with(test_a_token_comes_from_a_file,
                          .server_config = "authorization { token: \"" SECRET "\" }"),
        harness_test_with(test_an_nkey_comes_from_a_file,
                          .server_config = "authorization { users: [ { nkey: "
                                           "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLK"
                                           "K } ] }"),
        harness_test_with(test_a_file_of_no_use_is_named, AS_MILL),
        harness_test_with(test_a_changed_password_is_taken_up_by_the_next_start, AS_MILL),
    };
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}
