#include "mill/tally.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static void *zeroed(size_t alignment, size_t size)
{
    void *memory = aligned_alloc(alignment, size);
    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

int tally_open(struct tally *tally, size_t worker_count, size_t source_count, struct error *err)
{
    *tally = (struct tally){
        .worker_count = worker_count,
        .source_count = source_count,
        .workers = zeroed(CACHE_LINE, worker_count * sizeof(*tally->workers)),
        .sources = zeroed(CACHE_LINE, worker_count * source_count * sizeof(*tally->sources)),
        .consumers = calloc(source_count, sizeof(*tally->consumers)),
        .rules = rule_book_new(worker_count),
    };
    if (tally->workers != NULL && tally->sources != NULL && tally->consumers != NULL &&
        tally->rules != NULL)
        return 0;
    tally_close(tally);
    return error_set(err, "out of memory");
}

void tally_close(struct tally *tally)
{
    free(tally->workers);
    free(tally->sources);
    free(tally->consumers);
    rule_book_free(tally->rules);
    *tally = (struct tally){0};
}

struct source_counters *tally_source(const struct tally *tally, size_t worker, size_t source)
{
    return &tally->sources[worker * tally->source_count + source];
}

/* --- a worker's own --- */

void tally_arrived(struct source_counters *counters, uint64_t pending, int64_t now_ns)
{
    counter_set(counters->pending, pending);
    atomic_store_explicit(&counters->pending_ns, (unsigned long long)now_ns, memory_order_release);
}

void tally_pull(struct source_counters *counters, const struct pull *pull)
{
    const char *why;
    const struct pull_counts *counts = pull_counts(pull);
    counter_set(counters->doubts, pull_doubts(pull, &why));
    counter_set(counters->denied, pull_is_denied(pull));
    counter_set(counters->requests, counts->requests);
    counter_set(counters->ended, counts->ended);
    counter_set(counters->heartbeats, counts->heartbeats);
    counter_set(counters->lost, counts->lost);
    counter_set(counters->unavailable, counts->unavailable);
    counter_set(counters->refused, counts->refused);
}

/* --- consumers --- */

void tally_consumer(const struct tally *tally, size_t source, const struct consumer_counts *counts)
{
    struct consumer_view *view = &tally->consumers[source];
    counter_set(view->pending, (unsigned long long)counts->num_pending);
    counter_set(view->ack_pending, (unsigned long long)counts->num_ack_pending);
    atomic_store_explicit(&view->seen_ns, (unsigned long long)clock_monotonic_ns(),
                          memory_order_release);
}

int tally_pending(const struct tally *tally, size_t source, uint64_t *pending)
{
    struct consumer_view *view = &tally->consumers[source];
    uint64_t seen_ns = atomic_load_explicit(&view->seen_ns, memory_order_acquire);
    *pending = counter_get(view->pending);
    for (size_t i = 0; i < tally->worker_count; i++) {
        struct source_counters *counters = tally_source(tally, i, source);
        uint64_t arrived_ns = atomic_load_explicit(&counters->pending_ns, memory_order_acquire);
        if (arrived_ns > seen_ns) {
            seen_ns = arrived_ns;
            *pending = counter_get(counters->pending);
        }
    }
    return seen_ns != 0 ? 0 : -1;
}

int tally_ack_pending(const struct tally *tally, size_t source, uint64_t *ack_pending)
{
    struct consumer_view *view = &tally->consumers[source];
    *ack_pending = counter_get(view->ack_pending);
    return counter_get(view->seen_ns) != 0 ? 0 : -1;
}

/* --- rules --- */

struct calls tally_calls(const struct tally *tally, size_t worker)
{
    struct calls calls = {0};
    for (size_t row = 0; row < rule_book_count(tally->rules); row++) {
        const struct rule_counters *rule = rule_book_row(tally->rules, row, worker);
        calls.ended += counter_get(rule->calls);
        for (size_t reason = 0; reason < REASONS_OF_RULES; reason++)
            calls.errors += counter_get(rule->errors[reason]);
    }
    return calls;
}
