/*
 * Values are doubles kept as 64 bits in an atomic, as Prometheus has nothing but doubles; whole
 * numbers stay exact up to 2^53. Adding is a compare-and-swap loop. The registry's lock guards only
 * the lists: who makes a metric or a series, and who renders. Nodes are never freed before
 * metrics_close, so a handle needs no lock.
 */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ops/metrics_internal.h"

static const double standard_bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                         0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};

struct gather {
    struct gather *next;
    void (*call)(void *context);
    void *context;
};

static struct {
    pthread_mutex_t lock;        /* metrics and series */
    pthread_mutex_t gather_lock; /* the gathers, also while they run */
    struct metric *metrics;
    size_t count;
    struct gather *gathers;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .gather_lock = PTHREAD_MUTEX_INITIALIZER};

/* What handles of no metric count into. */
static struct metric_counter void_counter;
static struct metric_gauge void_gauge;
static struct metric_histogram void_histogram;

/* ---- numbers ---- */

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void number_set(struct number *number, double value)
{
    atomic_store_explicit(&number->bits, to_bits(value), memory_order_relaxed);
}

static void number_add(struct number *number, double n)
{
    uint_least64_t old = atomic_load_explicit(&number->bits, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&number->bits, &old,
                                                  to_bits(bits_to_double(old) + n),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* ---- names ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* [a-zA-Z_][a-zA-Z0-9_]*, with colons too in the name of a metric. */
static bool name_valid(const char *name, bool colons)
{
    size_t size = strlen(name);
    if (size == 0 || size > METRICS_TEXT_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        bool digit = name[i] >= '0' && name[i] <= '9';
        if (!is_letter(name[i]) && !(digit && i > 0) && !(colons && name[i] == ':'))
            return false;
    }
    return true;
}

static bool ends_in(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* Whether `name` is one of the lines that a histogram of the name `histogram` writes. */
static bool is_line_of(const char *name, const char *histogram)
{
    size_t size = strlen(histogram);
    const char *end = name + size;
    return strncmp(name, histogram, size) == 0 &&
           (strcmp(end, "_bucket") == 0 || strcmp(end, "_sum") == 0 || strcmp(end, "_count") == 0);
}

static int check_labels(const char *name, enum kind kind, const char *const *labels,
                        struct error *err)
{
    for (size_t i = 0; labels[i] != NULL; i++) {
        if (i == METRICS_LABELS_MAX)
            return error_set(err, "metric %s: more than %d labels", name, METRICS_LABELS_MAX);
        if (!name_valid(labels[i], false) || strncmp(labels[i], "__", 2) == 0)
            return error_set(err,
                             "metric %s: \"%s\" is no label name; use letters, digits and _, "
                             "not a digit or __ first",
                             name, labels[i]);
        if (kind == HISTOGRAM && strcmp(labels[i], "le") == 0)
            return error_set(err, "metric %s: the label le of a histogram is taken", name);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(labels[i], labels[j]) == 0)
                return error_set(err, "metric %s: the label %s is there twice", name, labels[i]);
        }
    }
    return 0;
}

static int check_bounds(const char *name, const double *bounds, size_t count, struct error *err)
{
    if (count > METRICS_BUCKETS_MAX)
        return error_set(err, "metric %s: more than %d buckets", name, METRICS_BUCKETS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1]))
            return error_set(err, "metric %s: the bounds of the buckets must be finite and rise",
                             name);
    }
    return 0;
}

/* ---- metrics and series ---- */

static void free_series(struct series *series, enum kind kind)
{
    if (series == NULL)
        return;
    for (size_t i = 0; i < METRICS_LABELS_MAX; i++)
        free(series->values[i]);
    if (kind == HISTOGRAM)
        free(series->histogram.buckets);
    free(series);
}

/*
 * A value that is missing is "", one that is too long is cut; the values may be fewer than the
 * labels.
 */
static struct series *new_series(const struct metric *metric, const char *const *values)
{
    struct series *series = calloc(1, sizeof(*series));
    if (series == NULL)
        return NULL;
    bool complete = true;
    for (size_t i = 0; i < metric->label_count; i++) {
        series->values[i] = strndup(values[i], METRICS_TEXT_MAX);
        complete = complete && series->values[i] != NULL;
    }
    if (metric->kind == HISTOGRAM) {
        series->histogram.metric = metric;
        series->histogram.buckets =
            calloc(metric->bound_count + 1, sizeof(*series->histogram.buckets));
        complete = complete && series->histogram.buckets != NULL;
    }
    if (complete)
        return series;
    free_series(series, metric->kind);
    return NULL;
}

static void free_metric(struct metric *metric)
{
    if (metric == NULL)
        return;
    while (metric->series != NULL) {
        struct series *series = metric->series;
        metric->series = series->next;
        free_series(series, metric->kind);
    }
    free_series(metric->overflow, metric->kind);
    for (size_t i = 0; i < metric->label_count; i++)
        free(metric->labels[i]);
    free(metric->bounds);
    free(metric->help);
    free(metric->name);
    free(metric);
}

/* What the caller wants made. */
struct wanted {
    enum kind kind;
    const char *name, *help;
    const char *const *labels;
    const double *bounds;
    size_t bound_count;
};

static struct metric *new_metric(const struct wanted *wanted)
{
    const char *overflow[METRICS_LABELS_MAX];
    for (size_t i = 0; i < METRICS_LABELS_MAX; i++)
        overflow[i] = "overflow";
    struct metric *metric = calloc(1, sizeof(*metric));
    if (metric == NULL)
        return NULL;
    metric->kind = wanted->kind;
    metric->cap = METRICS_SERIES_MAX;
    metric->last = &metric->series;
    metric->name = strdup(wanted->name);
    metric->help = strdup(wanted->help);
    bool complete = metric->name != NULL && metric->help != NULL;
    for (; complete && wanted->labels[metric->label_count] != NULL; metric->label_count++) {
        metric->labels[metric->label_count] = strdup(wanted->labels[metric->label_count]);
        complete = metric->labels[metric->label_count] != NULL;
    }
    if (complete && wanted->bound_count > 0) {
        metric->bounds = calloc(wanted->bound_count, sizeof(*metric->bounds));
        complete = metric->bounds != NULL;
    }
    if (complete && wanted->bound_count > 0) {
        memcpy(metric->bounds, wanted->bounds, wanted->bound_count * sizeof(*metric->bounds));
        metric->bound_count = wanted->bound_count;
    }
    if (complete)
        metric->overflow = new_series(metric, overflow);
    if (metric->overflow != NULL)
        return metric;
    free_metric(metric);
    return NULL;
}

static bool is_as_wanted(const struct metric *metric, const struct wanted *wanted)
{
    size_t i = 0;
    for (; i < metric->label_count && wanted->labels[i] != NULL; i++) {
        if (strcmp(metric->labels[i], wanted->labels[i]) != 0)
            return false;
    }
    return metric->kind == wanted->kind && i == metric->label_count && wanted->labels[i] == NULL &&
           metric->bound_count == wanted->bound_count &&
           (metric->bound_count == 0 ||
            memcmp(metric->bounds, wanted->bounds, metric->bound_count * sizeof(double)) == 0);
}

/* Under the lock. Finds the metric or puts a new one in its place. */
static struct metric *find_or_make(const struct wanted *wanted, struct error *err)
{
    struct metric **place = &registry.metrics;
    for (struct metric *other = registry.metrics; other != NULL; other = other->next) {
        int order = strcmp(other->name, wanted->name);
        if (order == 0 && is_as_wanted(other, wanted))
            return other;
        if (order == 0) {
            error_set(err, "metric %s exists already, as a %s or with other labels or buckets",
                      wanted->name, kind_names[other->kind]);
            return NULL;
        }
        if ((other->kind == HISTOGRAM && is_line_of(wanted->name, other->name)) ||
            (wanted->kind == HISTOGRAM && is_line_of(other->name, wanted->name))) {
            error_set(err, "metric %s: its lines could not be told from those of %s", wanted->name,
                      other->name);
            return NULL;
        }
        if (order < 0)
            place = &other->next;
    }
    if (registry.count == METRICS_MAX) {
        error_set(err, "metric %s: there are %d metrics already", wanted->name, METRICS_MAX);
        return NULL;
    }
    struct metric *metric = new_metric(wanted);
    if (metric == NULL) {
        error_set(err, "metric %s: out of memory", wanted->name);
        return NULL;
    }
    metric->next = *place;
    *place = metric;
    registry.count++;
    return metric;
}

static struct metric *make(struct wanted *wanted, struct error *err)
{
    static const char *const none[] = {NULL};
    if (wanted->labels == NULL)
        wanted->labels = none;
    if (!name_valid(wanted->name, true)) {
        error_set(err,
                  "\"%s\" is no name for a metric; use letters, digits and _, not a digit first",
                  wanted->name);
        return NULL;
    }
    if (check_labels(wanted->name, wanted->kind, wanted->labels, err) != 0 ||
        check_bounds(wanted->name, wanted->bounds, wanted->bound_count, err) != 0)
        return NULL;
    pthread_mutex_lock(&registry.lock);
    struct metric *metric = find_or_make(wanted, err);
    pthread_mutex_unlock(&registry.lock);
    return metric;
}

struct metric *metrics_counter(const char *name, const char *help, const char *const *labels,
                               struct error *err)
{
    char total[METRICS_TEXT_MAX + 8]; /* one byte too many shows in the check of the name */
    snprintf(total, sizeof(total), "%s%s", name, ends_in(name, "_total") ? "" : "_total");
    struct wanted wanted = {.kind = COUNTER, .name = total, .help = help, .labels = labels};
    return make(&wanted, err);
}

struct metric *metrics_gauge(const char *name, const char *help, const char *const *labels,
                             struct error *err)
{
    struct wanted wanted = {.kind = GAUGE, .name = name, .help = help, .labels = labels};
    return make(&wanted, err);
}

struct metric *metrics_histogram(const char *name, const char *help, const char *const *labels,
                                 const double *bounds, size_t bound_count, struct error *err)
{
    struct wanted wanted = {.kind = HISTOGRAM,
                            .name = name,
                            .help = help,
                            .labels = labels,
                            .bounds = bounds != NULL ? bounds : standard_bounds,
                            .bound_count = bounds != NULL ? bound_count
                                                          : sizeof(standard_bounds) /
                                                                sizeof(standard_bounds[0])};
    return make(&wanted, err);
}

void metrics_set_cap(struct metric *metric, size_t cap)
{
    if (metric == NULL)
        return;
    pthread_mutex_lock(&registry.lock);
    metric->cap = cap;
    pthread_mutex_unlock(&registry.lock);
}

static bool has_values(const struct metric *metric, const struct series *series,
                       const char *const *values)
{
    for (size_t i = 0; i < metric->label_count; i++) {
        if (strncmp(series->values[i], values[i], METRICS_TEXT_MAX) != 0)
            return false;
    }
    return true;
}

/* As many as the metric has labels: a missing one is "". */
static void fill_values(const struct metric *metric, const char *const *given, const char **values)
{
    bool ended = given == NULL;
    for (size_t i = 0; i < metric->label_count; i++) {
        ended = ended || given[i] == NULL;
        values[i] = ended ? "" : given[i];
    }
}

/* Under the lock. NULL: out of memory. */
static struct series *add_series(struct metric *metric, const char *const *values)
{
    struct series *series = new_series(metric, values);
    if (series != NULL) {
        *metric->last = series;
        metric->last = &series->next;
        metric->series_count++;
    }
    return series;
}

/* The series, an old or a new one, or the overflow; NULL for no metric or another kind. */
static struct series *find_series(struct metric *metric, enum kind kind, const char *const *given)
{
    if (metric == NULL || metric->kind != kind)
        return NULL;
    const char *values[METRICS_LABELS_MAX];
    fill_values(metric, given, values);
    pthread_mutex_lock(&registry.lock);
    struct series *series = metric->series;
    while (series != NULL && !has_values(metric, series, values))
        series = series->next;
    if (series == NULL && metric->series_count < metric->cap)
        series = add_series(metric, values);
    if (series == NULL) {
        series = metric->overflow;
        metric->overflowed = true;
    }
    pthread_mutex_unlock(&registry.lock);
    return series;
}

struct metric_counter *metric_counter(struct metric *metric, const char *const *values)
{
    struct series *series = find_series(metric, COUNTER, values);
    return series != NULL ? &series->counter : &void_counter;
}

struct metric_gauge *metric_gauge(struct metric *metric, const char *const *values)
{
    struct series *series = find_series(metric, GAUGE, values);
    return series != NULL ? &series->gauge : &void_gauge;
}

struct metric_histogram *metric_histogram(struct metric *metric, const char *const *values)
{
    struct series *series = find_series(metric, HISTOGRAM, values);
    return series != NULL ? &series->histogram : &void_histogram;
}

/* A value for which there is no memory stays as it was. */
static void rename_series(const struct metric *metric, struct series *series,
                          const char *const *values)
{
    for (size_t i = 0; i < metric->label_count; i++) {
        char *value = strndup(values[i], METRICS_TEXT_MAX);
        if (value == NULL)
            continue;
        free(series->values[i]);
        series->values[i] = value;
    }
}

void metric_info(struct metric *metric, const char *const *given)
{
    if (metric == NULL || metric->kind != GAUGE)
        return;
    const char *values[METRICS_LABELS_MAX];
    fill_values(metric, given, values);
    pthread_mutex_lock(&registry.lock);
    struct series *series = metric->series;
    if (series != NULL)
        rename_series(metric, series, values);
    else
        series = add_series(metric, values);
    if (series != NULL)
        number_set(&series->gauge.value, 1);
    pthread_mutex_unlock(&registry.lock);
}

/* ---- counting ---- */

void metric_counter_add(struct metric_counter *counter, double n)
{
    if (n > 0)
        number_add(&counter->value, n);
}

void metric_counter_set(struct metric_counter *counter, double total)
{
    if (total > number_get(&counter->value))
        number_set(&counter->value, total);
}

void metric_gauge_set(struct metric_gauge *gauge, double value)
{
    number_set(&gauge->value, value);
}

void metric_histogram_observe(struct metric_histogram *histogram, double value)
{
    const struct metric *metric = histogram->metric;
    if (metric == NULL || isnan(value))
        return;
    size_t bucket = 0;
    while (bucket < metric->bound_count && value > metric->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    number_add(&histogram->sum, value);
}

void metric_histogram_set(struct metric_histogram *histogram, const uint64_t *buckets, double sum)
{
    const struct metric *metric = histogram->metric;
    if (metric == NULL)
        return;
    for (size_t i = 0; i <= metric->bound_count; i++)
        atomic_store_explicit(&histogram->buckets[i], buckets[i], memory_order_relaxed);
    number_set(&histogram->sum, sum);
}

double metric_counter_value(const struct metric_counter *counter)
{
    return number_get(&counter->value);
}

/* ---- gathering ---- */

int metrics_add_gather(void (*gather)(void *context), void *context, struct error *err)
{
    struct gather *entry = malloc(sizeof(*entry));
    if (entry == NULL)
        return error_set(err, "out of memory");
    pthread_mutex_lock(&registry.gather_lock);
    *entry = (struct gather){.next = registry.gathers, .call = gather, .context = context};
    registry.gathers = entry;
    pthread_mutex_unlock(&registry.gather_lock);
    return 0;
}

void metrics_remove_gather(void (*gather)(void *context), void *context)
{
    pthread_mutex_lock(&registry.gather_lock);
    struct gather **place = &registry.gathers;
    while (*place != NULL && ((*place)->call != gather || (*place)->context != context))
        place = &(*place)->next;
    struct gather *entry = *place;
    if (entry != NULL)
        *place = entry->next;
    pthread_mutex_unlock(&registry.gather_lock);
    free(entry);
}

char *metrics_render(size_t *size)
{
    char *text = NULL;
    pthread_mutex_lock(&registry.gather_lock);
    for (struct gather *gather = registry.gathers; gather != NULL; gather = gather->next)
        gather->call(gather->context);
    pthread_mutex_unlock(&registry.gather_lock);

    FILE *out = open_memstream(&text, size);
    if (out == NULL)
        return NULL;
    pthread_mutex_lock(&registry.lock);
    for (const struct metric *metric = registry.metrics; metric != NULL; metric = metric->next)
        metrics_write(out, metric);
    pthread_mutex_unlock(&registry.lock);
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return text;
    free(text);
    return NULL;
}

void metrics_close(void)
{
    pthread_mutex_lock(&registry.gather_lock);
    while (registry.gathers != NULL) {
        struct gather *gather = registry.gathers;
        registry.gathers = gather->next;
        free(gather);
    }
    pthread_mutex_unlock(&registry.gather_lock);
    pthread_mutex_lock(&registry.lock);
    while (registry.metrics != NULL) {
        struct metric *metric = registry.metrics;
        registry.metrics = metric->next;
        free_metric(metric);
    }
    registry.count = 0;
    pthread_mutex_unlock(&registry.lock);
}
