#include "base/clock.h"
#include "bus/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static char *one_url[] = {"nats://127.0.0.1:4222"};

static struct nats_config config(void)
{
    return (struct nats_config){.urls = {.items = one_url, .count = 1},
                                .name = "tidemill",
                                .tls = {.verify = true},
                                .connect_timeout_ns = NS_PER_S,
                                .reconnect_wait_ns = NS_PER_S,
                                .max_reconnects = -1};
}

static void expect_built(const struct nats_config *wanted)
{
    natsOptions *options = NULL;
    struct error err = {""};
    if (nats_options_build(&options, wanted, "test", &err) != 0)
        fail_msg("%s", err.text);
    assert_non_null(options);
    natsOptions_Destroy(options);
}

static void expect_error(const struct nats_config *wanted, const char *text)
{
    natsOptions *options = NULL;
    struct error err = {""};
    assert_int_equal(nats_options_build(&options, wanted, "test", &err), -1);
    assert_null(options);
    assert_string_equal(err.text, text);
}

static void test_defaults_and_credentials_are_accepted(void **state)
{
    (void)state;
    struct nats_config wanted = config();
    expect_built(&wanted);
    wanted.user = "bob";
    expect_built(&wanted); /* a user may have an empty password */
    wanted.password = "secret";
    wanted.token = "t";
    wanted.tls.enabled = true;
    wanted.tls.hostname = "nats.example";
    expect_built(&wanted);
}

static void test_an_unreadable_file_is_named_with_its_key(void **state)
{
    (void)state;
    struct nats_config wanted = config();
    wanted.creds = "/nowhere/x.creds";
    expect_error(&wanted, "nats.creds: cannot read /nowhere/x.creds: No such file or directory");
    wanted = config();
    wanted.nkey_seed = "/nowhere/x.nk";
    expect_error(&wanted, "nats.nkey_seed: cannot read /nowhere/x.nk: No such file or directory");
    wanted = config();
    wanted.tls.enabled = true;
    wanted.tls.ca = "/nowhere/ca.pem";
    expect_error(&wanted, "nats.tls.ca: cannot read /nowhere/ca.pem: No such file or directory");
    wanted.tls.ca = "/dev/null";
    expect_error(&wanted, "nats.tls.ca: /dev/null is empty");
}

static void test_a_file_without_certificates_is_named(void **state)
{
    (void)state;
    struct nats_config wanted = config();
    wanted.tls.enabled = true;
    wanted.tls.ca = "/proc/self/status";
    expect_error(&wanted, "nats.tls.ca: /proc/self/status holds no certificates in PEM form");
}

static void test_a_certificate_needs_its_key(void **state)
{
    (void)state;
    struct nats_config wanted = config();
    wanted.tls.enabled = true;
    wanted.tls.cert = "/proc/self/status";
    expect_error(&wanted, "nats.tls: cert and key go together, and nats.tls.key is missing");
}

static void test_no_url_is_an_error(void **state)
{
    (void)state;
    struct nats_config wanted = config();
    wanted.urls.count = 0;
    expect_error(&wanted, "nats.url: at least one url is needed");
}

static void test_each_server_may_have_a_login_of_its_own(void **state)
{
    (void)state;
    char *urls[] = {"nats://ann:one@127.0.0.1:4222", "nats://ann:one@127.0.0.1:4223",
                    "nats://bob:two@127.0.0.1:4224", "nats://token@127.0.0.1:4225"};
    struct nats_config wanted = config();
    wanted.urls.items = urls;
    for (wanted.urls.count = 1; wanted.urls.count <= 4; wanted.urls.count++)
        expect_built(&wanted);
}

static void test_servers_are_shown_without_their_passwords(void **state)
{
    (void)state;
    char text[128], small[12];
    char *urls[] = {"nats://bob:s3cret@a:4222", "b:4222", "tls://to@ken@c"};
    struct nats_config wanted = config();
    wanted.urls = (struct string_list){.items = urls, .count = 3};
    nats_config_servers(&wanted, text, sizeof(text));
    assert_string_equal(text, "nats://a:4222,b:4222,tls://c");
    nats_config_servers(&wanted, small, sizeof(small));
    assert_string_equal(small, "nats://a:42");
}

static void test_what_waiting_cannot_cure_is_final(void **state)
{
    (void)state;
    assert_true(nats_connect_is_final(NATS_CONNECTION_AUTH_FAILED));
    assert_true(nats_connect_is_final(NATS_SSL_ERROR));
    assert_false(nats_connect_is_final(NATS_NO_SERVER));
    assert_false(nats_connect_is_final(NATS_TIMEOUT));
}

static void test_a_refusal_names_the_credentials_that_were_used(void **state)
{
    (void)state;
    struct error err;
    struct nats_config wanted = config();
    wanted.user = "bob";
    wanted.password = "s3cret";
    assert_int_equal(nats_connect_error(NATS_CONNECTION_AUTH_FAILED, &wanted, &err), -1);
    assert_string_equal(err.text, "nats://127.0.0.1:4222: authorization violation: check nats.user "
                                  "and nats.password");
    wanted = config();
    wanted.token = "t";
    nats_connect_error(NATS_CONNECTION_AUTH_FAILED, &wanted, &err);
    assert_non_null(strstr(err.text, "check nats.token"));
}

static void test_a_server_that_hangs_up_on_tls_may_want_a_certificate(void **state)
{
    (void)state;
    static const natsStatus hang_ups[] = {NATS_IO_ERROR, NATS_PROTOCOL_ERROR,
                                          NATS_CONNECTION_CLOSED};
    struct error err;
    struct nats_config wanted = config();
    for (size_t i = 0; i < sizeof(hang_ups) / sizeof(hang_ups[0]); i++) {
        wanted.tls.enabled = true;
        nats_connect_error(hang_ups[i], &wanted, &err);
        assert_non_null(strstr(err.text, "set nats.tls.cert and nats.tls.key"));
        wanted.tls.enabled = false;
        nats_connect_error(hang_ups[i], &wanted, &err);
        assert_null(strstr(err.text, "nats.tls.cert"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_and_credentials_are_accepted),
        cmocka_unit_test(test_an_unreadable_file_is_named_with_its_key),
        cmocka_unit_test(test_a_file_without_certificates_is_named),
        cmocka_unit_test(test_a_certificate_needs_its_key),
        cmocka_unit_test(test_no_url_is_an_error),
        cmocka_unit_test(test_each_server_may_have_a_login_of_its_own),
        cmocka_unit_test(test_servers_are_shown_without_their_passwords),
        cmocka_unit_test(test_what_waiting_cannot_cure_is_final),
        cmocka_unit_test(test_a_refusal_names_the_credentials_that_were_used),
        cmocka_unit_test(test_a_server_that_hangs_up_on_tls_may_want_a_certificate),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
