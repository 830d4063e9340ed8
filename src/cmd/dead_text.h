#ifndef TIDEMILL_CMD_DEAD_TEXT_H
#define TIDEMILL_CMD_DEAD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Texts of dead letters for people and for programs. What stands in a message may come from
 * anybody, so nothing is written that a terminal would obey.
 */

/* How many bytes the UTF-8 character at `text` has; 0 when it is none, or a control character. */
size_t dead_text_character(const char *text, size_t size);

/* Whether it is UTF-8 without a NUL. */
bool dead_text_is_utf8(const char *text, size_t size);

/*
 * Writes `text` with what is not printable as \n, \x1b, ...; with `lines`, line ends and tabs are
 * left as they are. Returns how many characters that makes.
 */
size_t dead_text_write(FILE *out, const char *text, size_t size, bool lines);

/* The error as it was before its line ends were written as \n (mill/dead_letter.h); malloc'ed. */
char *dead_text_unescape(const char *error);

/* "5s", "12m", "3h", "9d": how long before `now_ns` that was. */
enum { DEAD_TEXT_AGE = 24 };
char *dead_text_age(int64_t time_ns, int64_t now_ns, char text[DEAD_TEXT_AGE]);

#endif
