#ifndef TIDEMILL_TESTS_BUS_FAKE_H
#define TIDEMILL_TESTS_BUS_FAKE_H

#include "base/error.h"
#include "bus/link.h"
#include "bus/outgoing.h"
#include "bus/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * The link and the wire messages without a server: a test that includes this replaces bus/link.c
 * and bus/wire.c. What is sent is kept in `bus.sent`, in order. With BUS_FAKE_LINK_ONLY defined the
 * wire messages are the real ones. One test program, one inclusion.
 */

enum { FAKE_TEXT = 160, FAKE_HEADERS = 32 };

struct fake_header {
    char *name, *value;
};

struct wire_message {
    const char *subject, *reply, *payload;
    size_t payload_size;
    const struct fake_header *headers; /* ends with a NULL name */
};

struct outgoing {
    char *subject, *payload;
    size_t payload_size;
    uint64_t token;
    enum puback_way way;
    struct fake_header headers[FAKE_HEADERS];
    size_t header_count;
};

struct link {
    int unused;
};

/* One message that left, by link_send (then `token` is its slot's) or one of the others. */
struct sent {
    char subject[FAKE_TEXT];
    char payload[FAKE_TEXT]; /* its beginning */
    char id[FAKE_TEXT];      /* Nats-Msg-Id, "" when there is none */
    char kind;               /* enum reply_kind, 0: none */
    enum puback_way way;
    uint64_t token;
};

static struct {
    struct link link;
    bool disconnected;
    const char *refusal; /* link_send fails with it; link_publish and link_request fail too */
    bool no_memory;      /* outgoing_new fails */
    int headers_left;    /* so many more outgoing_header succeed, when not negative */
    struct sent *sent;
    size_t sent_count, sent_capacity;
    struct outgoing *last; /* what link_send took last; valid until it is freed */
    size_t outgoing_live;  /* made and not freed */
    size_t wires_freed;
} bus = {.headers_left = -1};

/* For a test's end. */
static void bus_fake_reset(void)
{
    free(bus.sent);
    memset(&bus, 0, sizeof(bus));
    bus.headers_left = -1;
}

static struct sent *fake_note(const char *subject, const char *payload, size_t size)
{
    if (bus.sent_count == bus.sent_capacity) {
        bus.sent_capacity = bus.sent_capacity == 0 ? 64 : bus.sent_capacity * 2;
        bus.sent = realloc(bus.sent, bus.sent_capacity * sizeof(*bus.sent));
        assert_non_null(bus.sent);
    }
    struct sent *sent = &bus.sent[bus.sent_count++];
    memset(sent, 0, sizeof(*sent));
    snprintf(sent->subject, sizeof(sent->subject), "%s", subject);
    snprintf(sent->payload, sizeof(sent->payload), "%.*s", (int)size, payload);
    return sent;
}

/* --- link.h --- */

bool link_connected(const struct link *link)
{
    (void)link;
    return !bus.disconnected;
}

int link_publish(struct link *link, const char *subject, const char *payload, size_t size)
{
    (void)link;
    if (bus.refusal != NULL)
        return -1;
    fake_note(subject, payload, size);
    return 0;
}

int link_request(struct link *link, enum reply_kind kind, uint64_t token, const char *subject,
                 const char *payload, size_t size)
{
    (void)link;
    if (bus.refusal != NULL)
        return -1;
    struct sent *sent = fake_note(subject, payload, size);
    sent->kind = (char)kind;
    sent->token = token;
    return 0;
}

int link_request_in_order(struct link *link, enum reply_kind kind, uint64_t token,
                          const char *subject, const char *payload, size_t size)
{
    return link_request(link, kind, token, subject, payload, size);
}

struct outgoing *outgoing_new(const struct link *link, enum puback_way way, uint64_t token,
                              const char *subject, const char *payload, size_t size)
{
    (void)link;
    struct outgoing *outgoing = bus.no_memory ? NULL : calloc(1, sizeof(*outgoing));
    if (outgoing == NULL)
        return NULL;
    outgoing->subject = strdup(subject);
    outgoing->payload = malloc(size + 1);
    memcpy(outgoing->payload, payload, size);
    outgoing->payload_size = size;
    outgoing->token = token;
    outgoing->way = way;
    bus.outgoing_live++;
    return outgoing;
}

struct outgoing *outgoing_new_request(const struct link *link, enum reply_kind kind, uint64_t token,
                                      const char *subject, const char *payload, size_t size)
{
    (void)kind;
    return outgoing_new(link, PUBACK_NAMED, token, subject, payload, size);
}

void link_consumer_name(const struct link *link, char *name, size_t size, enum reply_kind kind,
                        uint64_t token)
{
    (void)link;
    snprintf(name, size, "unique-%c-%llu", (char)kind, (unsigned long long)token);
}

int outgoing_add_header(struct outgoing *outgoing, const char *name, const char *value)
{
    if (bus.headers_left == 0)
        return -1;
    if (bus.headers_left > 0)
        bus.headers_left--;
    assert_true(outgoing->header_count < FAKE_HEADERS);
    struct fake_header *header = &outgoing->headers[outgoing->header_count++];
    header->name = strdup(name);
    header->value = strdup(value);
    return 0;
}

/* The first value of a header that was added, or NULL. */
static const char *outgoing_header_of(const struct outgoing *outgoing, const char *name)
{
    for (size_t i = 0; i < outgoing->header_count; i++) {
        if (strcasecmp(outgoing->headers[i].name, name) == 0)
            return outgoing->headers[i].value;
    }
    return NULL;
}

/* As libnats: the name's case counts, and a second value replaces the first. */
int outgoing_header(struct outgoing *outgoing, const char *name, const char *value)
{
    for (size_t i = 0; bus.headers_left != 0 && i < outgoing->header_count; i++) {
        struct fake_header *header = &outgoing->headers[i];
        if (strcmp(header->name, name) != 0)
            continue;
        free(header->value);
        header->value = strdup(value);
        return 0;
    }
    return outgoing_add_header(outgoing, name, value);
}

struct outgoing *outgoing_new_again(const struct link *link, enum puback_way way, uint64_t token,
                                    const struct outgoing *outgoing)
{
    struct outgoing *again = outgoing_new(link, way, token, outgoing->subject, outgoing->payload,
                                          outgoing->payload_size);
    for (size_t i = 0; again != NULL && i < outgoing->header_count; i++)
        outgoing_header(again, outgoing->headers[i].name, outgoing->headers[i].value);
    return again;
}

void outgoing_free(struct outgoing *outgoing)
{
    if (outgoing == NULL)
        return;
    for (size_t i = 0; i < outgoing->header_count; i++) {
        free(outgoing->headers[i].name);
        free(outgoing->headers[i].value);
    }
    free(outgoing->subject);
    free(outgoing->payload);
    free(outgoing);
    bus.outgoing_live--;
}

const char *outgoing_subject(const struct outgoing *outgoing)
{
    return outgoing->subject;
}

size_t outgoing_size(const struct outgoing *outgoing)
{
    return outgoing->payload_size;
}

int link_send(struct link *link, struct outgoing *outgoing, struct error *err)
{
    (void)link;
    if (bus.refusal != NULL)
        return error_set(err, "%s", bus.refusal);
    struct sent *sent = fake_note(outgoing->subject, outgoing->payload, outgoing->payload_size);
    const char *id = outgoing_header_of(outgoing, "Nats-Msg-Id");
    snprintf(sent->id, sizeof(sent->id), "%s", id != NULL ? id : "");
    sent->kind = outgoing->way != PUBACK_NONE ? (char)REPLY_PUBLISH : 0;
    sent->way = outgoing->way;
    sent->token = outgoing->token;
    bus.last = outgoing;
    return 0;
}

/* --- wire.h --- */

#ifndef BUS_FAKE_LINK_ONLY

const char *wire_subject(const struct wire_message *message)
{
    return message->subject;
}

const char *wire_reply(const struct wire_message *message)
{
    return message->reply;
}

const char *wire_payload(const struct wire_message *message)
{
    return message->payload;
}

size_t wire_payload_size(const struct wire_message *message)
{
    return message->payload_size;
}

void wire_each_header_value(const struct wire_message *message,
                            void (*visit)(void *context, const char *name, const char *value),
                            void *context)
{
    const struct fake_header *header = message->headers;
    for (; header != NULL && header->name != NULL; header++)
        visit(context, header->name, header->value);
}

/* In these tests no header has two values unless wire_each_header_value is meant. */
void wire_each_header(const struct wire_message *message,
                      void (*visit)(void *context, const char *name, const char *value),
                      void *context)
{
    wire_each_header_value(message, visit, context);
}

void wire_free(struct wire_message *message)
{
    bus.wires_freed += message != NULL;
}

#endif

#endif
