#ifndef TIDEMILL_BENCH_USAGE_H
#define TIDEMILL_BENCH_USAGE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * What a running process has used up to now, looked at from outside, so that it is the same for
 * every program. CPU time comes from the process's own clock, in nanoseconds, threads that have
 * ended included.
 */

struct usage {
    int64_t at_ns;     /* clock_monotonic_ns */
    int64_t cpu_ns;    /* user and system */
    uint64_t switches; /* voluntary and not, of the threads it has now */
};

int usage_read(struct usage *usage, pid_t pid, struct error *err);

/* "VmRSS": memory now; "VmHWM": the most it ever had. In KiB; 0 when the process is gone. */
uint64_t usage_memory(pid_t pid, const char *what);

#endif
