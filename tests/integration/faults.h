#ifndef TIDEMILL_TESTS_FAULTS_H
#define TIDEMILL_TESTS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "harness.h"

/*
 * What the tests of faults share: the job that goes on through every fault, and the look at it
 * afterwards. The job: each input of the stream "in" is `{"n":<number>}` on "in.a"; the durable "d"
 * reads it and the rule "relay" stores the number once in the stream "out".
 */

enum { FAULTS_PATIENCE_MS = 20000 };

/*
 * Writes the configuration and the rule. `source` is more text for the source ("batch = 10"),
 * `before` what the rule does before it publishes ("mill.sleep(0.001)"); "" for nothing.
 */
void faults_job(struct harness *h, const char *source, const char *before);

/* The same with streams of the test's own: the text of the configuration's `streams`. */
void faults_job_with_streams(struct harness *h, const char *streams, const char *source,
                             const char *before);

/* Starts it and waits until it is ready. */
struct process *faults_start(struct harness *h);

/* Feeds inputs with the numbers first, first + 1, ... */
void faults_feed(struct harness *h, size_t first, size_t count);

/* Waits until at least so many outputs are stored. */
void faults_wait_outputs(struct harness *h, uint64_t count);

/* Waits until all is settled; then the outputs must be the numbers below `count`, each once. */
void faults_check_all(struct harness *h, size_t count);

/* The same without waiting, and for the numbers from `first` up to and without `end`. */
void faults_check_outputs(struct harness *h, size_t first, size_t end);

/* A value on a page of /metrics, summed over all its series whose labels contain `label`. */
double faults_sum(const char *page, const char *name, const char *label);

/* A counter of this process' /metrics, likewise; 0 when nothing answers. */
uint64_t faults_metric(struct process *mill, const char *name, const char *label);

/*
 * Waits until the process has been delivered more messages than `before`; returns how long that
 * took in milliseconds and fails when it is more than `limit_ms`.
 */
int faults_wait_delivery(struct process *mill, uint64_t before, int limit_ms);
uint64_t faults_delivered(struct process *mill);

/* Waits for 503 on /readyz with a reason that contains `reason`. */
void faults_wait_unready(struct process *mill, const char *reason, int timeout_ms);

/* Lines of its log that warn or tell of an error. */
size_t faults_complaints(struct process *mill);

/* Numbers for random moments: FAULTS_SEED in the environment, else the clock's; printed. */
uint64_t faults_seed(void);
unsigned faults_draw(uint64_t *random, unsigned bound); /* 0 <= result < bound */

/* Whether FAULTS=long is in the environment: the cases that take half a minute and more. */
bool faults_long(void);

/* Waits so long, while nothing can be waited for but time itself. */
void faults_pause(int ms);

#endif
