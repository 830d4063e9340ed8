#ifndef TIDEMILL_BUS_REQUESTS_INTERNAL_H
#define TIDEMILL_BUS_REQUESTS_INTERNAL_H

#include <nats/nats.h>

#include "bus/requests.h"

/* For bus/ alone: the connection under the requests. */
natsConnection *requests_connection(struct requests *requests);

#endif
