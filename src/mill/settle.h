#ifndef TIDEMILL_MILL_SETTLE_H
#define TIDEMILL_MILL_SETTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "bus/link.h"
#include "mill/delivery.h"
#include "mill/outbox.h"
#include "mill/progress.h"
#include "mill/retries.h"

/*
 * Settling: what the input gets once everything about it is known (the delivery table of
 * docs/delivery.md).
 *
 *   ACK     an empty message; with `confirm` +ACK, and the server's answer is waited for
 *   AGAIN   -NAK with a delay, until max_deliver; then as REJECT
 *   REJECT  the dead letter is sent; when it is stored +TERM, when it cannot be stored -NAK
 *
 * With cumulative acks nothing is sent for a single message: what would get an ack or +TERM is
 * settled (cumulative.h), what would get -NAK waits here for its next try (retries.h); while the
 * worker drains it is given back all the same.
 *
 * Acks leave together at the end of a round, after what the round has published: the server works
 * fastest on many of one kind. settle_flush sends them; the wire messages must live until then.
 *
 * Thread: the worker's loop.
 */

struct settler {
    struct link *link;
    struct outbox *outbox;
    struct progress *progress;
    const char *dead_letter_root;
    const char *rules_version; /* of the current generation */
    struct retries *retries;
    bool draining;          /* nothing is kept to be tried again */
    bool term_reasons;      /* the server understands `+TERM reason` (2.10.4 and later) */
    int64_t wall_offset_ns; /* the wall clock's lead on the monotonic one, as of a moment ago */
    const char **acks;      /* the subjects of acks that have not left yet */
    size_t ack_count, ack_capacity;
};

/*
 * Acts on the verdict of a delivery of which nothing is open. Returns true when it is settled and
 * can be freed; false when an answer must be waited for (its phase says which).
 */
bool settle(struct settler *settler, struct delivery *delivery, int64_t now_ns);

/* Sends the acks of what has been settled. Call before the settled wire messages are freed. */
void settle_flush(struct settler *settler);
void settle_close(struct settler *settler); /* sends nothing */

/* The dead letter's outbox entry is done. True: settled. */
bool settle_dead_letter_done(struct settler *settler, struct delivery *delivery, bool stored,
                             const char *error);

/* What the token of a REPLY_ACK means: the delivery may be long gone. */
unsigned confirm_token_source(uint64_t token);
uint64_t confirm_token_sequence(uint64_t token);

/* Sends the double ack again; the server has not answered. False: given up, let it come back. */
bool settle_confirm_again(struct settler *settler, struct delivery *delivery, int64_t now_ns);

/* Work goes on: +WPI restarts the server's ack_wait. */
void settle_in_progress(struct settler *settler, struct delivery *delivery, int64_t now_ns);

/* Gives back a message that waits for its next try, with what is left of its delay (shutdown). */
void settle_give_back_waiting(struct settler *settler, struct delivery *delivery, int64_t now_ns);

/* Gives back, at once, a message that no rule has seen (shutdown). */
void settle_give_back(struct settler *settler, struct delivery *delivery);

#endif
