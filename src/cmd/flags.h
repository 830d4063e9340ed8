#ifndef TIDEMILL_CMD_FLAGS_H
#define TIDEMILL_CMD_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd/command.h"

/*
 * A command's flags, as a table: "--name VALUE", "--name=VALUE" or "-n VALUE". "--" ends them; "-"
 * alone is an argument. What is wrong is one line on standard error, with the nearest known flag.
 */

enum { FLAG_LIST_MAX = 64 };

struct flag_list {
    const char *items[FLAG_LIST_MAX];
    size_t count;
};

/*
 * Exactly one of the pointers is set, and says what the flag takes. Untouched when it does not
 * come.
 */
struct flag {
    const char *name;       /* "--config" */
    const char *short_name; /* "-c", or NULL */
    bool *given;            /* no value */
    const char **value;     /* any text, borrowed from argv */
    int64_t *count;         /* a whole number from 1 on */
    int64_t *duration_ns;   /* "1.5" (seconds), "200ms" */
    struct flag_list *list; /* any text; the flag may come several times */
};

/*
 * Takes the flags out of argv. What is left moves to argv[1..]: returns how many words that makes
 * with argv[0], or -1 when something is wrong, which has been said (return EXIT_USAGE).
 */
int flags_read(const struct command *command, const struct flag *flags, size_t count, int argc,
               char **argv);

/* One line: "tidemill feed: <text>; see: tidemill help feed". Returns EXIT_USAGE. */
int flags_wrong_usage(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
