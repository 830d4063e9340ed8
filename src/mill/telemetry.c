#include "mill/telemetry.h"

#include "base/clock.h"
#include "ops/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { RULE_LABELS_MAX = 8 };

struct telemetry {
    const struct config *config;
    const struct worker_counters *workers;
    const struct source_counters *sources;
    size_t worker_count;
    struct metric *delivered, *redelivered, *settled, *unmatched, *in_flight;
    struct metric *calls, *call_errors, *outputs, *reconnects, *connected, *lua_bytes;
    struct metric *reloads, *reload_seconds, *reload_success, *rules_info;
};

/* --- from the counters to the registry, at each scrape --- */

static void gather_source(struct telemetry *telemetry, size_t index)
{
    unsigned long long delivered = 0, redelivered = 0, acked = 0, naked = 0, dead = 0;
    unsigned long long unmatched = 0, in_flight = 0;
    for (size_t i = 0; i < telemetry->worker_count; i++) {
        const struct source_counters *counters =
            &telemetry->sources[i * telemetry->config->source_count + index];
        delivered += counter_get(counters->delivered);
        redelivered += counter_get(counters->redelivered);
        acked += counter_get(counters->acked);
        naked += counter_get(counters->naked);
        dead += counter_get(counters->dead);
        unmatched += counter_get(counters->unmatched);
        in_flight += counter_get(counters->in_flight);
    }
    const char *stream = telemetry->config->sources[index].stream;
    const char *consumer = telemetry->config->sources[index].durable;
    const char *labels[] = {stream, consumer, NULL, NULL};
    metric_counter_set(metric_counter(telemetry->delivered, labels), (double)delivered);
    metric_counter_set(metric_counter(telemetry->redelivered, labels), (double)redelivered);
    metric_counter_set(metric_counter(telemetry->unmatched, labels), (double)unmatched);
    metric_gauge_set(metric_gauge(telemetry->in_flight, labels), (double)in_flight);
    labels[2] = "ack";
    metric_counter_set(metric_counter(telemetry->settled, labels), (double)acked);
    labels[2] = "nak";
    metric_counter_set(metric_counter(telemetry->settled, labels), (double)naked);
    labels[2] = "dead_letter";
    metric_counter_set(metric_counter(telemetry->settled, labels), (double)dead);
}

static void gather_worker(struct telemetry *telemetry, size_t index)
{
    const struct worker_counters *counters = &telemetry->workers[index];
    char worker[24];
    snprintf(worker, sizeof(worker), "%zu", index + 1);
    const char *labels[] = {worker, NULL, NULL};
    metric_counter_set(metric_counter(telemetry->calls, labels),
                       (double)counter_get(counters->calls));
    metric_counter_set(metric_counter(telemetry->call_errors, labels),
                       (double)counter_get(counters->call_errors));
    metric_counter_set(metric_counter(telemetry->reconnects, labels),
                       (double)counter_get(counters->reconnects));
    metric_gauge_set(metric_gauge(telemetry->connected, labels),
                     (double)counter_get(counters->connected));
    metric_gauge_set(metric_gauge(telemetry->lua_bytes, labels),
                     (double)counter_get(counters->lua_bytes));
    unsigned long long repeated = counter_get(counters->outputs_repeated);
    unsigned long long stored = counter_get(counters->outputs_stored);
    labels[1] = "stored";
    metric_counter_set(metric_counter(telemetry->outputs, labels),
                       (double)(stored > repeated ? stored - repeated : 0));
    labels[1] = "duplicate";
    metric_counter_set(metric_counter(telemetry->outputs, labels), (double)repeated);
    labels[1] = "failed";
    metric_counter_set(metric_counter(telemetry->outputs, labels),
                       (double)counter_get(counters->outputs_failed));
}

static void gather(void *context)
{
    struct telemetry *telemetry = context;
    for (size_t i = 0; i < telemetry->config->source_count; i++)
        gather_source(telemetry, i);
    for (size_t i = 0; i < telemetry->worker_count; i++)
        gather_worker(telemetry, i);
}

/* --- opening --- */

static void make_metrics(struct telemetry *telemetry)
{
    static const char *const source[] = {"stream", "consumer", NULL};
    static const char *const settled[] = {"stream", "consumer", "outcome", NULL};
    static const char *const worker[] = {"worker", NULL};
    static const char *const output[] = {"worker", "outcome", NULL};
    static const char *const result[] = {"result", NULL};
    static const char *const version[] = {"version", NULL};
    telemetry->delivered = metrics_counter("tidemill_messages_delivered_total",
                                           "Messages that arrived.", source, NULL);
    telemetry->redelivered =
        metrics_counter("tidemill_messages_redelivered_total",
                        "Messages that arrived, and not for the first time.", source, NULL);
    telemetry->settled = metrics_counter("tidemill_messages_settled_total",
                                         "Messages settled, by what they got.", settled, NULL);
    telemetry->unmatched =
        metrics_counter("tidemill_messages_unmatched_total",
                        "Messages acknowledged because no rule wants their subject.", source, NULL);
    telemetry->in_flight = metrics_gauge("tidemill_messages_in_flight",
                                         "Messages arrived and not settled.", source, NULL);
    telemetry->calls =
        metrics_counter("tidemill_rule_calls_total", "Handlers that ended.", worker, NULL);
    telemetry->call_errors = metrics_counter("tidemill_rule_errors_total",
                                             "Handlers that ended with an error.", worker, NULL);
    telemetry->outputs = metrics_counter("tidemill_outputs_total",
                                         "Durable outputs, by what became of them.", output, NULL);
    telemetry->reconnects =
        metrics_counter("tidemill_reconnects_total", "Times connected again.", worker, NULL);
    telemetry->connected =
        metrics_gauge("tidemill_connected", "1 while connected to NATS.", worker, NULL);
    telemetry->lua_bytes =
        metrics_gauge("tidemill_lua_memory_bytes", "Memory of the Lua state.", worker, NULL);
    telemetry->reloads =
        metrics_counter("tidemill_reloads_total", "Reloads of the rules, by result.", result, NULL);
    telemetry->reload_seconds = metrics_gauge("tidemill_reload_duration_seconds",
                                              "How long the last reload took.", NULL, NULL);
    telemetry->reload_success =
        metrics_gauge("tidemill_reload_last_success_timestamp_seconds",
                      "When rules were last loaded without a fault.", NULL, NULL);
    telemetry->rules_info =
        metrics_gauge("tidemill_rules_info", "1, with the version of the rules.", version, NULL);
    /* At 0 from the start, so that the first fault is an increase. */
    metric_counter(telemetry->reloads, (const char *[]){"ok", NULL});
    metric_counter(telemetry->reloads, (const char *[]){"failed", NULL});
}

int telemetry_open(struct telemetry **out, const struct config *config,
                   const struct worker_counters *workers,
                   const struct source_counters *source_counters, size_t worker_count,
                   struct error *err)
{
    struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
    if (telemetry == NULL)
        return error_set(err, "out of memory");
    telemetry->config = config;
    telemetry->workers = workers;
    telemetry->sources = source_counters;
    telemetry->worker_count = worker_count;
    make_metrics(telemetry);
    if (metrics_add_gather(gather, telemetry, err) != 0) {
        free(telemetry);
        return -1;
    }
    *out = telemetry;
    return 0;
}

void telemetry_close(struct telemetry *telemetry)
{
    if (telemetry == NULL)
        return;
    metrics_remove_gather(gather, telemetry);
    free(telemetry);
}

/* --- what is told --- */

void telemetry_rules(struct telemetry *telemetry, const char *version)
{
    metric_info(telemetry->rules_info, (const char *[]){version, NULL});
    metric_gauge_set(metric_gauge(telemetry->reload_success, NULL),
                     (double)clock_wall_ns() / (double)NS_PER_S);
}

void telemetry_reloaded(struct telemetry *telemetry, bool ok, double seconds)
{
    const char *const labels[] = {ok ? "ok" : "failed", NULL};
    metric_counter_add(metric_counter(telemetry->reloads, labels), 1);
    metric_gauge_set(metric_gauge(telemetry->reload_seconds, NULL), seconds);
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

void telemetry_rule_metric(void *context, enum metric_kind kind, const char *name,
                           const struct header *labels, size_t label_count, double value)
{
    const char *names[RULE_LABELS_MAX + 1] = {NULL};
    const char *values[RULE_LABELS_MAX + 1] = {NULL};
    (void)context;
    if (label_count > RULE_LABELS_MAX)
        label_count = RULE_LABELS_MAX;
    for (size_t i = 0; i < label_count; i++) {
        names[i] = labels[i].name;
        values[i] = labels[i].value;
    }
    switch (kind) {
    case METRIC_COUNTER:
        metric_counter_add(
            metric_counter(metrics_counter(name, "Made by a rule.", names, NULL), values), value);
        break;
    case METRIC_GAUGE:
        metric_gauge_set(metric_gauge(metrics_gauge(name, "Made by a rule.", names, NULL), values),
                         value);
        break;
    case METRIC_HISTOGRAM:
        metric_histogram_observe(
            metric_histogram(metrics_histogram(name, "Made by a rule.", names, NULL, 0, NULL),
                             values),
            value);
        break;
    }
}
