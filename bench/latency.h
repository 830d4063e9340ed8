#ifndef TIDEMILL_BENCH_LATENCY_H
#define TIDEMILL_BENCH_LATENCY_H

#include "base/error.h"
#include "stage.h"

/*
 * How long it takes from a reading's publication to its alert, seen by one connection that
 * publishes readings at an even rate, each of which raises an alert, and subscribes to the alerts.
 *
 * It shares the machine with what it measures, so its own slowness is kept out: the clock starts
 * when a reading is written, not when it was due, and stops when the kernel had the alert for it,
 * not when it came to read it. The first second does not count.
 */

enum { LATENCY_RATE = 1000 }; /* readings per second */

struct latency {
    double p50_ms, p99_ms, max_ms;
};

/* -1 also when an alert is missing 10 s after the last reading. */
int latency_measure(struct stage *stage, int seconds, struct latency *latency, struct error *err);

/*
 * The same without stream and program: what is published comes straight back from the server. What
 * this shows besides the shortest way there is is the machine's unrest.
 */
int latency_measure_echo(struct stage *stage, int seconds, struct latency *latency,
                         struct error *err);

#endif
