#ifndef TIDEMILL_BENCH_SOCKET_H
#define TIDEMILL_BENCH_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A bare connection to a nats-server: what it sends is parsed where it was read, what goes out is
 * collected and leaves in one write. As little work as the protocol allows, because the programs
 * that stand on it are a yardstick. No TLS, no reconnect, no authentication. One thread.
 */

struct socket;

/* A message; points into the connection's buffer until the next socket_read. */
struct socket_message {
    int sid;
    const char *subject; /* NUL-terminated, as is the reply, which is empty when there is none */
    size_t subject_size;
    const char *reply;
    size_t reply_size;
    const char *payload; /* a CR stands behind it */
    size_t payload_size;
    bool headers; /* the payload begins with headers: from JetStream that is a status */
};

/* `url` is nats://ADDRESS:PORT with a numeric address. */
int socket_open(struct socket **socket, const char *url, struct error *err);
void socket_close(struct socket *socket); /* NULL is fine */
int socket_descriptor(const struct socket *socket);

/* A name of its own for replies, "_INBOX.xxxxxxxx": the same for the life of the connection. */
const char *socket_inbox(const struct socket *socket);

/*
 * Room for `size` bytes of protocol at the end of what goes out; socket_put says how many of them
 * were written. Aborts when memory runs out.
 */
char *socket_room(struct socket *socket, size_t size);
void socket_put(struct socket *socket, size_t size);

/* The same for text, for what is not in a hurry. */
void socket_printf(struct socket *socket, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends a message; `reply` may be NULL. */
void socket_publish(struct socket *socket, const char *subject, const char *reply,
                    const void *payload, size_t size);

/* Writes what goes out, whole. Blocks as long as the server does not read. */
int socket_flush(struct socket *socket, struct error *err);

/*
 * Reads once, at most until `deadline_ns` (clock_monotonic_ns; -1: for ever). Returns 1 when
 * something came, 0 at the deadline. Ends the messages got before.
 */
int socket_read(struct socket *socket, int64_t deadline_ns, struct error *err);

/*
 * Asks the kernel for the time at which bytes arrive, whenever they are read: from then on
 * socket_arrived_ns is that of the last ones that socket_read has brought (clock_wall_ns).
 */
int socket_stamp(struct socket *socket, struct error *err);
int64_t socket_arrived_ns(const struct socket *socket);

/* The next message that is whole. 0: there is none, read again. -1: the server complains. */
int socket_next(struct socket *socket, struct socket_message *message, struct error *err);

/* Sends PING and waits for the answer: what was sent before is with the server. Drops messages. */
int socket_barrier(struct socket *socket, struct error *err);

/*
 * Asks and waits for the answer, which is copied into `answer` and NUL-terminated. For a connection
 * that has no other messages to wait for.
 */
int socket_request(struct socket *socket, const char *subject, const char *payload, char *answer,
                   size_t size, struct error *err);

#endif
