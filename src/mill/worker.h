#ifndef TIDEMILL_MILL_WORKER_H
#define TIDEMILL_MILL_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "mill/pipeline.h"
#include "rules/engine.h"

/*
 * A worker: one thread, one libuv loop, one NATS connection and one pipeline. Everything it reacts
 * to happens on its loop, so it has no lock. The supervisor talks to it through a few atomics and a
 * poke; it answers by changing its state and calling `notify`.
 *
 * Threads: worker_new .. worker_free belong to the supervisor's thread.
 */

struct worker;

enum worker_state {
    WORKER_STARTING, /* connecting */
    WORKER_RUNNING,
    WORKER_STOPPED, /* drained and closed; the thread has ended or is about to */
    WORKER_FAILED   /* the same, after a fault: worker_error says which */
};

/* A reload as this worker sees it (reload.h has the whole). */
enum offer_state {
    OFFER_NONE,
    OFFER_MADE,    /* by the supervisor: here is an engine, would it do? */
    OFFER_READY,   /* by the worker: yes */
    OFFER_REFUSED, /* by the worker: no, worker_error says why; the engine is still the supervisor's
                    */
    OFFER_COMMITTED, /* by the supervisor: swap it in */
    OFFER_SWAPPED    /* by the worker: done, the engine is mine */
};

/* Called on the worker's thread when a state has changed; must only wake somebody. */
typedef void (*worker_notify)(void *context);

/* Copies `options`. */
int worker_new(struct worker **worker, const struct pipeline_options *options, worker_notify notify,
               void *context, struct error *err);

/* How to open an engine for it. */
void worker_engine_options(struct worker *worker, struct engine_options *options);

/* Before worker_start: whether the server understands `+TERM reason` (settle.h). */
void worker_set_term_reasons(struct worker *worker, bool term_reasons);

/* Starts the thread. The engine passes to the worker, also on failure. */
int worker_start(struct worker *worker, struct engine *engine, struct error *err);

enum worker_state worker_state(const struct worker *worker);

/* What went wrong, after WORKER_FAILED or OFFER_REFUSED. */
const char *worker_error(const struct worker *worker);

/* The connection and the pulls have been opened, and the connection stands now. */
bool worker_connected(const struct worker *worker);

/* The pulls of the source at this position of config->sources begin anew (pipeline.h). */
void worker_restart_pull(struct worker *worker, unsigned source, bool replaced, uint64_t stream_id);

/*
 * Reload, step by step; see enum offer_state. worker_decline takes a READY or REFUSED offer back.
 */
void worker_offer(struct worker *worker, struct engine *engine);
void worker_commit(struct worker *worker);
void worker_decline(struct worker *worker);
enum offer_state worker_offer_state(const struct worker *worker);

/* The longest time, in ns, that this offer has kept the worker from its messages: for the trial or
 * for the swap, between which it goes on. Holds from READY, REFUSED or SWAPPED on. */
int64_t worker_offer_pause_ns(const struct worker *worker);

/* Stop pulling, finish what is in flight, let the server see every ack, close. */
void worker_drain(struct worker *worker);

/* Patience is over: give back what no rule has seen, end the handlers that wait, then as drain. */
void worker_give_up(struct worker *worker);

/* Waits for the thread (it must be stopping or have stopped), frees. NULL is fine. */
void worker_free(struct worker *worker);

#endif
