#ifndef TIDEMILL_BUS_CONTROL_INTERNAL_H
#define TIDEMILL_BUS_CONTROL_INTERNAL_H

#include <nats/nats.h>
#include <stddef.h>

#include "bus/control.h"
#include "bus/denial.h"

/* For bus/ alone: requests on the control connection. */

/*
 * Sends `body` (NULL: empty) and waits for one reply. NATS_NO_RESPONDERS when nobody listens,
 * NATS_NOT_PERMITTED when the server said that the subject is not permitted. On failure `err` says
 * what happened, without the subject. The caller destroys `*reply`.
 */
natsStatus control_request(struct control *control, const char *subject, const char *body,
                           size_t body_size, int64_t timeout_ns, natsMsg **reply,
                           struct error *err);

/* Subscribes on the connection of the moment, which is the `control_generation`th. */
natsStatus control_subscribe(struct control *control, natsSubscription **subscription,
                             const char *subject, natsMsgHandler handler, void *context);
unsigned control_generation(const struct control *control);

/*
 * Asks `on_denial` first when the server has denied something, on libnats' thread; it returns
 * whether that was its own. One at a time; NULL: nobody any more, and nobody is being asked then.
 */
typedef bool control_denied(void *context, const struct denial *denial);
void control_on_denial(struct control *control, control_denied *on_denial, void *context);

/* Whether the process is asked to stop: give up waiting. */
bool control_cancelled(const struct control *control);

/* Sleeps, in slices, until the time is over or control_cancelled. */
void control_pause(const struct control *control, int64_t duration_ns);

#endif
