#include "ops/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "ops/address.h"
#include "ops/metrics.h"

enum { CONNECTIONS_MAX = 64, IDLE_SECONDS = 10, CONNECTION_MEMORY = 16 * 1024 };

static const char *const plain = "text/plain; charset=utf-8";

struct http {
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
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
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
