#include "base/units.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define S            INT64_C(1000000000)

typedef int parse_function(const char *text, int64_t *value, struct error *err);

struct good_case {
    const char *text;
    int64_t value;
};

static void assert_values(parse_function *parse, const struct good_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -7;
        struct error err = {""};
        if (parse(cases[i].text, &value, &err) != 0)
            fail_msg("refused: %s", err.text);
        if (value != cases[i].value)
            fail_msg("'%s' is %" PRId64 ", not %" PRId64, cases[i].text, cases[i].value, value);
    }
}

struct bad_case {
    const char *text;
    const char *message;
};

static void assert_faults(parse_function *parse, const struct bad_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = -7;
        struct error err = {""};
        if (parse(cases[i].text, &value, &err) != -1)
            fail_msg("accepted: '%s'", cases[i].text);
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(value, -7);
    }
}

static void test_a_duration_is_a_number_and_a_unit(void **state)
{
    (void)state;
    const struct good_case cases[] = {
        {"30s", 30 * S},
        {"250ms", S / 4},
        {"100us", 100000},
        {"2m", 120 * S},
        {"1.5h", 5400 * S},
        {"7d", 7 * 86400 * S},
        {"0s", 0},
        {".5s", S / 2},
        {"5.s", 5 * S},
        {"30 s", 30 * S},
        {"0.1s", S / 10},
        {"0.000000001s", 1},
        {"0.5us", 500},
        {"106751d", 106751 * (86400 * S)},
        {"0.00000000000000000000000001s", 0},
        {"007s", 7 * S},
        {"9223372036.854775807s", INT64_MAX},
    };
    assert_values(units_parse_duration, cases, COUNT(cases));
}

static void test_a_duration_without_unit_is_seconds(void **state)
{
    (void)state;
    const struct good_case cases[] = {{"30", 30 * S}, {"0", 0}, {"1.25", S + S / 4}};
    assert_values(units_parse_duration, cases, COUNT(cases));
}

static void test_what_is_no_duration_says_why(void **state)
{
    (void)state;
    const struct bad_case cases[] = {
        {"", "a duration is wanted, like \"30s\", not an empty string"},
        {"30x", "'30x' is no duration: unknown unit 'x' (us, ms, s, m, h, d)"},
        {"30S", "'30S' is no duration: unknown unit 'S' (us, ms, s, m, h, d)"},
        {"1h30m", "'1h30m' is no duration: unknown unit 'h30m' (us, ms, s, m, h, d)"},
        {"30  s", "'30  s' is no duration: unknown unit ' s' (us, ms, s, m, h, d)"},
        {"30s ", "'30s ' is no duration: unknown unit 's ' (us, ms, s, m, h, d)"},
        {"1e3s", "'1e3s' is no duration: unknown unit 'e3s' (us, ms, s, m, h, d)"},
        {"soon", "'soon' is no duration: it does not start with a number (write it like \"30s\")"},
        {".", "'.' is no duration: it does not start with a number (write it like \"30s\")"},
        {"+1s", "'+1s' is no duration: it does not start with a number (write it like \"30s\")"},
        {"a\nb", "'a?b' is no duration: it does not start with a number (write it like \"30s\")"},
        {"-5s", "'-5s' is negative"},
        {"-.5", "'-.5' is negative"},
        {"106752d", "'106752d' is too long (at most 106751 days)"},
        {"9223372036.854775808s", "'9223372036.854775808s' is too long (at most 106751 days)"},
        {"99999999999999999999s", "'99999999999999999999s' is too long (at most 106751 days)"},
    };
    assert_faults(units_parse_duration, cases, COUNT(cases));
}

static void test_a_size_counts_in_powers_of_1024(void **state)
{
    (void)state;
    const struct good_case cases[] = {
        {"100B", 100},
        {"100", 100},
        {"512KB", 512 * 1024},
        {"512KiB", 512 * 1024},
        {"64MB", 64 << 20},
        {"64mb", 64 << 20},
        {"64M", 64 << 20},
        {"1GiB", 1 << 30},
        {"1.5 GB", INT64_C(3) << 29},
        {"2TB", INT64_C(2) << 40},
        {"0.1KB", 102},
        {"9223372036854775807", INT64_MAX},
    };
    assert_values(units_parse_size, cases, COUNT(cases));
}

static void test_what_is_no_size_says_why(void **state)
{
    (void)state;
    const struct bad_case cases[] = {
        {"", "a size is wanted, like \"64MB\", not an empty string"},
        {"64 apples", "'64 apples' is no size: unknown unit 'apples' (B, KB, MB, GB, TB)"},
        {"MB", "'MB' is no size: it does not start with a number (write it like \"64MB\")"},
        {"-1MB", "'-1MB' is negative"},
        {"8388608TB", "'8388608TB' is too large (less than 8388608 TB)"},
        {"9223372036854775808", "'9223372036854775808' is too large (less than 8388608 TB)"},
    };
    assert_faults(units_parse_size, cases, COUNT(cases));
}

static void test_a_long_text_is_shown_cut(void **state)
{
    (void)state;
    char text[3000];
    struct error err = {""};
    int64_t value;
    memset(text, 'z', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(units_parse_duration(text, &value, &err), -1);
    assert_non_null(strstr(err.text, "zzz...' is no duration"));
    text[0] = '1';
    assert_int_equal(units_parse_duration(text, &value, &err), -1);
    assert_non_null(strstr(err.text, "(us, ms, s, m, h, d)"));
    assert_int_equal(units_parse_time(text, &value, &err), -1);
    assert_non_null(strstr(err.text, "zzz...' is no time"));
}

static void test_a_number_of_seconds_is_a_duration(void **state)
{
    (void)state;
    int64_t ns = -7;
    struct error err = {""};
    assert_int_equal(units_duration_from_seconds(1.5, &ns, &err), 0);
    assert_int_equal(ns, S + S / 2);
    assert_int_equal(units_duration_from_seconds(0, &ns, &err), 0);
    assert_int_equal(ns, 0);
    assert_int_equal(units_duration_from_seconds(-1, &ns, &err), -1);
    assert_string_equal(err.text, "-1 is negative");
    assert_int_equal(units_duration_from_seconds(1e10, &ns, &err), -1);
    assert_string_equal(err.text, "1e+10 is too long (at most 106751 days)");
    assert_int_equal(units_duration_from_seconds((double)INFINITY, &ns, &err), -1);
    assert_string_equal(err.text, "inf is no duration (write it like \"30s\")");
    assert_int_equal(units_duration_from_seconds((double)NAN, &ns, &err), -1);
    assert_int_equal(ns, 0);
}

static void test_a_number_of_bytes_is_a_size_when_it_is_whole(void **state)
{
    (void)state;
    int64_t bytes = -7;
    struct error err = {""};
    assert_int_equal(units_size_from_number(65536, &bytes, &err), 0);
    assert_int_equal(bytes, 65536);
    assert_int_equal(units_size_from_number(1.5, &bytes, &err), -1);
    assert_string_equal(err.text, "1.5 is no whole number of bytes");
    assert_int_equal(units_size_from_number(-1, &bytes, &err), -1);
    assert_string_equal(err.text, "-1 is negative");
    assert_int_equal(units_size_from_number(0x1p63, &bytes, &err), -1);
    assert_int_equal(units_size_from_number((double)NAN, &bytes, &err), -1);
    assert_int_equal(bytes, 65536);
}

static void test_a_time_is_read_with_its_fraction_and_offset(void **state)
{
    (void)state;
    const struct good_case cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:01.5Z", S + S / 2},
        {"1970-01-01t00:00:01z", S},
        {"1970-01-01 00:00:01Z", S},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T23:30:00-00:30", 0},
        {"2000-02-29T12:34:56Z", 951827696 * S},
        {"2026-01-01T00:00:00Z", 1767225600 * S},
        {"2026-01-01T05:45:00.000000001+05:45", 1767225600 * S + 1},
        {"2026-01-01T00:00:00.1234567899Z", 1767225600 * S + 123456789},
        {"2016-12-31T23:59:60Z", 1483228800 * S},
        {"2262-04-11T23:47:16.854775807Z", INT64_MAX},
    };
    assert_values(units_parse_time, cases, COUNT(cases));
}

static void test_what_is_no_time_says_why(void **state)
{
    (void)state;
#define NO_TIME " is no time (write it like \"2026-01-01T00:00:00Z\")"
    const struct bad_case cases[] = {
        {"", "''" NO_TIME},
        {"2026-01-01", "'2026-01-01'" NO_TIME},
        {"2026-01-01T00:00:00", "'2026-01-01T00:00:00'" NO_TIME},
        {"2026-01-01T00:00Z", "'2026-01-01T00:00Z'" NO_TIME},
        {"2026-01-01T00:00:00.Z", "'2026-01-01T00:00:00.Z'" NO_TIME},
        {"2026-01-01T00:00:00Zz", "'2026-01-01T00:00:00Zz'" NO_TIME},
        {"2026-01-01T00:00:00+0100", "'2026-01-01T00:00:00+0100'" NO_TIME},
        {"2026-01-01T00:00:00+24:00", "'2026-01-01T00:00:00+24:00'" NO_TIME},
        {"2026-1-1T00:00:00Z", "'2026-1-1T00:00:00Z'" NO_TIME},
        {"2026-13-01T00:00:00Z", "'2026-13-01T00:00:00Z' is no time: there is no such month"},
        {"2026-02-29T00:00:00Z", "'2026-02-29T00:00:00Z' is no time: there is no such day"},
        {"2100-02-29T00:00:00Z", "'2100-02-29T00:00:00Z' is no time: there is no such day"},
        {"2026-04-00T00:00:00Z", "'2026-04-00T00:00:00Z' is no time: there is no such day"},
        {"2026-01-01T24:00:00Z", "'2026-01-01T24:00:00Z' is no time: there is no such hour"},
        {"2026-01-01T00:60:00Z", "'2026-01-01T00:60:00Z' is no time: there is no such minute"},
        {"2026-01-01T00:00:61Z", "'2026-01-01T00:00:61Z' is no time: there is no such second"},
        {"1969-12-31T23:59:59Z", "'1969-12-31T23:59:59Z' is before 1970"},
        {"1970-01-01T00:00:00+00:01", "'1970-01-01T00:00:00+00:01' is before 1970"},
        {"2262-04-11T23:47:16.854775808Z", "'2262-04-11T23:47:16.854775808Z' is too late (until "
                                           "2262)"},
        {"9999-12-31T23:59:59Z", "'9999-12-31T23:59:59Z' is too late (until 2262)"},
    };
    assert_faults(units_parse_time, cases, COUNT(cases));
}

/* Every day from 1970 to 2262 against the C library's calendar. */
static void test_every_day_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (time_t day = 0; day < 106751; day++) {
        time_t seconds = day * 86400;
        struct tm utc;
        char text[40];
        int64_t ns = -1;
        struct error err = {""};
        assert_non_null(gmtime_r(&seconds, &utc));
        assert_true(strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc) > 0);
        assert_int_equal(units_parse_time(text, &ns, &err), 0);
        assert_int_equal(ns, seconds * S);
    }
}

static void test_a_duration_is_written_in_its_largest_whole_unit(void **state)
{
    (void)state;
    char text[UNITS_DURATION_TEXT];
    assert_string_equal(units_format_duration(30 * S, text), "30s");
    assert_string_equal(units_format_duration(90 * S, text), "90s");
    assert_string_equal(units_format_duration(120 * S, text), "2m");
    assert_string_equal(units_format_duration(7 * 86400 * S, text), "7d");
    assert_string_equal(units_format_duration(3 * S / 2, text), "1500ms");
    assert_string_equal(units_format_duration(0, text), "0s");
    assert_string_equal(units_format_duration(INT64_MAX, text), "9223372036854775807ns");
}

static void test_a_time_is_written_in_utc_with_the_digits_that_are_wanted(void **state)
{
    (void)state;
    char text[UNITS_TIME_TEXT];
    const int64_t ns = 1767225600 * S + 12045678;
    assert_string_equal(units_format_time(ns, 0, text), "2026-01-01T00:00:00Z");
    assert_string_equal(units_format_time(ns, 1, text), "2026-01-01T00:00:00.0Z");
    assert_string_equal(units_format_time(ns, 3, text), "2026-01-01T00:00:00.012Z");
    assert_string_equal(units_format_time(ns, 9, text), "2026-01-01T00:00:00.012045678Z");
    assert_string_equal(units_format_time(0, 3, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(units_format_time(S - 1, 3, text), "1970-01-01T00:00:00.999Z");
    assert_string_equal(units_format_time(INT64_MAX, 9, text), "2262-04-11T23:47:16.854775807Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_duration_is_a_number_and_a_unit),
        cmocka_unit_test(test_a_duration_without_unit_is_seconds),
        cmocka_unit_test(test_what_is_no_duration_says_why),
        cmocka_unit_test(test_a_size_counts_in_powers_of_1024),
        cmocka_unit_test(test_what_is_no_size_says_why),
        cmocka_unit_test(test_a_long_text_is_shown_cut),
        cmocka_unit_test(test_a_number_of_seconds_is_a_duration),
        cmocka_unit_test(test_a_number_of_bytes_is_a_size_when_it_is_whole),
        cmocka_unit_test(test_a_time_is_read_with_its_fraction_and_offset),
        cmocka_unit_test(test_what_is_no_time_says_why),
        cmocka_unit_test(test_every_day_agrees_with_the_c_library),
        cmocka_unit_test(test_a_duration_is_written_in_its_largest_whole_unit),
        cmocka_unit_test(test_a_time_is_written_in_utc_with_the_digits_that_are_wanted),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
