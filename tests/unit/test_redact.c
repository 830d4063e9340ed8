#include "base/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void expect(const char *text, const char *redacted)
{
    char copy[256];
    snprintf(copy, sizeof(copy), "%s", text);
    redact_urls(copy, sizeof(copy));
    assert_string_equal(copy, redacted);
}

static void test_user_and_password_become_stars(void **state)
{
    (void)state;
    expect("at nats://ann:secret@host:4222 now", "at nats://***@host:4222 now");
    expect("tls://:secret@host", "tls://***@host");
}

static void test_a_token_becomes_stars(void **state)
{
    (void)state;
    expect("nats://s3cret@host", "nats://***@host");
    expect("nats://s@host", "nats://*@host");
}

static void test_each_of_several_urls_is_covered(void **state)
{
    (void)state;
    expect("nats://a:first@h1,nats://b:second@h2 'nats://third@h3' \"http://fourth@h4\"",
           "nats://***@h1,nats://***@h2 'nats://***@h3' \"http://***@h4\"");
}

static void test_a_password_may_have_slashes_and_at_signs(void **state)
{
    (void)state;
    expect("nats://ann:se/cr@et@host", "nats://***@host");
    expect("nats://ann:se://cret@host", "nats://***@host");
}

static void test_other_text_is_left_alone(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "://", "nats://host", "a@b", "nats:// ann@host", "nats://host, ann@host", "@nats://"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect(texts[i], texts[i]);
}

static void test_a_url_with_nothing_before_its_at_keeps_its_size(void **state)
{
    (void)state;
    expect("nats://@host", "nats://@host");
    expect("x://@", "x://@");
}

static void test_a_url_that_is_cut_before_its_at_is_secret(void **state)
{
    (void)state;
    char text[] = "at nats://ann:secr";
    redact_urls(text, sizeof(text));
    assert_string_equal(text, "at nats://***");
    char whole[] = "at nats://host:4222 now";
    redact_urls(whole, sizeof(whole));
    assert_string_equal(whole, "at nats://host:4222 now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_and_password_become_stars),
        cmocka_unit_test(test_a_token_becomes_stars),
        cmocka_unit_test(test_each_of_several_urls_is_covered),
        cmocka_unit_test(test_a_password_may_have_slashes_and_at_signs),
        cmocka_unit_test(test_other_text_is_left_alone),
        cmocka_unit_test(test_a_url_that_is_cut_before_its_at_is_secret),
        cmocka_unit_test(test_a_url_with_nothing_before_its_at_keeps_its_size),
    };
    return cmocka_run_group_tests_name("redact", tests, NULL, NULL);
}
