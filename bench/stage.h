#ifndef TIDEMILL_BENCH_STAGE_H
#define TIDEMILL_BENCH_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "integration/server.h"
#include "socket.h"
#include "workload.h"

/*
 * Where the programs run: a private nats-server with its store in a temporary folder, and two
 * connections, one to ask JetStream, one for events. Everything is gone after stage_close. One
 * thread.
 */

struct stage {
    char folder[128];
    struct server *server;
    struct socket *control;
    struct socket *events;
};

int stage_open(struct stage *stage, struct error *err);
void stage_close(struct stage *stage);

const char *stage_url(const struct stage *stage);
pid_t stage_server_id(const struct stage *stage);

/* Creates a file stream; one of that name is deleted first. `more` is JSON (",..." or ""). */
int stage_stream(struct stage *stage, const char *name, const char *subjects, const char *more,
                 struct error *err);
/* Gives it another configuration. */
int stage_update_stream(struct stage *stage, const char *name, const char *subjects,
                        const char *more, struct error *err);
void stage_delete_stream(struct stage *stage, const char *name);

/* Creates a durable with explicit acks, or AckPolicy all. */
int stage_consumer(struct stage *stage, const char *stream, const char *durable, bool cumulative,
                   struct error *err);
int stage_delete_consumer(struct stage *stage, const char *stream, const char *durable,
                          struct error *err);

/* Publishes all readings of the workload; returns when they are stored. */
int stage_fill(struct stage *stage, const struct workload *workload, struct error *err);

/* How many messages a stream holds. */
int stage_count(struct stage *stage, const char *stream, uint64_t *count, struct error *err);

/* A consumer as the server has it. */
struct stage_consumer_state {
    uint64_t delivered;   /* the last stream sequence */
    uint64_t pending;     /* not delivered */
    uint64_t ack_pending; /* delivered and not settled */
    uint64_t redelivered;
};
int stage_consumer_state(struct stage *stage, const char *stream, const char *durable,
                         struct stage_consumer_state *state, struct error *err);

/* The server's version, "2.9.10"; `size` is at least 16. */
void stage_server_version(const struct stage *stage, char *version, size_t size);

/* A file below the folder, its own folder included. */
int stage_write(const struct stage *stage, const char *path, const char *text, struct error *err);

#endif
