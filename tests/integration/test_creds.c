#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "bus/client.h"
#include "jwt.h"

/*
 * A server in operator mode: it knows nobody by name, and takes who shows a token that the operator
 * has signed by way of an account. What tidemill has of it is one creds file.
 */

enum { PATIENCE_MS = 15000, TEXT_SIZE = 2048 };

static const char config[] =
    "return { nats = { reconnect_wait = '50ms', creds = 'mill.creds' },\n"
    "  streams = { { name = 'in', subjects = { 'in.>' } },\n"
    "              { name = 'out', subjects = { 'out' } } },\n"
    "  sources = { { stream = 'in', durable = 'd', ack_wait = '5s', workers = 2 } } }";
static const char rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                           "  mill.publish('out', msg.raw)\n"
                           "end }";

static struct jwt_realm realm;
static struct jwt_key mill_user, harness_user;

static void write_and_free(struct harness *h, const char *path, char *text)
{
    if (text == NULL)
        harness_fail(h, "%s could not be made", path);
    harness_write_file(h, path, text);
    free(text);
}

static void make_user(struct harness *h, struct jwt_key *user)
{
    if (jwt_key_make(user, JWT_USER) != 0)
        harness_fail(h, "a key could not be made");
}

/* The creds that tidemill uses from the next connection on. */
static void write_creds(struct harness *h, const struct jwt_key *user, int64_t expires)
{
    write_and_free(h, "mill.creds", jwt_creds(&realm.account, user, expires));
}

static void configure(struct harness *h, const char *revoked)
{
    char *text = jwt_realm_config(&realm, revoked);
    if (text == NULL)
        harness_fail(h, "the operator could not be made");
    harness_server_config(h, text);
    free(text);
}

/* A new operator, and a server that trusts it; creds for tidemill and for the harness. */
static void start_server(struct harness *h)
{
    if (jwt_realm_make(&realm) != 0)
        harness_fail(h, "the operator's keys could not be made");
    make_user(h, &mill_user);
    make_user(h, &harness_user);
    write_creds(h, &mill_user, 0);
    write_and_free(h, "harness.creds", jwt_creds(&realm.account, &harness_user, 0));
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/a.lua", rule);
    configure(h, NULL);
    harness_server_start(h);
}

static struct process *run(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static void see_messages_through(struct harness *h, size_t count)
{
    uint64_t before = harness_count(h, "out");
    harness_feed(h, "in.a", before, count, "#");
    harness_wait_count(h, "out", before + count, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
}

/* It ends with this status, in one line that has all three texts in it. */
static void expect_refused(struct harness *h, int status, const char *first, const char *second,
                           const char *third)
{
    struct process *mill = harness_tidemill(h, "run", "--log-level", "error");
    harness_expect_end(mill, PATIENCE_MS, status, 1, first, second, third);
    const char *log = harness_log(mill);
    if (strstr(log, mill_user.seed) != NULL)
        harness_fail(h, "the seed stands in the log: %s", log);
}

static void test_a_creds_file_is_all_it_takes(struct harness *h)
{
    start_server(h);
    struct process *mill = run(h);
    see_messages_through(h, 500);
    assert_int_equal(harness_log_count(mill, mill_user.seed), 0);
    harness_stop(mill, PATIENCE_MS);
}

/* What each connection has to sign is another one, and libnats loses one signature of 256. */
static void test_right_creds_are_never_refused(struct harness *h)
{
    enum { CONNECTIONS = 800 }; /* without another attempt all get through in one run of 23 */
    start_server(h);
    char *urls[] = {(char *)harness_url(h)};
    struct nats_config wanted = {.urls = {.items = urls, .count = 1},
                                 .name = "test",
                                 .creds = (char *)harness_path(h, "mill.creds"),
                                 .connect_timeout_ns = PATIENCE_MS * NS_PER_MS,
                                 .reconnect_wait_ns = NS_PER_S,
                                 .max_reconnects = -1};
    for (int i = 0; i < CONNECTIONS; i++) {
        struct client *client = NULL;
        struct error err;
        if (client_open(&client, &wanted, "test", &err) != 0)
            fail_msg("connection %d: %s", i + 1, err.text);
        client_close(client);
    }
}

static void test_the_environment_names_the_creds_file_too(struct harness *h)
{
    start_server(h);
    rename(harness_path(h, "mill.creds"), harness_path(h, "other.creds"));
    harness_setenv(h, "NATS_CREDS", "other.creds");
    struct process *mill = run(h);
    see_messages_through(h, 5);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_creds_file_with_line_ends_of_windows_is_told_apart(struct harness *h)
{
    start_server(h);
    char text[TEXT_SIZE];
    size_t size = 0;
    for (const char *at = harness_read_file(h, "mill.creds"); *at != '\0'; at++) {
        if (*at == '\n')
            text[size++] = '\r';
        text[size++] = *at;
    }
    text[size] = '\0';
    harness_write_file(h, "mill.creds", text);
    expect_refused(h, 1, "nats.creds", "mill.creds", "line ends of Windows");
}

static void test_a_user_of_another_account_than_the_server_knows_is_refused(struct harness *h)
{
    start_server(h);
    struct jwt_realm foreign;
    assert_int_equal(jwt_realm_make(&foreign), 0);
    write_and_free(h, "mill.creds", jwt_creds(&foreign.account, &mill_user, 0));
    expect_refused(h, 1, "authorization violation", "check nats.creds", "mill.creds");
}

static void test_a_revoked_user_is_refused(struct harness *h)
{
    start_server(h);
    harness_server_stop(h);
    configure(h, mill_user.public_key);
    harness_server_start(h);
    expect_refused(h, 1, "authorization violation", "nats.creds", "mill.creds");
}

static void test_expired_creds_are_refused_and_called_expired(struct harness *h)
{
    start_server(h);
    write_creds(h, &mill_user, (int64_t)time(NULL) - 60);
    expect_refused(h, 1, "nats.creds", "mill.creds", "expired");
}

static void test_creds_of_no_use_are_named(struct harness *h)
{
    char *valid = NULL, *seed;
    start_server(h);
    harness_write_file(h, "mill.creds", "");
    expect_refused(h, 1, "nats.creds", "mill.creds", "empty");
    harness_write_file(h, "mill.creds", "garbled\n");
    expect_refused(h, 1, "nats.creds", "mill.creds", "no JWT");
    valid = jwt_creds(&realm.account, &mill_user, 0);
    assert_non_null(valid);
    seed = strstr(valid, "\nSU");
    seed[20] = (char)(seed[20] == 'A' ? 'B' : 'A');
    harness_write_file(h, "mill.creds", valid);
    expect_refused(h, 1, "nats.creds", "mill.creds", "checksum");
    *strstr(valid, "-----BEGIN USER") = '\0';
    write_and_free(h, "mill.creds", valid);
    expect_refused(h, 1, "nats.creds", "mill.creds", "no NKey seed");
    harness_remove_file(h, "mill.creds");
    expect_refused(h, 1, "nats.creds", "mill.creds", "No such file");
    assert_int_equal(mkdir(harness_path(h, "mill.creds"), 0700), 0);
    expect_refused(h, 1, "nats.creds", "mill.creds", "Is a directory");
}

static void test_creds_renewed_on_disk_are_used_when_the_old_ones_run_out(struct harness *h)
{
    start_server(h);
    write_creds(h, &mill_user, (int64_t)time(NULL) + harness_seconds(3));
    struct process *mill = run(h);
    write_creds(h, &mill_user, 0);
    /* The control connection and both workers: the server ends all three. */
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    see_messages_through(h, 20);
    harness_stop(mill, PATIENCE_MS);
}

static void test_creds_of_another_user_are_used_at_the_next_reconnect(struct harness *h)
{
    struct jwt_key successor;
    start_server(h);
    struct process *mill = run(h);
    make_user(h, &successor);
    write_creds(h, &successor, 0);
    harness_server_stop(h);
    configure(h, mill_user.public_key);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    see_messages_through(h, 20);
    harness_stop(mill, PATIENCE_MS);
}

static void test_creds_that_run_out_end_the_process_with_the_reason(struct harness *h)
{
    start_server(h);
    write_creds(h, &mill_user, (int64_t)time(NULL) + harness_seconds(3));
    struct process *mill = run(h);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 1);
    harness_wait_log(mill, "closed for good", PATIENCE_MS);
    harness_wait_log(mill, "authorization violation: the JWT in nats.creds, mill.creds, expired at",
                     PATIENCE_MS);
}

int main(void)
{
#define TEST(function) harness_test_with(function, .no_server = true, .creds = "harness.creds")
    const struct CMUnitTest tests[] = {
        TEST(test_a_creds_file_is_all_it_takes),
        TEST(test_right_creds_are_never_refused),
        TEST(test_the_environment_names_the_creds_file_too),
        TEST(test_a_creds_file_with_line_ends_of_windows_is_told_apart),
        TEST(test_a_user_of_another_account_than_the_server_knows_is_refused),
        TEST(test_a_revoked_user_is_refused),
        TEST(test_expired_creds_are_refused_and_called_expired),
        TEST(test_creds_of_no_use_are_named),
        TEST(test_creds_renewed_on_disk_are_used_when_the_old_ones_run_out),
        TEST(test_creds_of_another_user_are_used_at_the_next_reconnect),
        TEST(test_creds_that_run_out_end_the_process_with_the_reason),
    };
    return cmocka_run_group_tests_name("creds", tests, NULL, NULL);
}
