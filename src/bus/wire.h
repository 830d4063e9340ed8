#ifndef TIDEMILL_BUS_WIRE_H
#define TIDEMILL_BUS_WIRE_H

#include <stddef.h>
#include <stdint.h>

/*
 * A message as it came over the wire, and what its protocol parts mean: acknowledgement subjects
 * (ADR-15) and pull statuses (ADR-13, ADR-37). A wire message is libnats' own, seen through this
 * header so that nobody above bus/ needs nats.h. Not thread safe: one owner at a time.
 */

struct wire_message;

const char *wire_subject(const struct wire_message *message);
const char *wire_reply(const struct wire_message *message); /* NULL when there is none */
const char *wire_payload(const struct wire_message *message);
size_t wire_payload_size(const struct wire_message *message);

/* The first value of a header, or NULL. Borrowed from the message. */
const char *wire_header(const struct wire_message *message, const char *name);

/* Calls `visit` with each header's name and first value. */
void wire_each_header(const struct wire_message *message,
                      void (*visit)(void *context, const char *name, const char *value),
                      void *context);

/* The same with each of its values, where a header has several. */
void wire_each_header_value(const struct wire_message *message,
                            void (*visit)(void *context, const char *name, const char *value),
                            void *context);

/* Wakes libnats' collector thread (it frees there): free in bursts. NULL is fine. */
void wire_free(struct wire_message *message);

/*
 * `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, or with
 * `<domain>.<account hash>` after ACK and perhaps more at the end (ADR-15 v2).
 */
struct ack_subject {
    const char *stream, *consumer; /* slices of the parsed text */
    size_t stream_size, consumer_size;
    uint64_t delivered;
    uint64_t stream_sequence;
    uint64_t consumer_sequence;
    int64_t time_ns;
    uint64_t pending;
};

/* Returns 0, or -1 when `reply` is no acknowledgement subject. */
int ack_subject_parse(const char *reply, struct ack_subject *out);

/* What a message on a pull's inbox says when it carries no user data. */
enum pull_status {
    PULL_STATUS_NONE,        /* a user's message */
    PULL_STATUS_HEARTBEAT,   /* 100: the consumer lives */
    PULL_STATUS_ENDED,       /* 404, 408, 409 Batch Completed...: this one ended, `pending` left */
    PULL_STATUS_ALL_ENDED,   /* 409 Leadership Change, Server Shutdown: every request is gone */
    PULL_STATUS_TOO_MANY,    /* 409 Exceeded MaxWaiting */
    PULL_STATUS_LIMIT,       /* 409 Exceeded MaxRequestBatch and the like: ask for less */
    PULL_STATUS_DELETED,     /* 409 Consumer Deleted */
    PULL_STATUS_UNAVAILABLE, /* 503: no JetStream answers */
    PULL_STATUS_REFUSED      /* 400, 409 push based, 412, ...: asking again will not help */
};

/*
 * Classifies by the Status header (never by an empty body: users may send those). `pending` gets
 * Nats-Pending-Messages, the undelivered rest of the request, or 0.
 */
enum pull_status wire_pull_status(const struct wire_message *message, int *code,
                                  const char **description, uint64_t *pending);

/* For tests: the same from code (0: none) and description (NULL: none) alone. */
enum pull_status pull_status_of(int code, const char *description);

#endif
