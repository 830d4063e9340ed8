#ifndef TIDEMILL_BUS_OUTGOING_H
#define TIDEMILL_BUS_OUTGOING_H

#include <stddef.h>
#include <stdint.h>

#include "bus/link.h"

/*
 * A message to publish, kept until it is freed so that it can be sent again with the same id
 * (link_send). One owner at a time.
 */

struct outgoing;

/* Where the PubAck comes to; link.h says what the difference is. */
enum puback_way {
    PUBACK_NONE,  /* none is asked for */
    PUBACK_QUICK, /* `<inbox>.q.<token>`; a 503 is reported without the token */
    PUBACK_NAMED  /* `<inbox>.r.p.<token>` */
};

/* NULL when memory runs out. Copies everything. */
struct outgoing *outgoing_new(const struct link *link, enum puback_way way, uint64_t token,
                              const char *subject, const char *payload, size_t size);
/* The same with the reply subject `<inbox>.r.<kind>.<token>`. */
struct outgoing *outgoing_new_request(const struct link *link, enum reply_kind kind, uint64_t token,
                                      const char *subject, const char *payload, size_t size);
/* The same message once more, headers and all, with its PubAck to come another way. */
struct outgoing *outgoing_new_again(const struct link *link, enum puback_way way, uint64_t token,
                                    const struct outgoing *outgoing);
void outgoing_free(struct outgoing *outgoing); /* burst these, as with wire_free; NULL is fine */

/* Returns 0, or -1 when memory runs out. */
int outgoing_header(struct outgoing *outgoing, const char *name, const char *value);
/* The same, but a value that is there already stays beside it. */
int outgoing_add_header(struct outgoing *outgoing, const char *name, const char *value);

const char *outgoing_subject(const struct outgoing *outgoing);
size_t outgoing_size(const struct outgoing *outgoing); /* of the payload, in bytes */

#endif
