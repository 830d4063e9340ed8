#ifndef TIDEMILL_MILL_RECOVERY_H
#define TIDEMILL_MILL_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/control.h"
#include "mill/tally.h"
#include "ops/health.h"

/*
 * Recovery: looks after the consumers the workers pull from. It looks at each of them every few
 * seconds, and at once when a pull has reason to doubt that its consumer exists: asks the server
 * over the control connection (on a pool thread), creates again what is missing, with a growing
 * wait between attempts, and tells the workers to pull anew. It also reports each source's check in
 * the health record.
 *
 * A consumer is created again behind the sequence up to which the last look found all settled, so
 * that nothing is lost and little is repeated. Where the stream is another one than before, that
 * counts for nothing: all its messages are new, though they carry the old sequences.
 *
 * Thread: the supervisor's loop.
 */

struct recovery;

/*
 * The pulls of a source must begin anew; with `replaced` from another consumer than before.
 * `stream_id` is 0 while its stream is the one found first, then a number that names the later one,
 * the same in every process.
 */
typedef void (*recovery_restored)(void *context, unsigned source, bool replaced,
                                  uint64_t stream_id);

/* All pointers outlive it. What the looks see of the consumers goes into the tally. */
int recovery_open(struct recovery **recovery, uv_loop_t *loop, const struct config *config,
                  struct control *control, const struct tally *tally, struct health *health,
                  recovery_restored restored, void *context, struct error *err);
void recovery_free(struct recovery *recovery); /* not while busy; NULL is fine */

/* Call a few times a second. */
void recovery_tick(struct recovery *recovery);

/* Name of the health check of a source: "consumer clientA_sensor/rule_executor". */
void recovery_check_name(const struct source_config *source, char *out, size_t size);

#endif
