#include "unit/json_state.h"

#include "rules/json_outline.h"
#include "unit/json_documents.h"

/* The outline says yes exactly where json_decode does, and knows where everything is. */

enum { ROOM = 4096 };

static struct json_part parts[ROOM];

/* Outlines a copy that ends where the text ends. */
static size_t outline(const char *text, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    size_t count = json_outline(copy, size, parts, ROOM);
    free(copy);
    return count;
}

/* The text as the only field of an object: its fields are found where json_decode takes it. */
static void assert_same_verdict_of_a_field(lua_State *L, const char *text, size_t size)
{
    static const char before[] = "{\"key\":";
    struct json_field fields[8];
    size_t whole_size = sizeof(before) - 1 + size + 1;
    char *whole = malloc(whole_size);
    assert_non_null(whole);
    memcpy(whole, before, sizeof(before) - 1);
    if (size > 0)
        memcpy(whole + sizeof(before) - 1, text, size);
    whole[whole_size - 1] = '}';
    bool is_json = json_decode(L, whole, whole_size) == 0;
    lua_settop(L, 0);
    size_t count = json_outline_fields(whole, whole_size, fields, 8);
    if ((count > 0) != is_json)
        fail_msg("json_decode says %s to: %.*s", is_json ? "yes" : "no", (int)whole_size, whole);
    if (is_json) {
        assert_int_equal(fields[0].key, 2);
        assert_int_equal(fields[0].key_size, 3);
        assert_true(strchr(" \t\r\n", whole[fields[0].value]) == NULL);
    }
    free(whole);
}

static void assert_same_verdict(lua_State *L, const char *text, size_t size)
{
    assert_same_verdict_of_a_field(L, text, size);
    const char *at = text;
    while (at < text + size && strchr(" \t\r\n", *at) != NULL && *at != '\0')
        at++;
    bool has_parts = at < text + size && (*at == '{' || *at == '[');
    bool is_json = json_decode(L, text, size) == 0;
    lua_settop(L, 0);
    if ((outline(text, size) > 0) != (is_json && has_parts))
        fail_msg("json_decode says %s to: %.*s", is_json ? "yes" : "no", (int)size, text);
}

static void test_every_value_of_the_grammar_gets_the_verdict_of_the_decoder(void **state)
{
    static const char *const values[] = {
        "0",
        "-0",
        "-",
        "00",
        "01",
        "-01",
        "1.",
        ".5",
        "1.0",
        "1e",
        "1e+",
        "1E5",
        "1e5",
        "1.5e-3",
        "+1",
        "1e308",
        "1e309",
        "-1e400",
        "0e400",
        "0x1",
        "1a",
        "NaN",
        "Infinity",
        "true",
        "tru",
        "truex",
        "false",
        "falsy",
        "null",
        "nul",
        "\"\"",
        "\"",
        "\"a",
        "\"\\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"\\u1234\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud83d\\ude00\"",
        "\"\x01\"",
        "\"\x1f\"",
        "\"\x7f\"",
        "\"\x80\"",
        "\"\xc3\xa9\"",
        "\"\xc0\x80\"",
        "\"\xed\xa0\x80\"",
        "\"\xf0\x9f\x98\x80\"",
        "\"\xf5\"",
        "\"\xc3\"",
        "\"\\",
        "{",
        "[",
        "{}",
        "[]",
        "{]",
        "[}",
        "{,}",
        "[,]",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "[1 2]",
        "[1,,2]",
        "{\"a\":1 \"b\":2}",
        "[[]",
        "[]]",
        "{\"a\":[{\"b\":{}}]}",
        "",
        " ",
        ",",
        ":",
        "]",
        "}",
        "/**/1",
        "'a'",
        "\"0123456789abcdef\x01\"",
        "\"0123456789abcdef\xff\"",
        "\"0123456789abcdef\\q\"",
    };
    static const char *const around[][2] = {{"", ""},
                                            {"[", "]"},
                                            {"{\"k\":", "}"},
                                            {"[1,", "]"},
                                            {"[", ",1]"},
                                            {" [ ", " ] "},
                                            {"{\"k\":1,\"l\":", "}"},
                                            {"{\"k\":", ",\"l\":{}}"},
                                            {"[", "]x"},
                                            {"[", "] \n"},
                                            {"[\"0123456789abcdef\",", "]"},
                                            {"[", ",\"0123456789abcdef0123456789\"]"},
                                            {"{\"0123456789abcdef\":", "}"},
                                            {"{", ":1}"},
                                            {"{\"k\":[", "]}"}};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        for (size_t j = 0; j < sizeof(around) / sizeof(around[0]); j++) {
            char text[128];
            int size =
                snprintf(text, sizeof(text), "%s%s%s", around[j][0], values[i], around[j][1]);
            assert_same_verdict(*state, text, (size_t)size);
        }
}

static void test_a_number_of_any_length_gets_the_verdict_of_the_decoder(void **state)
{
    static char text[1024];
    for (int digits = 295; digits < 330; digits++)
        for (int first = 0; first < 2; first++) {
            const char *end = first == 0 ? "]" : ".5]";
            int size = snprintf(text, sizeof(text), "[-%d%0*d%s", 9, digits, 0, end);
            assert_same_verdict(*state, text, (size_t)size);
        }
}

/* Digits are read eight at a time: each byte, behind so many of them, and so near to the end. */
static void test_a_number_ends_where_it_does_for_the_decoder(void **state)
{
    static const char *const rests[] = {"]", ",1234567890]", ".5]", ".1234567890123]"};
    static const char all[] = "12345678901234567890";
    char text[64];
    for (size_t digits = 1; digits < sizeof(all); digits++)
        for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++)
            for (int byte = 0; byte < 256; byte++) {
                int size = snprintf(text, sizeof(text), "[%.*s?%s", (int)digits, all, rests[i]);
                text[digits + 1] = (char)byte;
                assert_same_verdict(*state, text, (size_t)size);
                text[digits + 1] = '.';
                text[digits + 2] = (char)byte;
                assert_same_verdict(*state, text, (size_t)size);
            }
}

static void test_random_damage_gets_the_verdict_of_the_decoder(void **state)
{
    static const char bytes[] = "\"\\{}[],: \n01-.eEtfnu\x01\x80\xc3\xa9\xff";
    static struct document_text text;
    for (uint64_t seed = 1; seed < 20000; seed++) {
        document_write(&text, seed);
        uint64_t changes = document_random(&text, 3);
        for (uint64_t i = 0; i < changes; i++) {
            size_t at = document_random(&text, text.size);
            text.bytes[at] = bytes[document_random(&text, sizeof(bytes))];
        }
        if (document_random(&text, 4) == 0)
            text.size = document_random(&text, text.size);
        assert_same_verdict(*state, text.bytes, text.size);
    }
}

static void test_as_deep_as_the_decoder_and_no_deeper(void **state)
{
    static char text[2 * JSON_DEPTH_MAX + 4];
    for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_same_verdict(*state, text, 2 * (size_t)depth);
    }
}

static void test_a_part_knows_its_place_its_key_and_what_is_in_it(void **state)
{
    (void)state;
    const char *text = " {\"a\":[1,[],{}], \"k\\u0062\" : {\"x\":1,\"x\":{\"y\":[]}},\"\":[2]} ";
    assert_int_equal(outline(text, strlen(text)), 8);
    static const struct {
        const char *text, *key;
        uint32_t after, count, parts;
        bool escaped;
    } wanted[] = {
        {"{\"a\":[1,[],{}], \"k\\u0062\" : {\"x\":1,\"x\":{\"y\":[]}},\"\":[2]}", NULL, 8, 3, 3,
         false},
        {"[1,[],{}]", "a", 4, 3, 2, false},
        {"[]", NULL, 3, 0, 0, false},
        {"{}", NULL, 4, 0, 0, false},
        {"{\"x\":1,\"x\":{\"y\":[]}}", "k\\u0062", 7, 2, 1, true},
        {"{\"y\":[]}", "x", 7, 1, 1, false},
        {"[]", "y", 7, 0, 0, false},
        {"[2]", "", 8, 1, 0, false},
    };
    for (size_t i = 0; i < 8; i++) {
        const struct json_part *part = &parts[i];
        assert_int_equal(part->size, strlen(wanted[i].text));
        assert_memory_equal(text + part->start, wanted[i].text, part->size);
        assert_int_equal(part->key != 0, wanted[i].key != NULL);
        if (wanted[i].key != NULL) {
            assert_int_equal(part->key_size, strlen(wanted[i].key));
            assert_memory_equal(text + part->key, wanted[i].key, part->key_size);
        }
        assert_int_equal(part->key_escaped, wanted[i].escaped);
        assert_int_equal(part->after, wanted[i].after);
        assert_int_equal(part->count, wanted[i].count);
        assert_int_equal(part->parts, wanted[i].parts);
        assert_int_equal(part->taken, 0);
        assert_int_equal(part->touched, 0);
    }
}

static void test_more_parts_than_room_are_counted_and_not_written(void **state)
{
    (void)state;
    struct json_part some[3] = {{.after = 77}, {.after = 77}, {.after = 77}};
    const char *text = "[[[]],[],{\"a\":{}}]";
    assert_int_equal(json_outline(text, strlen(text), some, 2), 6);
    assert_int_equal(some[0].after, 6);
    assert_int_equal(some[1].after, 3);
    assert_int_equal(some[2].after, 77);
}

static size_t count_fields(const char *text)
{
    struct json_field fields[3];
    return json_outline_fields(text, strlen(text), fields, 3);
}

static void test_the_fields_of_an_object_are_found(void **state)
{
    static const char text[] = " { \"a\" : 1 , \"bc\":{\"a\":[2]} ,\"\":\"x\" } ";
    struct json_field fields[3];
    (void)state;
    assert_int_equal(json_outline_fields(text, sizeof(text) - 1, fields, 3), 3);
    assert_memory_equal(text + fields[0].key, "a\"", 2);
    assert_int_equal(fields[0].key_size, 1);
    assert_memory_equal(text + fields[0].value, "1 ", 2);
    assert_memory_equal(text + fields[1].key, "bc\"", 3);
    assert_int_equal(fields[1].key_size, 2);
    assert_memory_equal(text + fields[1].value, "{\"a\"", 4);
    assert_int_equal(fields[2].key_size, 0);
    assert_memory_equal(text + fields[2].value, "\"x\"", 3);
}

static void test_objects_whose_fields_are_not_worth_it_have_none(void **state)
{
    (void)state;
    assert_int_equal(count_fields("{\"a\":1,\"b\":2,\"c\":3}"), 3);
    assert_int_equal(count_fields("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"), 0); /* no room */
    assert_int_equal(count_fields("{\"a\":1,\"a\":2}"), 0);                 /* comes again */
    assert_int_equal(count_fields("{\"\\u0061\":1}"), 0);                   /* escaped */
    assert_int_equal(count_fields("{}"), 0);
    assert_int_equal(count_fields("[{\"a\":1}]"), 0);
    assert_int_equal(count_fields("1"), 0);
}

static void test_fields_may_be_as_deep_as_the_decoder_goes(void **state)
{
    lua_State *L = *state;
    char text[2 * 513 + 16];
    struct json_field fields[1];
    for (int depth = 510; depth <= 513; depth++) {
        size_t size = (size_t)snprintf(text, sizeof(text), "{\"a\":");
        memset(text + size, '[', (size_t)depth);
        memset(text + size + depth, ']', (size_t)depth);
        size += 2 * (size_t)depth;
        text[size++] = '}';
        bool is_json = json_decode(L, text, size) == 0;
        lua_settop(L, 0);
        assert_int_equal(is_json, depth <= 511);
        assert_int_equal(json_outline_fields(text, size, fields, 1), is_json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_value_of_the_grammar_gets_the_verdict_of_the_decoder),
        cmocka_unit_test(test_a_number_of_any_length_gets_the_verdict_of_the_decoder),
        cmocka_unit_test(test_a_number_ends_where_it_does_for_the_decoder),
        cmocka_unit_test(test_random_damage_gets_the_verdict_of_the_decoder),
        cmocka_unit_test(test_as_deep_as_the_decoder_and_no_deeper),
        cmocka_unit_test(test_a_part_knows_its_place_its_key_and_what_is_in_it),
        cmocka_unit_test(test_more_parts_than_room_are_counted_and_not_written),
        cmocka_unit_test(test_the_fields_of_an_object_are_found),
        cmocka_unit_test(test_objects_whose_fields_are_not_worth_it_have_none),
        cmocka_unit_test(test_fields_may_be_as_deep_as_the_decoder_goes),
    };
    return cmocka_run_group_tests_name("json_outline", tests, setup, teardown);
}
