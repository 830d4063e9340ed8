#ifndef TIDEMILL_BENCH_SAMPLES_H
#define TIDEMILL_BENCH_SAMPLES_H

#include <stddef.h>

/* One figure, measured in several rounds. Pure. */

enum { SAMPLES_MAX = 100 };

struct samples {
    double values[SAMPLES_MAX]; /* by round */
    size_t count;
};

/* Beyond SAMPLES_MAX nothing is kept. */
void samples_add(struct samples *samples, double value);

double samples_median(const struct samples *samples); /* 0 when there are none */
double samples_min(const struct samples *samples);
double samples_max(const struct samples *samples);

/*
 * The median of the ratios, round by round: what one round has done to both cancels out. 0 when one
 * of them has no samples.
 */
double samples_ratio(const struct samples *samples, const struct samples *to);

#endif
