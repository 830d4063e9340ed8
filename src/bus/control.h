#ifndef TIDEMILL_BUS_CONTROL_H
#define TIDEMILL_BUS_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

/*
 * The control connection: the one ordinary (threaded) connection of the process, for everything
 * that waits for an answer: provisioning, consumer info, buckets. Every function blocks, for a
 * bounded time, and may be called from any thread, from several at a time; never on a worker's
 * loop.
 */

struct control;

struct server_version {
    int major, minor, patch; /* all 0: not known */
};

/*
 * Connects. While no server answers it says why in the log, once, and tries again every
 * reconnect_wait, until `*cancelled`; what waiting cannot cure (refused credentials, a certificate
 * that is not trusted) is an error at once. Once connected it reconnects by itself. Keeps `config`
 * and `cancelled` (which may be NULL); both must outlive it.
 */
int control_open(struct control **control, const struct nats_config *config,
                 const atomic_bool *cancelled, struct error *err);

/* No other thread may be in any function of this `control`. NULL is fine. */
void control_close(struct control *control);

bool control_connected(struct control *control);

/* The server connected to at the moment. */
struct server_version control_server(struct control *control);

/* Whether that server says that it has JetStream; true when it is not known. */
bool control_has_jetstream(struct control *control);

/* Whether the server is at least this version; false when its version is not known. */
bool control_server_at_least(struct control *control, int major, int minor, int patch);

/* The servers as people write them, comma separated, without any password. */
void control_servers(const struct nats_config *config, char *text, size_t size);

#endif
