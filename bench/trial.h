#ifndef TIDEMILL_BENCH_TRIAL_H
#define TIDEMILL_BENCH_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "stage.h"

/*
 * One program works through a stream once, through a durable of its own, and is measured
 * from outside, in the same way whatever program it is:
 *
 * - It begins when its first pull request reaches the server, and ends when the consumer has
 *   nothing pending and nothing unsettled. Both are events: the runner subscribes to the subject of
 *   pull requests (for one message) and to that of the last reading's ack. So what a program does
 *   before its first request, starting and reading its rules, counts for none of them.
 * - CPU time and context switches are those of that time, read from the kernel for client and
 *   server; memory is the most the process ever had.
 * - Its work is checked: so many alerts are in the stream as there must be, none doubled by a
 *   missing message id, nothing pending.
 */

struct trial {
    const char *program; /* as in trial_knows */
    const char *stream;  /* of the readings; NULL: "bench" */
    const char *name;    /* of the durable, made for this trial */
    uint64_t count;      /* readings in the stream */
    uint64_t alerts;     /* that must be there at the end */
    int limit;           /* for those that know no rules */
    int workers;         /* of tidemill */
    const char *rules;   /* its folder of rules, below the stage's */
    const char *source;  /* more text for tidemill's source, or NULL */
    int batch;           /* messages per request; 0: what the program does by itself (500) */
};

struct measure {
    double rate;                 /* messages per second */
    double client_us, server_us; /* CPU per message */
    double switches;             /* of the client, per message */
    double memory_mb;            /* the most it had */
    double start_mb, middle_mb;  /* what it had at the first pull, and half-way (0: not seen) */
    double end_mb;               /* when all was settled */
};

/*
 * "tidemill", "tidemill-cumulative", "tidemill-cjson", "floor", "fetch", "drain",
 * "drain-cumulative"; "tidemill-other" and "tidemill-other-cumulative" are of another build, at
 * $TIDEMILL_OTHER.
 */
bool trial_knows(const char *program);

/* Whether its rules are those that decode with lua-cjson. */
bool trial_decodes_with_cjson(const char *program);

/* Whether the program raises alerts at all. */
bool trial_raises_alerts(const char *program);

/*
 * Starts the program on its durable. Its log is NAME.log in the stage's folder. The durable is
 * created, unless the program does so itself.
 */
int trial_start(struct stage *stage, const struct trial *trial, struct process **process,
                struct error *err);

/* The path of a program that lies beside the runner. */
void trial_beside(const char *program, char *path, size_t size);

/* The subject of the durable's pull requests. */
void trial_pull_subject(const struct trial *trial, char *subject, size_t size);

/* Ends it; -1 when it has ended before, or fails at its end. */
int trial_stop(struct process *process, struct error *err);

/* Runs and measures. The stream "alerts" is made anew. */
int trial_run(struct stage *stage, const struct trial *trial, struct measure *measure,
              struct error *err);

/*
 * Subscribes for `events` of the stage: `maximum` messages (0: all) on a subject, under a number
 * from 1; and waits for the next one, until `deadline_ns`: its number, or 0 when none came. What
 * has come before trial_watch is forgotten.
 */
int trial_watch(struct stage *stage, const char *subject, int sid, int maximum, struct error *err);
int trial_wait(struct stage *stage, int64_t deadline_ns, struct error *err);

#endif
