#ifndef TIDEMILL_BUS_LINK_H
#define TIDEMILL_BUS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/config.h"
#include "base/error.h"
#include "bus/wire.h"

/*
 * The link: a worker's way to NATS and back, driven by the worker's libuv loop. What is written
 * leaves when the loop comes round; nothing here waits for an answer.
 *
 * It is made of two connections. By the intake go pull requests, the messages that they bring and
 * acknowledgements; by the outlet what is published and asked, and the answers to it (also an
 * acknowledgement that the server is to confirm). The server
 * reads each connection with a goroutine of its own, so that storing outputs and taking
 * acknowledgements go on side by side (a fourteenth more messages with 10 % alerts, by
 * bench/RESULTS.md). When one of them breaks the other one is given up, too: above, the link is one
 * thing that is there or not.
 *
 * Replies (PubAcks, answers to requests) come to one inbox as `<inbox>.r.<kind>.<token>`, those by
 * the intake as `<inbox>.i.<kind>.<token>`. Their subscriptions have a callback, on a thread of
 * libnats', because only a callback keeps the subject of a 503 and with it the token of what
 * failed; the link hands each on to `on_reply` on the loop's thread. That thread costs a switch for
 * nearly each reply, so PubAcks come to a second inbox, `<inbox>.q.<token>`, which
 * link_take_pubacks empties on the loop. There a 503 has no name (natsSubscription_NextMsg destroys
 * it); who hears of one asks again by way of the first. What a consumer with a name of
 * link_consumer_name delivers to the inbox comes there, too. Pulled messages do not come this way
 * (pull.h).
 *
 * Threads: everything is called, and calls back, on the loop's thread. Messages of libnats'
 * threads are passed over inside.
 */

struct link;
struct outgoing; /* outgoing.h */

enum link_event {
    LINK_DOWN,  /* the server is gone; the link tries to connect again (it blocks for that) */
    LINK_UP,    /* connected again: pulls that were under way are lost, so are unacked publishes */
    LINK_CLOSED /* given up (max_reconnects, or refused twice): this link is dead */
};

enum reply_kind {
    REPLY_PUBLISH = 'p', /* a PubAck */
    REPLY_REQUEST = 'q', /* the answer to a mill.request */
    REPLY_ACK = 'a',     /* the server's answer to a double ack */
    REPLY_FLOOR = 'f',   /* an answer to cumulative acks (mill/cumulative.h) */
    REPLY_KV = 'k',      /* the answer to a question about a key-value bucket */
    REPLY_BARRIER = 'b'  /* link_barrier has come round */
};

/* A subject of at least so many bytes may reach on_denied cut: libnats keeps 255 of an error. */
enum { LINK_DENIED_CUT = 200 };

struct link_handler {
    void *context;
    /* `message` passes to the callee. `no_responders`: nobody listens on the subject (503). */
    void (*on_reply)(void *context, enum reply_kind kind, uint64_t token,
                     struct wire_message *message, bool no_responders);
    /* One of the publishes that are answered quickly has reached nobody (503): not known which. */
    void (*on_unheard)(void *context);
    /* `why` is one line, "" when nothing is known. */
    void (*on_event)(void *context, enum link_event event, const char *why);
    /*
     * The server has refused a publish to this subject: the user has no permission. It says so once
     * for each message, in the order of their sending, and gives no other answer.
     */
    void (*on_denied)(void *context, const char *subject);
};

/*
 * Connects (blocks up to connect_timeout for each url and connection) and attaches to `loop`, which
 * must be the calling thread's. `role` ("worker 1") is in the connections' names. On failure
 * `*link` is NULL or a link that is already closing: run the loop, then link_free.
 */
int link_open(struct link **link, uv_loop_t *loop, const struct nats_config *config,
              const char *role, const struct link_handler *handler, struct error *err);

/*
 * Closing takes two steps, since handles close on the loop: link_close, then run the loop until it
 * has nothing left, then link_free. Nothing is called back after link_close.
 */
void link_close(struct link *link);
void link_free(struct link *link); /* NULL is fine */

bool link_connected(const struct link *link);

/* Hands on the PubAcks that have come to the quick inbox. Call in each round of the loop. */
void link_take_pubacks(struct link *link);

/* "_INBOX.<unique>": the prefix of every subject this link listens on. */
const char *link_inbox(const struct link *link);

/* Bytes written but not yet taken by the socket. libnats puts no bound on it: watch it. */
size_t link_buffered(const struct link *link);

/* The largest payload the server takes, in bytes. */
size_t link_max_payload(const struct link *link);

/* Publishes by the intake, without any reply: acknowledgements. Returns 0 or -1. */
int link_publish(struct link *link, const char *subject, const char *payload, size_t size);

/* Publishes by the outlet, with the reply subject `<inbox>.r.<kind>.<token>`. Returns 0 or -1. */
int link_request(struct link *link, enum reply_kind kind, uint64_t token, const char *subject,
                 const char *payload, size_t size);

/*
 * The same by the intake, with `<inbox>.i.<kind>.<token>`: in order with acknowledgements on the
 * way there, and with the messages that are pulled on the way back.
 */
int link_request_in_order(struct link *link, enum reply_kind kind, uint64_t token,
                          const char *subject, const char *payload, size_t size);

/* Publishes by the intake, with a reply subject of the caller's: pull requests. Returns 0 or -1. */
int link_publish_reply(struct link *link, const char *subject, const char *reply,
                       const char *payload, size_t size);

/*
 * A name for a consumer that is to deliver to `<inbox>.r.<kind>.<token>`: its messages keep their
 * own subjects, and are known by this name.
 */
void link_consumer_name(const struct link *link, char *name, size_t size, enum reply_kind kind,
                        uint64_t token);

/*
 * Sends a message to itself, by the intake and then by the outlet: its reply means that the server
 * has seen all that was sent before, and that all that it had sent is here. So does its refusal,
 * where the user may not publish to an inbox; it looks like the reply.
 */
int link_barrier(struct link *link, uint64_t token);

/*
 * Sends it by the outlet, the first time or again. Returns 0, or -1 with why (too large, buffer
 * full, closed).
 */
int link_send(struct link *link, struct outgoing *outgoing, struct error *err);

#endif
