#include "ops/escape.h"

#include <stddef.h>

/* The bytes of the valid UTF-8 sequence at `text`; 0 when there is none. The end (NUL) counts as
 * none. */
static size_t sequence_size(const unsigned char *text)
{
    unsigned char first = text[0];
    if (first == 0 || (first >= 0x80 && first < 0xc2) || first > 0xf4)
        return 0;
    if (first < 0x80)
        return 1;
    size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Too long a form, a surrogate, or beyond U+10FFFF. */
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) ||
        (first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f))
        return 0;
    return size;
}

/* Writes `text`; `special` writes one ASCII character its own way, or says 0. */
static void write_text(FILE *out, const char *text, int (*special)(FILE *out, unsigned char c))
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        size_t size = sequence_size(at);
        if (size == 0)
            fputs("\xef\xbf\xbd", out);
        else if (size > 1 || !special(out, *at))
            fwrite(at, 1, size, out);
        at += size > 0 ? size : 1;
    }
}

static int special_in_json(FILE *out, unsigned char c)
{
    if (c == '"' || c == '\\')
        return fprintf(out, "\\%c", c);
    if (c == '\n')
        return fprintf(out, "\\n");
    if (c == '\t')
        return fprintf(out, "\\t");
    return c < 0x20 || c == 0x7f ? fprintf(out, "\\u%04x", c) : 0;
}

static int special_in_help(FILE *out, unsigned char c)
{
    if (c == '\n')
        return fprintf(out, "\\n");
    return c == '\\' ? fprintf(out, "\\\\") : 0;
}

static int special_in_label(FILE *out, unsigned char c)
{
    return c == '"' ? fprintf(out, "\\\"") : special_in_help(out, c);
}

void escape_json(FILE *out, const char *text)
{
    fputc('"', out);
    write_text(out, text, special_in_json);
    fputc('"', out);
}

void escape_label(FILE *out, const char *text)
{
    write_text(out, text, special_in_label);
}

void escape_help(FILE *out, const char *text)
{
    write_text(out, text, special_in_help);
}
