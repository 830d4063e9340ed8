#include "cmd/dead_text.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The smallest character that needs so many bytes (RFC 3629: a longer form is no character). */
static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};

/* The character at `text` and its bytes; 0 when it is none. */
static size_t decode(const unsigned char *text, size_t size, uint32_t *code)
{
    size_t length = text[0] < 0x80   ? 1
                    : text[0] < 0xC0 ? 0
                    : text[0] < 0xE0 ? 2
                    : text[0] < 0xF0 ? 3
                    : text[0] < 0xF8 ? 4
                                     : 0;
    if (length == 0 || length > size)
        return 0;
    *code = length == 1 ? text[0] : text[0] & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        *code = *code << 6 | (text[i] & 0x3FU);
    }
    if (*code < smallest[length] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
        return 0;
    return length;
}

size_t dead_text_character(const char *text, size_t size)
{
    uint32_t code;
    size_t length = size > 0 ? decode((const unsigned char *)text, size, &code) : 0;
    return length == 0 || code < 0x20 || (code >= 0x7F && code < 0xA0) ? 0 : length;
}

bool dead_text_is_utf8(const char *text, size_t size)
{
    uint32_t code;
    for (size_t at = 0, length; at < size; at += length) {
        length = decode((const unsigned char *)text + at, size - at, &code);
        if (length == 0 || code == 0)
            return false;
    }
    return true;
}

size_t dead_text_write(FILE *out, const char *text, size_t size, bool lines)
{
    size_t written = 0;
    for (size_t at = 0; at < size;) {
        size_t length = dead_text_character(text + at, size - at);
        unsigned char byte = (unsigned char)text[at];
        if (length > 0) {
            fwrite(text + at, 1, length, out);
            at += length;
            written++;
            continue;
        }
        at++;
        if (lines && (byte == '\n' || byte == '\t')) {
            fputc(byte, out);
            written++;
        } else if (byte == '\n' || byte == '\r' || byte == '\t') {
            fputs(byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : " ", out);
            written += byte == '\t' ? 1 : 2;
        } else {
            fprintf(out, "\\x%02x", byte);
            written += 4;
        }
    }
    return written;
}

char *dead_text_unescape(const char *error)
{
    char *text = malloc(strlen(error) + 1);
    if (text == NULL)
        return NULL;
    char *end = text;
    for (const char *at = error; *at != '\0'; at++) {
        bool escape = at[0] == '\\' && (at[1] == 'n' || at[1] == 'r');
        if (!escape)
            *end++ = *at;
        else if (*++at == 'n')
            *end++ = '\n';
    }
    *end = '\0';
    return text;
}

char *dead_text_age(int64_t time_ns, int64_t now_ns, char text[DEAD_TEXT_AGE])
{
    static const struct {
        int64_t seconds, below;
        char unit;
    } units[] = {{1, 120, 's'}, {60, 7200, 'm'}, {3600, 172800, 'h'}, {86400, INT64_MAX, 'd'}};
    int64_t age = now_ns > time_ns ? (now_ns - time_ns) / NS_PER_S : 0;
    size_t at = 0;
    while (age >= units[at].below)
        at++;
    snprintf(text, DEAD_TEXT_AGE, "%" PRId64 "%c", age / units[at].seconds, units[at].unit);
    return text;
}
