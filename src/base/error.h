#ifndef TIDEMILL_BASE_ERROR_H
#define TIDEMILL_BASE_ERROR_H

/*
 * How a failure travels: a function returns -1 and writes one line into the caller's `struct
 * error`. Each level may put what it knows in front ("rules/high_value.lua: ..."); the top prints
 * it once. The text never ends in a newline and is cut, never overrun; passwords in URLs are not in
 * it (redact.h). Any thread; no allocation.
 */

struct error {
    char text[512];
};

/* Writes the message; `err` may be NULL. Returns -1 always, for `return error_set(...)`. */
int error_set(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<formatted>: " in front of the message already there. `err` may be NULL. Returns -1. */
int error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
