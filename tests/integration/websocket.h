#ifndef TIDEMILL_TESTS_WEBSOCKET_H
#define TIDEMILL_TESTS_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A WebSocket client of this machine (RFC 6455), as small as a device could have it: text goes out
 * in one masked frame, what comes in is collected. Deadlines are in clock_monotonic_ns. One thread.
 */

struct websocket;

/*
 * Connects and asks for the upgrade; `origin` is what a browser would say, or NULL. -1: no
 * WebSocket, and `status` is what the server answered instead of 101 (0: nothing that is HTTP).
 */
int websocket_open(struct websocket **ws, int port, const char *origin, int *status,
                   int64_t deadline_ns, struct error *err);
void websocket_close(struct websocket *ws); /* NULL is fine */

int websocket_send(struct websocket *ws, const char *text, struct error *err);

/* Waits until `text` stands in what has come in since the start. */
bool websocket_wait(struct websocket *ws, const char *text, int64_t deadline_ns);

/* All that has come in up to now, NUL-terminated. */
const char *websocket_text(const struct websocket *ws);

#endif
