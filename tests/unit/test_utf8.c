#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static void test_each_length_is_recognised(void **state)
{
    (void)state;
    assert_int_equal(utf8_size("a"), 1);
    assert_int_equal(utf8_size("\x7f"), 1);
    assert_int_equal(utf8_size("\xc3\xa4"), 2);
    assert_int_equal(utf8_size("\xe2\x82\xac"), 3);
    assert_int_equal(utf8_size("\xf0\x9f\x98\x80"), 4);
}

static void test_the_end_is_no_character(void **state)
{
    (void)state;
    assert_int_equal(utf8_size(""), 0);
}

static void test_the_first_and_the_last_of_each_length_count(void **state)
{
    (void)state;
    assert_int_equal(utf8_size("\xc2\x80"), 2);
    assert_int_equal(utf8_size("\xdf\xbf"), 2);
    assert_int_equal(utf8_size("\xe0\xa0\x80"), 3);
    assert_int_equal(utf8_size("\xed\x9f\xbf"), 3);
    assert_int_equal(utf8_size("\xee\x80\x80"), 3);
    assert_int_equal(utf8_size("\xef\xbf\xbf"), 3);
    assert_int_equal(utf8_size("\xf0\x90\x80\x80"), 4);
    assert_int_equal(utf8_size("\xf4\x8f\xbf\xbf"), 4);
}

static void test_what_is_no_utf8_is_no_character(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\x80",             /* a continuation alone */
        "\xbf",             /* likewise */
        "\xc0\x80",         /* NUL, too long a form */
        "\xc1\xbf",         /* DEL, likewise */
        "\xc3",             /* cut short */
        "\xc3(",            /* no continuation */
        "\xe0\x80\x80",     /* too long a form */
        "\xe2\x82",         /* cut short */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf0\x80\x80\x80", /* too long a form */
        "\xf0\x9f\x98",     /* cut short */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80", /* likewise */
        "\xff\xfe",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (utf8_size(texts[i]) != 0)
            fail_msg("text %zu was taken", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_length_is_recognised),
        cmocka_unit_test(test_the_end_is_no_character),
        cmocka_unit_test(test_the_first_and_the_last_of_each_length_count),
        cmocka_unit_test(test_what_is_no_utf8_is_no_character),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
