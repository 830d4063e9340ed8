#ifndef TIDEMILL_TESTS_SOAK_PACE_H
#define TIDEMILL_TESTS_SOAK_PACE_H

#include <stddef.h>
#include <stdint.h>

#include "collector.h"

/*
 * How fast the inputs come: first as fast as they are worked off, then at a rate, then no more.
 * Never are there more than PACE_BACKLOG that have not got all their outcomes, so that a standstill
 * leaves no hill behind. Any thread.
 */

enum { PACE_BACKLOG = 4000 };

struct pace;

/* At full speed at once. The collector outlives it. NULL: no memory. */
struct pace *pace_open(struct collector *collector);
void pace_close(struct pace *pace); /* NULL is fine */

/* From now on so many inputs a second. */
void pace_slow(struct pace *pace, double per_second);

/* No further inputs; returns how many there are in all. */
size_t pace_stop(struct pace *pace);

/* For struct feed_source. */
size_t pace_due(void *pace, int64_t ms);

#endif
