#ifndef TIDEMILL_BUS_INBOX_H
#define TIDEMILL_BUS_INBOX_H

#include <nats/nats.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A subject of our own for answers. libnats' thread puts what comes into a queue without a bound
 * (whoever asks bounds what can be answered), and one thread takes it out. Unlike
 * natsSubscription_NextMsg it keeps an answer of status 503, which tells by its subject what nobody
 * answers. Private to bus/.
 */

struct inbox;

/* Subscribes to `<subject>.*` on `connection`, which must outlive the inbox. */
int inbox_open(struct inbox **inbox, natsConnection *connection, struct error *err);

/* Waits until libnats is done with it. What was not taken is freed. NULL is fine. */
void inbox_close(struct inbox *inbox);

/* Answers are to go to "<subject>.<token>", a token of the caller's choice. Borrowed. */
const char *inbox_subject(const struct inbox *inbox);

/*
 * The next message, which the caller destroys; waits for it until `deadline_ns`
 * (clock_monotonic_ns; 0: not at all). NULL: none has come.
 */
natsMsg *inbox_next(struct inbox *inbox, int64_t deadline_ns);

#endif
