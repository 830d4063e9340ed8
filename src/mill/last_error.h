#ifndef TIDEMILL_MILL_LAST_ERROR_H
#define TIDEMILL_MILL_LAST_ERROR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The last thing that went wrong, for those who ask. One worker writes, anybody reads; while one of
 * them is at it the writer passes on, since the next error comes soon, and the reader waits. All
 * zero: nothing yet.
 */

enum { LAST_ERROR_SIZE = 240 };

struct last_error {
    atomic_bool busy;
    int64_t at_ns; /* clock_monotonic_ns */
    char text[LAST_ERROR_SIZE];
};

/* "<reason> in rule <rule>: <error>"; `rule` and `error` may be NULL. */
void last_error_note(struct last_error *last, int64_t now_ns, const char *reason, const char *rule,
                     const char *error);

/* Copies it into `text` if it is later than `after_ns`. Returns when it was, or `after_ns`. */
int64_t last_error_read(struct last_error *last, int64_t after_ns, char *text, size_t size);

#endif
