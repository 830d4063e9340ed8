#ifndef TIDEMILL_BUS_STREAM_READER_H
#define TIDEMILL_BUS_STREAM_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/requests.h"
#include "bus/wire.h"

/*
 * Reads what a stream holds, in order, once, and leaves it there: an ephemeral consumer without
 * acknowledgements, pulled in batches, and gone afterwards. It ends with what was stored when it
 * was opened, however fast the stream grows. A part of a `struct requests`, with its thread.
 */

struct stream_reader;

struct stream_reader_options {
    const char *stream;
    const char *filter;      /* a subject pattern; the others are read over */
    uint64_t first_sequence; /* 0: from the first, or from first_time_ns */
    int64_t first_time_ns;   /* since 1970; 0: from the first */
    uint64_t last_sequence;  /* 0: what is the last one now */
    bool headers_only;       /* without payloads; Nats-Msg-Size tells how long each was */
};

int stream_reader_open(struct stream_reader **reader, struct requests *requests,
                       const struct stream_reader_options *options, struct error *err);
void stream_reader_close(struct stream_reader *reader); /* before requests_close; NULL is fine */

/*
 * The next message, which the caller frees with wire_free; `ack` tells its sequence and time and
 * points into it. Returns 1 with a message, 0 at the end, -1 when the server stopped answering.
 */
int stream_reader_next(struct stream_reader *reader, struct wire_message **message,
                       struct ack_subject *ack, struct error *err);

/*
 * The stream that stores every subject matching `pattern`: its name. Returns 1, or 0 when there is
 * none, or -1.
 */
int stream_reader_find(struct requests *requests, const char *pattern, char *name, size_t size,
                       struct error *err);

#endif
