#ifndef TIDEMILL_OPS_METRICS_H
#define TIDEMILL_OPS_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The metrics registry, one of the two globals of the program (the other is the logger): counters,
 * gauges and histograms, rendered in the Prometheus text format 0.0.4.
 *
 * A metric has a name, a help text and fixed label names. Each combination of label values is one
 * series; its handle is looked up once and then used without a lock, from any thread, until
 * metrics_close. The number of series is bounded: beyond the metric's cap all new combinations
 * share one series whose label values are all "overflow". So is the number of metrics.
 *
 *     struct metric *stored = metrics_counter("tidemill_outputs_stored_total",
 *                                             "Outputs with a PubAck.",
 *                                             (const char *[]){"rule", NULL}, NULL);
 *     struct metric_counter *mine = metric_counter(stored, (const char *[]){"high_value", NULL});
 *     metric_counter_add(mine, 1);
 *
 * Handles are never NULL. A NULL metric (one that could not be made) gives a handle that counts
 * into the void, so only who cares has to look at the error.
 */

struct metric;
struct metric_counter;
struct metric_gauge;
struct metric_histogram;

enum {
    METRICS_MAX = 500,        /* metrics */
    METRICS_LABELS_MAX = 8,   /* label names of one */
    METRICS_SERIES_MAX = 200, /* series of one, unless metrics_set_cap says otherwise */
    METRICS_BUCKETS_MAX = 32, /* bounds of a histogram, without +Inf */
    METRICS_TEXT_MAX = 256    /* bytes of a name or label value; longer values are cut */
};

/*
 * Makes a metric, or finds the one made before with the same name, kind and labels. `labels` are
 * the label names, NULL at the end; NULL: none. A counter's name gets `_total` when it does not end
 * in it. NULL and a message for a name that Prometheus does not allow, a name that is taken (by
 * another kind, other labels, or a histogram's _bucket, _sum, _count), or one metric too many. Any
 * thread.
 */
struct metric *metrics_counter(const char *name, const char *help, const char *const *labels,
                               struct error *err);
struct metric *metrics_gauge(const char *name, const char *help, const char *const *labels,
                             struct error *err);

/* `bounds` rise and are finite; NULL: from 100 microseconds to 10 seconds. */
struct metric *metrics_histogram(const char *name, const char *help, const char *const *labels,
                                 const double *bounds, size_t bound_count, struct error *err);

/* Changes how many series the metric may have. Any thread. */
void metrics_set_cap(struct metric *metric, size_t cap);

/*
 * The series of these label values: as many as the metric has labels, NULL at the end; a missing
 * one is "". Takes the registry's lock: call it once, keep the handle. Of the wrong kind: counts
 * into the void.
 */
struct metric_counter *metric_counter(struct metric *metric, const char *const *values);
struct metric_gauge *metric_gauge(struct metric *metric, const char *const *values);
struct metric_histogram *metric_histogram(struct metric *metric, const char *const *values);

/*
 * For a gauge whose label values are what it tells ("version"): its one series has these values
 * from now on, and is 1. Those it had before are not shown any more.
 */
void metric_info(struct metric *metric, const char *const *values);

/* Adds `n`; less than zero or not a number: nothing, as a counter never goes back. */
void metric_counter_add(struct metric_counter *counter, double n);

/*
 * For what is counted elsewhere and copied at the time of a scrape. Only one thread may set a
 * counter.
 */
void metric_counter_set(struct metric_counter *counter, double total);

/*
 * The same for a histogram: `buckets` has one more than it has bounds, each the count of its own.
 */
void metric_histogram_set(struct metric_histogram *histogram, const uint64_t *buckets, double sum);

void metric_gauge_set(struct metric_gauge *gauge, double value);

/* Not a number: nothing. */
void metric_histogram_observe(struct metric_histogram *histogram, double value);

/* For tests: what it has come to. */
double metric_counter_value(const struct metric_counter *counter);

/*
 * Has `gather` called before each rendering, on the thread that renders, one at a time; it sets
 * what is computed only then. When metrics_remove_gather has returned it is not running and will
 * not run. 0 or -1.
 */
int metrics_add_gather(void (*gather)(void *context), void *context, struct error *err);
void metrics_remove_gather(void (*gather)(void *context), void *context);

/* The whole page, NUL-terminated, to be freed; its size in `size`. NULL when memory is short. */
char *metrics_render(size_t *size);

/* For tests: forgets all. No handle, and no other thread, may use the registry any more. */
void metrics_close(void);

#endif
