#ifndef TIDEMILL_MILL_TELEMETRY_H
#define TIDEMILL_MILL_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "mill/tally.h"
#include "ops/health.h"
#include "rules/engine.h"

/*
 * Telemetry: shows the tally, the reloads and the rules' own metrics in the registry
 * (ops/metrics.h). The tally is read and added up when somebody asks for /metrics, so the way of a
 * message pays a few plain additions for it. docs/operations.md has the table of the metrics.
 *
 * Threads: telemetry_open and _close on the supervisor's; the rest on any.
 */

struct telemetry;

/* All pointers outlive it. */
int telemetry_open(struct telemetry **telemetry, const struct config *config,
                   const struct tally *tally, struct health *health, struct error *err);
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
void telemetry_rule_metric(void *context, struct rule_metric *metric, double value);

#endif
