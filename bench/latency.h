#ifndef TIDEMILL_BENCH_LATENCY_H
#define TIDEMILL_BENCH_LATENCY_H

#include "base/error.h"
#include "stage.h"

/*
 * How long it takes from a reading's publication to its alert, seen by one connection that publishes
 * readings at an even rate, each of which raises an alert, and subscribes to the alerts. The clock
 * starts when the reading is written, not when it was due, and the first second does not count.
 */

enum { LATENCY_RATE = 1000 }; /* readings per second */

struct latency {
    double p50_ms, p99_ms, max_ms;
};

/* -1 also when an alert is missing 10 s after the last reading. */
int latency_measure(struct stage *stage, int seconds, struct latency *latency, struct error *err);

#endif
