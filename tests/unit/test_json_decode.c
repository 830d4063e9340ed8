#include "unit/json_state.h"

static void test_integers_of_64_bits_stay_integers(void **state)
{
    static const struct pair pairs[] = {
        {"0", "0"},
        {"-1", "-1"},
        {"1732300000123", "1732300000123"},
        {"9007199254740993", "9007199254740993"},
        {"9223372036854775807", "math.maxinteger"},
        {"-9223372036854775808", "math.mininteger"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_integers_beyond_64_bits_become_the_nearest_float(void **state)
{
    static const struct pair pairs[] = {
        {"9223372036854775808", "2.0^63"},
        {"-9223372036854775809", "-2.0^63"},
        {"18446744073709551615", "2.0^64"},
        {"123456789012345678901234567890", "123456789012345678901234567890.0"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_numbers_with_a_fraction_or_an_exponent_are_floats(void **state)
{
    static const struct pair pairs[] = {
        {"1.0", "1.0"},
        {"1e2", "100.0"},
        {"1E+2", "100.0"},
        {"-0.5", "-0.5"},
        {"25e-1", "2.5"},
        {"0.1", "0.1"},
        {"1e-400", "0.0"},
        {"-1e-400", "-0.0"},
        {"5e-324", "0x1p-1074"},
        {"0e999999999999", "0.0"},
        {"1.7976931348623157e308", "0x1.fffffffffffffp1023"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_minus_zero_keeps_its_sign(void **state)
{
    static const struct pair pairs[] = {{"-0", "-0.0"}, {"-0.0", "-0.0"}, {"-0e5", "-0.0"}, END};
    assert_decodes(*state, pairs);
    run(*state, "assert(json.encode(json.decode('-0')) == '-0.0')");
}

static void test_a_number_just_above_a_tie_is_rounded_up(void **state)
{
    /* 1 + 2^-53 is the tie between 1 and the next double; a digit after 900 others breaks it. */
    run(*state, "local tie = '1.00000000000000011102230246251565404236316680908203125'\n"
                "assert(json.decode(tie) == 1.0)\n"
                "assert(json.decode(tie .. ('0'):rep(900) .. '1') == 1 + 2^-52)\n"
                "assert(json.decode(tie .. ('0'):rep(900)) == 1.0)\n");
}

static void test_a_long_row_of_digits_and_its_exponent_make_up_for_each_other(void **state)
{
    run(*state, "assert(json.decode('0.' .. ('0'):rep(5000) .. '25e5001') == 2.5)\n"
                "assert(json.decode('25' .. ('0'):rep(5000) .. 'e-5001') == 2.5)\n");
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    static const struct pair pairs[] = {
        {"1e400", "byte 1: number out of range"},
        {"[1,-1e999999999999999999999]", "byte 4: number out of range"},
        {"1.7976931348623159e308", "byte 1: number out of range"},
        END,
    };
    assert_all_refused(*state, pairs);
}

static void test_malformed_numbers_are_refused(void **state)
{
    static const struct pair pairs[] = {
        {"01", "byte 1: a number cannot have a leading zero"},
        {"-012", "byte 2: a number cannot have a leading zero"},
        {"-", "byte 2: the text ends too early"},
        {"-a", "byte 2: a digit was expected"},
        {"1.", "byte 3: the text ends too early"},
        {"[1.]", "byte 4: a digit was expected after the point"},
        {"1.e5", "byte 3: a digit was expected after the point"},
        {"[1e]", "byte 4: a digit was expected in the exponent"},
        {"1e+", "byte 4: the text ends too early"},
        {".5", "byte 1: a value was expected"},
        {"+1", "byte 1: a value was expected"},
        {"0x10", "byte 2: more text after the document"},
        END,
    };
    assert_all_refused(*state, pairs);
}

static void test_nan_and_infinity_are_refused(void **state)
{
    static const struct pair pairs[] = {
        {"NaN", "byte 1: a value was expected"},
        {"nan", "byte 2: a value was expected"},
        {"Infinity", "byte 1: a value was expected"},
        {"-Infinity", "byte 2: a digit was expected"},
        END,
    };
    assert_all_refused(*state, pairs);
}

static void test_literals_are_decoded(void **state)
{
    static const struct pair pairs[] = {
        {"true", "true"},
        {"false", "false"},
        {"null", "null"},
        {" [ true ,\tnull\r\n] ", "array{true, cjson.null}"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_strings_are_decoded_with_all_their_escapes(void **state)
{
    static const struct pair pairs[] = {
        {"\"\"", "''"},
        {"\"plain text, longer than eight bytes\"", "'plain text, longer than eight bytes'"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "'\"\\\\/\\b\\f\\n\\r\\t'"},
        {"\"a\\u0000b\"", "'a\\0b'"},
        {"\"\\u007f\\u0080\\u07fF\\u0800\\uffff\"", "'\\u{7f}\\u{80}\\u{7ff}\\u{800}\\u{ffff}'"},
        {"\"\\ud83d\\ude00 \\uD800\\uDC00 \\udbff\\udfff\"", "'\\u{1f600} \\u{10000} \\u{10ffff}'"},
        {"\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf\"",
         "'\\u{e4} \\u{20ac} \\u{1f600} \\u{10ffff}'"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_a_long_string_with_escapes_is_decoded(void **state)
{
    run(*state,
        "assert(json.decode('\"' .. ('ab\\\\n'):rep(5000) .. '\"') == ('ab\\n'):rep(5000))");
}

static void test_malformed_strings_are_refused(void **state)
{
    static const struct pair pairs[] = {
        {"\"abc", "byte 5: the text ends too early"},
        {"\"abc\\", "byte 6: the text ends too early"},
        {"\"a\nb\"", "byte 3: a control character in a string must be escaped"},
        {"\"0123456789\x1f\"", "byte 12: a control character in a string must be escaped"},
        {"\"\\x\"", "byte 2: an unknown escape in a string"},
        {"\"\\u12g4\"", "byte 2: \\u needs four hexadecimal digits"},
        {"\"\\u12\"", "byte 2: \\u needs four hexadecimal digits"},
        {"\"\\ud800\"", "byte 2: the first half of a surrogate pair stands alone"},
        {"\"\\ud800\\u0041\"", "byte 2: the first half of a surrogate pair stands alone"},
        {"\"\\udc00\\ud800\"", "byte 2: the second half of a surrogate pair stands alone"},
        END,
    };
    assert_all_refused(*state, pairs);
    assert_refused(*state, "\"a\0b\"", 5,
                   "byte 3: a control character in a string must be escaped");
    assert_refused(*state, "\"\\\0\"", 4, "byte 2: an unknown escape in a string");
}

static void test_invalid_utf8_is_refused(void **state)
{
    static const struct pair pairs[] = {
        {"\"0123456789\xff\"", "byte 12: invalid UTF-8"},  /* never a byte of UTF-8 */
        {"\"\x80\"", "byte 2: invalid UTF-8"},             /* a continuation alone */
        {"\"\xc0\x80\"", "byte 2: invalid UTF-8"},         /* overlong */
        {"\"\xe0\x9f\xbf\"", "byte 2: invalid UTF-8"},     /* overlong */
        {"\"\xf0\x8f\xbf\xbf\"", "byte 2: invalid UTF-8"}, /* overlong */
        {"\"\xed\xa0\x80\"", "byte 2: invalid UTF-8"},     /* a surrogate */
        {"\"\xf4\x90\x80\x80\"", "byte 2: invalid UTF-8"}, /* beyond U+10FFFF */
        {"\"\xe2\x82\"", "byte 2: invalid UTF-8"},         /* cut short */
        {"\"\xe2\x82", "byte 2: invalid UTF-8"},           /* cut by the end */
        {"{\"\xff\":1}", "byte 3: invalid UTF-8"},         /* in a key */
        END,
    };
    assert_all_refused(*state, pairs);
}

static void test_arrays_are_decoded_with_the_array_metatable(void **state)
{
    static const struct pair pairs[] = {
        {"[]", "array{}"},
        {"[ ]", "setmetatable({}, json.array_mt)"},
        {"[1,[],{}]", "array{1, array{}, {}}"},
        {"[[[\"x\"]]]", "array{array{array{'x'}}}"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_objects_are_decoded_without_a_metatable(void **state)
{
    static const struct pair pairs[] = {
        {"{}", "{}"},
        {"{ }", "{}"},
        {"{\"a\":1,\"b\":{\"c\":[2]},\"\":3}", "{a = 1, b = {c = array{2}}, [''] = 3}"},
        {"{ \"a\" : null }", "{a = null}"},
        END,
    };
    assert_decodes(*state, pairs);
}

static void test_large_containers_are_decoded_whole(void **state)
{
    run(*state, "for _, n in ipairs{31, 32, 33, 63, 64, 65, 1000} do\n"
                "  local items, fields, list, object = {}, {}, array{}, {}\n"
                "  for i = 1, n do\n"
                "    items[i], fields[i] = i, ('\"k%d\":%d'):format(i, i)\n"
                "    list[i], object['k' .. i] = i, i\n"
                "  end\n"
                "  assert(same(json.decode('[' .. table.concat(items, ',') .. ']'), list))\n"
                "  assert(same(json.decode('{' .. table.concat(fields, ',') .. '}'), object))\n"
                "end\n");
}

static void test_of_equal_keys_the_last_wins(void **state)
{
    static const struct pair pairs[] = {
        {"{\"a\":1,\"b\":2,\"a\":3}", "{a = 3, b = 2}"},
        {"{\"a\":1,\"\\u0061\":null}", "{a = null}"},
        END,
    };
    assert_decodes(*state, pairs);
    run(*state, "local many = ('\"k\":0,'):rep(100000)\n"
                "assert(same(json.decode('{' .. many .. '\"k\":1}'), {k = 1}))");
}

static void test_malformed_containers_are_refused(void **state)
{
    static const struct pair pairs[] = {
        {"[", "byte 2: the text ends too early"},
        {"[1", "byte 3: the text ends too early"},
        {"[1,", "byte 4: the text ends too early"},
        {"[1,]", "byte 4: a value was expected"},
        {"[,1]", "byte 2: a value was expected"},
        {"[1 2]", "byte 4: ',' or ']' was expected"},
        {"[1}", "byte 3: ',' or ']' was expected"},
        {"{", "byte 2: the text ends too early"},
        {"{\"a\"", "byte 5: the text ends too early"},
        {"{\"a\":", "byte 6: the text ends too early"},
        {"{\"a\":1", "byte 7: the text ends too early"},
        {"{\"a\":1,}", "byte 8: a key in double quotes was expected"},
        {"{a:1}", "byte 2: a key in double quotes was expected"},
        {"{\"a\" 1}", "byte 6: ':' was expected"},
        {"{\"a\":1 \"b\":2}", "byte 8: ',' or '}' was expected"},
        {"{\"a\":tru}", "byte 9: a value was expected"},
        END,
    };
    assert_all_refused(*state, pairs);
}

static void test_a_text_that_is_not_one_document_is_refused(void **state)
{
    static const struct pair pairs[] = {
        {"", "byte 1: the text is empty"},
        {" \n", "byte 3: the text ends too early"},
        {"1 2", "byte 3: more text after the document"},
        {"{}]", "byte 3: more text after the document"},
        {"null,", "byte 5: more text after the document"},
        {"\xef\xbb\xbf{}", "byte 1: a byte order mark is not allowed"},
        {"// no\n1", "byte 1: a value was expected"},
        END,
    };
    assert_all_refused(*state, pairs);
    assert_refused(*state, "1\0", 2, "byte 2: more text after the document");
}

static void test_nesting_is_bounded(void **state)
{
    run(*state,
        "local function nest(open, n, close) return open:rep(n) .. '1' .. close:rep(n) end\n"
        "for _, deep in ipairs{512, 1} do\n"
        "  local list, object = nest('[', deep, ']'), nest('{\"a\":', deep, '}')\n"
        "  assert(json.encode(json.decode(list)) == list)\n"
        "  assert(json.encode(json.decode(object)) == object)\n"
        "end\n"
        "for _, deep in ipairs{513, 1000000} do\n"
        "  local ok, message = pcall(json.decode, nest('[', deep, ']'))\n"
        "  assert(not ok and message == 'byte 513: nested deeper than 512', message)\n"
        "end\n");
}

static void test_the_bytes_behind_the_text_are_not_looked_at(void **state)
{
    lua_State *L = *state;
    assert_int_equal(json_decode(L, "12345", 2), 0);
    assert_int_equal(lua_tointeger(L, -1), 12);
    assert_int_equal(json_decode(L, "\"ab\"\"", 3), -1);
    assert_int_equal(json_decode(L, "true", 3), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_integers_of_64_bits_stay_integers),
        CASE(test_integers_beyond_64_bits_become_the_nearest_float),
        CASE(test_numbers_with_a_fraction_or_an_exponent_are_floats),
        CASE(test_minus_zero_keeps_its_sign),
        CASE(test_a_number_just_above_a_tie_is_rounded_up),
        CASE(test_a_long_row_of_digits_and_its_exponent_make_up_for_each_other),
        CASE(test_numbers_out_of_range_are_refused),
        CASE(test_malformed_numbers_are_refused),
        CASE(test_nan_and_infinity_are_refused),
        CASE(test_literals_are_decoded),
        CASE(test_strings_are_decoded_with_all_their_escapes),
        CASE(test_a_long_string_with_escapes_is_decoded),
        CASE(test_malformed_strings_are_refused),
        CASE(test_invalid_utf8_is_refused),
        CASE(test_arrays_are_decoded_with_the_array_metatable),
        CASE(test_objects_are_decoded_without_a_metatable),
        CASE(test_large_containers_are_decoded_whole),
        CASE(test_of_equal_keys_the_last_wins),
        CASE(test_malformed_containers_are_refused),
        CASE(test_a_text_that_is_not_one_document_is_refused),
        CASE(test_nesting_is_bounded),
        CASE(test_the_bytes_behind_the_text_are_not_looked_at),
    };
    return cmocka_run_group_tests_name("json_decode", tests, NULL, NULL);
}
