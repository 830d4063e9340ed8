#ifndef TIDEMILL_TESTS_FUZZ_H
#define TIDEMILL_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/*
 * What the fuzzers share. Each of them says in its first comment what must hold whatever the bytes
 * are; `must` ends the run where it does not, and libFuzzer keeps the bytes. Which sanitizer finds
 * what has no part in it: they end the run by themselves.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy with a NUL behind it and nothing else, so that a sanitizer sees one byte read too many. */
static inline char *copy_text(const void *data, size_t size)
{
    char *text = malloc(size + 1);
    must(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* The same without the NUL, for what takes a size. */
static inline char *copy_bytes(const void *data, size_t size)
{
    char *bytes = malloc(size > 0 ? size : 1);
    must(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    return bytes;
}

/* What struct error promises of every message. */
static inline void must_be_a_message(const char *text)
{
    must(*text != '\0');
    must(strlen(text) < sizeof(((struct error *)NULL)->text));
    must(strpbrk(text, "\r\n") == NULL);
}

/* How deep the brackets of a JSON text are nested. */
static inline int nesting_of(const char *text, size_t size)
{
    bool in_string = false;
    int depth = 0, deepest = 0;
    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '[' || text[i] == '{'))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!in_string && (text[i] == ']' || text[i] == '}'))
            depth--;
    }
    return deepest;
}

/* The fuzzer's bytes as choices, one after the other; zeros when they are used up. */
struct choices {
    const uint8_t *at, *end;
};

static inline unsigned choose(struct choices *choices, unsigned bound)
{
    return choices->at < choices->end ? *choices->at++ % bound : 0;
}

static inline bool chosen_all(const struct choices *choices)
{
    return choices->at == choices->end;
}

/* Takes `count` bytes, as far as there are so many. */
static inline void choose_bytes(struct choices *choices, void *out, size_t count)
{
    size_t left = (size_t)(choices->end - choices->at);
    memset(out, 0, count);
    memcpy(out, choices->at, left < count ? left : count);
    choices->at += left < count ? left : count;
}

#endif
