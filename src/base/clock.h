#ifndef TIDEMILL_BASE_CLOCK_H
#define TIDEMILL_BASE_CLOCK_H

#include <stdint.h>

/* The two clocks, in nanoseconds. Any thread. */

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* Never goes back; its zero means nothing. For deadlines and durations. */
int64_t clock_monotonic_ns(void);

/* Since 1970-01-01 UTC. For what people and other machines read. */
int64_t clock_wall_ns(void);

#endif
