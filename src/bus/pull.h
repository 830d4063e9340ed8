#ifndef TIDEMILL_BUS_PULL_H
#define TIDEMILL_BUS_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/link.h"
#include "bus/wire.h"

/*
 * The pull: one worker's share of one durable consumer. It keeps requests for messages open at the
 * server ahead of need (ADR-13, ADR-37), so that the server never waits for one, and never holds
 * more than `window` messages: what is requested and not yet delivered (credit) plus what is
 * delivered and not yet settled (in flight) stays within it. So when settling slows down, pulling
 * does.
 *
 * While a tenth of a second settles a multiple of the window, the window is that, up to PULL_GROWTH
 * times `window` and some 2 MB: the server works faster the further ahead it may
 * (bench/RESULTS.md), and no other worker waits long for what one has taken.
 *
 * Requests vanish without a word when the server or the leader goes away, and a missing consumer
 * answers nothing at all: idle heartbeats tell. After two heartbeats' silence the pull forgets its
 * credit and asks for a single message; pull_doubts() then counts up, and the owner should look
 * whether the consumer still exists. With the first sign of life it asks for all that has room.
 *
 * Thread: the link's loop.
 */

struct pull;

enum {
    PULL_AHEAD = 4, /* of a batch each make a window that keeps a server busy */
    PULL_GROWTH = 2
};

struct pull_options {
    const char *stream, *durable; /* borrowed for the pull's life */
    uint32_t batch;               /* messages per request */
    uint32_t window;              /* messages requested or in flight, see above; at least batch */
    int64_t expires_ns;           /* of a request at the server */
    int64_t heartbeat_ns;         /* at most expires / 2, else the server answers 400 */
};

/* Counters since the start, for metrics. */
struct pull_counts {
    uint64_t requests;
    uint64_t messages;
    uint64_t heartbeats;
    uint64_t ended;       /* 404, 408, 409: normal ends of requests */
    uint64_t lost;        /* times all requests were gone: silence, a new leader, no consumer */
    uint64_t unavailable; /* 503 */
    uint64_t refused;     /* 400, 409 push based, over a limit, ... */
};

int pull_open(struct pull **pull, struct link *link, unsigned index,
              const struct pull_options *options, struct error *err);
void pull_free(struct pull *pull); /* before link_close; NULL is fine */

/*
 * The next delivered message, with its acknowledgement subject taken apart (slices point into the
 * message); NULL when nothing waits. Statuses are dealt with inside. The caller owns the message
 * and says pull_settled when it is done with.
 */
struct wire_message *pull_next(struct pull *pull, struct ack_subject *ack, int64_t now_ns);

/* One message of this pull is settled: its place in the window is free. */
void pull_settled(struct pull *pull);

/*
 * The server has denied a publish to this subject: whether it was a request of this pull. It is
 * tried again, with a growing wait.
 */
bool pull_denied(struct pull *pull, const char *subject, int64_t now_ns);

/* Whether the last request was denied: the user has no permission for it. */
bool pull_is_denied(const struct pull *pull);

/*
 * Sends requests where the window has room and notices silence. Call after pull_next has returned
 * NULL, at least a few times a second. With `hold` no new request is sent (the output buffer is
 * full).
 */
void pull_round(struct pull *pull, int64_t now_ns, bool hold);

/* All requests are lost (reconnect, consumer created again): forget them, ask again at once. */
void pull_restart(struct pull *pull, int64_t now_ns);

/*
 * Asks for nothing more. What is already asked for may come for a moment yet, since what the server
 * sends to nobody comes again only after ack_wait; when it is quiet the pull unsubscribes. Go on
 * with pull_next and pull_round.
 */
void pull_drain(struct pull *pull, int64_t now_ns);

/*
 * The last thing to be sent for an unsubscribed pull: a question at which the server takes the
 * requests that nobody listens for off its list. As long as it has one, nats-server 2.9 loses sight
 * of the first message that comes back, until ack_wait, and delivers the newest one anew.
 */
void pull_dismiss(struct pull *pull);

/* Whether a draining pull has unsubscribed: only what the server has sent by now still arrives. */
bool pull_unsubscribed(const struct pull *pull);

/*
 * How often in a row there was reason to doubt that the consumer exists (silence, 503, "Consumer
 * Deleted"); 0 as soon as a message or a heartbeat arrives. `why` says it in a few words.
 */
unsigned pull_doubts(const struct pull *pull, const char **why);

uint32_t pull_in_flight(const struct pull *pull);
const struct pull_counts *pull_counts(const struct pull *pull);

#endif
