#ifndef TIDEMILL_MILL_PIPELINE_INTERNAL_H
#define TIDEMILL_MILL_PIPELINE_INTERNAL_H

#include "mill/cumulative.h"
#include "mill/garbage.h"
#include "mill/pipeline.h"
#include "mill/pipeline_kv.h"
#include "mill/refusals.h"
#include "mill/settle.h"

/*
 * What the parts of the pipeline share: pipeline.c (arrival, rounds and shutdown),
 * pipeline_rules.c (from the first handler to the settled message; reload; the engine's host) and
 * pipeline_events.c (what comes from outside).
 */

enum { PIPELINE_UNIQUE_SIZE = 64 };

struct pipeline {
    struct pipeline_options options;
    char name[32];                     /* "worker 1", for the log */
    char unique[PIPELINE_UNIQUE_SIZE]; /* of this process and worker: ids of timers' outputs */
    uint64_t timer_outputs;            /* counts them */
    struct link *link;
    struct outbox *outbox;
    struct kv_calls *kv; /* NULL: no rule has asked yet */
    struct settler settler;
    struct refusals refusals;
    bool term_reasons;
    struct source *sources;
    struct generation *current, *retired;
    uint32_t generations;
    struct delivery *first_queued, *last_queued; /* arrived, no rule has seen it */
    struct retries retries;
    bool tick_due;
    struct rule **matches; /* room for as many rules as the current engine has */
    size_t match_capacity;
    struct garbage garbage;
    int64_t now_ns; /* clock_monotonic_ns when something was last seen to begin or end */
};

/* Lets an engine work: connects it with the watchdog and its rules with their counters. */
void pipeline_put_to_work(struct pipeline *pipeline, struct engine *engine);

/* Gives the message to the rules that want it. The delivery may be settled and gone on return. */
void pipeline_start(struct pipeline *pipeline, struct delivery *delivery);

/* The delivery is settled: its place in the window is free. */
void pipeline_finish(struct pipeline *pipeline, struct delivery *delivery);

/* The outbox has stored something, or given up on it. */
void pipeline_output_done(void *context, void *token, const struct outbox_result *result);

/* Keeps a message for the burst at the end of a round; NULL is fine. */
void pipeline_discard(struct pipeline *pipeline, struct wire_message *message);

#endif
