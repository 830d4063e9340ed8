#ifndef TIDEMILL_BUS_OPTIONS_H
#define TIDEMILL_BUS_OPTIONS_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "base/error.h"

/*
 * The `nats` table of the configuration as libnats' options, the same for every connection of the
 * process, and what a failed connect means in terms of that table. Private to bus/. Any thread.
 */

/*
 * Builds the options of one connection, named "<nats.name> <role>". Files (ca, cert, key, creds,
 * nkey_seed) are looked at here, so that an unreadable one is an error that names it. The caller
 * adds its callbacks and destroys the options (NULL on failure).
 */
int nats_options_build(natsOptions **options, const struct nats_config *config, const char *role,
                       struct error *err);

/* Gives the next connection made with these options another role in its name. */
natsStatus nats_options_name(natsOptions *options, const struct nats_config *config,
                             const char *role);

/*
 * Lets the next connection also try the servers that this one has learnt of (a cluster's). Returns
 * how many it may try. When memory runs out it tries those that the last one could.
 */
size_t nats_options_keep_servers(natsOptions *options, const struct nats_config *config,
                                 natsConnection *connection);

/*
 * natsConnection_Connect, tried again where credentials are refused, three times in all: libnats
 * (3.4.1, nats_Base64RawURL_EncodeString) takes a signature that begins with a zero byte for an
 * empty one, and sends none. That is one of 256; each attempt has something else to sign.
 */
natsStatus nats_connect(natsConnection **connection, natsOptions *options);

/* Whether trying again cannot help: refused credentials, a certificate that is not trusted, ... */
bool nats_connect_is_final(natsStatus status);

/*
 * Says why connecting failed and what to look at. Call it on the thread that connected, at once:
 * libnats keeps the details of an error per thread. Returns -1.
 */
int nats_connect_error(natsStatus status, const struct nats_config *config, struct error *err);

/* The servers as people write them, comma separated, without any password. */
void nats_config_servers(const struct nats_config *config, char *text, size_t size);

#endif
