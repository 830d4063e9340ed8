#ifndef TIDEMILL_BUS_PUBACK_H
#define TIDEMILL_BUS_PUBACK_H

#include <stddef.h>

/*
 * The PubAck: what a stream answers to a publish, {"stream":"S","seq":1} or
 * {"error":{"code":..,"err_code":..,"description":".."}} (nats-server, JSPubAckResponse). Pure; any
 * thread.
 *
 * The leader of a replicated stream notes an id when it proposes the message. Where the proposal
 * is lost, at an election for one, the id stays for the stream's duplicate window and no message
 * has it; what is answered then, {"stream":"S","seq":0,"duplicate":true} or since nats-server 2.11
 * the error 10158, is PUBACK_STAGED here.
 */

enum puback {
    PUBACK_STORED,
    PUBACK_DUPLICATE, /* the stream has a message with this id: as good as stored */
    PUBACK_STAGED,    /* the id is known, no message is: it may be stored still, or never */
    PUBACK_PASSING,   /* refused, but asking again may help: full, no leader, short of resources */
    PUBACK_REFUSED    /* refused for good: too large, sealed, an expectation not met */
};

/* Unless it is stored writes the server's words to `why` ("maximum messages exceeded (10077)"). */
enum puback puback_parse(const char *text, size_t size, char *why, size_t why_size);

#endif
