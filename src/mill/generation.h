#ifndef TIDEMILL_MILL_GENERATION_H
#define TIDEMILL_MILL_GENERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/engine.h"

/*
 * A generation: one engine of a worker, from its swap-in until the last delivery that ran on it is
 * settled. The worker has one current generation and, after reloads, perhaps some that still have
 * handlers waiting. One thread: the worker's.
 */

/* A retired generation with handlers that still wait is given this long, then they are ended. */
#define GENERATION_PATIENCE_NS (INT64_C(60) * 1000 * 1000 * 1000)

struct generation {
    struct generation *next;
    struct engine *engine;
    uint32_t number;       /* 1, 2, ...: part of the tokens of requests under way */
    size_t uses;           /* runs of unsettled deliveries */
    int64_t retired_at_ns; /* 0: current */
};

/* Takes the engine over. NULL: out of memory. */
struct generation *generation_new(struct engine *engine, uint32_t number);

/* Closes the engine and frees. NULL is fine. */
void generation_free(struct generation *generation);

/* Whether nothing needs it any more. */
bool generation_is_over(const struct generation *generation);

#endif
