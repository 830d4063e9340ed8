#ifndef TIDEMILL_BUS_SERVICE_H
#define TIDEMILL_BUS_SERVICE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "bus/control.h"

/*
 * NATS' own service discovery (ADR-32): this process answers $SRV.PING, $SRV.INFO and $SRV.STATS,
 * each also with .<name> and .<name>.<id>, as `nats micro` asks them. The id is drawn at open and
 * is this process' own. It only tells about the work: nothing can be asked of an endpoint this way.
 *
 * It lives on the control connection. Where the user may not subscribe to $SRV.>, or not publish
 * the answers, one line says so, and the rest goes on.
 *
 * Threads: service_open, _tick and _close on one; the host is asked on a thread of libnats'.
 */

struct service;

struct service_endpoint {
    char name[128]; /* what a name may not have becomes '-' */
    const char *subject;
    const char *queue_group;
    uint64_t requests, errors;
    int64_t processing_ns;
    char last_error[256]; /* "": none */
};

/*
 * Who knows the figures. Metadata and data are JSON objects; metadata holds strings and never
 * changes.
 */
struct service_host {
    void *context;
    size_t endpoint_count;
    void (*metadata)(void *context, FILE *out);
    void (*endpoint)(void *context, size_t index, struct service_endpoint *endpoint);
    void (*endpoint_metadata)(void *context, size_t index, FILE *out);
    void (*endpoint_data)(void *context, size_t index, FILE *out);
};

struct service_options {
    const char *name;        /* likewise made valid */
    const char *version;     /* SemVer */
    const char *description; /* for people */
    struct service_host host;
};

/* Keeps what `options` points to, and `control`. */
int service_open(struct service **service, struct control *control,
                 const struct service_options *options, struct error *err);

/* A few times a second: subscribes again where the connection is another one. Waits for nothing. */
void service_tick(struct service *service);

/* When it returns the host is asked no more. Before control_close. NULL is fine. */
void service_close(struct service *service);

#endif
