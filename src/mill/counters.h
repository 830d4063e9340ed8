#ifndef TIDEMILL_MILL_COUNTERS_H
#define TIDEMILL_MILL_COUNTERS_H

#include <stdatomic.h>

#include "mill/histogram.h"
#include "mill/last_error.h"
#include "mill/reason.h"

/*
 * What the workers count, for metrics, status and tests. Written by one worker, with relaxed loads
 * and stores, read by anybody. All count from the start of the process except where a comment says
 * "now". Each struct fills cache lines of its own, so that no worker slows another down.
 */

enum { CACHE_LINE = 64 };

struct source_counters {
    _Alignas(CACHE_LINE) atomic_ullong delivered; /* messages that arrived */
    atomic_ullong redelivered;                    /* of these, not for the first time */
    atomic_ullong acked;
    atomic_ullong unmatched;  /* of the acked: no rule wanted the subject */
    atomic_ullong naked;      /* given back, to come again */
    atomic_ullong dead;       /* stored as dead letters, then termed */
    atomic_ullong in_flight;  /* now */
    atomic_ullong doubts;     /* now: pull_doubts() */
    atomic_ullong denied;     /* now: pull_is_denied(), 0 or 1 */
    atomic_ullong pending;    /* at the server when the last message left it */
    atomic_ullong pending_ns; /* clock_monotonic_ns of that; 0: no message yet */
    atomic_ullong requests;   /* pull requests, and what came back for them: pull_counts() */
    atomic_ullong ended, heartbeats, lost, unavailable, refused;
    atomic_ullong dead_of[REASON_COUNT]; /* `dead`, by reason */
    atomic_ullong handling_ns;           /* what handlers took, waiting too */
    struct last_error last_error;        /* why a message was given back or buried */
    struct histogram latency;            /* of the acked: stored in the stream -> ack sent */
};

struct worker_counters {
    _Alignas(CACHE_LINE) atomic_ullong outputs_stored; /* with a PubAck */
    atomic_ullong outputs_repeated;                    /* of these, which the stream had already */
    atomic_ullong outputs_failed;
    atomic_ullong reconnects;
    atomic_ullong lua_bytes;      /* now */
    atomic_ullong connected;      /* now: 0 or 1 */
    struct histogram publish_ack; /* of the stored: first sent -> PubAck */
};

/* One rule in one worker. */
struct rule_counters {
    _Alignas(CACHE_LINE) atomic_ullong calls; /* handlers that ended */
    atomic_ullong errors[REASONS_OF_RULES];   /* of these, which did not do their work */
    struct histogram duration;                /* from a handler's start to its end, waiting too */
};

extern const struct histogram_bounds latency_bounds, publish_ack_bounds, duration_bounds;

#define counter_get(counter)    atomic_load_explicit(&(counter), memory_order_relaxed)
#define counter_set(counter, n) atomic_store_explicit(&(counter), (n), memory_order_relaxed)

/* Not atomic as a whole, and so without a locked instruction: there is one writer. */
#define counter_add(counter, n) counter_change(&(counter), (unsigned long long)(n))
#define counter_sub(counter, n) counter_change(&(counter), 0 - (unsigned long long)(n))

static inline void counter_change(atomic_ullong *counter, unsigned long long by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_relaxed);
}

#endif
