#ifndef TIDEMILL_MILL_HISTOGRAM_H
#define TIDEMILL_MILL_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A histogram of times, for the way of a message: one thread writes with plain relaxed loads and
 * stores, anybody may read. Which bounds it has is not in it but with who uses it, since a worker
 * has many with the same.
 */

enum { HISTOGRAM_BUCKETS = 20 }; /* the last one is for what is above all bounds */

/* In nanoseconds, rising. */
struct histogram_bounds {
    int64_t ns[HISTOGRAM_BUCKETS - 1];
};

struct histogram {
    atomic_ullong sum_ns;
    atomic_ullong buckets[HISTOGRAM_BUCKETS];
};

/*
 * Counts a time; one below zero (two clocks that differ) is 0. Inline: the search mostly ends at
 * once, and it is done for every message.
 */
static inline void histogram_observe(struct histogram *histogram,
                                     const struct histogram_bounds *bounds, int64_t ns)
{
    size_t bucket = 0;
    if (ns < 0)
        ns = 0;
    while (bucket < HISTOGRAM_BUCKETS - 1 && ns > bounds->ns[bucket])
        bucket++;
    atomic_ullong *count = &histogram->buckets[bucket];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_ullong *sum = &histogram->sum_ns;
    atomic_store_explicit(sum,
                          atomic_load_explicit(sum, memory_order_relaxed) + (unsigned long long)ns,
                          memory_order_relaxed);
}

#endif
