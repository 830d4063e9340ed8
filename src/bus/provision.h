#ifndef TIDEMILL_BUS_PROVISION_H
#define TIDEMILL_BUS_PROVISION_H

#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/control.h"

/*
 * Streams and consumers as the configuration wants them: made when missing, compared when there. A
 * stream is never altered; of a consumer what the server lets one update is updated, and the rest
 * is an error. Every error is one line that names the stream or consumer and says what to do. All
 * functions block (some seconds at most); any thread but a worker's loop.
 */

/*
 * Creates the stream when it is missing; one that differs is left alone and its differences are
 * logged.
 */
int provision_stream(struct control *control, const struct stream_config *stream,
                     struct error *err);

/*
 * Sees to it that some stream stores `<subject_root>.<stream>.<durable>`: one that exists already,
 * or a new one for `<subject_root>.>`, named like the root with '_' for '.'.
 */
int provision_dead_letter(struct control *control, const char *subject_root, struct error *err);

/* Creates the durable pull consumer of a source, or binds to the existing one (see above). */
int provision_consumer(struct control *control, const struct source_config *source,
                       struct error *err);

/*
 * The same for a consumer that was there before: one that is missing is created behind the sequence
 * up to which all is settled.
 */
int provision_consumer_again(struct control *control, const struct source_config *source,
                             uint64_t settled, struct error *err);

/*
 * When the stream was created, in nanoseconds since 1970: tells it from an earlier one of the same
 * name. 0: there is no such stream. Returns 0, or -1 when the server could not be asked.
 */
int provision_stream_created(struct control *control, const char *stream, int64_t *created_ns,
                             struct error *err);

enum consumer_state {
    CONSUMER_PRESENT,
    CONSUMER_MISSING, /* the consumer, or its stream, does not exist */
    CONSUMER_UNKNOWN  /* the server could not be asked; `err` says why */
};

struct consumer_counts {
    int64_t created_ns;            /* since 1970: tells it from a later one of the same name */
    int64_t num_pending;           /* not yet delivered */
    int64_t num_ack_pending;       /* delivered, not yet acknowledged */
    int64_t delivered_sequence;    /* stream sequence of the last delivery */
    int64_t acknowledged_sequence; /* stream sequence up to which all is acknowledged */
};

/* Looks a consumer up. `counts` may be NULL; filled for CONSUMER_PRESENT only. */
enum consumer_state provision_consumer_state(struct control *control, const char *stream,
                                             const char *durable, struct consumer_counts *counts,
                                             struct error *err);

#endif
