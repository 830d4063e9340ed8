#include "trend.h"

#include <stdlib.h>
#include <string.h>

void trend_add(struct trend *trend, double time, double value)
{
    if (trend->count == TREND_MAX)
        return;
    trend->times[trend->count] = time;
    trend->values[trend->count++] = value;
}

static int compare(const void *a, const void *b)
{
    const double *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

/* Sorts them. */
static double median_of(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double median_between(const struct trend *trend, size_t from, size_t to)
{
    double values[TREND_MAX];
    memcpy(values, trend->values + from, (to - from) * sizeof(*values));
    return median_of(values, to - from);
}

/* 0 when memory runs out. */
static double slope_of(const struct trend *trend)
{
    double *slopes = malloc(trend->count * trend->count / 2 * sizeof(*slopes)), slope = 0;
    size_t count = 0;
    if (slopes == NULL)
        return 0;
    for (size_t i = 0; i < trend->count; i++) {
        for (size_t later = i + 1; later < trend->count; later++)
            slopes[count++] =
                (trend->values[later] - trend->values[i]) / (trend->times[later] - trend->times[i]);
    }
    slope = median_of(slopes, count);
    free(slopes);
    return slope;
}

struct trend_verdict trend_judge(const struct trend *trend)
{
    struct trend_verdict verdict = {0};
    if (trend->count < 4)
        return verdict;
    verdict.first = median_between(trend, 0, trend->count / 2);
    verdict.second = median_between(trend, trend->count / 2, trend->count);
    for (size_t i = 0; i < trend->count; i++)
        verdict.most = trend->values[i] > verdict.most ? trend->values[i] : verdict.most;
    verdict.slope = slope_of(trend);
    verdict.drift = verdict.slope * (trend->times[trend->count - 1] - trend->times[0]);
    return verdict;
}
