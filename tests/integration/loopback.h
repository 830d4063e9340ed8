#ifndef TIDEMILL_TESTS_LOOPBACK_H
#define TIDEMILL_TESTS_LOOPBACK_H

#include <stdbool.h>
#include <stdint.h>

/* Sockets of this machine, for the harness. Deadlines are in clock_monotonic_ns. */

/*
 * A port that nobody listens on now, or -1. Below the range of the ports that the kernel gives to
 * clients, so that no connection takes it while its server is down.
 */
int loopback_free_port(void);

/* Whether a nats-server serves there: it greets with INFO, whatever it wants to be told then. */
bool loopback_greets(int port, int64_t deadline_ns);

/*
 * HTTP GET: the status, or 0 when nothing answers by the deadline. `body` gets the body,
 * NUL-terminated and to be freed; NULL when there is none to give.
 */
int loopback_get(int port, const char *path, char **body, int64_t deadline_ns);

#endif
