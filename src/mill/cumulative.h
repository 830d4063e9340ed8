#ifndef TIDEMILL_MILL_CUMULATIVE_H
#define TIDEMILL_MILL_CUMULATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "bus/link.h"
#include "bus/wire.h"
#include "mill/floor.h"

/*
 * Cumulative acks of one source: keeps its floor (floor.h has the reasons), and talks to the server
 * about it. An ack goes out when the last one has been answered, and a few milliseconds after it at
 * the earliest, so that one covers what was settled meanwhile; questions go out, asynchronously
 * like all on a link, as long as something pending is unknown, at most one a second.
 *
 * While the floor waits for a message, what is settled above it is kept from coming again with
 * +WPI, as long as all that is pending is known here. Otherwise it does come again, to whoever
 * pulls: that is how one of several processes gets to know it all.
 *
 * What another process held that has died is given back in its name, so that it comes at once
 * instead of after ack_wait; it would otherwise gather deliveries from one fault to the next. One
 * that lives does the same work twice then: cumulative acks are for one process.
 *
 * Thread: the link's loop.
 */

struct cumulative;

/* `index` tells the source's answers from those of others. NULL: out of memory. */
struct cumulative *cumulative_new(struct link *link, const struct source_config *config,
                                  unsigned index);
void cumulative_free(struct cumulative *cumulative); /* NULL is fine */

/* A delivery has arrived, with this acknowledgement subject; see floor_arrived. */
enum floor_arrival cumulative_arrived(struct cumulative *cumulative, const char *reply,
                                      const struct ack_subject *ack, uint64_t *slot);

/* The message needs nothing more. */
void cumulative_settled(struct cumulative *cumulative, uint64_t sequence, uint64_t slot);

/* The requests of the pull were lost: a new connection, a new leader, perhaps another consumer. */
void cumulative_doubt(struct cumulative *cumulative);

/* It is another consumer. */
void cumulative_reset(struct cumulative *cumulative);

/* Whether nothing more may be pulled for now. */
bool cumulative_full(const struct cumulative *cumulative);

/* Sends what is due. Call it after each round of work, and when cumulative_due_ns has come. */
void cumulative_round(struct cumulative *cumulative, int64_t now_ns);
int64_t cumulative_due_ns(const struct cumulative *cumulative); /* -1: nothing is */

/* An answer, REPLY_FLOOR; ignored when it is for another source, or too late. */
void cumulative_reply(struct cumulative *cumulative, uint64_t token,
                      const struct wire_message *message, bool no_responders);

/* The end: the last ack; what is settled above it is given back, for the next process to know. */
void cumulative_leave(struct cumulative *cumulative);

#endif
