#ifndef TIDEMILL_CMD_CONNECT_FLAGS_H
#define TIDEMILL_CMD_CONNECT_FLAGS_H

#include "base/config.h"

/*
 * Where the commands without a configuration file (feed, tap) find the server: flags, then NATS_URL
 * and NATS_CREDS, then the local server.
 */

struct connect_flags {
    const char *url, *creds, *user, *password, *ca;
};

/* The entries for a table of flags; `target` is a struct connect_flags. */
#define CONNECT_FLAGS(target)                                                                      \
    {.name = "--nats", .value = &(target).url}, {.name = "--creds", .value = &(target).creds},     \
        {.name = "--user", .value = &(target).user},                                               \
        {.name = "--password", .value = &(target).password},                                       \
    {                                                                                              \
        .name = "--ca", .value = &(target).ca                                                      \
    }

/* The lines of `help` about them. */
#define CONNECT_FLAGS_HELP                                                                         \
    "  --nats URL         the server (else NATS_URL, else nats://127.0.0.1:4222)\n"                \
    "  --creds FILE       a credentials file (else NATS_CREDS)\n"                                  \
    "  --user U           with --password P\n"                                                     \
    "  --ca FILE          use TLS and trust these certificates\n"

/*
 * Fills `config`, whose strings stay those of the flags and the environment; free with the one
 * below.
 */
int connect_flags_config(const struct connect_flags *flags, struct nats_config *config,
                         struct error *err);
void connect_flags_free(struct nats_config *config);

#endif
