#include "server.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "loopback.h"

enum { STARTS_MAX = 5, STEP_MS = 5 };

struct server {
    char folder[PATH_MAX];
    char config_file[PATH_MAX + 32];
    char log[PATH_MAX + 32];
    char *config;
    char *jetstream;
    int port;
    char url[64];
    struct process *process;
};

static int write_config(const struct server *server, struct error *err)
{
    FILE *file = fopen(server->config_file, "we");
    if (file == NULL)
        return error_set(err, "%s: %s", server->config_file, strerror(errno));
    fprintf(file, "listen: \"127.0.0.1:%d\"\n", server->port);
    fprintf(file, "jetstream {\n  store_dir: \"%s/store\"\n  %s\n}\n", server->folder,
            server->jetstream);
    fprintf(file, "%s\n", server->config);
    if (fclose(file) != 0)
        return error_set(err, "%s: %s", server->config_file, strerror(errno));
    return 0;
}

int server_start(struct server *server, int64_t deadline_ns, struct error *err)
{
    const char *const argv[] = {"nats-server", "-c", server->config_file, NULL};
    struct process_options options = {.argv = argv, .folder = server->folder, .log = server->log};
    if (write_config(server, err) != 0)
        return -1;
    process_close(server->process);
    server->process = NULL;
    if (process_open(&server->process, &options, err) != 0)
        return -1;
    while (!loopback_greets(server->port, deadline_ns)) {
        if (process_wait(server->process, clock_monotonic_ns() + STEP_MS * NS_PER_MS))
            return error_set(err, "nats-server ended with status %d instead of serving",
                             process_status(server->process));
        if (clock_monotonic_ns() > deadline_ns)
            return error_set(err, "nats-server does not serve port %d", server->port);
    }
    return 0;
}

static char *copy_or_empty(const char *text)
{
    return strdup(text != NULL ? text : "");
}

int server_open(struct server **result, const struct server_options *options, int64_t deadline_ns,
                struct error *err)
{
    struct server *server = calloc(1, sizeof(*server));
    *result = server;
    if (server == NULL)
        return error_set(err, "out of memory");
    server->config = copy_or_empty(options->config);
    server->jetstream = copy_or_empty(options->jetstream);
    if (server->config == NULL || server->jetstream == NULL)
        return error_set(err, "out of memory");
    snprintf(server->folder, sizeof(server->folder), "%s", options->folder);
    snprintf(server->log, sizeof(server->log), "%s/server", options->folder);
    if (mkdir(server->log, 0700) != 0)
        return error_set(err, "%s: %s", server->log, strerror(errno));
    snprintf(server->log, sizeof(server->log), "%s/server/log", options->folder);
    snprintf(server->config_file, sizeof(server->config_file), "%s/server/nats.conf",
             options->folder);
    /* Another test may take the port between the look and the start. */
    for (int tries = 0; tries < STARTS_MAX; tries++) {
        server->port = loopback_free_port();
        if (server->port < 0)
            return error_set(err, "no free port on 127.0.0.1");
        snprintf(server->url, sizeof(server->url), "nats://127.0.0.1:%d", server->port);
        if (options->stopped || server_start(server, deadline_ns, err) == 0)
            return 0;
        if (server->process == NULL ||
            process_count_text(server->process, "address already in use") == 0)
            return -1;
    }
    return -1;
}

void server_close(struct server *server)
{
    if (server == NULL)
        return;
    process_close(server->process);
    free(server->config);
    free(server->jetstream);
    free(server);
}

int server_end(struct server *server, int signal, int64_t deadline_ns)
{
    if (server->process == NULL)
        return 0;
    process_signal(server->process, signal);
    return process_wait(server->process, deadline_ns) ? 0 : -1;
}

int server_configure(struct server *server, const char *config, struct error *err)
{
    char *copy = copy_or_empty(config);
    if (copy == NULL)
        return error_set(err, "out of memory");
    free(server->config);
    server->config = copy;
    return write_config(server, err);
}

bool server_at_least(int major, int minor, int patch)
{
    static int found[3];
    const int wanted[] = {major, minor, patch};
    if (found[0] == 0) {
        FILE *out = popen("nats-server --version", "re"); /* NOLINT: the one of PATH is meant */
        if (out == NULL ||
            fscanf(out, "nats-server: v%d.%d.%d", &found[0], &found[1], &found[2]) != 3)
            abort(); /* a guess would leave tests out */
        pclose(out);
    }
    for (int i = 0; i < 3; i++) {
        if (found[i] != wanted[i])
            return found[i] > wanted[i];
    }
    return true;
}

int server_port(const struct server *server)
{
    return server->port;
}

const char *server_url(const struct server *server)
{
    return server->url;
}

struct process *server_process(struct server *server)
{
    return server->process;
}
