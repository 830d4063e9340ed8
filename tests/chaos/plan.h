#ifndef TIDEMILL_TESTS_CHAOS_PLAN_H
#define TIDEMILL_TESTS_CHAOS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "integration/feeder.h"

/*
 * What a round of chaos does, all of it drawn from one seed: which message each input is, what the
 * rules must make of it, and which fault strikes when. The same seed, count and time give the same
 * plan; when exactly a fault meets which message is the machine's affair.
 */

/* ---- inputs ---- */

enum kind {
    KIND_COPY,      /* one output, the payload as it came */
    KIND_TWO,       /* two outputs, to two streams */
    KIND_FLAKY,     /* its rule fails twice, then publishes */
    KIND_LATER,     /* its rule asks for a retry once, then publishes */
    KIND_SLOW,      /* its rule sleeps before it publishes */
    KIND_PAIR,      /* two rules; the second fails the first time */
    KIND_HALF,      /* two rules; the second always fails: an output and a dead letter */
    KIND_FAILING,   /* always fails */
    KIND_REJECTED,  /* the rule rejects it */
    KIND_BROKEN,    /* no JSON */
    KIND_UNMATCHED, /* no rule wants it */
    KIND_COUNT
};

enum { OUTPUTS_MAX = 2, PAYLOAD_MAX = FEED_PAYLOAD_MAX };

/* What an output's payload must be. */
enum content {
    CONTENT_INPUT, /* the input's, byte for byte */
    CONTENT_ID     /* {"id":"<id>"} */
};

struct output {
    const char *subject; /* NULL: no such output */
    enum content content;
};

struct kind_facts {
    const char *name;
    const char *subject;
    unsigned share; /* of 1000 inputs */
    struct output outputs[OUTPUTS_MAX];
    const char *reason; /* of its dead letter; NULL: it must not have one */
};

const struct kind_facts *kind_facts(enum kind kind);

struct input {
    enum kind kind;
    const char *subject;
    char id[24]; /* also its Nats-Msg-Id */
    char payload[PAYLOAD_MAX];
    size_t size;
};

/* ---- faults ---- */

enum fault_kind {
    FAULT_KILL_MILL,     /* kill -9, and a start some time later */
    FAULT_STOP_MILL,     /* TERM, likewise */
    FAULT_PAUSE_MILL,    /* SIGSTOP, sometimes for longer than ack_wait */
    FAULT_SECOND_MILL,   /* another tidemill on the durable for a while */
    FAULT_KILL_SERVER,   /* kill -9, and a start some time later */
    FAULT_PAUSE_SERVER,  /* SIGSTOP */
    FAULT_REFUSE,        /* an output stream, or that for dead letters, takes nothing for a while */
    FAULT_RELOAD,        /* new rules that decide the same */
    FAULT_BROKEN_RELOAD, /* a rule that does not compile */
    FAULT_COUNT
};

const char *fault_name(enum fault_kind kind);

struct fault {
    enum fault_kind kind;
    int at_ms;     /* from the start of the feed */
    int for_ms;    /* 0: it happens at once and has no end */
    unsigned pick; /* chooses among variants: which stream, which way to end */
};

struct plan {
    uint64_t seed;
    size_t inputs;
    int fault_ms;         /* the time in which inputs are fed and faults strike */
    int ack_wait_ms;      /* of the consumer: some pauses are longer */
    struct fault *faults; /* by at_ms */
    size_t fault_count;
};

/*
 * Fills plan->faults from the other fields, which are set before. Returns 0, or -1: out of memory.
 */
int plan_open(struct plan *plan);
void plan_close(struct plan *plan);

/* Whether every kind of fault strikes at least once. */
bool plan_has_all_faults(const struct plan *plan);

/* The input of this number, counted from 0. */
void plan_input(const struct plan *plan, size_t number, struct input *input);

/* How many inputs must have been fed so many milliseconds after the start: they come in bursts. */
size_t plan_due(const struct plan *plan, int64_t ms);

#endif
