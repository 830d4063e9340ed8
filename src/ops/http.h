#ifndef TIDEMILL_OPS_HTTP_H
#define TIDEMILL_OPS_HTTP_H

#include "base/error.h"
#include "ops/health.h"

/*
 * The HTTP server of one process, for monitoring and probes: GET and HEAD of
 *
 *   /metrics  the registry (ops/metrics.h), Prometheus text format
 *   /healthz  200 while the process can answer at all
 *   /readyz   200, or 503 with one reason per line (ops/health.h)
 *   /status   one JSON object
 *
 * It has one thread of its own and bounded connections; it drops idle ones, and the oldest when
 * there are too many. It only reads: nothing that is asked of it changes the process.
 */

struct http;

/*
 * Serves on `listen`: "address:port", "[::1]:9180", ":9180" (every interface); port 0 takes a free
 * one. `health` outlives it. -1: the message says what is wrong with the address, or that the port
 * is in use.
 */
int http_open(struct http **http, const char *listen, struct health *health, struct error *err);

/* Ends the thread and the connections. NULL is fine. */
void http_close(struct http *http);

int http_port(const struct http *http);

#endif
