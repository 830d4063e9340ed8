#ifndef TIDEMILL_TESTS_SOAK_SOAK_H
#define TIDEMILL_TESTS_SOAK_SOAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector.h"
#include "integration/harness.h"
#include "site.h"
#include "trend.h"

/*
 * A soak: mixed traffic, first at full speed for a while to see how much that is, then at half of
 * it while rules are reloaded, the server restarts and a second tidemill comes and goes. What the
 * measured tidemill holds is looked at all the time; in the end everything must have come out
 * exactly once, nothing may be pending, and what it holds must not have grown.
 */

struct soak {
    int seconds;      /* at half speed */
    int full_seconds; /* before, at full speed */
};

enum measure { MEASURE_MEMORY, MEASURE_LUA, MEASURE_DESCRIPTORS, MEASURE_THREADS, MEASURE_COUNT };

struct soak_result {
    double full_rate,
        rate;       /* inputs per second: at full speed, and of the half that was asked for */
    double seconds; /* all in all */
    size_t inputs;
    uint64_t redelivered, dead_letters, reconnects, reloads, failed_reloads; /* by /metrics */
    int64_t pending, unacked;                                                /* in the end */
    struct unrest unrest;
    struct collection collection;
    struct trend trends[MEASURE_COUNT]; /* at half speed, the first sixth left out */
    char complaint[256];                /* site.h; "": nothing */
};

/* The usual form of a soak of so many seconds. */
struct soak soak_of(int seconds);

/*
 * Prints a line now and then, on stdout. Fails through the harness when it cannot be brought to its
 * end.
 */
void soak_run(struct harness *h, const struct soak *soak, struct soak_result *result);

/* Whether everything was as it must be; soak_print says what was not. */
bool soak_passed(const struct soak *soak, const struct soak_result *result);
void soak_print(const struct soak *soak, const struct soak_result *result);

#endif
