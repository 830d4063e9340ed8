#ifndef TIDEMILL_OPS_METRICS_INTERNAL_H
#define TIDEMILL_OPS_METRICS_INTERNAL_H

/* What the registry (metrics.c) and its text form (metrics_text.c) share. Nobody else has it. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ops/metrics.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* An atomic double. */
struct number {
    atomic_uint_least64_t bits;
};

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

struct metric_counter {
    struct number value;
};

struct metric_gauge {
    struct number value;
};

struct metric_histogram {
    const struct metric *metric; /* for the bounds; NULL in the void */
    struct number sum;
    atomic_uint_least64_t *buckets; /* one for each bound, and one for what is above */
};

struct series {
    struct series *next;
    char *values[METRICS_LABELS_MAX];
    union {
        struct metric_counter counter;
        struct metric_gauge gauge;
        struct metric_histogram histogram;
    };
};

struct metric {
    struct metric *next; /* by name */
    enum kind kind;
    char *name;
    char *help;
    char *labels[METRICS_LABELS_MAX];
    size_t label_count;
    double *bounds;
    size_t bound_count;
    size_t cap;
    struct series *series, **last;
    size_t series_count;
    struct series *overflow; /* made with the metric, so that there always is one */
    bool overflowed;
};

static inline double bits_to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline double number_get(const struct number *number)
{
    return bits_to_double(atomic_load_explicit(&number->bits, memory_order_relaxed));
}

/* Writes a metric with all its series, under the registry's lock; nothing when it has none yet. */
void metrics_write(FILE *out, const struct metric *metric);

#endif
