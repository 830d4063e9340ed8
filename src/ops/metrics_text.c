/* The Prometheus text format 0.0.4. */

#include <math.h>
#include <stdlib.h>

#include "ops/escape.h"
#include "ops/metrics_internal.h"

/* In as few digits as give the same double back. */
static void write_number(FILE *out, double value)
{
    char text[40];
    if (isnan(value)) {
        fputs("NaN", out);
    } else if (isinf(value)) {
        fputs(value > 0 ? "+Inf" : "-Inf", out);
    } else {
        int digits = 15;
        do {
            snprintf(text, sizeof(text), "%.*g", digits, value);
        } while (strtod(text, NULL) != value && ++digits <= 17);
        fputs(text, out);
    }
}

/* The labels in their braces, `le` at the end when it is given. */
static void write_labels(FILE *out, const struct metric *metric, const struct series *series,
                         const double *le)
{
    const char *separator = "{";
    for (size_t i = 0; i < metric->label_count; i++, separator = ",") {
        fprintf(out, "%s%s=\"", separator, metric->labels[i]);
        escape_label(out, series->values[i]);
        fputc('"', out);
    }
    if (le != NULL) {
        fprintf(out, "%sle=\"", separator);
        write_number(out, *le);
        fputc('"', out);
    }
    if (metric->label_count > 0 || le != NULL)
        fputc('}', out);
    fputc(' ', out);
}

static void write_line(FILE *out, const struct metric *metric, const struct series *series,
                       const char *end, double value)
{
    fprintf(out, "%s%s", metric->name, end);
    write_labels(out, metric, series, NULL);
    write_number(out, value);
    fputc('\n', out);
}

/* The count is the sum of the buckets as read here, so that it always is the +Inf bucket. */
static void write_histogram(FILE *out, const struct metric *metric, const struct series *series)
{
    const struct metric_histogram *histogram = &series->histogram;
    double sum = number_get(&histogram->sum);
    uint64_t count = 0;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        double bound = i < metric->bound_count ? metric->bounds[i] : INFINITY;
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        fprintf(out, "%s_bucket", metric->name);
        write_labels(out, metric, series, &bound);
        fprintf(out, "%llu\n", (unsigned long long)count);
    }
    write_line(out, metric, series, "_sum", sum);
    write_line(out, metric, series, "_count", (double)count);
}

static void write_series(FILE *out, const struct metric *metric, const struct series *series)
{
    if (metric->kind == HISTOGRAM)
        write_histogram(out, metric, series);
    else if (metric->kind == GAUGE)
        write_line(out, metric, series, "", number_get(&series->gauge.value));
    else
        write_line(out, metric, series, "", number_get(&series->counter.value));
}

void metrics_write(FILE *out, const struct metric *metric)
{
    if (metric->series == NULL && !metric->overflowed)
        return;
    fprintf(out, "# HELP %s ", metric->name);
    escape_help(out, metric->help);
    fprintf(out, "\n# TYPE %s %s\n", metric->name, kind_names[metric->kind]);
    for (const struct series *series = metric->series; series != NULL; series = series->next)
        write_series(out, metric, series);
    if (metric->overflowed)
        write_series(out, metric, metric->overflow);
}
