#ifndef TIDEMILL_BUS_INBOUND_H
#define TIDEMILL_BUS_INBOUND_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/link.h"

/*
 * What libnats' threads leave for the loop: replies, and subjects that were denied. A plain list,
 * which has no lock of its own. Private to bus/link.c.
 */

struct inbound {
    char *denied; /* a subject; then nothing else is set */
    enum reply_kind kind;
    uint64_t token;
    natsMsg *message;
    bool no_responders;
    bool halfway; /* a barrier that has come round on the intake */
};

struct inbound_list {
    struct inbound *items;
    size_t count, capacity;
};

/* The list takes over what the item holds. Returns 0, or -1: out of memory. */
int inbound_push(struct inbound_list *list, const struct inbound *item);

/* Frees what an item holds that nobody takes. */
void inbound_drop(struct inbound *item);

/* Drops all; the list is empty then. */
void inbound_free(struct inbound_list *list);

#endif
