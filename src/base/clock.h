#ifndef TIDEMILL_BASE_CLOCK_H
#define TIDEMILL_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The two clocks, in nanoseconds. Any thread. */

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* Never goes back; its zero means nothing. For deadlines and durations. */
int64_t clock_monotonic_ns(void);

/* Since 1970-01-01 UTC. For what people and other machines read. */
int64_t clock_wall_ns(void);

/* A condition variable to wait on until a deadline of the first clock, whatever happens to the
 * other one. pthread_cond_destroy ends it. */
void clock_condition_init(pthread_cond_t *condition);

/* Waits with `lock` held, and may wake for no reason. False: the deadline is over. */
bool clock_condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns);

#endif
