#ifndef TIDEMILL_TESTS_CHAOS_ROUND_H
#define TIDEMILL_TESTS_CHAOS_ROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "integration/harness.h"
#include "oracle.h"
#include "plan.h"

/*
 * A round of chaos: inputs are fed for some seconds while faults strike, then everything heals, the
 * consumer is waited for, and the oracle compares.
 */

struct chaos {
    uint64_t seed;
    size_t inputs;
    int fault_seconds;
    bool cumulative; /* the source's acks */
};

struct chaos_result {
    struct findings findings;
    char complaint[512]; /* what else went wrong: stage.h; "": nothing */
    unsigned faults[FAULT_COUNT];
    uint64_t redeliveries;  /* as far as the server remembers them after kill -9 */
    unsigned watchdog_ends; /* tidemill ended by its watchdog (a pause looks like a busy handler) */
    double seconds;
};

/* A seed that is another one each time. */
uint64_t chaos_new_seed(void);

/* Whether every kind of fault strikes in this round; a short one may end before. */
bool chaos_has_all_faults(const struct chaos *chaos);

/* Fails through the harness when the round cannot be brought to its end. */
void chaos_round(struct harness *h, const struct chaos *chaos, struct chaos_result *result);

/* Whether everything was as it must be. */
bool chaos_passed(const struct chaos_result *result);

/* The line of a round, and below it what was found. On stdout, at once. */
void chaos_print(const struct chaos *chaos, const struct chaos_result *result);

#endif
