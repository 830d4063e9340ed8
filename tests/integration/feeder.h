#ifndef TIDEMILL_TESTS_FEEDER_H
#define TIDEMILL_TESTS_FEEDER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Feeds numbered inputs on a thread and a connection of its own, so that their stream holds each
 * exactly once whatever happens to the server: what has no PubAck is published again with the same
 * Nats-Msg-Id. The id also stands in the header "Input-Id", which nobody looks at on the way.
 */

struct feeder;

enum { FEED_PAYLOAD_MAX = 512 };

struct feed_input {
    const char *subject;
    char id[24]; /* also its Nats-Msg-Id */
    char payload[FEED_PAYLOAD_MAX];
    size_t size;
};

/* What to feed, and when. Both are called on the feeder's thread. */
struct feed_source {
    /* The input of this number, counted from 0; always the same. */
    void (*input)(void *context, size_t number, struct feed_input *input);
    /* How many inputs must be fed so many milliseconds after the start; never less than before. */
    size_t (*due)(void *context, int64_t ms);
    void *context;
    size_t count; /* it is done when so many are stored */
};

/* Begins; `source` is copied. NULL: no thread, no memory. */
struct feeder *feeder_start(const struct feed_source *source, const char *url);

/* How many inputs are stored. Any thread. */
size_t feeder_stored(struct feeder *feeder);

/* Ends it, whether all is stored or not, and frees it. NULL is fine. */
void feeder_end(struct feeder *feeder);

#endif
