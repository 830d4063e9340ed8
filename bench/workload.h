#ifndef TIDEMILL_BENCH_WORKLOAD_H
#define TIDEMILL_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The readings of the benchmark, the same in every run: reading number i is a function of i. Their
 * values go round from 0.5 to 99.5, so that of each hundred exactly as many raise an alert as were
 * asked for. Pure.
 *
 *   140 bytes   a flat object of ten fields
 *   more        nested objects and lists up to the size; the two fields the rule wants stand in
 *               the middle, in data.reading
 */

enum { WORKLOAD_SMALL = 140, WORKLOAD_PAYLOAD_MAX = 64 << 10 };

struct workload {
    uint64_t count;
    size_t bytes;     /* of a payload, about */
    int alerts;       /* percent of the readings that raise one */
    bool cjson;       /* rules take the raw payload and decode it with lua-cjson */
    size_t subjects;  /* 1: all on sensors.value; else sensors.0.value, sensors.1.value, ... */
    const char *root; /* what stands there instead of "sensors"; NULL: that */
};

/* What a value must be above to raise an alert. */
int workload_limit(const struct workload *workload);

/* How many alerts one rule makes of all of them. */
uint64_t workload_alerts(const struct workload *workload);

/* Writes the payload of reading `number` (from 0), at most WORKLOAD_PAYLOAD_MAX; its size. */
size_t workload_payload(const struct workload *workload, uint64_t number, char *payload);

/* Writes the subject of reading `number`. */
void workload_subject(const struct workload *workload, uint64_t number, char *subject, size_t size);

/*
 * Writes the text of a rule on `subject` that publishes the alerts. It burns time before, `turns`
 * turns of an empty loop.
 */
void workload_rule(const struct workload *workload, const char *subject, uint64_t turns, char *text,
                   size_t size);

#endif
