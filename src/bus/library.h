#ifndef TIDEMILL_BUS_LIBRARY_H
#define TIDEMILL_BUS_LIBRARY_H

#include "base/error.h"

/*
 * libnats as a whole. Opened once, before the first connection and before other threads start, on
 * the main thread: its helper threads (timers, callbacks, the collector that frees messages)
 * inherit the scheduling policy of the thread that opens it, and under SCHED_BATCH they do not
 * preempt a worker for each message that is freed.
 */
int library_open(struct error *err);

/* Closes it, after all connections are closed. */
void library_close(void);

/*
 * Gives back what libnats and OpenSSL keep for the calling thread. At the end of each job on a
 * thread of libuv's pool that has called one of them: those threads outlive library_close.
 */
void library_leave_thread(void);

#endif
