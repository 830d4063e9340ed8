#ifndef TIDEMILL_BASE_UTF8_H
#define TIDEMILL_BASE_UTF8_H

#include <stddef.h>

/*
 * UTF-8 as RFC 3629 has it: no overlong form, no surrogate, nothing beyond U+10FFFF. For texts that
 * go to readers who refuse the whole when a byte is wrong. Pure; any thread.
 */

/*
 * The bytes (1 to 4) of the character that NUL-terminated `text` begins with; 0 when it begins with
 * none: at the end, or where it is no UTF-8.
 */
size_t utf8_size(const char *text);

#endif
