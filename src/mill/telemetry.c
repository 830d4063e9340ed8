/*
 * What a metric is called and where it comes from stands in tables. The series of sources and
 * workers are made when it is opened, at 0, so that the first of anything is an increase; those of
 * a rule when it is first seen. Their handles are kept: a scrape looks nothing up.
 */
#include "mill/telemetry.h"

#include "base/clock.h"
#include "ops/metrics.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { RULE_LABELS_MAX = 8 };

/* --- by stream and consumer --- */

enum source_metric {
    DELIVERED,
    REDELIVERED,
    UNMATCHED,
    SETTLED,
    DEAD_LETTERS,
    PULL_REQUESTS,
    PULL_STATUSES,
    SOURCE_METRICS
};

static const struct {
    const char *name, *help, *third_label;
} source_metrics[SOURCE_METRICS] = {
    [DELIVERED] = {"tidemill_messages_delivered_total", "Messages that arrived.", NULL},
    [REDELIVERED] = {"tidemill_messages_redelivered_total",
                     "Messages that arrived, and not for the first time.", NULL},
    [UNMATCHED] = {"tidemill_messages_unmatched_total",
                   "Messages acknowledged because no rule wants their subject.", NULL},
    [SETTLED] = {"tidemill_messages_settled_total", "Messages settled, by what they got.",
                 "outcome"},
    [DEAD_LETTERS] = {"tidemill_dead_letters_total", "Messages that became dead letters.",
                      "reason"},
    [PULL_REQUESTS] = {"tidemill_pull_requests_total", "Requests for messages sent to the server.",
                       NULL},
    [PULL_STATUSES] = {"tidemill_pull_statuses_total",
                       "What came back for requests that was no message.", "status"},
};

/* Each is the sum of one counter over the workers. */
#define AT(counter) offsetof(struct source_counters, counter)
static const struct {
    size_t at;
    enum source_metric metric;
    const char *third_value;
} source_counts[] = {
    {AT(delivered), DELIVERED, NULL},
    {AT(redelivered), REDELIVERED, NULL},
    {AT(unmatched), UNMATCHED, NULL},
    {AT(acked), SETTLED, "ack"},
    {AT(naked), SETTLED, "nak"},
    {AT(dead), SETTLED, "dead_letter"},
    {AT(requests), PULL_REQUESTS, NULL},
    {AT(ended), PULL_STATUSES, "ended"},
    {AT(heartbeats), PULL_STATUSES, "heartbeat"},
    {AT(lost), PULL_STATUSES, "lost"},
    {AT(unavailable), PULL_STATUSES, "unavailable"},
    {AT(refused), PULL_STATUSES, "refused"},
};
#undef AT
enum { SOURCE_COUNTS = sizeof(source_counts) / sizeof(source_counts[0]) };

struct source_series {
    struct metric_counter *counts[SOURCE_COUNTS];
    struct metric_counter *dead[REASON_COUNT];
    struct metric_gauge *in_flight;
    struct metric_histogram *latency;
};

struct worker_series {
    struct metric_counter *stored, *duplicate, *failed, *reconnects;
    struct metric_gauge *connected, *lua_bytes;
};

struct rule_series {
    struct metric_counter *calls; /* NULL: not seen yet */
    struct metric_counter *errors[REASONS_OF_RULES];
    struct metric_histogram *duration;
};

struct telemetry {
    const struct config *config;
    const struct tally *tally;
    struct health *health;
    struct source_series *sources;
    struct worker_series *workers;
    struct rule_series rules[RULE_BOOK_ROWS + 1];
    struct metric *pending, *ack_pending; /* shown once the server has told */
    struct metric *calls, *call_errors, *call_duration;
    struct metric_histogram *publish_ack;
    struct metric_gauge *ready;
    struct metric *reloads, *rules_info;
    struct metric_gauge *reload_seconds, *reload_success, *reload_attempt;
};

static void make_bounds(const struct histogram_bounds *bounds, double *seconds)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++)
        seconds[i] = (double)bounds->ns[i] / (double)NS_PER_S;
}

static struct metric *make_histogram(const char *name, const char *help, const char *const *labels,
                                     const struct histogram_bounds *bounds)
{
    double seconds[HISTOGRAM_BUCKETS - 1];
    make_bounds(bounds, seconds);
    return metrics_histogram(name, help, labels, seconds, HISTOGRAM_BUCKETS - 1, NULL);
}

/* --- from the tally to the registry, at each scrape --- */

/* Many workers' histograms added up. */
struct sum {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t sum_ns;
};

static void add_histogram(struct sum *sum, const struct histogram *histogram)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->buckets[i] += counter_get(histogram->buckets[i]);
    sum->sum_ns += counter_get(histogram->sum_ns);
}

static void show_histogram(struct metric_histogram *shown, const struct sum *sum)
{
    metric_histogram_set(shown, sum->buckets, (double)sum->sum_ns / (double)NS_PER_S);
}

static unsigned long long sum_of(const struct tally *tally, size_t source, size_t at)
{
    unsigned long long sum = 0;
    for (size_t i = 0; i < tally->worker_count; i++) {
        const char *counters = (const char *)tally_source(tally, i, source);
        sum += counter_get(*(const atomic_ullong *)(const void *)(counters + at));
    }
    return sum;
}

static void gather_source(struct telemetry *telemetry, size_t index)
{
    const struct tally *tally = telemetry->tally;
    const struct source_series *series = &telemetry->sources[index];
    const struct source_config *config = &telemetry->config->sources[index];
    const char *const labels[] = {config->stream, config->durable, NULL};
    for (size_t i = 0; i < SOURCE_COUNTS; i++)
        metric_counter_set(series->counts[i], (double)sum_of(tally, index, source_counts[i].at));
    for (size_t i = 0; i < REASON_COUNT; i++)
        metric_counter_set(
            series->dead[i],
            (double)sum_of(tally, index,
                           offsetof(struct source_counters, dead_of) + i * sizeof(atomic_ullong)));
    metric_gauge_set(series->in_flight,
                     (double)sum_of(tally, index, offsetof(struct source_counters, in_flight)));
    struct sum latency = {0};
    for (size_t i = 0; i < tally->worker_count; i++)
        add_histogram(&latency, &tally_source(tally, i, index)->latency);
    show_histogram(series->latency, &latency);
    uint64_t pending;
    if (tally_pending(tally, index, &pending) == 0)
        metric_gauge_set(metric_gauge(telemetry->pending, labels), (double)pending);
    if (tally_ack_pending(tally, index, &pending) == 0)
        metric_gauge_set(metric_gauge(telemetry->ack_pending, labels), (double)pending);
}

static void gather_worker(struct telemetry *telemetry, size_t index)
{
    const struct worker_counters *counters = &telemetry->tally->workers[index];
    const struct worker_series *series = &telemetry->workers[index];
    unsigned long long repeated = counter_get(counters->outputs_repeated);
    unsigned long long stored = counter_get(counters->outputs_stored);
    metric_counter_set(series->stored, (double)(stored > repeated ? stored - repeated : 0));
    metric_counter_set(series->duplicate, (double)repeated);
    metric_counter_set(series->failed, (double)counter_get(counters->outputs_failed));
    metric_counter_set(series->reconnects, (double)counter_get(counters->reconnects));
    metric_gauge_set(series->connected, (double)counter_get(counters->connected));
    metric_gauge_set(series->lua_bytes, (double)counter_get(counters->lua_bytes));
}

static void make_rule(struct telemetry *telemetry, struct rule_series *series, const char *name)
{
    const char *labels[] = {name, NULL, NULL};
    series->calls = metric_counter(telemetry->calls, labels);
    series->duration = metric_histogram(telemetry->call_duration, labels);
    for (int i = 0; i < REASONS_OF_RULES; i++) {
        labels[1] = reason_name((enum reason)i);
        series->errors[i] = metric_counter(telemetry->call_errors, labels);
    }
}

static void gather_rule(struct telemetry *telemetry, size_t row)
{
    const struct tally *tally = telemetry->tally;
    struct rule_series *series = &telemetry->rules[row];
    const char *name = rule_book_name(tally->rules, row);
    if (name == NULL)
        return;
    if (series->calls == NULL)
        make_rule(telemetry, series, name);
    unsigned long long calls = 0, errors[REASONS_OF_RULES] = {0};
    struct sum duration = {0};
    for (size_t i = 0; i < tally->worker_count; i++) {
        const struct rule_counters *rule = rule_book_row(tally->rules, row, i);
        calls += counter_get(rule->calls);
        for (size_t j = 0; j < REASONS_OF_RULES; j++)
            errors[j] += counter_get(rule->errors[j]);
        add_histogram(&duration, &rule->duration);
    }
    metric_counter_set(series->calls, (double)calls);
    for (size_t i = 0; i < REASONS_OF_RULES; i++)
        metric_counter_set(series->errors[i], (double)errors[i]);
    show_histogram(series->duration, &duration);
}

static void gather(void *context)
{
    struct telemetry *telemetry = context;
    const struct tally *tally = telemetry->tally;
    struct sum publish_ack = {0};
    for (size_t i = 0; i < tally->source_count; i++)
        gather_source(telemetry, i);
    for (size_t i = 0; i < tally->worker_count; i++) {
        gather_worker(telemetry, i);
        add_histogram(&publish_ack, &tally->workers[i].publish_ack);
    }
    show_histogram(telemetry->publish_ack, &publish_ack);
    for (size_t i = 0; i < rule_book_count(tally->rules); i++)
        gather_rule(telemetry, i);
    metric_gauge_set(telemetry->ready, health_ready(telemetry->health) ? 1 : 0);
}

/* --- opening --- */

static const char *const source_labels[] = {"stream", "consumer", NULL};

static void make_source(struct telemetry *telemetry, size_t index, struct metric *const *metrics,
                        struct metric *in_flight, struct metric *latency)
{
    struct source_series *series = &telemetry->sources[index];
    const struct source_config *config = &telemetry->config->sources[index];
    const char *labels[] = {config->stream, config->durable, NULL, NULL};
    series->in_flight = metric_gauge(in_flight, labels);
    series->latency = metric_histogram(latency, labels);
    for (size_t i = 0; i < SOURCE_COUNTS; i++) {
        labels[2] = source_counts[i].third_value;
        series->counts[i] = metric_counter(metrics[source_counts[i].metric], labels);
    }
    for (int i = 0; i < REASON_COUNT; i++) {
        labels[2] = reason_name((enum reason)i);
        series->dead[i] = metric_counter(metrics[DEAD_LETTERS], labels);
    }
}

static void make_sources(struct telemetry *telemetry)
{
    struct metric *metrics[SOURCE_METRICS];
    for (size_t i = 0; i < SOURCE_METRICS; i++) {
        const char *labels[] = {"stream", "consumer", source_metrics[i].third_label, NULL};
        metrics[i] = metrics_counter(source_metrics[i].name, source_metrics[i].help, labels, NULL);
        metrics_set_cap(metrics[i], telemetry->tally->source_count * REASON_COUNT);
    }
    struct metric *in_flight = metrics_gauge(
        "tidemill_messages_in_flight", "Messages arrived and not settled.", source_labels, NULL);
    struct metric *latency = make_histogram("tidemill_message_latency_seconds",
                                            "From a message's storing in its stream to its ack.",
                                            source_labels, &latency_bounds);
    telemetry->pending = metrics_gauge(
        "tidemill_consumer_pending", "Messages that the consumer has not delivered to anybody yet.",
        source_labels, NULL);
    telemetry->ack_pending = metrics_gauge(
        "tidemill_consumer_ack_pending", "Messages delivered and not settled, over all processes.",
        source_labels, NULL);
    struct metric *const all[] = {in_flight, latency, telemetry->pending, telemetry->ack_pending};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        metrics_set_cap(all[i], telemetry->tally->source_count);
    for (size_t i = 0; i < telemetry->tally->source_count; i++)
        make_source(telemetry, i, metrics, in_flight, latency);
}

static void make_workers(struct telemetry *telemetry)
{
    static const char *const by_worker[] = {"worker", NULL};
    static const char *const by_outcome[] = {"worker", "outcome", NULL};
    size_t count = telemetry->tally->worker_count;
    struct metric *outputs = metrics_counter(
        "tidemill_outputs_total", "Durable outputs, by what became of them.", by_outcome, NULL);
    struct metric *reconnects =
        metrics_counter("tidemill_reconnects_total", "Times connected again.", by_worker, NULL);
    struct metric *connected =
        metrics_gauge("tidemill_connected", "1 while connected to NATS.", by_worker, NULL);
    struct metric *lua_bytes =
        metrics_gauge("tidemill_lua_memory_bytes", "Memory of the Lua state.", by_worker, NULL);
    metrics_set_cap(outputs, count * 3);
    metrics_set_cap(reconnects, count);
    metrics_set_cap(connected, count);
    metrics_set_cap(lua_bytes, count);
    for (size_t i = 0; i < count; i++) {
        char worker[24];
        snprintf(worker, sizeof(worker), "%zu", i + 1);
        telemetry->workers[i] = (struct worker_series){
            .stored = metric_counter(outputs, (const char *[]){worker, "stored", NULL}),
            .duplicate = metric_counter(outputs, (const char *[]){worker, "duplicate", NULL}),
            .failed = metric_counter(outputs, (const char *[]){worker, "failed", NULL}),
            .reconnects = metric_counter(reconnects, (const char *[]){worker, NULL}),
            .connected = metric_gauge(connected, (const char *[]){worker, NULL}),
            .lua_bytes = metric_gauge(lua_bytes, (const char *[]){worker, NULL}),
        };
    }
}

static void make_rules(struct telemetry *telemetry)
{
    static const char *const by_rule[] = {"rule", NULL};
    static const char *const by_reason[] = {"rule", "reason", NULL};
    enum { ROWS = RULE_BOOK_ROWS + 1 };
    telemetry->calls =
        metrics_counter("tidemill_rule_calls_total", "Handlers that ended.", by_rule, NULL);
    telemetry->call_errors =
        metrics_counter("tidemill_rule_errors_total",
                        "Handlers that ended without having done their work.", by_reason, NULL);
    telemetry->call_duration = make_histogram(
        "tidemill_rule_duration_seconds", "From a handler's start to its end, waiting included.",
        by_rule, &duration_bounds);
    metrics_set_cap(telemetry->calls, ROWS);
    metrics_set_cap(telemetry->call_errors, (size_t)ROWS * REASONS_OF_RULES);
    metrics_set_cap(telemetry->call_duration, ROWS);
}

static struct metric_gauge *make_gauge(const char *name, const char *help)
{
    return metric_gauge(metrics_gauge(name, help, NULL, NULL), NULL);
}

static void make_others(struct telemetry *telemetry)
{
    telemetry->publish_ack = metric_histogram(
        make_histogram("tidemill_publish_ack_seconds",
                       "From a durable output's first sending to the stream's answer that it is "
                       "stored.",
                       NULL, &publish_ack_bounds),
        NULL);
    telemetry->ready = make_gauge("tidemill_ready", "1 while /readyz says that all is well.");
    telemetry->reloads =
        metrics_counter("tidemill_reloads_total", "Reloads of the rules, by result.",
                        (const char *[]){"result", NULL}, NULL);
    telemetry->rules_info =
        metrics_gauge("tidemill_rules_info", "Always 1; the label is the version of the rules.",
                      (const char *[]){"version", NULL}, NULL);
    telemetry->reload_seconds =
        make_gauge("tidemill_reload_duration_seconds", "How long the last reload took.");
    telemetry->reload_success = make_gauge("tidemill_reload_last_success_timestamp_seconds",
                                           "When rules were last loaded without a fault.");
    telemetry->reload_attempt = make_gauge("tidemill_reload_last_attempt_timestamp_seconds",
                                           "When rules were last loaded, or should have been.");
    /* At 0 from the start, so that the first fault is an increase. */
    metric_counter(telemetry->reloads, (const char *[]){"ok", NULL});
    metric_counter(telemetry->reloads, (const char *[]){"failed", NULL});
}

int telemetry_open(struct telemetry **out, const struct config *config, const struct tally *tally,
                   struct health *health, struct error *err)
{
    struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
    if (telemetry == NULL)
        return error_set(err, "out of memory");
    telemetry->config = config;
    telemetry->tally = tally;
    telemetry->health = health;
    telemetry->sources = calloc(tally->source_count, sizeof(*telemetry->sources));
    telemetry->workers = calloc(tally->worker_count, sizeof(*telemetry->workers));
    if (telemetry->sources == NULL || telemetry->workers == NULL) {
        error_set(err, "out of memory");
        goto failed;
    }
    make_sources(telemetry);
    make_workers(telemetry);
    make_rules(telemetry);
    make_others(telemetry);
    if (metrics_add_gather(gather, telemetry, err) != 0)
        goto failed;
    *out = telemetry;
    return 0;

failed:
    free(telemetry->sources);
    free(telemetry->workers);
    free(telemetry);
    return -1;
}

void telemetry_close(struct telemetry *telemetry)
{
    if (telemetry == NULL)
        return;
    metrics_remove_gather(gather, telemetry);
    free(telemetry->sources);
    free(telemetry->workers);
    free(telemetry);
}

/* --- what is told --- */

static double now_seconds(void)
{
    return (double)clock_wall_ns() / (double)NS_PER_S;
}

void telemetry_rules(struct telemetry *telemetry, const char *version)
{
    double now = now_seconds();
    metric_info(telemetry->rules_info, (const char *[]){version, NULL});
    metric_gauge_set(telemetry->reload_success, now);
    metric_gauge_set(telemetry->reload_attempt, now);
}

void telemetry_reloaded(struct telemetry *telemetry, bool ok, double seconds)
{
    const char *const labels[] = {ok ? "ok" : "failed", NULL};
    metric_counter_add(metric_counter(telemetry->reloads, labels), 1);
    metric_gauge_set(telemetry->reload_seconds, seconds);
    if (!ok) /* else telemetry_rules follows, which sets this and the success to the same time */
        metric_gauge_set(telemetry->reload_attempt, now_seconds());
}

void telemetry_paused(const char *step, int64_t pause_ns)
{
    static const char *const labels[] = {"step", NULL};
    struct metric *pause = metrics_histogram("tidemill_reload_pause_seconds",
                                             "How long a reload kept a worker from its messages.",
                                             labels, NULL, 0, NULL);
    metric_histogram_observe(metric_histogram(pause, (const char *[]){step, NULL}),
                             (double)pause_ns / (double)NS_PER_S);
}

/* The registry's handle of a rule's metric: looked up, under its lock, for the first value only. */
static void *rule_handle(const struct rule_metric *metric)
{
    const char *names[RULE_LABELS_MAX + 1] = {NULL};
    const char *values[RULE_LABELS_MAX + 1] = {NULL};
    const char *help = "Made by a rule.";
    for (size_t i = 0; i < metric->label_count && i < RULE_LABELS_MAX; i++) {
        names[i] = metric->labels[i].name;
        values[i] = metric->labels[i].value;
    }
    switch (metric->kind) {
    case METRIC_COUNTER:
        return metric_counter(metrics_counter(metric->name, help, names, NULL), values);
    case METRIC_GAUGE:
        return metric_gauge(metrics_gauge(metric->name, help, names, NULL), values);
    case METRIC_HISTOGRAM:
        break;
    }
    return metric_histogram(metrics_histogram(metric->name, help, names, NULL, 0, NULL), values);
}

void telemetry_rule_metric(void *context, struct rule_metric *metric, double value)
{
    (void)context;
    if (metric->handle == NULL)
        metric->handle = rule_handle(metric);
    switch (metric->kind) {
    case METRIC_COUNTER:
        metric_counter_add(metric->handle, value);
        break;
    case METRIC_GAUGE:
        metric_gauge_set(metric->handle, value);
        break;
    case METRIC_HISTOGRAM:
        metric_histogram_observe(metric->handle, value);
        break;
    }
}
