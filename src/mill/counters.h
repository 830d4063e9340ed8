#ifndef TIDEMILL_MILL_COUNTERS_H
#define TIDEMILL_MILL_COUNTERS_H

#include <stdatomic.h>

/*
 * What the workers count, for metrics, status and tests. Written by one worker with relaxed
 * atomics, read by anybody. All count from the start of the process except where a comment says
 * "now".
 */

struct source_counters {
    atomic_ullong delivered;   /* messages that arrived */
    atomic_ullong redelivered; /* of these, not for the first time */
    atomic_ullong acked;
    atomic_ullong unmatched; /* of the acked: no rule wanted the subject */
    atomic_ullong naked;     /* given back, to come again */
    atomic_ullong dead;      /* stored as dead letters, then termed */
    atomic_ullong in_flight; /* now */
    atomic_ullong doubts;    /* now: pull_doubts() */
};

struct worker_counters {
    atomic_ullong calls;            /* handlers that ended */
    atomic_ullong call_errors;      /* of these, with an error */
    atomic_ullong outputs_stored;   /* with a PubAck */
    atomic_ullong outputs_repeated; /* of these, which the stream had already */
    atomic_ullong outputs_failed;
    atomic_ullong reconnects;
    atomic_ullong lua_bytes; /* now */
    atomic_ullong connected; /* now: 0 or 1 */
};

#define counter_add(counter, n) atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)
#define counter_set(counter, n) atomic_store_explicit(&(counter), (n), memory_order_relaxed)
#define counter_get(counter)    atomic_load_explicit(&(counter), memory_order_relaxed)

#endif
