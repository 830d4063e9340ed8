#ifndef TIDEMILL_CMD_DEAD_LETTERS_H
#define TIDEMILL_CMD_DEAD_LETTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/requests.h"
#include "bus/wire.h"

/*
 * The dead letters of a server as `tidemill dead` reads them: what mill/dead_letter.h wrote,
 * message by message, in the order in which they came, each named by its sequence in their stream.
 */

struct dead_letters {
    struct requests *requests;
    char pattern[512]; /* "<root>.*.*" */
    char stream[256];  /* that stores them */
};

/* Connects and finds the stream. `root` is dead_letter.subject of the configuration. */
int dead_letters_open(struct dead_letters *letters, const struct nats_config *nats,
                      const char *root, struct error *err);
void dead_letters_close(struct dead_letters *letters);

/* One of them. Texts are borrowed from the message, and NULL where it does not tell. */
struct dead_letter {
    const struct wire_message *message; /* with its headers; see dead_letter_each_header */
    uint64_t sequence;                  /* of the dead letter in its stream */
    int64_t time_ns;                    /* when it was stored */
    const char *reason, *rule, *error, *rules_version;
    const char *subject, *stream, *stream_sequence; /* of the input */
    const char *consumer;                           /* the durable that gave it up */
    const char *delivered;                          /* how often it was tried */
    const char *payload;
    size_t size; /* of the payload, also where only headers were asked for */
};

/* Calls `visit` with the message's own headers, as they were, each value. */
void dead_letter_each_header(const struct dead_letter *letter,
                             void (*visit)(void *context, const char *name, const char *value),
                             void *context);

struct dead_filter {
    const char *rule, *reason;  /* NULL: any */
    int64_t since_ns, until_ns; /* since 1970; 0: not said */
    int64_t limit;              /* the first so many of those that match; 0: all */
};

/* Returns 0 to go on, 1 to end well, -1 to end with an error. */
typedef int dead_letter_visit(void *context, const struct dead_letter *letter, struct error *err);

/*
 * Visits those that match and are there now. With `headers_only` no payload is read. Returns how
 * many were visited, or -1.
 */
int64_t dead_letters_each(struct dead_letters *letters, const struct dead_filter *filter,
                          bool headers_only, dead_letter_visit *visit, void *context,
                          struct error *err);

/* Visits one. Returns 1, 0 when there is none of that sequence, or -1. */
int dead_letters_one(struct dead_letters *letters, uint64_t sequence, bool headers_only,
                     dead_letter_visit *visit, void *context, struct error *err);

/* Starts to remove one from the stream for good; the answer goes to `answered`. */
int dead_letters_remove(struct dead_letters *letters, uint64_t sequence, request_answered *answered,
                        void *context, struct error *err);

/* What that answer means: 1 removed, 0 it was not there any more, -1 it still is. */
int dead_letters_removed(const struct answer *answer, struct error *err);

#endif
