#ifndef TIDEMILL_RULES_JSON_TEXT_H
#define TIDEMILL_RULES_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

#ifdef __SSE2__
    /* Sixteen bytes at a time. As signed ones, those that are not ASCII are below the space too. */
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i found = _mm_or_si128(_mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)),
                                     _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                                  _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
        int mask = _mm_movemask_epi8(found);
        if (mask != 0)
            return at + __builtin_ctz((unsigned)mask);
    }
#endif
    /* Eight bytes at a time. A borrow only reaches bytes after a real find: the first is right. */
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

/* The first byte at or after `at` that is no white space, or `end`. */
static inline const char *json_skip_space(const char *at, const char *end)
{
    if (at < end && (unsigned char)*at > ' ') /* nearly always */
        return at;
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* The value of four hexadecimal digits, or -1. */
static inline int json_hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static inline bool json_is_high_surrogate(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static inline bool json_is_low_surrogate(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/*
 * The size of the escape whose backslash is at `at`, both halves of a surrogate pair included. 0
 * when it is none: `*fault` then says why, or is NULL when the text ends too early.
 */
static inline size_t json_escape_size(const char *at, const char *end, const char **fault)
{
    *fault = NULL;
    if (at + 1 == end)
        return 0;
    if (at[1] != 'u') {
        if (at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL)
            return 2;
        *fault = "an unknown escape in a string";
        return 0;
    }
    int unit = json_hex4(at + 2, end);
    if (unit >= 0 && !json_is_low_surrogate(unit)) {
        if (!json_is_high_surrogate(unit))
            return 6;
        if (end - at >= 12 && at[6] == '\\' && at[7] == 'u' &&
            json_is_low_surrogate(json_hex4(at + 8, end)))
            return 12;
    }
    *fault = unit < 0                      ? "\\u needs four hexadecimal digits"
             : json_is_low_surrogate(unit) ? "the second half of a surrogate pair stands alone"
                                           : "the first half of a surrogate pair stands alone";
    return 0;
}

/* Keys of an object, as bits: one that is not marked has not been seen. Keys without escapes. */
struct json_marks {
    uint64_t bits[8];
};

static inline unsigned json_mark_of(const char *key, size_t size)
{
    if (size == 0)
        return 0;
    return (unsigned)size * 7 + (unsigned char)key[0] * 31 + (unsigned char)key[size - 1] * 5 +
           (unsigned char)key[size / 2];
}

static inline bool json_is_marked(const struct json_marks *marks, const char *key, size_t size)
{
    unsigned bit = json_mark_of(key, size);
    return (marks->bits[bit / 64 % 8] >> bit % 64 & 1) != 0;
}

/* Marks a key; returns whether it was. */
static inline bool json_mark(struct json_marks *marks, const char *key, size_t size)
{
    unsigned bit = json_mark_of(key, size);
    uint64_t *bits = &marks->bits[bit / 64 % 8];
    uint64_t old = *bits;
    *bits |= UINT64_C(1) << bit % 64;
    return old == *bits;
}

#endif
