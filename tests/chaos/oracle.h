#ifndef TIDEMILL_TESTS_CHAOS_ORACLE_H
#define TIDEMILL_TESTS_CHAOS_ORACLE_H

#include <stddef.h>

#include "integration/harness.h"
#include "plan.h"

/*
 * The oracle: compares what the streams hold with what the plan says they must hold, message by
 * message, and names the first differences.
 */

enum { FINDINGS_MAX = 10, FINDING_SIZE = 320 };

struct findings {
    size_t lost;       /* an output or dead letter that is not there */
    size_t duplicated; /* one that is there again */
    size_t invented;   /* a message that no input asks for */
    size_t wrong;      /* an input that ended elsewhere than it should, or an altered message */
    size_t fed_wrong;  /* inputs that the stream `in` lost or has twice: the feeder's or server's */
    char first[FINDINGS_MAX][FINDING_SIZE];
    size_t first_count;
};

/* All that has been found, fed_wrong included. */
size_t findings_total(const struct findings *findings);

/* The server is up and everything is settled. */
void oracle_compare(struct harness *h, const struct plan *plan, struct findings *findings);

#endif
