#ifndef TIDEMILL_TESTS_HOLDINGS_H
#define TIDEMILL_TESTS_HOLDINGS_H

#include "process.h"

/* What a process holds, by /proc: what must not grow. */

struct holdings {
    long memory_kb; /* in RAM */
    long threads, descriptors;
};

/* -1: it has ended, or /proc tells nothing. */
int holdings_read(struct process *process, struct holdings *holdings);

#endif
