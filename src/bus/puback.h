#ifndef TIDEMILL_BUS_PUBACK_H
#define TIDEMILL_BUS_PUBACK_H

#include <stddef.h>

/*
 * The PubAck: what a stream answers to a publish, {"stream":"S","seq":1} or
 * {"error":{"code":..,"err_code":..,"description":".."}} (nats-server, JSPubAckResponse). Pure; any
 * thread.
 */

enum puback {
    PUBACK_STORED,
    PUBACK_DUPLICATE, /* the stream has a message with this id: as good as stored */
    PUBACK_PASSING,   /* refused, but asking again may help: full, no leader, short of resources */
    PUBACK_REFUSED    /* refused for good: too large, sealed, an expectation not met */
};

/* On a refusal writes the server's words to `why` ("maximum messages exceeded (10077)"). */
enum puback puback_parse(const char *text, size_t size, char *why, size_t why_size);

#endif
