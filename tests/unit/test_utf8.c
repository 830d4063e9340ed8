#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Writes the character in the shortest form; for surrogates, what that would be. */
static size_t encode(uint32_t code, char text[UTF8_SIZE_MAX])
{
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = size - 1; i > 0; i--, code >>= 6)
        text[i] = (char)(0x80 | (code & 0x3f));
    text[0] = (char)(first[size] | code);
    return size;
}

static void test_every_character_is_recognised(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char text[UTF8_SIZE_MAX];
        size_t size = encode(code, text);
        bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
        if (utf8_size(text, size) != (is_surrogate ? 0 : size))
            fail_msg("U+%04X was taken for %zu bytes", code, utf8_size(text, size));
    }
}

/* All first two bytes; of the next two, what is at the limits of a continuation (0x80 to 0xbf). */
static void test_nothing_else_is_one(void **state)
{
    (void)state;
    static const unsigned char next[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    enum { NEXT = sizeof(next), CONTINUATIONS = 2 };
    int found[UTF8_SIZE_MAX + 1] = {0};
    for (unsigned start = 0; start <= 0xffff; start++) {
        for (size_t i = 0; i < (size_t)NEXT * NEXT; i++) {
            char text[] = {(char)(start >> 8), (char)start, (char)next[i / NEXT],
                           (char)next[i % NEXT]};
            found[utf8_size(text, sizeof(text))]++;
        }
    }
    assert_int_equal(found[1], 0x80 * 0x100 * NEXT * NEXT);
    assert_int_equal(found[2], (0x800 - 0x80) * NEXT * NEXT);
    /* Six bits of a character are in each byte but the first; there are 0x800 surrogates. */
    assert_int_equal(found[3], (0x10000 - 0x800 - 0x800) / 0x40 * CONTINUATIONS * NEXT);
    assert_int_equal(found[4], (0x110000 - 0x10000) / 0x1000 * CONTINUATIONS * CONTINUATIONS);
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
        if (utf8_size(texts[i], UTF8_SIZE_MAX) != 0)
            fail_msg("text %zu was taken", i);
    }
}

/* In memory of its own size, so that a sanitizer sees what is read behind the end. */
static void test_one_that_is_cut_short_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t size = 1; size < strlen(texts[i]); size++) {
            char *cut = malloc(size);
            assert_non_null(cut);
            memcpy(cut, texts[i], size);
            assert_int_equal(utf8_size(cut, size), 0);
            free(cut);
        }
    }
}

static void test_control_characters_are_recognised(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x7ff; code++) {
        char text[UTF8_SIZE_MAX];
        encode(code, text);
        bool is_control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        if (utf8_is_control(text) != is_control)
            fail_msg("U+%04X", code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_character_is_recognised),
        cmocka_unit_test(test_nothing_else_is_one),
        cmocka_unit_test(test_what_is_no_utf8_is_no_character),
        cmocka_unit_test(test_one_that_is_cut_short_is_none),
        cmocka_unit_test(test_control_characters_are_recognised),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
