#ifndef TIDEMILL_OPS_HEALTH_H
#define TIDEMILL_OPS_HEALTH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/*
 * The health of one process: named checks ("connected", "consumer clientA_sensor/rule_executor",
 * "rules"), each ok or with the reason why not, and how the last reload of the rules went. Whoever
 * is responsible for a check reports it; /readyz and /status show it.
 *
 * Ready means: there are checks, and all of them are ok. So whatever must work before the first
 * message is reported as failed ("connecting") before it is tried.
 *
 * Any thread may call anything; the record outlives those who report.
 */

struct health;

enum {
    HEALTH_CHECKS_MAX = 256,
    HEALTH_NAME_MAX = 160,  /* bytes of a name; longer ones are cut */
    HEALTH_REASON_MAX = 512 /* likewise */
};

int health_open(struct health **health, const char *version, struct error *err);
void health_close(struct health *health); /* NULL is fine */

/* Reports a check, which comes into being with its first report, in this order on the pages. */
void health_ok(struct health *health, const char *check);
void health_failed(struct health *health, const char *check, const char *reason, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * A reload, the first load included, has put rules of this version to work; or it has changed
 * nothing.
 */
void health_reloaded(struct health *health, const char *rules_version);
void health_reload_failed(struct health *health, const char *error);

bool health_ready(struct health *health);

/*
 * Adds `"name": ...` to the status page. `write` writes one JSON value (ops/escape.h has strings);
 * it runs on the thread that renders, one at a time. After health_remove_section it does not run
 * any more.
 */
int health_add_section(struct health *health, const char *name,
                       void (*write)(void *context, FILE *out), void *context, struct error *err);
void health_remove_section(struct health *health, const char *name);

/*
 * The page of /readyz: "ready", or one line "<check>: <reason>" for each check that failed; then,
 * after the first load, a line "rules: ..." on the last reload. NUL-terminated, to be freed; NULL
 * when memory is short. `ready` gets what health_ready would have said.
 */
char *health_render_ready(struct health *health, bool *ready);

/* The page of /status: one JSON object, NUL-terminated, to be freed; NULL when memory is short. */
char *health_render_status(struct health *health);

#endif
