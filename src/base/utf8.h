#ifndef TIDEMILL_BASE_UTF8_H
#define TIDEMILL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * UTF-8 as RFC 3629 has it: no overlong form, no surrogate, nothing beyond U+10FFFF. For texts that
 * go to readers who refuse the whole when a byte is wrong. Pure; any thread.
 */

enum {
    UTF8_SIZE_MAX = 4 /* bytes of a character */
};

/*
 * The bytes (1 to 4) of the character that begins at `text`, of which `size` may be read, at least
 * one; 0 where none begins, or it is cut short. A NUL is a character. None is read behind the first
 * that does not belong to it: for NUL-terminated text that has not ended, UTF8_SIZE_MAX will do.
 */
static inline size_t utf8_size(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t wanted = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (wanted == 0 || size < wanted)
        return 0;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < wanted; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return wanted;
}

/* Whether all of the text is UTF-8. */
static inline bool utf8_is_valid(const char *text, size_t size)
{
    for (size_t at = 0, step; at < size; at += step) {
        step = utf8_size(text + at, size - at);
        if (step == 0)
            return false;
    }
    return true;
}

/* Whether a character of utf8_size() is a control character: C0, DEL or C1. */
static inline bool utf8_is_control(const char *character)
{
    unsigned char first = (unsigned char)character[0];
    return first < 0x20 || first == 0x7f || (first == 0xc2 && (unsigned char)character[1] < 0xa0);
}

#endif
