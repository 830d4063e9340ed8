#ifndef TIDEMILL_BUS_LINK_INTERNAL_H
#define TIDEMILL_BUS_LINK_INTERNAL_H

#include <nats/nats.h>

#include "bus/link.h"

/* For pull.c alone: the connection of the intake. NULL: there is none now. */
natsConnection *link_connection(struct link *link);

/* For outgoing.c: the subjects of link.h that answers come to. */
enum { LINK_REPLY_SIZE = 128 };
void link_format_reply(const struct link *link, char *out, size_t size, enum reply_kind kind,
                       uint64_t token);
void link_format_quick_reply(const struct link *link, char *out, size_t size, uint64_t token);

#endif
