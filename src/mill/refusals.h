#ifndef TIDEMILL_MILL_REFUSALS_H
#define TIDEMILL_MILL_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>

#include "ops/health.h"

/*
 * Refusals: the outputs of one worker that could not be stored, told with measure. A stream that is
 * full refuses thousands a second: the first is told in full, the others as a number every ten
 * seconds. When for some seconds none was stored between them, the worker's check in the health
 * record fails; with the next one that is stored, or when there was no refusal for a while, it is
 * ok.
 *
 * Thread: the worker's loop.
 */

enum { REFUSALS_WHY_SIZE = 512 };

struct refusals {
    struct health *health;
    const char *name; /* "worker 1" */
    char check[48];   /* "outputs of worker 1" */
    bool told, unready;
    int64_t since_ns; /* the first since one was stored; 0: none */
    int64_t last_ns, told_ns;
    uint64_t untold;
    char why[REFUSALS_WHY_SIZE]; /* the last one */
};

/* `name` and `health` are borrowed for good. */
void refusals_init(struct refusals *refusals, struct health *health, const char *name);

/* An output could not be stored; `why` is one line. */
void refusals_note(struct refusals *refusals, int64_t now_ns, const char *why);

/* An output was stored. */
void refusals_stored(struct refusals *refusals);

/* Call a few times a second. */
void refusals_tick(struct refusals *refusals, int64_t now_ns);

#endif
