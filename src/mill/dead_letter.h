#ifndef TIDEMILL_MILL_DEAD_LETTER_H
#define TIDEMILL_MILL_DEAD_LETTER_H

#include <stdint.h>

#include "mill/delivery.h"
#include "mill/outbox.h"

/*
 * The dead letter: the message itself, payload byte for byte, on `<root>.<stream>.<durable>`, with
 * headers that say why it is there:
 *
 *   Tidemill-Reason         error, timeout, memory, output, retry, rejected, payload, max_deliver
 *   Tidemill-Rule           the rule, when it is one rule's fault
 *   Tidemill-Error          what happened, with file, line and traceback; line ends written as \n
 *   Tidemill-Subject, -Stream, -Sequence, -Delivered, -Rules-Version, -Time (RFC 3339, UTC)
 *
 * The message's own headers go along untouched, except that those the server acts upon (Nats-...)
 * are renamed to Tidemill-Original-Nats-..., so that the dead letter's own Nats-Msg-Id holds. That
 * id is `<stream>:<sequence>:<durable>:dead`: stored once, however often we die before the term.
 */

/*
 * Sends it through the outbox with `&delivery->dead_letter` as token. Returns -1 when memory runs
 * out.
 */
int dead_letter_send(struct outbox *outbox, const char *root, const char *rules_version,
                     struct delivery *delivery, int64_t now_ns, struct error *err);

#endif
