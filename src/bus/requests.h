#ifndef TIDEMILL_BUS_REQUESTS_H
#define TIDEMILL_BUS_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/api.h"

/*
 * A connection for the commands that ask a server many things: requests, publishes into streams
 * included, of which REQUESTS_WINDOW are under way at a time. Each is answered exactly once, by the
 * server or by the end of REQUESTS_TIMEOUT_S. One thread calls it, and gets the answers.
 */

struct requests;

enum { REQUESTS_WINDOW = 256, REQUESTS_TIMEOUT_S = 5 };

struct answer {
    const char *text; /* NULL: none has come, and `why` says why */
    size_t size;
    const char *why;
    bool late; /* nothing at all has come in time; it may have had its effect */
};

/*
 * Called inside requests_send, requests_wait and requests_call. It may send one request itself:
 * there is room for it.
 */
typedef void request_answered(void *context, uint64_t number, const struct answer *answer);

struct request_header {
    const char *name, *value;
};

struct request {
    const char *subject;
    const char *payload; /* may be NULL */
    size_t size;
    const struct request_header *headers;
    size_t header_count;
    request_answered *answered;
    void *context;
    uint64_t number; /* the caller's, given back with the answer */
};

/* Connects, once, without waiting for a server that is not up. Keeps nothing of `config`. */
int requests_open(struct requests **requests, const struct nats_config *config, const char *role,
                  struct error *err);

/* What is not answered will not be. NULL is fine. */
void requests_close(struct requests *requests);

/*
 * Sends a request, of which nothing is kept; waits while the window is full. Returns 0, or -1 when
 * it could not be sent (too large, connection lost): it is not answered then.
 */
int requests_send(struct requests *requests, const struct request *request, struct error *err);

/* Waits until every request is answered. */
void requests_wait(struct requests *requests);

/* One call of the JetStream API; like api_call (bus/api.h), without asking again. */
int requests_call(struct requests *requests, struct api_reply *reply, const char *body,
                  struct error *err, const char *operation, ...)
    __attribute__((format(printf, 5, 6)));

#endif
