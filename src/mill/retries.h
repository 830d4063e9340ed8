#ifndef TIDEMILL_MILL_RETRIES_H
#define TIDEMILL_MILL_RETRIES_H

#include <stdint.h>

#include "mill/delivery.h"

/*
 * Retries: the messages that wait here for their next try. Only those of sources with cumulative
 * acks do: others are given back, and the server delivers them again. They count as in flight, so
 * there are never more than the pulls' windows.
 *
 * Thread: the worker's loop.
 */

struct retries {
    struct delivery *first, *last; /* by retry_due_ns */
};

/* The delivery waits until then; its phase is PHASE_WAITING. */
void retries_add(struct retries *retries, struct delivery *delivery, int64_t due_ns);

/* Takes out one that is due, the earliest first; NULL: none is. INT64_MAX takes any. */
struct delivery *retries_take(struct retries *retries, int64_t now_ns);

/* When the next one is due; -1: none waits. */
int64_t retries_due_ns(const struct retries *retries);

#endif
