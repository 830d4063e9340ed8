#ifndef TIDEMILL_TESTS_SERVER_H
#define TIDEMILL_TESTS_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "process.h"

/*
 * A private nats-server: one port of 127.0.0.1 and one store for its whole life, through kills and
 * restarts. No function here fails the test. One thread.
 */

struct server;

struct server_options {
    const char *folder;    /* exists; gets server/ (configuration, log) and store/ */
    const char *config;    /* more text for the configuration file, or NULL */
    const char *jetstream; /* text for its jetstream block, or NULL */
    bool stopped;          /* do not start it yet */
};

/*
 * Chooses a port and starts; returns when the server serves. On failure `*server` may be set for
 * its log.
 */
int server_open(struct server **server, const struct server_options *options, int64_t deadline_ns,
                struct error *err);

/* Kills it when it runs. NULL is fine. */
void server_close(struct server *server);

/* Starts one that is down, on the same port and store; returns when it serves. */
int server_start(struct server *server, int64_t deadline_ns, struct error *err);

/* Sends it a signal and waits for its end. -1: it does not end. */
int server_end(struct server *server, int signal, int64_t deadline_ns);

/* Writes the configuration file anew with this text. */
int server_configure(struct server *server, const char *config, struct error *err);

/* Whether the nats-server that tests start is of this version or newer. */
bool server_at_least(int major, int minor, int patch);

int server_port(const struct server *server);
const char *server_url(const struct server *server);
struct process *server_process(
    struct server *server); /* the last one; NULL before the first start */

#endif
