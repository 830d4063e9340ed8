#ifndef TIDEMILL_TESTS_SOAK_TRAFFIC_H
#define TIDEMILL_TESTS_SOAK_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "integration/feeder.h"

/*
 * The inputs of a soak, and what must become of each. Of 1000 inputs in a row each kind has its
 * share, spread evenly. Every input that is JSON has "time": TIME_BASE + its number, and whatever
 * the rules publish because of it has the same "time": so an output tells its input. Pure.
 */

#define TIME_BASE INT64_C(1700000000000)

/* An outcome of an input, one bit each; each may be there once. */
enum outcome {
    OUTCOME_RECEIPT = 1, /* of tests/soak/rules, one for each input */
    OUTCOME_LEVEL = 2,   /* of the sample rules: rules/value_limits.lua and so on */
    OUTCOME_RATE = 4,
    OUTCOME_FAULTY = 8,
    OUTCOME_SOS = 16,
    OUTCOME_DEAD = 32
};

struct expectation {
    unsigned must; /* outcomes */
    unsigned may;  /* further ones, which depend on what the rules have seen before */
};

/* The input of this number; `context` is not used. For struct feed_source. */
void traffic_input(void *context, size_t number, struct feed_input *input);

struct expectation traffic_expectation(size_t number);

/* The name of the kind that this input is of. */
const char *traffic_kind(size_t number);

/* How many of the first `count` inputs have no outcome at all, about. */
size_t traffic_silent(size_t count);

/* Which outcome of an input a message on this subject is; 0: of no single input. */
unsigned traffic_outcome(const char *subject);

/*
 * Whether this request for a price is to be left without an answer, so that it times out. `payload`
 * is NUL-terminated.
 */
bool traffic_ignored(const char *payload);

/* The number of the input that this payload tells; -1: none. */
int64_t traffic_number(const char *payload, size_t size);

#endif
