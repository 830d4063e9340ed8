#include "ops/escape.h"

#include "base/utf8.h"

#include <stddef.h>
#include <stdint.h>

/* Writes `text`; `special` writes one ASCII character its own way, or says 0. */
static void write_text(FILE *out, const char *text, int (*special)(FILE *out, unsigned char c))
{
    while (*text != '\0') {
        size_t size = utf8_size(text, UTF8_SIZE_MAX);
        if (size == 0)
            fputs("\xef\xbf\xbd", out);
        else if (size > 1 || !special(out, (unsigned char)*text))
            fwrite(text, 1, size, out);
        text += size > 0 ? size : 1;
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

void escape_base64(FILE *out, const char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < size; at += 3) {
        uint32_t group = 0;
        size_t count = size - at < 3 ? size - at : 3;
        for (size_t i = 0; i < 3; i++)
            group = group << 8 | (i < count ? (unsigned char)bytes[at + i] : 0);
        for (size_t i = 0; i < 4; i++)
            fputc(i <= count ? digits[group >> (18 - 6 * i) & 63] : '=', out);
    }
}
