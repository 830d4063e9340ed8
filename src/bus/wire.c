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

/* Without `$JS.ACK`. */
enum { ACK_TOKENS_V1 = 7, ACK_TOKENS_V2 = 9, ACK_TOKENS_KEPT = 9 };

/* Reads a decimal number that ends exactly at `end`. */
static bool read_number(const char *text, const char *end, uint64_t *out)
{
    uint64_t value = 0;
    if (text == end)
        return false;
    for (; text < end; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/*
 * Reads the tokens behind "$JS.ACK." up to the last one that is known: token[i] starts there and ends
 * one before token[i + 1]. Returns how many there are.
 */
static size_t split(const char *text, const char *token[ACK_TOKENS_KEPT + 1])
{
    size_t count = 1;
    token[0] = text;
    for (; *text != '\0'; text++) {
        if (*text != '.')
            continue;
        token[count] = text + 1;
        if (count == ACK_TOKENS_KEPT)
            return count;
        count++;
    }
    token[count] = text + 1;
    return count;
}

int ack_subject_parse(const char *reply, struct ack_subject *out)
{
    static const char prefix[] = "$JS.ACK.";
    const char *tokens[ACK_TOKENS_KEPT + 1];
    if (reply == NULL || strncmp(reply, prefix, sizeof(prefix) - 1) != 0)
        return -1;
    size_t count = split(reply + sizeof(prefix) - 1, tokens);
    const char **token; /* the stream's */
    if (count == ACK_TOKENS_V1)
        token = tokens;
    else if (count >= ACK_TOKENS_V2)
        token = tokens + 2;
    else
        return -1;

    uint64_t number[5];
    for (size_t i = 0; i < 5; i++) {
        if (!read_number(token[2 + i], token[3 + i] - 1, &number[i]))
            return -1;
    }
    if (number[3] > INT64_MAX)
        return -1;
    out->stream = token[0];
    out->stream_size = (size_t)(token[1] - 1 - token[0]);
    out->consumer = token[1];
    out->consumer_size = (size_t)(token[2] - 1 - token[1]);
    out->delivered = number[0];
    out->stream_sequence = number[1];
    out->consumer_sequence = number[2];
    out->time_ns = (int64_t)number[3];
    out->pending = number[4];
    return out->stream_size > 0 && out->consumer_size > 0 ? 0 : -1;
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
    if (read_number(status, status + strlen(status), &number) && number <= INT_MAX)
        *code = (int)number;
    *description = wire_header(message, "Description");
    const char *rest = wire_header(message, "Nats-Pending-Messages");
    if (rest != NULL && !read_number(rest, rest + strlen(rest), pending))
        *pending = 0;
    return pull_status_of(*code, *description);
}
