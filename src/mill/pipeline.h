#ifndef TIDEMILL_MILL_PIPELINE_H
#define TIDEMILL_MILL_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/link.h"
#include "mill/counters.h"
#include "mill/delivery.h"
#include "mill/outbox.h"
#include "mill/progress.h"
#include "mill/rule_book.h"
#include "ops/health.h"
#include "rules/engine.h"

/*
 * The pipeline: the way of a message through one worker, in one direction.
 *
 *   pull -> delivery -> router -> rule handlers -> outbox -> PubAcks -> settle
 *
 * It owns the worker's sources, outbox and engine generations and is the engine's host. It knows no
 * thread and no loop: the worker calls it when something may have happened.
 *
 * Bounds: each source holds at most its pull's window of messages; no handler is started while the
 * outbox or the connection's output buffer is over its limit, while the server is away, or for
 * longer than a slice of time in one round.
 *
 * Thread: the worker's. Before pipeline_attach the engine may call its host from the thread that
 * builds it: only its log and metric functions are called then.
 */

struct pipeline;

struct pipeline_options {
    const struct config *config; /* outlives the pipeline, as all pointers here */
    int worker_id, worker_count;
    const unsigned *sources; /* which of config->sources this worker pulls from */
    size_t source_count;
    struct progress *progress;
    struct health *health;
    struct worker_counters *counters;
    struct source_counters *source_counters; /* by position in config->sources */
    struct rule_book *rules;
    struct engine_activity *activity;
};

int pipeline_open(struct pipeline **pipeline, const struct pipeline_options *options,
                  struct error *err);
void pipeline_free(struct pipeline *pipeline); /* after pipeline_detach; NULL is fine */

/* How an engine for this pipeline is to be opened (on any thread). */
void pipeline_engine_options(struct pipeline *pipeline, struct engine_options *options);

/* Before pipeline_attach: whether the server understands `+TERM reason` (settle.h). */
void pipeline_set_term_reasons(struct pipeline *pipeline, bool term_reasons);

/*
 * Begins: opens the pulls and the outbox on a link. The engine passes to the pipeline, also on
 * failure.
 */
int pipeline_attach(struct pipeline *pipeline, struct link *link, struct engine *engine,
                    struct error *err);

/* Ends, before the link closes: frees all messages unsettled, engines included. */
void pipeline_detach(struct pipeline *pipeline);

/*
 * One round: takes what has arrived, works for a slice of time, asks for more. Returns true when
 * there is more to do right now.
 */
bool pipeline_round(struct pipeline *pipeline);

/*
 * A few times a second: deadlines, +WPI, retired generations. Only marks them due; the next round
 * acts.
 */
void pipeline_tick(struct pipeline *pipeline);

/* When the engine's next timer is due, clock_monotonic_ns; -1: none, or timers wait for room. */
int64_t pipeline_due_ns(const struct pipeline *pipeline);

/* A reply from the link; takes the message over. REPLY_BARRIER is the worker's own. */
void pipeline_reply(struct pipeline *pipeline, enum reply_kind kind, uint64_t token,
                    struct wire_message *message, bool no_responders);

/* A publish has reached nobody (link.h, on_unheard). */
void pipeline_unheard(struct pipeline *pipeline);

/* The server has denied a publish to this subject. */
void pipeline_denied(struct pipeline *pipeline, const char *subject);

/* The connection is back: asks again, sends again. */
void pipeline_reconnected(struct pipeline *pipeline);

/*
 * The pulls of this source (position in config->sources) begin anew. `replaced`: from another
 * consumer; what is in flight is finished but not acknowledged, it comes again. `stream_id` other
 * than before: the stream is another one, too, with other messages under the old sequences.
 */
void pipeline_restart_pull(struct pipeline *pipeline, unsigned source, bool replaced,
                           uint64_t stream_id);

/* Carries the rules' state into `engine` as a trial: whether a swap would work. */
int pipeline_try_swap(struct pipeline *pipeline, struct engine *engine, struct error *err);

/* Swaps `engine` in, between two messages. The pipeline owns it from here. -1: not swapped. */
int pipeline_swap(struct pipeline *pipeline, struct engine *engine, struct error *err);

/* Asks for nothing more; what has arrived is still worked on. */
void pipeline_drain(struct pipeline *pipeline);

/* Whether, draining, it has unsubscribed from all that it pulled. */
bool pipeline_unsubscribed(const struct pipeline *pipeline);

/* Ends the rules' timers and runs their on_unload: the end, once pipeline_idle. */
void pipeline_unload(struct pipeline *pipeline);

/* Gives back what no rule has seen and ends handlers that wait (shutdown's patience is over). */
void pipeline_give_up(struct pipeline *pipeline);

/* The last thing to be sent: acks that have waited. */
void pipeline_leave(struct pipeline *pipeline);

/* Whether nothing is in flight: no message, no handler, no output. */
bool pipeline_idle(const struct pipeline *pipeline);

#endif
