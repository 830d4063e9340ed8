#ifndef TIDEMILL_OPS_ADDRESS_H
#define TIDEMILL_OPS_ADDRESS_H

#include <stdint.h>

#include "base/error.h"

/*
 * Where the HTTP server listens and where to ask it: "127.0.0.1:9180", "localhost:9180",
 * "[::1]:9180", or ":9180". Any thread; sockets are close-on-exec.
 */

enum { ADDRESS_HOST_MAX = 256 };

struct address {
    char host[ADDRESS_HOST_MAX]; /* without brackets; "" in ":9180" */
    int port;                    /* 0..65535 */
};

int address_parse(struct address *address, const char *text, struct error *err);

/*
 * A socket that listens there; no host means every interface, port 0 any free port, which is put
 * into `address`. -1: the message says which address and, when the port is taken, that.
 */
int address_listen(struct address *address, struct error *err);

/* A socket connected there by `deadline_ns` (clock_monotonic_ns); no host means this machine. */
int address_connect(const struct address *address, int64_t deadline_ns, struct error *err);

#endif
