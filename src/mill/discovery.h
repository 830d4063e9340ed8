#ifndef TIDEMILL_MILL_DISCOVERY_H
#define TIDEMILL_MILL_DISCOVERY_H

#include "base/config.h"
#include "base/error.h"
#include "bus/control.h"
#include "mill/tally.h"

/*
 * What NATS' service discovery (bus/service.h) is told of this process: the service has the name of
 * nats.name, and each source is an endpoint. Its subject is the source's filter, its queue group
 * the durable, since processes with the same durable share the messages; a request is a message
 * delivered, an error one given back or buried, the processing time what handlers took for it.
 *
 * Threads: discovery_open, _tick and _close on the supervisor's; discovery_rules on any.
 */

struct discovery;

/* All pointers outlive it. `*discovery` is NULL when the configuration switches it off. */
int discovery_open(struct discovery **discovery, const struct config *config,
                   const struct tally *tally, const char *rules_version, struct control *control,
                   struct error *err);

/* NULL is fine for all of these. */
void discovery_tick(struct discovery *discovery);
void discovery_rules(struct discovery *discovery, const char *version); /* at work from now on */
void discovery_close(struct discovery *discovery);                      /* before control_close */

#endif
