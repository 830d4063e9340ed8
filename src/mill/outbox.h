#ifndef TIDEMILL_MILL_OUTBOX_H
#define TIDEMILL_MILL_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/link.h"
#include "bus/outgoing.h"

/*
 * The outbox: every message that must be stored by a stream, from its first sending until the
 * stream's PubAck says so or patience ends. What is not answered in time, or answered by a passing
 * fault (503, stream full), is sent again with the same Nats-Msg-Id, so that inside the duplicate
 * window it is stored once. What a leader knows without having stored it (PUBACK_STAGED) is tried
 * for minutes: before its id leaves the duplicate window the server may refuse it.
 *
 * Always holds: each publication that outbox_send has sent is reported by `done` exactly once,
 * stored or not, unless the outbox is freed before.
 *
 * Bounds: outbox_full() tells when ENTRIES or BYTES are reached; the owner then starts no new work.
 * One handler's outputs are always taken whole, so the true bound is that plus the outputs of the
 * handlers under way (the engine bounds these).
 *
 * Thread: the link's loop. `done` may publish again.
 */

enum { OUTBOX_ENTRIES_HIGH = 8192, OUTBOX_BYTES_HIGH = 64 << 20 };

struct outbox;

struct publication {
    const char *subject;
    const char *payload;
    size_t payload_size;
    const char *id; /* Nats-Msg-Id */
    bool insistent; /* nothing else will try again (timers): try for minutes before giving up */
};

struct outbox_result {
    bool stored;
    bool duplicate;     /* the stream had it already: stored, too */
    const char *error;  /* one line, when not stored */
    int64_t latency_ns; /* from the first sending */
};

typedef void (*outbox_done)(void *context, void *token, const struct outbox_result *result);

/*
 * `ack_wait_ns` is the shortest of the sources': an input whose output is never answered holds its
 * place for all tries, so a PubAck is waited for a sixth of it (one second at least, five at most).
 * With the default of 30 s the four tries end inside it: 4 x 5 s and 1.75 s of rests.
 */
int outbox_open(struct outbox **outbox, struct link *link, int64_t ack_wait_ns, outbox_done done,
                void *context, struct error *err);
void outbox_free(struct outbox *outbox); /* before link_close; NULL is fine */

/*
 * Begins a publication: a message that the caller may add headers to (outgoing_header) before
 * outbox_send. NULL when memory runs out.
 */
struct outgoing *outbox_prepare(struct outbox *outbox, const struct publication *publication,
                                void *token);

/* Forgets what was prepared last; `done` is not called. */
void outbox_discard(struct outbox *outbox);

/* Sends what was prepared last. A fault is reported through `done`, perhaps before this returns. */
void outbox_send(struct outbox *outbox, int64_t now_ns);

/* A reply of kind REPLY_PUBLISH. Borrows the message. Late and unknown ones are ignored. */
void outbox_reply(struct outbox *outbox, uint64_t slot_token, const struct wire_message *message,
                  bool no_responders, int64_t now_ns);

/*
 * One of the publications has reached nobody, and it is not known which (link.h): all that wait for
 * a quick PubAck are sent again, with the same id, so that each answer names what it answers. For a
 * minute new ones are sent that way from the start.
 */
void outbox_unheard(struct outbox *outbox, int64_t now_ns);

/*
 * The server has denied a publish to this subject (link.h): all that waits on it fails at once.
 * Returns how many; 0: it was none of the outbox'.
 */
size_t outbox_denied(struct outbox *outbox, const char *subject, int64_t now_ns);

/* Sends again what is due, gives up what has been tried enough. Call a few times a second. */
void outbox_tick(struct outbox *outbox, int64_t now_ns);

/* The connection is back: everything unanswered is sent again at once. */
void outbox_resend(struct outbox *outbox, int64_t now_ns);

bool outbox_full(const struct outbox *outbox);
size_t outbox_count(const struct outbox *outbox);

/* Frees what is done with, in one burst (wire_free says why). Call at the end of a round. */
void outbox_collect(struct outbox *outbox);

#endif
