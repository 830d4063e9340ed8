#include "bus/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char INFO[] =
    "{\"type\":\"x\",\"config\":{\"durable_name\":\"rule_executor\",\"ack_wait\":30000000000,"
    "\"filter_subjects\":[\"a.>\", \"b\\u002e>\"],\"headers_only\":false,\"nothing\":null,"
    "\"metadata\":{\"_nats.ver\":\"2.11.0\"}},\"num_pending\":0}";

static bool valid(const char *text)
{
    return json_scan_valid(text, strlen(text));
}

static bool get_string(const char *text, const char *path, char *out, size_t size)
{
    return json_scan_string(text, strlen(text), path, out, size);
}

static bool get_integer(const char *text, const char *path, int64_t *value)
{
    return json_scan_integer(text, strlen(text), path, value);
}

static void test_a_nested_field_is_found_by_its_path(void **state)
{
    (void)state;
    char text[64];
    int64_t value = 0;
    bool flag = true;
    assert_true(get_string(INFO, "config.durable_name", text, sizeof(text)));
    assert_string_equal(text, "rule_executor");
    assert_true(get_integer(INFO, "config.ack_wait", &value));
    assert_int_equal(value, 30000000000);
    assert_true(json_scan_bool(INFO, strlen(INFO), "config.headers_only", &flag));
    assert_false(flag);
}

static void test_a_number_in_the_path_is_a_position_in_an_array(void **state)
{
    (void)state;
    char text[64];
    assert_true(get_string(INFO, "config.filter_subjects.1", text, sizeof(text)));
    assert_string_equal(text, "b.>");
    assert_false(get_string(INFO, "config.filter_subjects.2", text, sizeof(text)));
    assert_false(get_string(INFO, "config.filter_subjects.x", text, sizeof(text)));
}

static void test_a_key_with_a_dot_can_be_named(void **state)
{
    (void)state;
    char text[64];
    assert_true(get_string(INFO, "config.metadata._nats.ver", text, sizeof(text)));
    assert_string_equal(text, "2.11.0");
}

static void test_a_missing_field_and_a_null_are_not_there(void **state)
{
    (void)state;
    assert_true(json_scan_has(INFO, strlen(INFO), "config"));
    assert_true(json_scan_has(INFO, strlen(INFO), "config.headers_only"));
    assert_false(json_scan_has(INFO, strlen(INFO), "config.nothing"));
    assert_false(json_scan_has(INFO, strlen(INFO), "config.durable"));
    assert_false(json_scan_has(INFO, strlen(INFO), "config.durable_name.x"));
    assert_false(json_scan_has(INFO, strlen(INFO), "ack_wait"));
    assert_false(json_scan_has(INFO, strlen(INFO), "config."));
}

static void test_a_field_of_another_type_is_refused(void **state)
{
    (void)state;
    char text[64];
    int64_t value;
    bool flag;
    assert_false(get_string(INFO, "config.ack_wait", text, sizeof(text)));
    assert_false(get_integer(INFO, "config.durable_name", &value));
    assert_false(json_scan_bool(INFO, strlen(INFO), "config.nothing", &flag));
}

static void test_of_a_key_that_comes_twice_the_first_counts(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(get_integer("{\"a\":1,\"a\":2}", "a", &value));
    assert_int_equal(value, 1);
}

static void test_strings_are_decoded(void **state)
{
    (void)state;
    char text[64];
    assert_true(get_string("\"a\\n\\\"\\u00e9\\ud83d\\ude00\\/\"", "", text, sizeof(text)));
    assert_string_equal(text, "a\n\"\xC3\xA9\xF0\x9F\x98\x80/");
}

static void test_a_string_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    char text[4];
    assert_true(get_string("\"abc\"", "", text, sizeof(text)));
    assert_string_equal(text, "abc");
    assert_false(get_string("\"abcd\"", "", text, sizeof(text)));
    assert_string_equal(text, "");
}

static void test_a_string_with_a_nul_is_refused(void **state)
{
    (void)state;
    char text[16];
    assert_false(get_string("\"a\\u0000b\"", "", text, sizeof(text)));
}

static void test_integers_reach_as_far_as_int64(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(get_integer("9223372036854775807", "", &value));
    assert_true(value == INT64_MAX);
    assert_true(get_integer("-9223372036854775808", "", &value));
    assert_true(value == INT64_MIN);
    assert_true(get_integer("-0", "", &value));
    assert_int_equal(value, 0);
    assert_false(get_integer("9223372036854775808", "", &value));
    assert_false(get_integer("-9223372036854775809", "", &value));
    assert_false(get_integer("99999999999999999999", "", &value));
}

static void test_fractions_and_exponents_are_no_integers(void **state)
{
    (void)state;
    int64_t value;
    assert_false(get_integer("1.0", "", &value));
    assert_false(get_integer("1e3", "", &value));
    assert_true(valid("-1.5E+3"));
}

static void test_elements_and_members_are_counted(void **state)
{
    (void)state;
    assert_int_equal(json_scan_count(INFO, strlen(INFO), "config.filter_subjects"), 2);
    assert_int_equal(json_scan_count(INFO, strlen(INFO), "config.metadata"), 1);
    assert_int_equal(json_scan_count(INFO, strlen(INFO), "type"), -1);
    assert_int_equal(json_scan_count("[ ]", 3, ""), 0);
    assert_int_equal(json_scan_count("{}", 2, ""), 0);
    assert_int_equal(json_scan_count("[[1,2],{\"a\":[]} , 3 ]", 21, ""), 3);
}

static void append_member(const char *key, size_t key_size, const char *raw, size_t raw_size,
                          void *context)
{
    char *list = context;
    strncat(list, key, key_size);
    strcat(list, "=");
    strncat(list, raw, raw_size);
    strcat(list, ";");
}

static void test_members_come_in_order_and_as_written(void **state)
{
    (void)state;
    static const char text[] = "{\"x\": {\"a\" : [1, 2], \"b\\n\":\"q\" , \"c\":{}} }";
    char list[128] = "";
    assert_true(json_scan_members(text, strlen(text), "x", append_member, list));
    assert_string_equal(list, "a=[1, 2];b\\n=\"q\";c={};");
    assert_false(json_scan_members(text, strlen(text), "x.a", append_member, list));
}

static void test_the_raw_text_of_a_value_can_be_had(void **state)
{
    (void)state;
    const char *raw;
    size_t size;
    assert_true(json_scan_raw(INFO, strlen(INFO), "config.filter_subjects", &raw, &size));
    assert_int_equal(size, strlen("[\"a.>\", \"b\\u002e>\"]"));
    assert_memory_equal(raw, "[\"a.>\", \"b\\u002e>\"]", size);
}

static void test_what_is_not_json_has_no_fields(void **state)
{
    (void)state;
    static const char *const broken[] = {"",
                                         " ",
                                         "{",
                                         "{\"a\":1",
                                         "{\"a\" 1}",
                                         "{\"a\":1,}",
                                         "{a:1}",
                                         "[1,]",
                                         "[1 2]",
                                         "[1}",
                                         "01",
                                         "-",
                                         "1.",
                                         ".5",
                                         "1e",
                                         "+1",
                                         "nul",
                                         "truex",
                                         "\"",
                                         "\"\\x\"",
                                         "\"\\u12g4\"",
                                         "\"\\ud800\"",
                                         "\"\\udc00\"",
                                         "\"\t\"",
                                         "{} {}",
                                         "1 2",
                                         "\"a\\",
                                         "\"\\u00",
                                         "{\"a\":1}x",
                                         "{,}",
                                         "{\"a\":}",
                                         "[",
                                         "]",
                                         "{\"a\"",
                                         "\"\\ud800\\u0041\""};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (valid(broken[i]))
            fail_msg("taken as JSON: %s", broken[i]);
    assert_false(json_scan_has("{\"a\":1} trailing", 16, "a"));
    assert_false(json_scan_valid(NULL, 0));
    assert_false(json_scan_valid("1\0", 2));
}

static void test_blanks_around_everything_are_fine(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(get_integer(" {\n\"stream\" : \"E\" ,\t\"seq\" :\r 7 } ", "seq", &value));
    assert_int_equal(value, 7);
}

static void test_nesting_is_bounded(void **state)
{
    (void)state;
    char text[2 * 200 + 1];
    for (int depth = 1; depth <= 200; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(json_scan_valid(text, 2 * (size_t)depth),
                         depth <= JSON_SCAN_DEPTH_MAX + 1);
    }
}

static void test_no_byte_behind_the_text_is_read(void **state)
{
    (void)state;
    /* Every prefix of a valid document, in a block of just its size: for the address sanitizer. */
    size_t size = strlen(INFO);
    for (size_t cut = 0; cut < size; cut++) {
        char *copy = malloc(cut > 0 ? cut : 1);
        assert_non_null(copy);
        memcpy(copy, INFO, cut);
        assert_false(json_scan_valid(copy, cut));
        assert_int_equal(json_scan_count(copy, cut, "config"), -1);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_nested_field_is_found_by_its_path),
        cmocka_unit_test(test_a_number_in_the_path_is_a_position_in_an_array),
        cmocka_unit_test(test_a_key_with_a_dot_can_be_named),
        cmocka_unit_test(test_a_missing_field_and_a_null_are_not_there),
        cmocka_unit_test(test_a_field_of_another_type_is_refused),
        cmocka_unit_test(test_of_a_key_that_comes_twice_the_first_counts),
        cmocka_unit_test(test_strings_are_decoded),
        cmocka_unit_test(test_a_string_that_does_not_fit_is_refused),
        cmocka_unit_test(test_a_string_with_a_nul_is_refused),
        cmocka_unit_test(test_integers_reach_as_far_as_int64),
        cmocka_unit_test(test_fractions_and_exponents_are_no_integers),
        cmocka_unit_test(test_elements_and_members_are_counted),
        cmocka_unit_test(test_members_come_in_order_and_as_written),
        cmocka_unit_test(test_the_raw_text_of_a_value_can_be_had),
        cmocka_unit_test(test_what_is_not_json_has_no_fields),
        cmocka_unit_test(test_blanks_around_everything_are_fine),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_no_byte_behind_the_text_is_read),
    };
    return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
