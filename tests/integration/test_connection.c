#include "copier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * How tidemill gets to its server: credentials, a server that comes up later, and one that goes
 * away and comes back. (TLS is in test_tls.c, creds files are in test_creds.c.)
 */

enum { PATIENCE_MS = 15000 };

static void see_a_message_through(struct harness *h)
{
    uint64_t before = harness_count(h, "out");
    harness_publish(h, "in.a", "1");
    harness_wait_count(h, "out", before + 1, PATIENCE_MS);
}

/* ---- credentials ---- */

static void test_user_and_password(struct harness *h)
{
    struct process *mill = copier_run(h, "user = 'bob', password = 'right'");
    see_a_message_through(h);
    harness_stop(mill, PATIENCE_MS);
}

static void test_user_and_password_in_the_url(struct harness *h)
{
    char url[96];
    snprintf(url, sizeof(url), "nats://bob:right@127.0.0.1:%d", harness_port(h));
    harness_setenv(h, "NATS_URL", url);
    struct process *mill = copier_run(h, "");
    see_a_message_through(h);
    assert_int_equal(harness_log_count(mill, "right"), 0); /* no secret in the log */
    harness_stop(mill, PATIENCE_MS);
}

/* The same with every libnats: before 3.9 it takes what it finds there as it is. */
static void test_percent_encoding_in_the_url_is_decoded(struct harness *h)
{
    char url[128];
    snprintf(url, sizeof(url), "nats://an%%3An:s3%%40cr%%2Fet%%25@127.0.0.1:%d", harness_port(h));
    harness_setenv(h, "NATS_URL", url);
    struct process *mill = copier_run(h, "");
    see_a_message_through(h);
    harness_server_stop(h);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    see_a_message_through(h);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_password_in_the_url_that_is_wrong_is_not_printed(struct harness *h)
{
    char url[96];
    snprintf(url, sizeof(url), "nats://bob:s3cret@127.0.0.1:%d", harness_port(h));
    harness_setenv(h, "NATS_URL", url);
    copier_expect_refused(h, "", "authorization violation", "nats.url");
    copier_configure(h, "");
    struct process *mill = harness_tidemill(h, "run", "--log-level", "debug");
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), 1);
    assert_int_equal(harness_log_count(mill, "s3cret"), 0);
}

static void test_a_token(struct harness *h)
{
    struct process *mill = copier_run(h, "token = 'abracadabra'");
    harness_stop(mill, PATIENCE_MS);
    copier_expect_refused(h, "token = 'wrong'", "authorization violation", "nats.token");
}

/* Seed and public key of a user, made for these tests alone. */
static const char nkey_seed[] = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
#define NKEY_PUBLIC "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"

static void test_an_nkey(struct harness *h)
{
    harness_write_file(h, "nkey.seed", nkey_seed);
    struct process *mill = copier_run(h, "nkey_seed = 'nkey.seed'");
    harness_stop(mill, PATIENCE_MS);
    copier_expect_refused(h, "nkey_seed = 'elsewhere.seed'", "elsewhere.seed", "No such file");
    harness_write_file(h, "nkey.seed", "SUAnonsense");
    copier_expect_refused(h, "nkey_seed = 'nkey.seed'", "nats.nkey_seed", "nkey.seed");
}

/* ---- servers that come and go ---- */

static void test_a_server_that_comes_up_later_is_waited_for(struct harness *h)
{
    copier_configure(h, "");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "waiting for the server", PATIENCE_MS);
    assert_int_equal(harness_http(mill, "/readyz", NULL), 503);
    assert_int_equal(harness_http(mill, "/healthz", NULL), 200);
    harness_server_start(h);
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "waiting for the server"), 1);
    see_a_message_through(h);
    harness_stop(mill, PATIENCE_MS);
}

static void test_the_second_of_two_urls_is_tried(struct harness *h)
{
    char urls[128];
    snprintf(urls, sizeof(urls), "nats://127.0.0.1:1,%s", harness_url(h));
    harness_setenv(h, "NATS_URL", urls);
    struct process *mill = copier_run(h, "");
    see_a_message_through(h);
    harness_stop(mill, PATIENCE_MS);
}

static void restart_and_see_a_message_through(struct harness *h, struct process *mill,
                                              void (*end)(struct harness *h))
{
    end(h);
    harness_wait_log(mill, "disconnected", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 503, PATIENCE_MS);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    see_a_message_through(h);
}

static void test_it_goes_on_after_a_restart_of_the_server(struct harness *h)
{
    struct process *mill = copier_run(h, "");
    see_a_message_through(h);
    restart_and_see_a_message_through(h, mill, harness_server_stop);
    restart_and_see_a_message_through(h, mill, harness_server_kill);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_restart_of_the_server_under_load_loses_and_doubles_nothing(struct harness *h)
{
    enum { COUNT = 20000 };
    copier_configure(h, "");
    harness_stream(h, "in", "in.>");
    harness_stream(h, "out", "out");
    harness_feed(h, "in.a", 0, COUNT, "#");
    struct process *mill = harness_tidemill(h, "run");
    while (harness_count(h, "out") < COUNT / 10)
        ;
    harness_server_stop(h);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_drained(h, "in", "d", 2 * PATIENCE_MS);
    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(out->count, COUNT);
    assert_int_equal(harness_duplicate_payloads(out), 0);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    static const char users[] = "authorization { user: bob, password: right }";
    static const char punctuated[] = "authorization { user: \"an:n\", password: \"s3@cr/et%\" }";
    const struct CMUnitTest tests[] = {
        harness_test_with(test_user_and_password, .server_config = users, .user = "bob",
                          .password = "right"),
        harness_test_with(test_user_and_password_in_the_url, .server_config = users, .user = "bob",
                          .password = "right"),
        harness_test_with(test_percent_encoding_in_the_url_is_decoded, .server_config = punctuated,
                          .user = "an:n", .password = "s3@cr/et%"),
        harness_test_with(test_a_password_in_the_url_that_is_wrong_is_not_printed,
                          .server_config = users),
        harness_test_with(test_a_token, .server_config = "authorization { token: abracadabra }"),
        harness_test_with(test_an_nkey, .server_config =
                                            "authorization { users: [ { nkey: " NKEY_PUBLIC
                                            " } ] }"),
        harness_test_with(test_a_server_that_comes_up_later_is_waited_for, .no_server = true),
        harness_test(test_the_second_of_two_urls_is_tried),
        harness_test(test_it_goes_on_after_a_restart_of_the_server),
        harness_test(test_a_restart_of_the_server_under_load_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
