#ifndef TIDEMILL_TESTS_CHAOS_FEEDER_H
#define TIDEMILL_TESTS_CHAOS_FEEDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan.h"

/*
 * Feeds the inputs of a plan on a thread and a connection of its own, so that the stream holds each
 * exactly once whatever happens to the server: what has no PubAck is published again with the same
 * Nats-Msg-Id.
 */

struct feeder;

/* Begins. The plan outlives the feeder. NULL: no thread, no memory. */
struct feeder *feeder_start(const struct plan *plan, const char *url);

/* How many inputs are stored. Any thread. */
size_t feeder_stored(struct feeder *feeder);

/* Ends it, whether all is stored or not, and frees it. NULL is fine. */
void feeder_end(struct feeder *feeder);

#endif
