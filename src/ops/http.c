/*
 * One thread of libmicrohttpd's serves all. A client that comes to no end (it sends a byte now and
 * then) would keep its place for ever, and a number of them would keep out the health check. So
 * when places run short, the connection that was opened first is cut: whoever asks now is answered.
 */
#include "ops/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ops/address.h"
#include "ops/metrics.h"

enum {
    CONNECTIONS_MAX = 64,
    CONNECTIONS_KEPT = 48, /* the others are being closed */
    IDLE_SECONDS = 10,
    CONNECTION_MEMORY = 16 * 1024
};

static const char *const plain = "text/plain; charset=utf-8";

struct visit {
    int fd; /* -1: nobody */
    uint64_t number;
    bool cut;
};

struct http {
    struct visit visits[CONNECTIONS_MAX]; /* the server's thread's */
    uint64_t last_visit;
    struct MHD_Daemon *daemon;
    struct health *health;
    int port;
};

/* What a path gives: a body to be freed (NULL: memory is short), its type and the status. */
struct page {
    char *body;
    const char *type;
    unsigned int status;
};

static struct page show_metrics(struct http *http)
{
    (void)http;
    size_t size;
    return (struct page){metrics_render(&size), "text/plain; version=0.0.4; charset=utf-8",
                         MHD_HTTP_OK};
}

static struct page show_healthz(struct http *http)
{
    (void)http;
    return (struct page){strdup("ok\n"), plain, MHD_HTTP_OK};
}

static struct page show_readyz(struct http *http)
{
    bool ready = false;
    char *body = health_render_ready(http->health, &ready);
    return (struct page){body, plain, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE};
}

static struct page show_status(struct http *http)
{
    return (struct page){health_render_status(http->health), "application/json", MHD_HTTP_OK};
}

static const struct {
    const char *path;
    struct page (*show)(struct http *http);
} routes[] = {
    {"/metrics", show_metrics},
    {"/healthz", show_healthz},
    {"/readyz", show_readyz},
    {"/status", show_status},
};

static struct page find_page(struct http *http, const char *path, const char *method)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(path, routes[i].path) != 0)
            continue;
        if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
            return routes[i].show(http);
        return (struct page){strdup("only GET and HEAD\n"), plain, MHD_HTTP_METHOD_NOT_ALLOWED};
    }
    return (struct page){strdup("not here; there are /metrics, /healthz, /readyz and /status\n"),
                         plain, MHD_HTTP_NOT_FOUND};
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    (void)version, (void)upload, (void)upload_size, (void)request;
    static char sorry[] = "out of memory\n";
    struct page page = find_page(context, path, method);
    struct MHD_Response *response =
        page.body != NULL
            ? MHD_create_response_from_buffer(strlen(page.body), page.body, MHD_RESPMEM_MUST_FREE)
            : MHD_create_response_from_buffer(strlen(sorry), sorry, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        free(page.body);
        return MHD_NO;
    }
    if (page.body == NULL)
        page.status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                            page.body != NULL ? page.type : plain);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (page.status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, page.status, response);
    MHD_destroy_response(response);
    return result;
}

static void cut_oldest(struct http *http)
{
    struct visit *oldest = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct visit *visit = &http->visits[i];
        if (visit->fd < 0 || visit->cut)
            continue;
        kept++;
        if (oldest == NULL || visit->number < oldest->number)
            oldest = visit;
    }
    if (kept <= CONNECTIONS_KEPT)
        return;
    oldest->cut = true;
    shutdown(oldest->fd, SHUT_RDWR); /* libmicrohttpd sees its end, and closes it */
}

static void on_connection(void *context, struct MHD_Connection *connection, void **place,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*place != NULL)
            ((struct visit *)*place)->fd = -1;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (size_t i = 0; i < CONNECTIONS_MAX && info != NULL; i++) {
        if (http->visits[i].fd >= 0)
            continue;
        http->visits[i] = (struct visit){.fd = info->connect_fd, .number = ++http->last_visit};
        *place = &http->visits[i];
        break;
    }
    cut_oldest(http);
}

/* The server's thread is started with every signal blocked: they belong to the main loop. */
static struct MHD_Daemon *start_daemon(struct http *http, int fd)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, answer, http, MHD_OPTION_LISTEN_SOCKET,
        (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

int http_open(struct http **result, const char *listen, struct health *health, struct error *err)
{
    struct address address;
    if (address_parse(&address, listen, err) != 0)
        return error_prefix(err, "http.listen");
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return error_set(err, "out of memory");
    int fd = address_listen(&address, err);
    if (fd < 0) {
        free(http);
        return error_prefix(err, "http.listen");
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        http->visits[i].fd = -1;
    http->health = health;
    http->port = address.port;
    http->daemon = start_daemon(http, fd); /* closes the socket in its time */
    if (http->daemon == NULL) {
        free(http);
        return error_set(err, "http.listen: %s: the HTTP server could not be started", listen);
    }
    *result = http;
    return 0;
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}

int http_port(const struct http *http)
{
    return http->port;
}
