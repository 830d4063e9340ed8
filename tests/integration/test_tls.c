#include "copier.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * A server that speaks TLS, with certificates of an authority of its own: who is trusted, who is
 * not, and what somebody is told who has something wrong.
 */

enum { PATIENCE_MS = 15000, TEXT_SIZE = 2048 };

static const char *const certificate_commands[] = {
    /* an authority, and one that nobody knows */
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
    "-subj '/CN=test authority' -keyout ca.key -out ca.pem",
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
    "-subj '/CN=other authority' -keyout other-ca.key -out other-ca.pem",
    /* the server's certificate, and one for another host; the client's */
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=server' "
    "-keyout server.key -out server.csr && printf 'subjectAltName=IP:127.0.0.1' >san && "
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
    "-extfile san -out server.pem",
    "printf 'subjectAltName=DNS:elsewhere.example' >san && "
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
    "-extfile san -out elsewhere.pem",
    /*
     * one whose time is over (OpenSSL 3.5 takes no negative days, 3.0 no dates), and a key that
     * asks for a passphrase
     */
    "printf 'subjectAltName=IP:127.0.0.1' >san && "
    "{ openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san "
    "-not_before 20240101000000Z -not_after 20240102000000Z -out expired.pem || "
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san "
    "-days -1 -out expired.pem; }",
    "openssl ec -in ca.key -aes128 -passout pass:secret -out locked.key",
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=client' "
    "-keyout client.key -out client.csr && printf 'extendedKeyUsage=clientAuth' >san && "
    "openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
    "-extfile san -out client.pem && "
    "openssl x509 -req -in client.csr -CA other-ca.pem -CAkey other-ca.key -CAcreateserial -days 2 "
    "-extfile san -out stranger.pem",
};

/* Certificates in the test's folder, and a server that speaks TLS with them. */
static void start_tls_server(struct harness *h, const char *certificate, bool verify)
{
    char text[TEXT_SIZE];
    size_t count = sizeof(certificate_commands) / sizeof(certificate_commands[0]);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "cd '%s' && { %s; } >>openssl.log 2>&1", harness_path(h, ""),
                 certificate_commands[i]);
        if (system(text) != 0) /* NOLINT: a command of this file, in a folder of this test */
            harness_fail(h, "openssl: %s", harness_read_file(h, "openssl.log"));
    }
    snprintf(text, sizeof(text),
             "tls { cert_file: \"%s\", key_file: \"%s\", ca_file: \"%s\", verify: %s }",
             harness_path(h, certificate), harness_path(h, "server.key"), harness_path(h, "ca.pem"),
             verify ? "true" : "false");
    harness_server_config(h, text);
    harness_server_start(h);
}

static void test_tls_with_an_authority_of_ones_own(struct harness *h)
{
    start_tls_server(h, "server.pem", false);
    struct process *mill = copier_run(h, "tls = { ca = 'ca.pem' }");
    harness_stop(mill, PATIENCE_MS);
}

static void test_tls_refuses_an_authority_it_does_not_know(struct harness *h)
{
    start_tls_server(h, "server.pem", false);
    copier_expect_refused(h, "tls = { ca = 'other-ca.pem' }", "TLS", "nats.tls");
    copier_expect_refused(h, "tls = { }", "TLS", "nats.tls");
}

static void test_tls_refuses_a_certificate_for_another_host(struct harness *h)
{
    start_tls_server(h, "elsewhere.pem", false);
    copier_expect_refused(h, "tls = { ca = 'ca.pem' }", "TLS", "nats.tls");
    struct process *mill = copier_run(h, "tls = { ca = 'ca.pem', hostname = 'elsewhere.example' }");
    harness_stop(mill, PATIENCE_MS);
}

static void test_tls_may_go_unverified_when_told_so(struct harness *h)
{
    start_tls_server(h, "elsewhere.pem", false);
    struct process *mill = copier_run(h, "tls = { verify = false }");
    harness_stop(mill, PATIENCE_MS);
}

static void test_mutual_tls(struct harness *h)
{
    start_tls_server(h, "server.pem", true);
    struct process *mill =
        copier_run(h, "tls = { ca = 'ca.pem', cert = 'client.pem', key = 'client.key' }");
    harness_stop(mill, PATIENCE_MS);
    copier_configure(h, "tls = { ca = 'ca.pem' }");
    mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "client certificate", PATIENCE_MS);
    harness_wait_log(mill, "nats.tls.cert and nats.tls.key", PATIENCE_MS);
    harness_signal(mill, SIGTERM);
    harness_wait_exit(mill, PATIENCE_MS);
}

/* libnats speaks TLS with a server that insists on it, also when nobody has said so. */
static void test_a_server_that_wants_tls_is_told_from_one_that_has_none(struct harness *h)
{
    start_tls_server(h, "server.pem", false);
    copier_expect_refused(h, "", "TLS failed", "an authority of your own belongs in nats.tls.ca");
    harness_server_stop(h);
    harness_server_config(h, "");
    harness_server_start(h);
    copier_expect_refused(h, "tls = { ca = 'ca.pem' }", "does not offer TLS", "nats.tls");
}

/* The certificate that the system's list knows is that of the server's authority. */
static void test_without_a_ca_those_of_the_system_count(struct harness *h)
{
    start_tls_server(h, "server.pem", false);
    harness_setenv(h, "SSL_CERT_FILE", harness_path(h, "ca.pem"));
    harness_stop(copier_run(h, "tls = { }"), PATIENCE_MS);
    char url[96];
    snprintf(url, sizeof(url), "tls://127.0.0.1:%d", harness_port(h));
    harness_setenv(h, "NATS_URL", url);
    struct process *mill = copier_run(h, "");
    harness_stop(mill, PATIENCE_MS);
    harness_setenv(h, "SSL_CERT_FILE", harness_path(h, "other-ca.pem"));
    copier_expect_refused(h, "", "TLS failed", "nats.tls.ca");
}

static void test_an_expired_certificate_is_called_so(struct harness *h)
{
    start_tls_server(h, "expired.pem", false);
    copier_expect_refused(h, "tls = { ca = 'ca.pem' }", "certificate has expired", "nats.tls");
}

static void test_verification_that_is_off_is_warned_of(struct harness *h)
{
    start_tls_server(h, "server.pem", false);
    struct process *mill = copier_run(h, "tls = { ca = 'ca.pem', verify = false }");
    assert_int_equal(harness_log_count(mill, " warn "), 1);
    assert_int_equal(harness_log_count(mill, "nats.tls.verify = false"), 1);
    harness_stop(mill, PATIENCE_MS);
    mill = copier_run(h, "tls = { ca = 'ca.pem' }");
    assert_int_equal(harness_log_count(mill, "verify"), 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_client_certificate_of_a_strange_authority_is_refused(struct harness *h)
{
    start_tls_server(h, "server.pem", true);
    copier_configure(h, "tls = { ca = 'ca.pem', cert = 'stranger.pem', key = 'client.key' }");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, "the server hangs up", PATIENCE_MS);
    harness_wait_log(mill, "nats.tls.cert, stranger.pem", PATIENCE_MS);
    harness_signal(mill, SIGTERM);
    harness_wait_exit(mill, PATIENCE_MS);
}

static void test_a_key_that_does_not_fit_is_said(struct harness *h)
{
    start_tls_server(h, "server.pem", true);
    copier_expect_refused(h, "tls = { ca = 'ca.pem', cert = 'client.pem', key = 'server.key' }",
                          "server.key", "private key");
    copier_expect_refused(h, "tls = { ca = 'ca.pem', cert = 'client.pem', key = 'locked.key' }",
                          "locked.key", "passphrase");
    copier_expect_refused(h, "tls = { ca = 'ca.pem', cert = 'client.pem', key = '.' }",
                          "nats.tls.key: cannot read .", "Is a directory");
}

static void test_workers_come_back_by_tls_too(struct harness *h)
{
    start_tls_server(h, "server.pem", true);
    struct process *mill =
        copier_run(h, "tls = { ca = 'ca.pem', cert = 'client.pem', key = 'client.key' }");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_server_stop(h);
    harness_server_start(h);
    harness_wait_log(mill, "connected again", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_certificates_that_are_not_there(struct harness *h)
{
    copier_expect_refused(h, "tls = { ca = 'no.pem' }", "nats.tls.ca: cannot read no.pem",
                          "No such file");
    harness_write_file(h, "text.pem", "hello");
    copier_expect_refused(h, "tls = { ca = 'text.pem' }", "nats.tls.ca: text.pem", "PEM");
}

int main(void)
{
#define TEST(function) harness_test_with(function, .no_server = true)
    const struct CMUnitTest tests[] = {
        TEST(test_tls_with_an_authority_of_ones_own),
        TEST(test_tls_refuses_an_authority_it_does_not_know),
        TEST(test_tls_refuses_a_certificate_for_another_host),
        TEST(test_tls_may_go_unverified_when_told_so),
        TEST(test_mutual_tls),
        TEST(test_a_server_that_wants_tls_is_told_from_one_that_has_none),
        TEST(test_without_a_ca_those_of_the_system_count),
        TEST(test_an_expired_certificate_is_called_so),
        TEST(test_verification_that_is_off_is_warned_of),
        TEST(test_a_client_certificate_of_a_strange_authority_is_refused),
        TEST(test_a_key_that_does_not_fit_is_said),
        TEST(test_workers_come_back_by_tls_too),
        TEST(test_certificates_that_are_not_there),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
