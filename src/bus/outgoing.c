#include "bus/outgoing.h"

#include "bus/link_internal.h"
#include "bus/wire.h"

#include <stdbool.h>

/* libnats' accessors take pointers to non-const, also where they only read. */
static natsMsg *raw(const struct outgoing *outgoing)
{
    return (natsMsg *)(uintptr_t)outgoing;
}

static struct outgoing *create(const char *subject, const char *reply, const char *payload,
                               size_t size)
{
    natsMsg *message = NULL;
    natsStatus s = natsMsg_Create(&message, subject, reply, payload, (int)size);
    return s == NATS_OK ? (struct outgoing *)message : NULL;
}

struct outgoing *outgoing_new_request(const struct link *link, enum reply_kind kind, uint64_t token,
                                      const char *subject, const char *payload, size_t size)
{
    char reply[LINK_REPLY_SIZE];
    link_format_reply(link, reply, sizeof(reply), kind, token);
    return create(subject, reply, payload, size);
}

struct outgoing *outgoing_new(const struct link *link, enum puback_way way, uint64_t token,
                              const char *subject, const char *payload, size_t size)
{
    char reply[LINK_REPLY_SIZE];
    if (way == PUBACK_NONE)
        return create(subject, NULL, payload, size);
    if (way == PUBACK_NAMED)
        return outgoing_new_request(link, REPLY_PUBLISH, token, subject, payload, size);
    link_format_quick_reply(link, reply, sizeof(reply), token);
    return create(subject, reply, payload, size);
}

struct copy {
    struct outgoing *to;
    bool failed;
};

static void copy_header(void *context, const char *name, const char *value)
{
    struct copy *copy = context;
    copy->failed |= outgoing_add_header(copy->to, name, value) != 0;
}

struct outgoing *outgoing_new_again(const struct link *link, enum puback_way way, uint64_t token,
                                    const struct outgoing *outgoing)
{
    const natsMsg *message = raw(outgoing);
    struct copy copy = {outgoing_new(link, way, token, natsMsg_GetSubject(message),
                                     natsMsg_GetData(message), outgoing_size(outgoing)),
                        false};
    if (copy.to != NULL)
        wire_each_header_value((const struct wire_message *)outgoing, copy_header, &copy);
    if (copy.failed) {
        outgoing_free(copy.to);
        return NULL;
    }
    return copy.to;
}

void outgoing_free(struct outgoing *outgoing)
{
    natsMsg_Destroy((natsMsg *)outgoing);
}

int outgoing_header(struct outgoing *outgoing, const char *name, const char *value)
{
    return natsMsgHeader_Set((natsMsg *)outgoing, name, value) == NATS_OK ? 0 : -1;
}

int outgoing_add_header(struct outgoing *outgoing, const char *name, const char *value)
{
    return natsMsgHeader_Add((natsMsg *)outgoing, name, value) == NATS_OK ? 0 : -1;
}

const char *outgoing_subject(const struct outgoing *outgoing)
{
    return natsMsg_GetSubject(raw(outgoing));
}

size_t outgoing_size(const struct outgoing *outgoing)
{
    return (size_t)natsMsg_GetDataLength(raw(outgoing));
}
