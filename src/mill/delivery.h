#ifndef TIDEMILL_MILL_DELIVERY_H
#define TIDEMILL_MILL_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "bus/pull.h"
#include "bus/wire.h"
#include "mill/counters.h"
#include "mill/generation.h"
#include "rules/engine.h"

/*
 * A delivery: the life of one input message in this worker, from its arrival to ack, nak or term.
 * It counts what is still open (handlers not ended, outputs not stored) and keeps the verdict. When
 * nothing is open any more, settle.h acts on the verdict.
 *
 * The verdict only ever gets worse: ACK, then REJECT (some rule will never take it), then AGAIN
 * (some rule wants another try). AGAIN wins over REJECT so that one rule's refusal does not take
 * the message away from another that has only failed for now; the refusal is met again next time.
 *
 * Thread: the worker's loop.
 */

struct cumulative;
struct delivery;

enum {
    SOURCE_BUCKETS = 1024,
    DELIVERY_FEW_RUNS = 4, /* rules on one message without an allocation of their own */
    SOURCE_SPARES =
        2048 /* deliveries kept for the next messages: as many as are mostly in flight */
};

/* One worker's end of one configured source. */
struct source {
    const struct source_config *config;
    unsigned index; /* in the configuration */
    struct pull *pull;
    unsigned doubts_seen; /* of the pull, when its signs of trouble were last looked at */
    uint64_t losses_seen;
    struct cumulative *cumulative; /* NULL: each message is acknowledged by itself */
    uint64_t stream_id; /* 0, or names the stream that replaced the first one (recovery.h) */
    struct source_counters *counters;
    struct delivery *oldest, *newest;         /* in flight, by touched_ns */
    struct delivery *buckets[SOURCE_BUCKETS]; /* the same, by stream sequence */
    struct delivery *spares;                  /* freed ones, by `newer`; source_free_spares */
    size_t spare_count;
};

enum verdict { VERDICT_ACK, VERDICT_REJECT, VERDICT_AGAIN };

enum delivery_phase {
    PHASE_QUEUED,      /* no rule has seen it */
    PHASE_RULES,       /* handlers run, outputs are being stored */
    PHASE_WAITING,     /* for its next try here, which its source's cumulative acks wait for */
    PHASE_DEAD_LETTER, /* the dead letter is being stored */
    PHASE_CONFIRM      /* acked; waiting for the server to say so */
};

/* Why a message could not be handled: what the dead letter says. The strings are the delivery's. */
struct failure {
    const char *reason; /* one word, static */
    char *rule;         /* NULL: no rule's fault */
    char *error;
    char *traceback; /* NULL: none */
};

/* One rule's work on one delivery: the token of the engine's call and of the outbox' entries. */
struct run {
    struct delivery *delivery;
    struct generation *generation;
    struct rule *rule;              /* valid while the call is open */
    const char *name;               /* the rule's; valid while `generation` is used */
    struct rule_counters *counters; /* the rule's, once the handler has ended */
    bool ended;                     /* the handler has */
    bool failed;                    /* the handler did, or one of its outputs */
};

struct delivery {
    struct delivery *older, *newer; /* in source's list */
    struct delivery *next_in_bucket;
    struct delivery *next_queued;
    struct delivery *retried_before, *retried_after; /* in retries.h's list */
    struct source *source;
    struct wire_message *message;
    struct wire_message
        *latest; /* NULL, or the same message delivered again meanwhile: settle this one */
    struct ack_subject ack;
    uint64_t stream_id;
    struct input input;
    enum delivery_phase phase;
    enum verdict verdict;
    size_t open;      /* handlers and outputs not ended, and one while handlers are being started */
    int64_t delay_ns; /* asked for with msg:retry */
    bool delay_given;
    int64_t retry_due_ns; /* PHASE_WAITING */
    uint64_t floor_slot;  /* of a source with cumulative acks */
    uint64_t tries;       /* here: 1 + how often delivery_again was called */
    int64_t touched_ns;   /* when it arrived, or +WPI was last sent */
    int confirms_sent;
    bool orphan; /* its consumer is gone: there is nobody to answer to */
    struct failure failure;
    struct run dead_letter; /* the token of the dead letter's outbox entry */
    size_t run_count;
    struct run *runs; /* `few`, or allocated */
    struct run few[DELIVERY_FEW_RUNS];
};

/*
 * Takes the message over. The delivery is last in its source's list. NULL: out of memory, nothing
 * was taken.
 */
struct delivery *delivery_new(struct source *source, struct wire_message *message,
                              const struct ack_subject *ack, int64_t now_ns);

/*
 * Makes room for `count` runs, zeroed but for `delivery`; run_count is the caller's. Returns 0 or
 * -1.
 */
int delivery_make_runs(struct delivery *delivery, size_t count);

/*
 * To be tried again here: counts as one more delivery of which nothing is known yet. Its runs must
 * have let their generations go.
 */
void delivery_again(struct delivery *delivery);

/*
 * The tries that max_deliver limits: the deliveries; with cumulative acks, where also what is
 * settled may be delivered again, the tries in this process.
 */
uint64_t delivery_tries(const struct delivery *delivery);

/*
 * Whether it has come so often without ever being settled that no rule is to see it any more: it
 * may be what kills the process. With cumulative acks that takes DELIVERY_CUMULATIVE_FACTOR times
 * max_deliver deliveries, since what is settled comes again, too, when a process dies.
 */
enum { DELIVERY_CUMULATIVE_FACTOR = 4 };
bool delivery_is_hopeless(const struct delivery *delivery);

/* Leaves the list, frees all but the wire messages. */
void delivery_free(struct delivery *delivery);
void source_free_spares(struct source *source);

/* The delivery in flight with this stream sequence, or NULL. */
struct delivery *delivery_find(struct source *source, uint64_t sequence);

/* A sign of life was sent: to the end of the list. */
void delivery_touched(struct delivery *delivery, int64_t now_ns);

/*
 * "<stream>:<sequence>", what names the message in ids; "<stream>@<stream id>:<sequence>" where the
 * stream is a later one of the same name.
 */
enum { DELIVERY_NAME_SIZE = 320 };
void delivery_name(const struct delivery *delivery, char name[DELIVERY_NAME_SIZE]);

/* The subject to acknowledge to. */
const char *delivery_reply(const struct delivery *delivery);

/*
 * A run did not succeed. Keeps the worst verdict and, of equally bad ones, the first failure.
 * `traceback` may be NULL. `reason` is static.
 */
void delivery_fail(struct delivery *delivery, enum verdict verdict, const char *reason,
                   const char *rule, const char *error, const char *traceback);

/* msg:retry(seconds): AGAIN, with a delay; of several the longest. */
void delivery_retry(struct delivery *delivery, const char *rule, int64_t delay_ns);

#endif
