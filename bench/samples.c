#include "samples.h"

#include <stdlib.h>
#include <string.h>

void samples_add(struct samples *samples, double value)
{
    if (samples->count < SAMPLES_MAX)
        samples->values[samples->count++] = value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct samples sorted(const struct samples *samples)
{
    struct samples copy = *samples;
    qsort(copy.values, copy.count, sizeof(*copy.values), by_value);
    return copy;
}

double samples_median(const struct samples *samples)
{
    struct samples ordered = sorted(samples);
    size_t middle = ordered.count / 2;
    if (ordered.count == 0)
        return 0;
    if (ordered.count % 2 == 1)
        return ordered.values[middle];
    return (ordered.values[middle - 1] + ordered.values[middle]) / 2;
}

double samples_min(const struct samples *samples)
{
    struct samples ordered = sorted(samples);
    return ordered.count == 0 ? 0 : ordered.values[0];
}

double samples_max(const struct samples *samples)
{
    struct samples ordered = sorted(samples);
    return ordered.count == 0 ? 0 : ordered.values[ordered.count - 1];
}

double samples_ratio(const struct samples *samples, const struct samples *to)
{
    struct samples ratios = {.count = 0};
    for (size_t i = 0; i < samples->count && i < to->count; i++)
        samples_add(&ratios, samples->values[i] / to->values[i]);
    return samples_median(&ratios);
}
