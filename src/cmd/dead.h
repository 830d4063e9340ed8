#ifndef TIDEMILL_CMD_DEAD_H
#define TIDEMILL_CMD_DEAD_H

#include <stdio.h>

#include "cmd/dead_letters.h"

/* The subcommands of `tidemill dead`, one source each; dead.c reads the command line. */

struct dead_words {
    struct dead_filter filter;
    bool filtered; /* any filter was given */
    bool all;
    const uint64_t *sequences;
    size_t sequence_count;
    bool json, payload, yes;
};

/*
 * Each returns the exit status; -1 stands for EXIT_FAILED with a line in `err`, which the caller
 * prints.
 */
int dead_list(struct dead_letters *letters, const struct dead_words *words, struct error *err);
int dead_show(struct dead_letters *letters, const struct dead_words *words, struct error *err);
int dead_retry(struct dead_letters *letters, const struct dead_words *words, struct error *err);
int dead_purge(struct dead_letters *letters, const struct dead_words *words, struct error *err);

/* One line on standard output (standard error with --json) that nothing was found. */
void dead_say_none(const struct dead_letters *letters, const struct dead_words *words);

/* Writes one as a JSON object on one line; the payload too when it was read. */
void dead_write_json(FILE *out, const struct dead_letter *letter, bool payload);

/* 0, or -1 when the output could not be written. Nobody reading any more (head) is no error. */
int dead_end_output(struct error *err);

/* Failures of single letters: a line each on standard error, the first twenty. */
struct dead_failures {
    uint64_t count;
};
void dead_failed(struct dead_failures *failures, uint64_t sequence, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void dead_failures_end(const struct dead_failures *failures);

#endif
