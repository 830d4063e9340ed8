#include "bus/wire.h"

#include <limits.h>
#include <nats/nats.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* libnats' accessors take pointers to non-const, also where they only read. */
static natsMsg *raw(const struct wire_message *message)
{
    return (natsMsg *)(uintptr_t)message;
}

const char *wire_subject(const struct wire_message *message)
{
    return natsMsg_GetSubject(raw(message));
}

const char *wire_reply(const struct wire_message *message)
{
    return natsMsg_GetReply(raw(message));
}

const char *wire_payload(const struct wire_message *message)
{
    return natsMsg_GetData(raw(message));
}

size_t wire_payload_size(const struct wire_message *message)
{
    return (size_t)natsMsg_GetDataLength(raw(message));
}

const char *wire_header(const struct wire_message *message, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(raw(message), name, &value) == NATS_OK ? value : NULL;
}

void wire_each_header(const struct wire_message *message,
                      void (*visit)(void *context, const char *name, const char *value),
                      void *context)
{
    const char **names = NULL;
    int count = 0;
    if (natsMsgHeader_Keys(raw(message), &names, &count) != NATS_OK)
        return;
    for (int i = 0; i < count; i++) {
        const char *value = wire_header(message, names[i]);
        if (value != NULL)
            visit(context, names[i], value);
    }
    free((void *)names); /* the array is the caller's, the names are the message's */
}

void wire_each_header_value(const struct wire_message *message,
                            void (*visit)(void *context, const char *name, const char *value),
                            void *context)
{
    const char **names = NULL;
    int name_count = 0;
    if (natsMsgHeader_Keys(raw(message), &names, &name_count) != NATS_OK)
        return;
    for (int i = 0; i < name_count; i++) {
        const char **values = NULL;
        int count = 0;
        if (natsMsgHeader_Values(raw(message), names[i], &values, &count) != NATS_OK)
            continue;
        for (int at = 0; at < count; at++)
            visit(context, names[i], values[at] != NULL ? values[at] : "");
        free((void *)values);
    }
    free((void *)names);
}

void wire_free(struct wire_message *message)
{
    natsMsg_Destroy(raw(message));
}

/* --- acknowledgement subjects --- */

/* A number of so many digits fits into 64 bits, whatever they are. */
enum { DIGITS_SURE = 19, ACK_NUMBERS = 5 };

/*
 * Reads the decimal number at `at`. Returns its end, or NULL where there is none or it is too
 * large.
 */
static const char *take_number(const char *at, uint64_t *out)
{
    const char *start = at;
    uint64_t value = 0;
    unsigned digit;
    for (; (digit = (unsigned)(*at - '0')) <= 9; at++) {
        if (at - start >= DIGITS_SURE && value > (UINT64_MAX - digit) / 10)
            return NULL;
        value = value * 10 + digit;
    }
    *out = value;
    return at > start ? at : NULL;
}

static bool read_number(const char *text, uint64_t *out)
{
    const char *end = take_number(text, out);
    return end != NULL && *end == '\0';
}

/* Reads a name and the dot behind it. Returns what follows, or NULL. */
static const char *take_name(const char *at, const char **name, size_t *size)
{
    const char *dot = strchr(at, '.');
    if (dot == NULL)
        return NULL;
    *name = at;
    *size = (size_t)(dot - at);
    return dot + 1;
}

/* Reads the tokens from the stream's name to the last number. Returns their end, or NULL. */
static const char *take_ack(const char *at, struct ack_subject *out)
{
    uint64_t number[ACK_NUMBERS];
    at = take_name(at, &out->stream, &out->stream_size);
    if (at != NULL)
        at = take_name(at, &out->consumer, &out->consumer_size);
    for (size_t i = 0; i < ACK_NUMBERS && at != NULL; i++) {
        at = take_number(at, &number[i]);
        if (at != NULL && i + 1 < ACK_NUMBERS)
            at = *at == '.' ? at + 1 : NULL;
    }
    if (at == NULL || number[3] > INT64_MAX || out->stream_size == 0 || out->consumer_size == 0)
        return NULL;
    out->delivered = number[0];
    out->stream_sequence = number[1];
    out->consumer_sequence = number[2];
    out->time_ns = (int64_t)number[3];
    out->pending = number[4];
    return at;
}

/*
 * The first form ends with the last number; the second one has two tokens before, and any behind.
 */
int ack_subject_parse(const char *reply, struct ack_subject *out)
{
    static const char prefix[] = "$JS.ACK.";
    const char *name;
    size_t size;
    if (reply == NULL || strncmp(reply, prefix, sizeof(prefix) - 1) != 0)
        return -1;
    reply += sizeof(prefix) - 1;
    const char *end = take_ack(reply, out);
    if (end != NULL && *end == '\0')
        return 0;
    const char *at = take_name(reply, &name, &size); /* the domain */
    if (at != NULL)
        at = take_name(at, &name, &size); /* the account's hash */
    end = at != NULL ? take_ack(at, out) : NULL;
    return end != NULL && (*end == '\0' || *end == '.') ? 0 : -1;
}

/* --- pull statuses --- */

static bool mentions(const char *description, const char *what)
{
    return description != NULL && strcasestr(description, what) != NULL;
}

static enum pull_status conflict_of(const char *description)
{
    if (mentions(description, "Leadership Change") || mentions(description, "Server Shutdown"))
        return PULL_STATUS_ALL_ENDED;
    if (mentions(description, "Consumer Deleted"))
        return PULL_STATUS_DELETED;
    if (mentions(description, "MaxWaiting"))
        return PULL_STATUS_TOO_MANY;
    if (mentions(description, "MaxRequest"))
        return PULL_STATUS_LIMIT;
    if (mentions(description, "push based"))
        return PULL_STATUS_REFUSED;
    return PULL_STATUS_ENDED;
}

enum pull_status pull_status_of(int code, const char *description)
{
    switch (code) {
    case 100:
        return PULL_STATUS_HEARTBEAT;
    case 404:
    case 408:
        return PULL_STATUS_ENDED;
    case 409:
        return conflict_of(description);
    case 503:
        return PULL_STATUS_UNAVAILABLE;
    default:
        return PULL_STATUS_REFUSED;
    }
}

enum pull_status wire_pull_status(const struct wire_message *message, int *code,
                                  const char **description, uint64_t *pending)
{
    *code = 0;
    *description = NULL;
    *pending = 0;
    if (wire_payload_size(message) != 0)
        return PULL_STATUS_NONE;
    const char *status = wire_header(message, "Status");
    if (status == NULL)
        return PULL_STATUS_NONE;
    uint64_t number;
    if (read_number(status, &number) && number <= INT_MAX)
        *code = (int)number;
    *description = wire_header(message, "Description");
    const char *rest = wire_header(message, "Nats-Pending-Messages");
    if (rest != NULL && !read_number(rest, pending))
        *pending = 0;
    return pull_status_of(*code, *description);
}
