#ifndef TIDEMILL_TESTS_UNIT_JSON_DOCUMENTS_H
#define TIDEMILL_TESTS_UNIT_JSON_DOCUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Random JSON documents, the same ones for the same seed: nested objects and arrays of all sizes,
 * with keys that come twice, keys and strings with escapes, numbers at the limits and white space
 * in odd places.
 */

enum { DOCUMENT_BYTES_MAX = 8192 };

struct document_text {
    uint64_t random;
    size_t size;
    size_t wanted; /* nothing more is begun when it is as large as that */
    char bytes[DOCUMENT_BYTES_MAX];
};

static inline uint64_t document_random(struct document_text *to, uint64_t below)
{
    to->random ^= to->random << 13;
    to->random ^= to->random >> 7;
    to->random ^= to->random << 17;
    return (to->random >> 11) % below;
}

static inline void document_put(struct document_text *to, const char *text)
{
    size_t size = strlen(text);
    if (to->size + size > sizeof(to->bytes))
        return;
    memcpy(to->bytes + to->size, text, size);
    to->size += size;
}

#define DOCUMENT_PICK(to, list) list[document_random(to, sizeof(list) / sizeof(list[0]))]

static inline void document_put_space(struct document_text *to)
{
    static const char *const spaces[] = {" ", "\n", "\t", "\r\n  "};
    if (document_random(to, 24) == 0)
        document_put(to, DOCUMENT_PICK(to, spaces));
}

static inline void document_put_scalar(struct document_text *to)
{
    static const char *const scalars[] = {"0",
                                          "-0",
                                          "1",
                                          "-17",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "9223372036854775808",
                                          "123456789012345678901234567890",
                                          "0.1",
                                          "-0.0",
                                          "1e5",
                                          "12.5E-3",
                                          "1.7976931348623157e308",
                                          "5e-324",
                                          "0e999",
                                          "true",
                                          "false",
                                          "null",
                                          "\"\"",
                                          "\"text\"",
                                          "\"a longer text, of more than sixteen bytes\"",
                                          "\"\\u00e9\\n\\\\\\\"\"",
                                          "\"\\ud83d\\ude00\"",
                                          "\"gr\xc3\xbc\xc3\x9f\"",
                                          "\"\\u0000\"",
                                          "\"[{,:}]\""};
    document_put(to, DOCUMENT_PICK(to, scalars));
}

static inline void document_put_value(struct document_text *to, int depth);

static inline void document_put_parts(struct document_text *to, int depth, bool is_object)
{
    static const char *const keys[] = {"\"a\"",
                                       "\"b\"",
                                       "\"\\u0061\"",
                                       "\"\"",
                                       "\"id\"",
                                       "\"value\"",
                                       "\"1\"",
                                       "\"a key of more than sixteen bytes\"",
                                       "\"gr\xc3\xbc\xc3\x9f\"",
                                       "\"\\u0000\"",
                                       "\"name\"",
                                       "\"tags\"",
                                       "\"__index\"",
                                       "\"__gc\"",
                                       "\"x\"",
                                       "\"y\"",
                                       "\"k1\"",
                                       "\"k2\"",
                                       "\"k3\"",
                                       "\"\\\"\""};
    uint64_t count = document_random(to, 10) == 0 ? 60 : document_random(to, 9);
    bool nested_only = document_random(to, 3) == 0;
    document_put(to, is_object ? "{" : "[");
    document_put_space(to);
    for (uint64_t i = 0; i < count && to->size < to->wanted; i++) {
        if (i > 0)
            document_put(to, ",");
        document_put_space(to);
        if (is_object) {
            document_put(to, DOCUMENT_PICK(to, keys));
            document_put_space(to);
            document_put(to, ":");
            document_put_space(to);
        }
        if (nested_only || (depth < 5 && document_random(to, 3) == 0))
            document_put_value(to, depth + 1);
        else
            document_put_scalar(to);
        document_put_space(to);
    }
    document_put(to, is_object ? "}" : "]");
}

static inline void document_put_value(struct document_text *to, int depth)
{
    document_put_parts(to, depth, depth > 60 || document_random(to, 3) > 0);
}

/* Writes a document of at least 300 bytes, nearly always; deep ones are always whole. */
static inline void document_write(struct document_text *to, uint64_t seed)
{
    to->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    to->size = 0;
    to->wanted = 300 + document_random(to, 10) * document_random(to, 300);
    document_put(to, document_random(to, 2) == 0 ? "{\"first\":" : "[");
    bool is_object = to->bytes[0] == '{';
    document_put_value(to, 1);
    while (to->size < to->wanted) {
        document_put(to, is_object ? ",\"n\":" : ",");
        if (is_object && document_random(to, 2) == 0)
            to->bytes[to->size - 3] = (char)('a' + document_random(to, 26));
        if (document_random(to, 3) == 0)
            document_put_scalar(to);
        else
            document_put_value(to, 1);
    }
    document_put(to, is_object ? "}" : "]");
}

/* Writes an object of a few fields, mostly scalars, whose plain keys come once, nearly always. */
static inline void document_write_small(struct document_text *to, uint64_t seed)
{
    static const char *const keys[] = {
        "a",       "b", "id", "value", "",   "1",    "name",   "gr\xc3\xbc\xc3\x9f",
        "__index", "x", "y",  "k1",    "ts", "unit", "\\u0061"};
    to->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    to->size = 0;
    to->wanted = 100 + document_random(to, 200);
    uint64_t count = 1 + document_random(to, 14);
    uint64_t first = document_random(to, sizeof(keys) / sizeof(keys[0]));
    for (uint64_t i = 0; i < count; i++) {
        document_put(to, i == 0 ? "{" : ",");
        document_put_space(to);
        document_put(to, "\"");
        document_put(to, document_random(to, 50) == 0 ? DOCUMENT_PICK(to, keys)
                                                      : keys[(first + i) % 14]);
        document_put(to, "\":");
        document_put_space(to);
        if (document_random(to, 6) == 0)
            document_put_value(to, 4);
        else
            document_put_scalar(to);
        document_put_space(to);
    }
    document_put(to, "}");
}

#endif
