#ifndef TIDEMILL_MILL_SIGNALS_H
#define TIDEMILL_MILL_SIGNALS_H

#include "base/error.h"

#include <uv.h>

/*
 * The signals a service listens to: SIGHUP, SIGUSR1, SIGUSR2 (requests) and SIGTERM, SIGINT (ends).
 *
 * They have no handlers. They are held back in every thread (pthread_sigmask(3); a thread inherits
 * the mask of the one that makes it), and the loop reads them from a signalfd(2). So no thread is
 * ever interrupted by one: libnats takes an interrupted poll(2) for a broken connection. And there
 * is no moment in which a handler is not there yet or no more, and a request would be deadly.
 *
 * Thread: the one that runs the loop, and the process's first.
 */

struct signals {
    uv_poll_t poll;
    int fd;
    void (*heard)(void *context, int number);
    void *context;
};

/* Holds them back, in this thread and those that it makes: before it makes any. */
void signals_hold(void);

/*
 * Calls `heard` on the loop for each that comes, or has come since signals_hold(). Of the same
 * signal sent twice, the second may be lost as long as the first has not been heard (signal(7)).
 * `signals` must outlive the loop's last round. -1: too many descriptors are open.
 */
int signals_open(struct signals *signals, uv_loop_t *loop, void (*heard)(void *context, int number),
                 void *context, struct error *err);

/*
 * From now on requests are ignored, and SIGTERM and SIGINT end the process, as by default. Also if
 * signals_open() failed.
 */
void signals_close(struct signals *signals);

#endif
