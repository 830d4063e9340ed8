#ifndef TIDEMILL_BUS_DENIAL_H
#define TIDEMILL_BUS_DENIAL_H

#include <nats/nats.h>
#include <stdbool.h>

#include "base/error.h"

/*
 * What the server says when the user has no permission: not an answer to the message or the
 * subscription, but an error of the connection, in its own words. Any thread.
 */

enum { DENIAL_SUBJECT_SIZE = 256 };

struct denial {
    bool subscribe; /* else: publish */
    char subject[DENIAL_SUBJECT_SIZE];
};

/* The text of the error that a callback has just been called with. Lives as long as the call. */
const char *denial_text(natsConnection *connection, natsStatus status);

/* Whether the text is the server's word that a permission is missing. */
bool denial_read(struct denial *denial, const char *text);

/*
 * Says in one line what is to be allowed. Where only a part of the subject stays the same (an
 * inbox, an acknowledgement), as a pattern. Returns -1.
 */
int denial_error(const struct denial *denial, struct error *err);

/* The same for a server's text; what is no denial is the error as it stands. Returns -1. */
int denial_text_error(const char *text, struct error *err);

#endif
