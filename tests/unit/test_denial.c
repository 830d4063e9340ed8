#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "bus/denial.h"

static void expect_line(const char *text, const char *line)
{
    struct error err;
    assert_int_equal(denial_text_error(text, &err), -1);
    assert_string_equal(err.text, line);
}

static void test_a_denied_publish_names_the_subject(void **state)
{
    (void)state;
    expect_line("Permissions Violation for Publish to \"alerts.high\"",
                "permission is missing: the server denies this user to publish to alerts.high");
    expect_line("permissions violation for publish to \"$JS.API.STREAM.INFO.in\"",
                "permission is missing: the server denies this user to publish to "
                "$JS.API.STREAM.INFO.in");
}

static void test_a_denied_subscription_names_the_subject(void **state)
{
    (void)state;
    expect_line("Permissions Violation for Subscription to \"a.>\" using queue \"q\"",
                "permission is missing: the server denies this user to subscribe to a.>");
}

static void test_what_is_different_each_time_becomes_a_pattern(void **state)
{
    (void)state;
    expect_line("Permissions Violation for Subscription to \"_INBOX.A1B2.r.*.*\"",
                "permission is missing: the server denies this user to subscribe to _INBOX.>");
    expect_line("Permissions Violation for Publish to \"$JS.ACK.in.d.1.2.3.4.5\"",
                "permission is missing: the server denies this user to publish to "
                "$JS.ACK.in.d.>");
    expect_line("Permissions Violation for Publish to \"$JS.ACK.in\"",
                "permission is missing: the server denies this user to publish to $JS.ACK.in");
}

static void test_quotes_and_backslashes_of_a_subject_come_back(void **state)
{
    (void)state;
    struct denial denial;
    assert_true(denial_read(&denial, "Permissions Violation for Publish to \"a.\\\"\\\\b\""));
    assert_string_equal(denial.subject, "a.\"\\b");
    assert_false(denial.subscribe);
    assert_true(denial_read(&denial, "Permissions Violation for Publish to \"a.cut"));
    assert_string_equal(denial.subject, "a.cut");
}

static void test_a_long_subject_is_cut(void **state)
{
    (void)state;
    struct denial denial;
    char text[1024] = "Permissions Violation for Publish to \"";
    memset(text + strlen(text), 'x', 900);
    assert_true(denial_read(&denial, text));
    assert_int_equal(strlen(denial.subject), DENIAL_SUBJECT_SIZE - 1);
}

static void test_another_error_stays_as_it_is(void **state)
{
    (void)state;
    struct denial denial;
    assert_false(denial_read(&denial, "Authorization Violation"));
    expect_line("Stale Connection", "Stale Connection");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_denied_publish_names_the_subject),
        cmocka_unit_test(test_a_denied_subscription_names_the_subject),
        cmocka_unit_test(test_what_is_different_each_time_becomes_a_pattern),
        cmocka_unit_test(test_quotes_and_backslashes_of_a_subject_come_back),
        cmocka_unit_test(test_a_long_subject_is_cut),
        cmocka_unit_test(test_another_error_stays_as_it_is),
    };
    return cmocka_run_group_tests_name("denial", tests, NULL, NULL);
}
