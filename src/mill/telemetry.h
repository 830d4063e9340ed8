#ifndef TIDEMILL_MILL_TELEMETRY_H
#define TIDEMILL_MILL_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "mill/counters.h"
#include "rules/engine.h"

/*
 * Telemetry: shows the workers' counters, the reloads and the rules' own metrics in the registry
 * (ops/metrics.h). The counters are read when somebody asks for /metrics, so the way of a message
 * pays one relaxed addition for each.
 *
 * Threads: telemetry_open and _close on the supervisor's; the rest on any.
 */

struct telemetry;

/* `source_counters` holds a row of config->source_count for each worker. All outlive it. */
int telemetry_open(struct telemetry **telemetry, const struct config *config,
                   const struct worker_counters *workers,
                   const struct source_counters *source_counters, size_t worker_count,
                   struct error *err);
void telemetry_close(struct telemetry *telemetry); /* NULL is fine */

/* Rules of this version are at work now: after the first load and each reload. */
void telemetry_rules(struct telemetry *telemetry, const char *version);

/* A reload has ended. */
void telemetry_reloaded(struct telemetry *telemetry, bool ok, double seconds);

/*
 * A reload has kept a worker from its messages: for the "trial" whether the state can be carried
 * over, for the "swap", or for the "close" of the engine that was retired.
 */
void telemetry_paused(const char *step, int64_t pause_ns);

/* mill.counter, mill.gauge and mill.histogram of the rules: for engine_host.metric. */
void telemetry_rule_metric(void *context, enum metric_kind kind, const char *name,
                           const struct header *labels, size_t label_count, double value);

#endif
