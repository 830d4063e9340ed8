#ifndef TIDEMILL_MILL_RECOVERY_H
#define TIDEMILL_MILL_RECOVERY_H

#include <stddef.h>
#include <uv.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/control.h"
#include "mill/counters.h"
#include "ops/health.h"

/*
 * Recovery: looks after the consumers the workers pull from. When a pull has reason to doubt that
 * its consumer exists, it asks the server over the control connection (on a pool thread), creates
 * again what is missing, with a growing wait between attempts, and tells the workers to pull anew.
 * It also reports each source's check in the health record.
 *
 * Thread: the supervisor's loop.
 */

struct recovery;

typedef void (*recovery_restored)(void *context, unsigned source);

/*
 * All pointers outlive it. `counters` holds a row of config->source_count for each worker.
 */
int recovery_open(struct recovery **recovery, uv_loop_t *loop, const struct config *config,
                  struct control *control, const struct source_counters *counters,
                  size_t worker_count, struct health *health, recovery_restored restored,
                  void *context, struct error *err);
void recovery_free(struct recovery *recovery); /* not while busy; NULL is fine */

/* Call a few times a second. */
void recovery_tick(struct recovery *recovery);

/* Name of the health check of a source: "consumer clientA_sensor/rule_executor". */
void recovery_check_name(const struct source_config *source, char *out, size_t size);

#endif
