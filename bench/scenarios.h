#ifndef TIDEMILL_BENCH_SCENARIOS_H
#define TIDEMILL_BENCH_SCENARIOS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "stage.h"
#include "workload.h"

/*
 * What can be measured. Each scenario fills the stage as it needs it, runs its trials, a word for
 * each on standard error, and prints one table in Markdown on standard output. -1: a program failed
 * or did the wrong work; there is no table then.
 */

enum { CONTESTANTS_MAX = 12, LABEL_SIZE = 40 };

/* A program that is compared, "floor", or "floor@2000" to say its batch as well. */
struct contestant {
    char label[LABEL_SIZE];
    char program[LABEL_SIZE]; /* as in trial_knows */
    int batch;                /* 0: the plan's */
};

struct plan {
    struct workload workload; /* count 0: the scenario's own */
    int rounds;
    int batch;   /* messages per request, of all programs; 0: what each does by itself */
    int burn_us; /* of the rule in the scenario of workers */
    int seconds; /* of the scenarios that take a time, not a number of messages */
    struct contestant contestants[CONTESTANTS_MAX];
    size_t contestant_count;
};

struct scenario {
    const char *name;
    const char *what; /* in a line */
    int (*run)(struct stage *stage, const struct plan *plan, struct error *err);
};

/* All of them; ends with one that has no name. */
extern const struct scenario scenarios[];

/* The ones in files of their own. */
int scenario_throughput(struct stage *stage, const struct plan *plan, struct error *err);
int scenario_latency(struct stage *stage, const struct plan *plan, struct error *err);
int scenario_workers(struct stage *stage, const struct plan *plan, struct error *err);
int scenario_rules(struct stage *stage, const struct plan *plan, struct error *err);
int scenario_million(struct stage *stage, const struct plan *plan, struct error *err);
int scenario_downstream(struct stage *stage, const struct plan *plan, struct error *err);

#endif
