#ifndef TIDEMILL_TESTS_SOAK_TREND_H
#define TIDEMILL_TESTS_SOAK_TREND_H

#include <stddef.h>

/*
 * Whether a figure that is looked at again and again stays where it is. Medians and a slope that is
 * the median of all slopes between two samples (Theil and Sen): one look at a bad moment, or every
 * tenth, changes neither. Pure.
 */

enum { TREND_MAX = 1000 }; /* samples; later ones are dropped */

struct trend {
    double times[TREND_MAX], values[TREND_MAX]; /* seconds; in order */
    size_t count;
};

struct trend_verdict {
    double first, second; /* medians of the two halves */
    double most;          /* of all samples */
    double slope;         /* per second */
    double drift;         /* what the slope makes of the time between first and last sample */
};

void trend_add(struct trend *trend, double time, double value);

/* All 0 with fewer than four samples. */
struct trend_verdict trend_judge(const struct trend *trend);

#endif
