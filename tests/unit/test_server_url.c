#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/server_url.h"

static void expect_text(const char *text, const char *expected)
{
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
}

static void expect(const char *url, const char *address, const char *user, const char *password)
{
    struct server_url parts;
    struct error err;
    assert_int_equal(server_url_read(&parts, url, &err), 0);
    assert_string_equal(parts.address, address);
    expect_text(parts.user, user);
    expect_text(parts.password, password);
    server_url_free(&parts);
}

static void expect_refused(const char *url)
{
    struct server_url parts;
    struct error err;
    assert_int_equal(server_url_read(&parts, url, &err), -1);
    assert_null(parts.address);
    assert_non_null(strstr(err.text, "write %25 for a percent sign"));
    assert_null(strstr(err.text, "s3cret"));
}

static void test_a_url_without_credentials_is_its_address(void **state)
{
    (void)state;
    expect("nats://127.0.0.1:4222", "nats://127.0.0.1:4222", NULL, NULL);
    expect("localhost", "localhost", NULL, NULL);
    expect("tls://[::1]:4222", "tls://[::1]:4222", NULL, NULL);
    expect("nats://@a:1", "nats://a:1", NULL, NULL);
}

static void test_user_password_and_token_are_taken_out(void **state)
{
    (void)state;
    expect("nats://ann:s3cret@a:4222", "nats://a:4222", "ann", "s3cret");
    expect("ann:s3cret@a", "a", "ann", "s3cret");
    expect("nats://t0ken@a:4222", "nats://a:4222", "t0ken", NULL);
    expect("nats://ann:@a", "nats://a", "ann", "");
    expect("nats://:s3cret@a", "nats://a", "", "s3cret");
}

/* As libnats has it: the last @, and the first colon. */
static void test_a_password_may_have_what_divides_others(void **state)
{
    (void)state;
    expect("nats://ann:s3:cr@et/@a:4222", "nats://a:4222", "ann", "s3:cr@et/");
}

static void test_percent_and_two_digits_are_one_byte(void **state)
{
    (void)state;
    expect("nats://a%3ab:s3%40cr%2Fet%25@a", "nats://a", "a:b", "s3@cr/et%");
    expect("nats://t%C3%B6ken@a", "nats://a", "t\xc3\xb6ken", NULL);
}

static void test_a_percent_sign_without_digits_is_refused(void **state)
{
    (void)state;
    expect_refused("nats://ann:s3cret%@a");
    expect_refused("nats://ann:s3cret%4@a");
    expect_refused("nats://ann:s3cret%zz@a");
    expect_refused("nats://ann%:s3cret@a");
    expect_refused("nats://ann:s3cret%00@a"); /* no byte of a C string */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_url_without_credentials_is_its_address),
        cmocka_unit_test(test_user_password_and_token_are_taken_out),
        cmocka_unit_test(test_a_password_may_have_what_divides_others),
        cmocka_unit_test(test_percent_and_two_digits_are_one_byte),
        cmocka_unit_test(test_a_percent_sign_without_digits_is_refused),
    };
    return cmocka_run_group_tests_name("server_url", tests, NULL, NULL);
}
