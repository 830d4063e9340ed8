#include "bus/control.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/closed_gate.h"
#include "bus/control_internal.h"
#include "bus/denial.h"
#include "bus/options.h"
#include "bus/server_info.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * libnats gives a connection up for good when the server refuses its credentials twice in a row
 * while it reconnects (a server that comes back with another configuration for a moment). The next
 * request then makes a new connection. Requests hold the lock for reading, so that one waits for
 * none of the others, and the exchange holds it for writing.
 */

struct control {
    const struct nats_config *config;
    const atomic_bool *cancelled;
    natsOptions *options;
    struct closed_gate gate; /* the connections that may still call on_error */

    pthread_rwlock_t lock; /* guards `connection`: the pointer, not the object, which has its own */
    natsConnection *connection;
    int64_t replace_after_ns; /* no new connection is tried before */
    natsStatus replace_status;
    atomic_uint generation; /* how many connections there have been in its place */

    pthread_mutex_t server_lock; /* guards the two below */
    char server_id[128];         /* whose INFO `server` is; "": nobody's */
    struct server_info server;

    atomic_uint refusals;     /* permission violations so far */
    pthread_mutex_t why_lock; /* guards what follows */
    char refusal[256];        /* the last one */
    control_denied *on_denial;
    void *denial_context;
};

/* Whether the server has denied something that is not a request's. */
static bool is_denied_elsewhere(struct control *control, const char *text)
{
    struct denial denial;
    if (!denial_read(&denial, text))
        return false;
    pthread_mutex_lock(&control->why_lock);
    bool is = control->on_denial != NULL && control->on_denial(control->denial_context, &denial);
    pthread_mutex_unlock(&control->why_lock);
    return is;
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *context)
{
    struct control *control = context;
    const char *text = denial_text(connection, status);
    struct error err;
    (void)subscription;
    if (status == NATS_NOT_PERMITTED && is_denied_elsewhere(control, text))
        return;
    if (status == NATS_NOT_PERMITTED) {
        denial_text_error(text, &err);
        pthread_mutex_lock(&control->why_lock);
        snprintf(control->refusal, sizeof(control->refusal), "%.255s", err.text);
        pthread_mutex_unlock(&control->why_lock);
        atomic_fetch_add(&control->refusals, 1);
    } else {
        log_warn("nats", "control connection: %s", text);
    }
}

static int set_callbacks(struct control *control, struct error *err)
{
    natsStatus s = natsOptions_SetErrorHandler(control->options, on_error, control);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(control->options, closed_gate_on_closed, &control->gate);
    /* A request that cannot be answered any more is told so, rather than left to its timeout. */
    if (s == NATS_OK)
        s = natsOptions_SetFailRequestsOnDisconnect(control->options, true);
    return s == NATS_OK ? 0 : error_set(err, "nats: %s", natsStatus_GetText(s));
}

bool control_cancelled(const struct control *control)
{
    return control->cancelled != NULL && atomic_load(control->cancelled);
}

void control_pause(const struct control *control, int64_t duration_ns)
{
    int64_t end_ns = clock_monotonic_ns() + duration_ns;
    for (int64_t left; (left = end_ns - clock_monotonic_ns()) > 0 && !control_cancelled(control);) {
        int64_t slice = left < 50 * NS_PER_MS ? left : 50 * NS_PER_MS;
        nanosleep(&(struct timespec){.tv_nsec = slice}, NULL);
    }
}

/* Every connection made counts at the gate from before its first callback. */
static natsStatus connect_once(struct control *control, natsConnection **connection)
{
    closed_gate_opened(&control->gate);
    natsStatus s = nats_connect(connection, control->options);
    if (s != NATS_OK)
        closed_gate_on_complete(&control->gate); /* one that failed calls nothing */
    return s;
}

static int connect_patiently(struct control *control, struct error *err)
{
    natsStatus last = NATS_OK;
    for (;;) {
        natsStatus s = connect_once(control, &control->connection);
        if (s == NATS_OK) {
            if (last != NATS_OK)
                log_info("nats", "the server answers");
            return 0;
        }
        nats_connect_error(s, control->config, err);
        if (nats_connect_is_final(s))
            return -1;
        if (s != last)
            log_warn("nats", "waiting for the server: %s", err->text);
        last = s;
        control_pause(control, control->config->reconnect_wait_ns);
        if (control_cancelled(control))
            return error_prefix(err, "stopped while waiting for the server");
    }
}

int control_open(struct control **control, const struct nats_config *config,
                 const atomic_bool *cancelled, struct error *err)
{
    *control = NULL;
    struct control *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "nats: out of memory");
    if (config->tls.enabled && !config->tls.verify)
        log_warn("nats", "nats.tls.verify = false: any server is trusted, also one that only says "
                         "it is yours");
    opened->config = config;
    opened->cancelled = cancelled;
    closed_gate_init(&opened->gate);
    pthread_rwlock_init(&opened->lock, NULL);
    pthread_mutex_init(&opened->server_lock, NULL);
    pthread_mutex_init(&opened->why_lock, NULL);
    if (nats_options_build(&opened->options, config, "control", err) != 0 ||
        set_callbacks(opened, err) != 0 || connect_patiently(opened, err) != 0) {
        control_close(opened);
        return -1;
    }
    *control = opened;
    return 0;
}

void control_close(struct control *control)
{
    if (control == NULL)
        return;
    natsConnection_Destroy(control->connection);
    if (!closed_gate_wait(&control->gate))
        return; /* rather a leak than a callback into freed memory */
    natsOptions_Destroy(control->options);
    pthread_mutex_destroy(&control->why_lock);
    pthread_mutex_destroy(&control->server_lock);
    pthread_rwlock_destroy(&control->lock);
    free(control);
}

/*
 * Puts a new connection in the place of one that libnats has given up. At most once per
 * reconnect_wait.
 */
static void replace_closed(struct control *control)
{
    pthread_rwlock_wrlock(&control->lock);
    if (natsConnection_IsClosed(control->connection) &&
        clock_monotonic_ns() >= control->replace_after_ns) {
        natsConnection *connection = NULL;
        struct error err;
        natsStatus s = connect_once(control, &connection);
        if (s == NATS_OK) {
            natsConnection_Destroy(control->connection);
            control->connection = connection;
            atomic_fetch_add(&control->generation, 1);
        } else {
            nats_connect_error(s, control->config, &err);
            if (s != control->replace_status)
                log_warn("nats", "control connection: %s", err.text);
        }
        control->replace_status = s;
        control->replace_after_ns = clock_monotonic_ns() + control->config->reconnect_wait_ns;
    }
    pthread_rwlock_unlock(&control->lock);
}

/* The connection, held until release(). */
static natsConnection *acquire(struct control *control)
{
    pthread_rwlock_rdlock(&control->lock);
    if (natsConnection_IsClosed(control->connection)) {
        pthread_rwlock_unlock(&control->lock);
        replace_closed(control);
        pthread_rwlock_rdlock(&control->lock);
    }
    return control->connection;
}

static void release(struct control *control)
{
    pthread_rwlock_unlock(&control->lock);
}

bool control_connected(struct control *control)
{
    pthread_rwlock_rdlock(&control->lock);
    bool connected = natsConnection_Status(control->connection) == NATS_CONN_STATUS_CONNECTED;
    pthread_rwlock_unlock(&control->lock);
    return connected;
}

/* The INFO of the server connected to, asked for once per server. False when it cannot be had. */
static bool server_info(struct control *control, struct server_info *info)
{
    char url[512] = "", id[sizeof(control->server_id)] = "";
    struct error err;
    natsConnection *connection = acquire(control);
    natsStatus s = natsConnection_GetConnectedUrl(connection, url, sizeof(url));
    if (s == NATS_OK)
        s = natsConnection_GetConnectedServerId(connection, id, sizeof(id));
    release(control);
    if (s != NATS_OK || id[0] == '\0')
        return false;

    pthread_mutex_lock(&control->server_lock);
    bool known = strcmp(control->server_id, id) == 0;
    if (!known) {
        known =
            server_info_read(&control->server, url, control->config->connect_timeout_ns, &err) == 0;
        if (known)
            memcpy(control->server_id, id, sizeof(id));
        else
            log_debug("nats", "the server's version is not known: %s", err.text);
    }
    *info = control->server;
    pthread_mutex_unlock(&control->server_lock);
    return known;
}

struct server_version control_server(struct control *control)
{
    struct server_info info;
    if (!server_info(control, &info))
        return (struct server_version){.major = 0};
    return (struct server_version){info.major, info.minor, info.patch};
}

bool control_has_jetstream(struct control *control)
{
    struct server_info info;
    return !server_info(control, &info) || info.jetstream;
}

bool control_server_at_least(struct control *control, int major, int minor, int patch)
{
    struct server_version version = control_server(control);
    if (version.major != major)
        return version.major > major;
    if (version.minor != minor)
        return version.minor > minor;
    return version.patch >= patch;
}

natsStatus control_request(struct control *control, const char *subject, const char *body,
                           size_t body_size, int64_t timeout_ns, natsMsg **reply, struct error *err)
{
    *reply = NULL;
    unsigned refusals = atomic_load(&control->refusals);
    natsConnection *connection = acquire(control);
    natsStatus s = natsConnection_Request(reply, connection, subject, body, (int)body_size,
                                          timeout_ns / NS_PER_MS);
    release(control);
    if (s == NATS_TIMEOUT && atomic_load(&control->refusals) != refusals) {
        pthread_mutex_lock(&control->why_lock);
        error_set(err, "%s", control->refusal);
        pthread_mutex_unlock(&control->why_lock);
        return NATS_NOT_PERMITTED;
    }
    if (s == NATS_TIMEOUT)
        error_set(err, "no answer within %g s", (double)timeout_ns / NS_PER_S);
    else if (s != NATS_OK)
        error_set(err, "%s", natsStatus_GetText(s));
    return s;
}

natsStatus control_subscribe(struct control *control, natsSubscription **subscription,
                             const char *subject, natsMsgHandler handler, void *context)
{
    pthread_rwlock_rdlock(&control->lock);
    natsStatus s =
        natsConnection_Subscribe(subscription, control->connection, subject, handler, context);
    pthread_rwlock_unlock(&control->lock);
    return s;
}

unsigned control_generation(const struct control *control)
{
    return atomic_load(&control->generation);
}

void control_on_denial(struct control *control, control_denied *on_denial, void *context)
{
    pthread_mutex_lock(&control->why_lock);
    control->on_denial = on_denial;
    control->denial_context = context;
    pthread_mutex_unlock(&control->why_lock);
}

void control_servers(const struct nats_config *config, char *text, size_t size)
{
    nats_config_servers(config, text, size);
}
