#ifndef TIDEMILL_TESTS_CHAOS_STAGE_H
#define TIDEMILL_TESTS_CHAOS_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "integration/harness.h"
#include "plan.h"

/*
 * The stage of a round: the harness's nats-server, a tidemill that is meant to run all the time and
 * one that comes and goes, their configuration and rules. It carries out faults and sees to it that
 * what should run does run. What it cannot do fails through the harness. One thread.
 */

enum { ACK_WAIT_MS = 3000 };

struct stage;

/* Writes the configuration and the rules and starts tidemill; returns when it runs. */
struct stage *stage_open(struct harness *h, bool cumulative);
void stage_close(struct stage *stage); /* kills what runs; NULL is fine */

void stage_begin_fault(struct stage *stage, const struct fault *fault);
void stage_end_fault(struct stage *stage, const struct fault *fault);

/* Starts again what ended by itself; call it often. */
void stage_watch(struct stage *stage);

/* Everything runs again, the second tidemill apart, which ends. */
void stage_heal(struct stage *stage);

/* TERM to tidemill; its end must be in order. */
void stage_finish(struct stage *stage);

/*
 * What went wrong beside the messages: a tidemill that crashed, that did not end on TERM, a
 * sanitizer's report, a reload that was not told as it was. NULL: nothing. Valid until the next
 * call here.
 */
const char *stage_complaint(const struct stage *stage);

/* How often a tidemill ended by itself with this exit status, and was started again. */
unsigned stage_ends(const struct stage *stage, int status);

#endif
