#ifndef TIDEMILL_BUS_LINK_INTERNAL_H
#define TIDEMILL_BUS_LINK_INTERNAL_H

#include <nats/nats.h>

#include "bus/link.h"

/* For pull.c alone: the connection itself. */
natsConnection *link_connection(struct link *link);

#endif
