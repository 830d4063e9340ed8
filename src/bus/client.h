#ifndef TIDEMILL_BUS_CLIENT_H
#define TIDEMILL_BUS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

/*
 * A small NATS client for the commands that talk to a server by themselves (feed, tap): publishes
 * into streams with many publishes under way at a time, and subscribes. One thread calls it;
 * libnats' own threads stay inside.
 */

struct client;

/* What is known of one publish that was not stored. */
struct client_failure {
    uint64_t number;  /* as given to client_publish */
    char reason[256]; /* one line */
};

/* Called from client_publish and client_wait, on the caller's thread. */
typedef void client_failed(void *context, const struct client_failure *failure);

/* Connects, once, without waiting for a server that is not up. Keeps nothing of `config`. */
int client_open(struct client **client, const struct nats_config *config, const char *role,
                struct error *err);
void client_close(struct client *client); /* NULL is fine */

/*
 * Publishing. `window` publishes at most are unacknowledged at a time; each has `timeout_ns` to be
 * acknowledged. Call it once, before the first publish.
 */
int client_start_publishing(struct client *client, size_t window, int64_t timeout_ns,
                            client_failed *failed, void *context, struct error *err);

/* A header on every message from now on. */
int client_add_header(struct client *client, const char *name, const char *value,
                      struct error *err);

/*
 * Publishes; waits while the window is full. `number` comes back with a failure. Returns 0, or -1
 * when the message could not be sent at all (too large, connection lost).
 */
int client_publish(struct client *client, uint64_t number, const char *subject, const char *payload,
                   size_t size, struct error *err);

/* Waits until every publish is acknowledged, failed or late: none longer than `timeout_ns`. */
void client_wait(struct client *client);

/* How many were stored so far. */
uint64_t client_acked(const struct client *client);

/* Subscribes to a pattern; when it returns, the server knows. Call it once. */
int client_subscribe(struct client *client, const char *pattern, struct error *err);

struct client_message {
    const char *subject;
    const char *payload;
    size_t size;
    void *opaque;
};

/*
 * The next message, waiting up to `timeout_ns` (0: not at all). Returns 1 with a message, 0
 * without, -1 when the subscription is dead or messages were lost. client_message_free what it
 * gave.
 */
int client_next(struct client *client, int64_t timeout_ns, struct client_message *message,
                struct error *err);
void client_message_free(struct client_message *message);

/* Calls `visit` with each header's name and first value. */
void client_message_headers(const struct client_message *message,
                            void (*visit)(void *context, const char *name, const char *value),
                            void *context);

/* The version of libnats that runs, "3.4.1". */
const char *client_library_version(void);

#endif
