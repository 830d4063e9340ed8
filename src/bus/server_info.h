#ifndef TIDEMILL_BUS_SERVER_INFO_H
#define TIDEMILL_BUS_SERVER_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * What a NATS server tells of itself in the INFO line that it sends to whoever connects, before TLS
 * and before any credentials. libnats (to 3.10 at least) keeps the version to itself, so this asks
 * on a socket of its own. Not possible where a server wants TLS before INFO. Any thread.
 */

struct server_info {
    int major, minor, patch;
    bool jetstream;
};

/* Reads the INFO of the server at `url` ("nats://host:port"). Blocks up to `timeout_ns`. */
int server_info_read(struct server_info *info, const char *url, int64_t timeout_ns,
                     struct error *err);

/* For tests: the same from the line itself ("INFO {...}"). */
int server_info_parse(struct server_info *info, const char *line, size_t size, struct error *err);

#endif
