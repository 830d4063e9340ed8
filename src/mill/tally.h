#ifndef TIDEMILL_MILL_TALLY_H
#define TIDEMILL_MILL_TALLY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/provision.h"
#include "bus/pull.h"
#include "mill/counters.h"
#include "mill/rule_book.h"

/*
 * The tally: the counters of the whole process. Workers write each their own (counters.h), recovery
 * writes what the server says of a consumer; telemetry and status read and add up.
 *
 * Threads: tally_open and tally_close while no other has it; the rest any.
 */

/* What the server said last of a consumer, over all processes that pull from it. */
struct consumer_view {
    atomic_ullong pending, ack_pending;
    atomic_ullong seen_ns; /* clock_monotonic_ns; 0: not asked yet */
};

struct tally {
    size_t worker_count, source_count;
    struct worker_counters *workers;
    struct source_counters *sources; /* a row of source_count for each worker */
    struct consumer_view *consumers; /* one for each source */
    struct rule_book *rules;
};

int tally_open(struct tally *tally, size_t worker_count, size_t source_count, struct error *err);
void tally_close(struct tally *tally); /* one that is all zero is fine */

/* The counters of a source in a worker, both from 0. */
struct source_counters *tally_source(const struct tally *tally, size_t worker, size_t source);

/* For a worker: the last of the messages that have just arrived has said so. */
void tally_arrived(struct source_counters *counters, uint64_t pending, int64_t now_ns);

/* For a worker: what its pull has counted, and its doubts. */
void tally_pull(struct source_counters *counters, const struct pull *pull);

/* The server has said this of the consumer of a source. One thread at a time for each source. */
void tally_consumer(const struct tally *tally, size_t source, const struct consumer_counts *counts);

/*
 * Messages that the consumer of a source has yet to deliver, by the latest news: the server's, or a
 * delivered message's, which tells it too. Returns 0, or -1 when there was none yet.
 */
int tally_pending(const struct tally *tally, size_t source, uint64_t *pending);

/* Delivered and not settled, by the server's last word; -1: there was none yet. */
int tally_ack_pending(const struct tally *tally, size_t source, uint64_t *ack_pending);

/* One worker's calls of all rules, and the errors among them. */
struct calls {
    uint64_t ended, errors;
};
struct calls tally_calls(const struct tally *tally, size_t worker);

#endif
