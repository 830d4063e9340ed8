#ifndef TIDEMILL_MILL_GARBAGE_H
#define TIDEMILL_MILL_GARBAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "bus/wire.h"

/*
 * Wire messages that are done with. Freeing one wakes a thread of libnats', and waking it for each
 * costs more than the rest of a message's way, so they are kept and freed in bursts.
 *
 * Thread: the owner's.
 */

struct garbage { /* all zero: empty */
    struct wire_message **messages;
    size_t count, capacity;
    size_t bytes; /* of payloads */
};

/* Takes the message over; NULL is fine. False: out of memory, the message is still the caller's. */
bool garbage_add(struct garbage *garbage, struct wire_message *message);

/* Whether a burst is worth its price, or memory asks for one. */
bool garbage_is_due(const struct garbage *garbage);

/* Frees the messages. */
void garbage_burn(struct garbage *garbage);

/* Frees the room for them; it must be empty. */
void garbage_close(struct garbage *garbage);

#endif
