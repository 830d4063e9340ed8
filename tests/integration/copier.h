#ifndef TIDEMILL_TESTS_COPIER_H
#define TIDEMILL_TESTS_COPIER_H

#include "harness.h"

/*
 * For tests of how tidemill gets to its server: one that copies what comes in on "in.a" to the
 * stream "out", with `nats` inside of nats = { ... }.
 */

void copier_configure(struct harness *h, const char *nats);

/* Runs with this configuration until it is connected and its consumer bound. (The harness itself
 * connects by user and password only, so that other tests send no message.) */
struct process *copier_run(struct harness *h, const char *nats);

/* Runs with this configuration, which must fail in one line that has both texts in it. */
void copier_expect_refused(struct harness *h, const char *nats, const char *says,
                           const char *advises);

#endif
