#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static void test_setting_an_error_formats_it_and_fails(void **state)
{
    (void)state;
    struct error err = {"old"};
    assert_int_equal(error_set(&err, "%s: line %d", "a.lua", 7), -1);
    assert_string_equal(err.text, "a.lua: line 7");
}

static void test_a_prefix_goes_in_front(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, "no such file");
    assert_int_equal(error_prefix(&err, "sources[%d]", 1), -1);
    assert_string_equal(err.text, "sources[1]: no such file");
    error_prefix(&err, "tidemill.lua");
    assert_string_equal(err.text, "tidemill.lua: sources[1]: no such file");
}

static void test_nobody_has_to_want_the_message(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, "%s", "x"), -1);
    assert_int_equal(error_prefix(NULL, "%s", "x"), -1);
}

static void test_a_long_message_is_cut(void **state)
{
    (void)state;
    struct error err;
    char text[2000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    error_set(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_a_prefix_on_a_long_message_cuts_its_end(void **state)
{
    (void)state;
    struct error err;
    char text[2000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    error_set(&err, "%s", text);
    error_prefix(&err, "rules/x.lua");
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_memory_equal(err.text, "rules/x.lua: aaa", 16);
}

static void test_a_prefix_of_any_length_fits(void **state)
{
    (void)state;
    char text[2000];
    for (size_t size = 500; size < 520; size++) {
        struct error err;
        memset(text, 'p', size);
        text[size] = '\0';
        error_set(&err, "message");
        error_prefix(&err, "%s", text);
        assert_true(strlen(err.text) < sizeof(err.text));
        assert_memory_equal(err.text, text, 500);
    }
}

static void test_a_message_may_be_built_from_another(void **state)
{
    (void)state;
    struct error inner, outer;
    error_set(&inner, "100%% wrong");
    error_set(&outer, "%s", inner.text);
    assert_string_equal(outer.text, "100% wrong");
}

static void test_no_message_has_the_password_of_a_url(void **state)
{
    (void)state;
    struct error err;
    error_set(&err, "no answer from %s", "nats://ann:secret@host");
    assert_string_equal(err.text, "no answer from nats://***@host");
    error_prefix(&err, "%s", "nats://token@other");
    assert_string_equal(err.text, "nats://***@other: no answer from nats://***@host");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setting_an_error_formats_it_and_fails),
        cmocka_unit_test(test_a_prefix_goes_in_front),
        cmocka_unit_test(test_nobody_has_to_want_the_message),
        cmocka_unit_test(test_a_long_message_is_cut),
        cmocka_unit_test(test_a_prefix_on_a_long_message_cuts_its_end),
        cmocka_unit_test(test_a_prefix_of_any_length_fits),
        cmocka_unit_test(test_no_message_has_the_password_of_a_url),
        cmocka_unit_test(test_a_message_may_be_built_from_another),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
