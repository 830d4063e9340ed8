#ifndef TIDEMILL_RULES_JSON_TEXT_H
#define TIDEMILL_RULES_JSON_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The bytes of JSON strings, as both directions of the codec see them. Private to rules/json*.c.
 * Pure functions over [at, end); nothing is read at or after `end`.
 */

/*
 * The first byte that is not a plain one, or `end`. Plain: ASCII that stands in a JSON string as it
 * is. Not plain: the quote, the backslash, control characters and everything that is not ASCII.
 */
static inline const char *json_plain_end(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);

    /* Eight bytes at a time. A borrow can only reach bytes after a real find, so the first is
     * right. */
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t quote = word ^ (ones * '"');
        uint64_t backslash = word ^ (ones * '\\');
        uint64_t found = ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
                         ((backslash - ones) & ~backslash) | word;
        found &= ones * 0x80;
        if (found != 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return at + __builtin_ctzll(found) / 8;
#else
            break;
#endif
        }
    }
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            break;
    }
    return at;
}

/*
 * How many bytes the character at `at`, which is not ASCII, has in UTF-8 (2 to 4); 0 when it is no
 * UTF-8: cut short, overlong, a surrogate, or beyond U+10FFFF.
 */
static inline size_t json_utf8_size(const char *at, const char *end)
{
    const unsigned char *s = (const unsigned char *)at;
    size_t size = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (size == 0 || (size_t)(end - at) < size)
        return 0;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

#endif
