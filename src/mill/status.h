#ifndef TIDEMILL_MILL_STATUS_H
#define TIDEMILL_MILL_STATUS_H

#include "base/config.h"
#include "base/error.h"
#include "mill/tally.h"
#include "ops/health.h"

/*
 * The tally for people: the sections `sources`, `workers` and `rules` of /status, and the lines
 * that SIGUSR1 leaves in the log.
 *
 * Threads: status_open and status_close on the supervisor's; status_log on any.
 */

struct status;

/* All pointers outlive it. */
int status_open(struct status **status, const struct config *config, const struct tally *tally,
                struct health *health, struct error *err);
void status_close(struct status *status); /* before health_close; NULL is fine */

void status_log(const struct config *config, const struct tally *tally);

#endif
