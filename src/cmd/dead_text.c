#include "cmd/dead_text.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

size_t dead_text_character(const char *text, size_t size)
{
    size_t length = size > 0 ? utf8_size(text, size) : 0;
    return length == 0 || utf8_is_control(text) ? 0 : length;
}

bool dead_text_is_utf8(const char *text, size_t size)
{
    return size == 0 || (memchr(text, '\0', size) == NULL && utf8_is_valid(text, size));
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
