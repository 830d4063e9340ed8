#ifndef TIDEMILL_TESTS_SOAK_SITE_H
#define TIDEMILL_TESTS_SOAK_SITE_H

#include <stdint.h>

#include "integration/harness.h"

/*
 * Where a soak takes place: the harness's nats-server, one tidemill that runs from the first
 * message to the last and is measured, and what disturbs it: reloads, some of them of broken rules,
 * restarts of the server, a second tidemill on the same durable that comes, and goes by SIGTERM or
 * SIGKILL in turn. The rules are the sample rules and those of tests/soak/rules. What fails does so
 * through the harness. One thread.
 */

struct site;

struct disturbances { /* how often each, in milliseconds */
    int reload_ms, restart_ms, second_ms;
};

struct unrest { /* what there was */
    unsigned reloads, broken_reloads, restarts, second_starts;
};

/* Writes rules and configuration, makes the bucket, starts tidemill; returns when it is ready. */
struct site *site_open(struct harness *h, const struct disturbances *disturbances);
void site_close(struct site *site); /* NULL is fine */

/* The tidemill that is measured. */
struct process *site_mill(struct site *site);

/* Does what is due. The first call begins the time. */
void site_disturb(struct site *site);

/* The server runs, the second tidemill ends. */
void site_calm(struct site *site);

const struct unrest *site_unrest(const struct site *site);

/* What went wrong beside the messages, such as an end that was not in order. NULL: nothing. */
const char *site_complaint(const struct site *site);

#endif
