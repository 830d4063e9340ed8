#ifndef TIDEMILL_MILL_FLOOR_H
#define TIDEMILL_MILL_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The floor: what one worker knows of a consumer whose acks are cumulative (AckPolicy all), and how
 * far it may acknowledge. An ack of stream sequence S takes every message up to S off the server's
 * list of pending ones, whoever holds them; so it may go out only when all of them are settled.
 *
 * The ledger has an entry, open or settled, for every message that has arrived and of which the
 * server has not yet answered an ack. `covered` is the sequence up to which nothing is unknown:
 *
 *   (1) every message of this consumer with a sequence up to `covered` is settled or in the ledger.
 *
 * That is said of messages, not of the server's state, and a settled message stays settled: so (1)
 * holds on whatever the server forgets or delivers again. An ack is S, with every entry up to S
 * settled and S <= covered; with (1), every message up to S is settled.
 *
 * `covered` grows in three ways only:
 *
 *   - The message behind `covered`, the very next sequence, is in the ledger. In a stream of which
 *     the consumer takes every message that is all it needs; where sequences are left out, since
 *     they are deleted or filtered away, these help over the gaps:
 *   - The server is asked (CONSUMER.INFO). P messages were pending, none above the sequence D. All
 *     entries up to D, but those at or below the server's own floor, are among them; so when there
 *     are P, they are all of them, and D is covered. An entry whose message has left the stream
 *     is no longer pending; therefore the stream's first sequence is asked for after that.
 *   - Deliveries have numbers without gaps (the consumer sequence). While each that was made after
 *     such an answer has arrived here, so has each new message: the newest is covered.
 *
 * A gap (a delivery to somebody else, or lost with a connection) ends the third until the second
 * holds again: when the other has stopped, what it held comes here after ack_wait.
 *
 * What a process that has died held would come after ack_wait. It is asked for at once, once after
 * each start and each doubt: floor_visit_missing names what may be pending and is not here.
 *
 * Doubt: after a reconnect, a new leader or signs of another consumer nothing is acknowledged
 * before the server has answered anew, since its consumer may have gone back, or be another one.
 *
 * The number of the delivery in an ack must grow with each of them, and must stay at or below
 * that of the first delivery of everything above S: the server ignores the ack, or later a nak,
 * otherwise (processAckMsg and processNak in its consumer.go).
 *
 * The sequence at which nats-server 2.9 looks for new messages may slip back by one (when what
 * comes again meets the request of somebody who is gone). Then D is too low: what has arrived
 * before the answer was given is known better. And a message may be delivered anew that its floor
 * has passed: it stays pending, and no ack removes it before a restart. Such ghosts are told by the
 * numbers of their deliveries, and are counted with the pending messages.
 *
 * Pure; no clock, no memory beyond the ledger, which grows up to a limit. Cheap when messages come
 * and are settled about in order.
 */

struct floor;

/* NULL: out of memory. */
struct floor *floor_new(size_t limit);
void floor_free(struct floor *floor); /* NULL is fine */

/* Another consumer, or another stream: nothing that was known holds. */
void floor_reset(struct floor *floor);

/* The server may not be where it was. An ack without an answer, or a question, is forgotten. */
void floor_doubt(struct floor *floor);

enum floor_arrival {
    FLOOR_NEW,     /* to be worked on */
    FLOOR_OPEN,    /* it is being worked on */
    FLOOR_SETTLED, /* nothing is to be done: it is acknowledged with the rest */
    FLOOR_FULL     /* it was not taken in and must come again */
};

/* A delivery has arrived; every one must be told, in their order. `*slot` is for floor_settle. */
struct floor_delivery {
    uint64_t sequence; /* in the stream */
    uint64_t number;   /* the consumer sequence */
    uint64_t count;    /* 1: for the first time */
};
enum floor_arrival floor_arrived(struct floor *floor, const struct floor_delivery *delivery,
                                 uint64_t *slot);

/* The message needs nothing more. A message that is not in the ledger (any more) is ignored. */
void floor_settle(struct floor *floor, uint64_t sequence, uint64_t slot);

/* ---- acks ---- */

struct floor_ack {
    uint64_t sequence, number;
};

/* Whether there is something to acknowledge now. One ack is under way at a time. */
bool floor_next_ack(struct floor *floor, struct floor_ack *ack);
void floor_ack_sent(struct floor *floor, const struct floor_ack *ack);
/* The server has answered the ack under way: what it covers is forgotten. */
void floor_ack_answered(struct floor *floor);

/* ---- questions ---- */

/* What CONSUMER.INFO tells. */
struct floor_facts {
    int64_t created_ns;        /* the consumer was */
    uint64_t acked_sequence;   /* ack_floor */
    uint64_t acked_number;     /* ack_floor */
    uint64_t delivered;        /* stream sequence of the newest message ever delivered */
    uint64_t delivered_number; /* consumer sequence of the last delivery */
    uint64_t pending;          /* messages delivered and not acknowledged */
    bool replicated; /* the floor told may lag behind the pending messages by some moments */
};

enum floor_question { FLOOR_ASK_NOTHING, FLOOR_ASK_CONSUMER, FLOOR_ASK_STREAM };

/* What must be asked. Not while an ack is under way, and no ack goes out until it is answered. */
enum floor_question floor_question(const struct floor *floor);
void floor_asked(struct floor *floor, enum floor_question question);
/* The answers. floor_unanswered: there will be none, or it was an error. */
void floor_told_consumer(struct floor *floor, const struct floor_facts *facts);
void floor_told_stream(struct floor *floor, uint64_t first_sequence);
void floor_unanswered(struct floor *floor);

/*
 * Calls `visit` for each sequence up to which the server has delivered and of which nothing has
 * come here for two answers: once after each doubt, and not for more than `most` of them.
 */
typedef void floor_visit(void *context, uint64_t sequence, uint64_t number);
void floor_visit_missing(struct floor *floor, size_t most, floor_visit *visit, void *context);

/* ---- what is known ---- */

/* Whether all that is pending is known and the server is where it was. */
bool floor_is_complete(const struct floor *floor);

/* Entries; those among them that wait, settled, for the floor to reach them. */
size_t floor_count(const struct floor *floor);
size_t floor_settled_count(const struct floor *floor);

/* No room for another window of messages. */
bool floor_is_full(const struct floor *floor, size_t window);

/*
 * Calls `visit` for each settled entry that was last touched (arrived, settled or visited)
 * `age_ms` or more ago, and touches it. `now_ms` of any clock, as given to floor_tick.
 */
void floor_visit_settled(struct floor *floor, uint32_t age_ms, floor_visit *visit, void *context);

/* The time, for the ages above. */
void floor_tick(struct floor *floor, uint32_t now_ms);

#endif
