#include "harness.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "bus/options.h"
#include "loopback.h"
#include "process.h"
#include "server.h"

enum {
    TIDEMILLS_MAX = 16,
    SETTINGS_MAX = 32,
    ARGUMENTS_MAX = 32,
    SERVER_PATIENCE_MS = 15000,
    HTTP_PATIENCE_MS = 5000,
    HTTP_STEP_MS = 10,
    TAIL_LINES = 40
};

struct deferred {
    struct deferred *next;
    void (*release)(void *object);
    void *object;
};

struct tidemill {
    struct process *process;
    int http_port;
};

struct harness {
    struct harness_options options;
    bool told_tails; /* the logs' ends are printed once */
    bool finished;   /* the test function came to its end */
    bool watched;    /* harness_run_test ran it, so that `finished` says something */
    char folder[PATH_MAX];
    struct server *server;
    natsConnection *nats;
    jsCtx *js;
    struct tidemill tidemills[TIDEMILLS_MAX];
    size_t tidemill_count;
    char *settings[SETTINGS_MAX]; /* "NAME=value" or "NAME"; a later one wins */
    size_t setting_count;
    struct deferred *deferred;
};

/* ---- failing and cleaning up ---- */

/* Not by cmocka's print_error, which cuts what it prints at 1 KiB. */
static void print_tail(struct process *process, const char *name)
{
    const char *text = process_text(process);
    const char *start = text + strlen(text);
    for (int lines = 0; start > text; start--) {
        if (start[-1] == '\n' && ++lines > TAIL_LINES)
            break;
    }
    fprintf(stderr, "---- the end of %s\n%s", name, start);
    if (process_wait(process, 0))
        fprintf(stderr, "\n---- it has ended with status %d", process_status(process));
    fputs("\n----\n", stderr);
}

static void print_tails(struct harness *h)
{
    if (h->told_tails)
        return;
    h->told_tails = true;
    if (h->server != NULL && server_process(h->server) != NULL)
        print_tail(server_process(h->server), "the server's log");
    for (size_t i = 0; i < h->tidemill_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "the log of tidemill %zu", i + 1);
        print_tail(h->tidemills[i].process, name);
    }
}

void harness_fail(struct harness *h, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_tails(h);
    fail_msg("%s", text);
    fprintf(stderr, "%s\n", text); /* outside of a test, where cmocka says nothing and goes on */
    abort();
}

void harness_defer(struct harness *h, void (*release)(void *object), void *object)
{
    struct deferred *deferred = malloc(sizeof(*deferred));
    if (deferred == NULL) {
        release(object);
        harness_fail(h, "out of memory");
    }
    *deferred = (struct deferred){.next = h->deferred, .release = release, .object = object};
    h->deferred = deferred;
}

/* How many times as long everything may take. */
static int patience(void)
{
    const char *given = getenv("HARNESS_PATIENCE");
    int factor = given != NULL ? atoi(given) : 1;
    return factor > 0 ? factor : 1;
}

int64_t harness_deadline(int64_t ms)
{
    return clock_monotonic_ns() + ms * NS_PER_MS * patience();
}

int harness_seconds(int seconds)
{
    return seconds * patience();
}

/* ---- the fixture ---- */

static int open_harness(struct harness *h, struct error *err)
{
    const char *temporary = getenv("TMPDIR");
    snprintf(h->folder, sizeof(h->folder), "%s/tidemill-test-XXXXXX",
             temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(h->folder) == NULL)
        return error_set(err, "cannot make %s: %s", h->folder, strerror(errno));
    struct server_options options = {.folder = h->folder,
                                     .config = h->options.server_config,
                                     .jetstream = h->options.jetstream,
                                     .stopped = h->options.no_server};
    return server_open(&h->server, &options, harness_deadline(SERVER_PATIENCE_MS), err);
}

static int set_up(void **state, const struct harness_options *options)
{
    struct error err = {"out of memory"};
    struct harness *h = calloc(1, sizeof(*h));
    *state = h;
    if (h == NULL)
        return -1;
    h->options = *options;
    if (open_harness(h, &err) == 0)
        return 0;
    print_error("harness: %s\n", err.text);
    print_tails(h);
    harness_teardown(state); /* cmocka calls it only after a set-up that worked */
    return -1;
}

int harness_setup(void **state)
{
    static const struct harness_options standard;
    return set_up(state, &standard);
}

/* The test to run travels in the fixture's initial state; afterwards *state is the harness. */
static const struct harness_test *current_test;

int harness_setup_test(void **state)
{
    current_test = *state;
    return set_up(state, &current_test->options);
}

void harness_run_test(void **state)
{
    struct harness *h = *state;
    h->watched = true;
    current_test->run(h);
    h->finished = true;
}

static void disconnect(struct harness *h)
{
    jsCtx_Destroy(h->js);
    natsConnection_Destroy(h->nats);
    h->js = NULL;
    h->nats = NULL;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    remove(path);
    return 0;
}

/* Whether a tidemill's log has a sanitizer's report in it. */
static bool has_report(struct process *process)
{
    return process_count_text(process, "Sanitizer") +
               process_count_text(process, "runtime error:") >
           0;
}

int harness_teardown(void **state)
{
    struct harness *h = *state;
    int result = 0;
    if (h == NULL)
        return 0;
    for (size_t i = 0; i < h->tidemill_count; i++) {
        if (has_report(h->tidemills[i].process)) {
            fprintf(stderr, "a sanitizer says:\n%s\n", process_text(h->tidemills[i].process));
            result = -1;
        }
    }
    if (h->watched && !h->finished)
        print_tails(h);
    disconnect(h);
    for (size_t i = 0; i < h->tidemill_count; i++)
        process_close(h->tidemills[i].process);
    server_close(h->server);
    while (h->deferred != NULL) {
        struct deferred *first = h->deferred;
        h->deferred = first->next;
        first->release(first->object);
        free(first);
    }
    for (size_t i = 0; i < h->setting_count; i++)
        free(h->settings[i]);
    if (getenv("HARNESS_KEEP") != NULL)
        print_error("kept: %s\n", h->folder);
    else
        nftw(h->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(h);
    *state = NULL;
    return result;
}

/* ---- files ---- */

static const char *keep_text(struct harness *h, char *text)
{
    if (text == NULL)
        harness_fail(h, "out of memory");
    harness_defer(h, free, text);
    return text;
}

static const char *join_path(struct harness *h, const char *folder, const char *path)
{
    char *result = NULL;
    if (asprintf(&result, "%s/%s", folder, path) < 0)
        result = NULL;
    return keep_text(h, result);
}

const char *harness_path(struct harness *h, const char *path)
{
    return join_path(h, h->folder, path);
}

const char *harness_source_path(struct harness *h, const char *path)
{
    char here[PATH_MAX];
    const char *source = getenv("TIDEMILL_SOURCE");
    if (source == NULL)
        source = getcwd(here, sizeof(here));
    return join_path(h, source, path);
}

static void make_folders_of(const char *path)
{
    char folder[PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
        mkdir(folder, 0700); /* one that could not be made shows when the file is opened */
    }
}

void harness_write_file(struct harness *h, const char *path, const char *text)
{
    const char *name = harness_path(h, path);
    const char *unfinished = harness_path(h, ".unfinished");
    make_folders_of(name);
    FILE *file = fopen(unfinished, "we");
    if (file == NULL)
        harness_fail(h, "%s: %s", unfinished, strerror(errno));
    bool written = fputs(text, file) >= 0;
    if (fclose(file) != 0 || !written || rename(unfinished, name) != 0)
        harness_fail(h, "%s: %s", name, strerror(errno));
}

const char *harness_read_file(struct harness *h, const char *path)
{
    const char *name = path[0] == '/' ? path : harness_path(h, path);
    FILE *file = fopen(name, "re");
    if (file == NULL)
        harness_fail(h, "%s: %s", name, strerror(errno));
    char *text = NULL;
    size_t capacity = 0;
    ssize_t size = getdelim(&text, &capacity, '\0', file);
    fclose(file);
    if (size < 0 && text != NULL)
        text[0] = '\0'; /* an empty file */
    return keep_text(h, text);
}

void harness_remove_file(struct harness *h, const char *path)
{
    const char *name = harness_path(h, path);
    if (unlink(name) != 0)
        harness_fail(h, "%s: %s", name, strerror(errno));
}

/* ---- the server ---- */

const char *harness_url(struct harness *h)
{
    return server_url(h->server);
}

int harness_port(struct harness *h)
{
    return server_port(h->server);
}

void harness_server_start(struct harness *h)
{
    struct error err;
    if (server_start(h->server, harness_deadline(SERVER_PATIENCE_MS), &err) != 0)
        harness_fail(h, "%s", err.text);
}

static void end_server(struct harness *h, int signal)
{
    if (server_end(h->server, signal, harness_deadline(SERVER_PATIENCE_MS)) != 0)
        harness_fail(h, "nats-server does not end on signal %d", signal);
    disconnect(h);
}

void harness_server_stop(struct harness *h)
{
    end_server(h, SIGTERM);
}

void harness_server_kill(struct harness *h)
{
    end_server(h, SIGKILL);
}

void harness_server_signal(struct harness *h, int signal)
{
    if (server_process(h->server) != NULL)
        process_signal(server_process(h->server), signal);
}

void harness_server_reload(struct harness *h)
{
    harness_server_signal(h, SIGHUP);
    if (!process_wait_text(server_process(h->server), "Reloaded server configuration",
                           harness_deadline(SERVER_PATIENCE_MS)))
        harness_fail(h, "nats-server has not reloaded its configuration");
}

void harness_server_config(struct harness *h, const char *server_config)
{
    struct error err;
    if (server_configure(h->server, server_config, &err) != 0)
        harness_fail(h, "%s", err.text);
}

/* libnats prints what nobody handles. */
static void ignore_fault(natsConnection *nats, natsSubscription *subscription, natsStatus status,
                         void *context)
{
    (void)nats, (void)subscription, (void)status, (void)context;
}

natsConnection *harness_nats(struct harness *h)
{
    if (h->nats != NULL && natsConnection_Status(h->nats) == NATS_CONN_STATUS_CONNECTED)
        return h->nats;
    disconnect(h);
    const struct harness_options *want = &h->options;
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(options, harness_url(h));
    if (s == NATS_OK)
        s = natsOptions_SetName(options, "harness");
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(options, false);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, ignore_fault, NULL);
    if (s == NATS_OK && want->user != NULL)
        s = natsOptions_SetUserInfo(options, want->user, want->password);
    if (s == NATS_OK && want->creds != NULL)
        s = natsOptions_SetUserCredentialsFromFiles(options, harness_path(h, want->creds), NULL);
    if (s == NATS_OK && want->ca != NULL)
        s = natsOptions_SetSecure(options, true);
    if (s == NATS_OK && want->ca != NULL)
        s = natsOptions_LoadCATrustedCertificates(options, want->ca);
    if (s == NATS_OK)
        s = nats_connect(&h->nats, options);
    natsOptions_Destroy(options);
    if (s != NATS_OK)
        harness_fail(h, "cannot connect to %s: %s", harness_url(h), natsStatus_GetText(s));
    return h->nats;
}

jsCtx *harness_js(struct harness *h)
{
    natsConnection *nats = harness_nats(h);
    natsStatus s = NATS_OK;
    if (h->js == NULL)
        s = natsConnection_JetStream(&h->js, nats, NULL);
    if (s != NATS_OK)
        harness_fail(h, "no JetStream: %s", natsStatus_GetText(s));
    return h->js;
}

/* ---- tidemill ---- */

const char *harness_program(struct harness *h)
{
    char here[PATH_MAX];
    const char *named = getenv("TIDEMILL");
    if (named != NULL)
        return named;
    ssize_t size = readlink("/proc/self/exe", here, sizeof(here) - 1);
    if (size < 0)
        harness_fail(h, "cannot tell where this test is: %s", strerror(errno));
    here[size] = '\0';
    *strrchr(here, '/') = '\0';
    return join_path(h, here, "../tidemill");
}

void harness_setenv(struct harness *h, const char *name, const char *value)
{
    if (h->setting_count == SETTINGS_MAX)
        harness_fail(h, "more than %d harness_setenv", SETTINGS_MAX);
    char *setting = NULL;
    if (asprintf(&setting, value != NULL ? "%s=%s" : "%s", name, value) < 0)
        harness_fail(h, "out of memory");
    h->settings[h->setting_count++] = setting;
}

/* The standard settings, then the test's own. An earlier one of the same name is left out. */
static void make_settings(struct harness *h, const char *standard[2], const char **settings)
{
    const char *all[SETTINGS_MAX + 2] = {standard[0], standard[1]};
    size_t count = 2, kept = 0;
    for (size_t i = 0; i < h->setting_count; i++)
        all[count++] = h->settings[i];
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn(all[i], "=");
        bool replaced = false;
        for (size_t later = i + 1; later < count; later++)
            replaced = replaced || (strncmp(all[i], all[later], length) == 0 &&
                                    strcspn(all[later], "=") == length);
        if (!replaced)
            settings[kept++] = all[i];
    }
    settings[kept] = NULL;
}

struct process *harness_start_tidemill(struct harness *h, const char *const *arguments)
{
    if (h->tidemill_count == TIDEMILLS_MAX)
        harness_fail(h, "more than %d tidemills in one test", TIDEMILLS_MAX);
    struct tidemill *mill = &h->tidemills[h->tidemill_count];
    const char *argv[ARGUMENTS_MAX + 2] = {harness_program(h)};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        if (i == ARGUMENTS_MAX)
            harness_fail(h, "more than %d arguments", ARGUMENTS_MAX);
        argv[i + 1] = arguments[i];
    }
    mill->http_port = loopback_free_port();
    char url[96], http[64], log[64];
    const char *settings[SETTINGS_MAX + 3];
    snprintf(url, sizeof(url), "NATS_URL=%s", harness_url(h));
    snprintf(http, sizeof(http), "TIDEMILL_HTTP=127.0.0.1:%d", mill->http_port);
    snprintf(log, sizeof(log), "tidemill-%zu.log", h->tidemill_count + 1);
    make_settings(h, (const char *[2]){url, http}, settings);
    struct process_options options = {.argv = argv,
                                      .environment = settings,
                                      .folder = h->folder,
                                      .log = harness_path(h, log),
                                      .owner = h};
    struct error err;
    if (process_open(&mill->process, &options, &err) != 0)
        harness_fail(h, "%s", err.text);
    h->tidemill_count++;
    return mill->process;
}

void harness_wait_log(struct process *process, const char *text, int timeout_ms)
{
    struct harness *h = process_owner(process);
    if (process_wait_text(process, text, harness_deadline(timeout_ms)))
        return;
    if (process_wait(process, 0))
        harness_fail(h, "tidemill ended with status %d and has not said \"%s\"",
                     process_status(process), text);
    harness_fail(h, "tidemill has not said \"%s\" in %d ms", text, timeout_ms);
}

size_t harness_log_count(struct process *process, const char *text)
{
    return process_count_text(process, text);
}

const char *harness_log(struct process *process)
{
    return process_text(process);
}

void harness_signal(struct process *process, int signal)
{
    process_signal(process, signal);
}

int harness_wait_exit(struct process *process, int timeout_ms)
{
    if (!process_wait(process, harness_deadline(timeout_ms)))
        harness_fail(process_owner(process), "tidemill still runs after %d ms", timeout_ms);
    return process_status(process);
}

void harness_check_end(struct process *process, int timeout_ms, int status, size_t lines,
                       const char *const *texts)
{
    struct harness *h = process_owner(process);
    int ended = harness_wait_exit(process, timeout_ms);
    const char *log = harness_log(process);
    size_t printed = harness_log_count(process, "\n");
    if (ended != status)
        harness_fail(h, "exit status %d instead of %d: %s", ended, status, log);
    if (printed != lines)
        harness_fail(h, "%zu lines instead of %zu: %s", printed, lines, log);
    for (; *texts != NULL; texts++)
        if (strstr(log, *texts) == NULL)
            harness_fail(h, "\"%s\" is missing in: %s", *texts, log);
}

void harness_stop(struct process *process, int timeout_ms)
{
    process_signal(process, SIGTERM);
    int status = harness_wait_exit(process, timeout_ms);
    if (status != 0)
        harness_fail(process_owner(process), "tidemill ended with status %d on SIGTERM", status);
}

int harness_http(struct process *process, const char *path, const char **body)
{
    struct harness *h = process_owner(process);
    int port = 0;
    for (size_t i = 0; i < h->tidemill_count; i++) {
        if (h->tidemills[i].process == process)
            port = h->tidemills[i].http_port;
    }
    char *text = NULL;
    int status = loopback_get(port, path, &text, harness_deadline(HTTP_PATIENCE_MS));
    if (body != NULL)
        *body = NULL;
    if (text != NULL && body != NULL)
        *body = keep_text(h, text);
    else
        free(text);
    return status;
}

void harness_wait_http(struct process *process, const char *path, int status, int timeout_ms)
{
    int64_t deadline = harness_deadline(timeout_ms);
    for (;;) {
        const char *body = NULL;
        int answer = harness_http(process, path, &body);
        if (answer == status)
            return;
        bool ended = process_wait(process, clock_monotonic_ns() + HTTP_STEP_MS * NS_PER_MS);
        if (ended || clock_monotonic_ns() > deadline)
            harness_fail(process_owner(process), "GET %s is %d instead of %d%s%s", path, answer,
                         status, body != NULL ? ": " : "", body != NULL ? body : "");
    }
}
