#include "mill/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/control.h"
#include "bus/library.h"
#include "bus/provision.h"
#include "mill/discovery.h"
#include "mill/recovery.h"
#include "mill/reload.h"
#include "mill/signals.h"
#include "mill/status.h"
#include "mill/tally.h"
#include "mill/telemetry.h"
#include "mill/verbosity.h"
#include "mill/watch.h"
#include "mill/worker.h"
#include "ops/health.h"
#include "ops/http.h"
#include "ops/process_metrics.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TICK_MS = 250,
    LAST_PART_MAX_MS = 2000,
    EXIT_FAILED = 1,
    EXIT_CONFIGURATION = 2,
    EXIT_WATCHDOG = 70 /* EX_SOFTWARE: a handler that nothing could stop */
};

enum stage { STAGE_STARTING, STAGE_RUNNING, STAGE_STOPPING };

struct supervisor {
    const struct config *config;
    uv_loop_t loop;
    struct signals signals;
    uv_async_t poke; /* a worker's state has changed */
    uv_timer_t tick, patience;
    uv_work_t startup;
    struct error startup_error;
    int startup_status;
    atomic_bool cancelled; /* stop waiting for the server */

    enum stage stage;
    bool told_running;
    bool gave_up;
    int exit_status;
    struct control *control;
    struct reload *reload;
    struct recovery *recovery;
    struct watch *watch;
    struct health *health;
    struct telemetry *telemetry;
    struct status *status;
    struct discovery *discovery;
    struct http *http;
    struct progress *progress;
    size_t worker_count;
    struct worker **workers;
    struct engine **engines;  /* the first ones, until the workers start */
    unsigned *worker_sources; /* a row of source_count for each worker */
    struct tally tally;
    struct engine_activity *activities;
    struct stat config_file; /* as it was at the start */
    int64_t started_ns;
};

static void stop(struct supervisor *supervisor, int exit_status);

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* --- start-up --- */

/* Worker k has the sources whose `workers` is at least k, so that N workers equal N processes. */
static size_t sources_of_worker(const struct config *config, size_t worker, unsigned *row)
{
    size_t count = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        if ((size_t)config->sources[i].workers > worker)
            row[count++] = (unsigned)i;
    }
    return count;
}

static void on_worker_change(void *context)
{
    struct supervisor *supervisor = context;
    uv_async_send(&supervisor->poke);
}

static int make_workers(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = supervisor->config;
    size_t sources = config->source_count;
    for (size_t i = 0; i < sources; i++) {
        if ((size_t)config->sources[i].workers > supervisor->worker_count)
            supervisor->worker_count = (size_t)config->sources[i].workers;
    }
    size_t count = supervisor->worker_count;
    supervisor->workers = (struct worker **)calloc(count, sizeof(*supervisor->workers));
    supervisor->engines = (struct engine **)calloc(count, sizeof(*supervisor->engines));
    supervisor->worker_sources = calloc(count * sources, sizeof(*supervisor->worker_sources));
    supervisor->activities = calloc(count, sizeof(*supervisor->activities));
    supervisor->progress = progress_new();
    if (supervisor->workers == NULL || supervisor->engines == NULL ||
        supervisor->worker_sources == NULL || supervisor->activities == NULL ||
        supervisor->progress == NULL)
        return error_set(err, "out of memory");
    if (tally_open(&supervisor->tally, count, sources, err) != 0)
        return -1;

    for (size_t i = 0; i < count; i++) {
        unsigned *row = &supervisor->worker_sources[i * sources];
        struct pipeline_options options = {
            .config = config,
            .worker_id = (int)i + 1,
            .worker_count = (int)count,
            .sources = row,
            .source_count = sources_of_worker(config, i, row),
            .progress = supervisor->progress,
            .health = supervisor->health,
            .counters = &supervisor->tally.workers[i],
            .source_counters = tally_source(&supervisor->tally, i, 0),
            .rules = supervisor->tally.rules,
            .activity = &supervisor->activities[i],
        };
        if (worker_new(&supervisor->workers[i], &options, on_worker_change, supervisor, err) != 0)
            return -1;
    }
    return 0;
}

/* On a pool thread: connects, waiting for a server that is not up yet, and provisions. */
static int open_and_provision(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = supervisor->config;
    if (control_open(&supervisor->control, &config->nats, &supervisor->cancelled, err) != 0)
        return -1;
    for (size_t i = 0; i < config->stream_count; i++) {
        if (provision_stream(supervisor->control, &config->streams[i], err) != 0)
            return -1;
    }
    if (provision_dead_letter(supervisor->control, config->dead_letter_subject, err) != 0)
        return -1;
    for (size_t i = 0; i < config->source_count; i++) {
        if (provision_consumer(supervisor->control, &config->sources[i], err) != 0)
            return -1;
    }
    return 0;
}

static void do_startup(uv_work_t *work)
{
    struct supervisor *supervisor = work->data;
    supervisor->startup_status = open_and_provision(supervisor, &supervisor->startup_error);
    library_leave_thread();
}

static void on_restored(void *context, unsigned source, bool replaced, uint64_t stream_id)
{
    struct supervisor *supervisor = context;
    for (size_t i = 0; i < supervisor->worker_count; i++)
        worker_restart_pull(supervisor->workers[i], source, replaced, stream_id);
}

static void on_files_changed(void *context)
{
    struct supervisor *supervisor = context;
    if (supervisor->stage == STAGE_RUNNING)
        reload_begin(supervisor->reload, true);
}

static int start_workers(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = supervisor->config;
    bool term_reasons = control_server_at_least(supervisor->control, 2, 10, 4);
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        struct engine *engine = supervisor->engines[i];
        supervisor->engines[i] = NULL;
        worker_set_term_reasons(supervisor->workers[i], term_reasons);
        if (worker_start(supervisor->workers[i], engine, err) != 0)
            return -1;
    }
    if (recovery_open(&supervisor->recovery, &supervisor->loop, config, supervisor->control,
                      &supervisor->tally, supervisor->health, on_restored, supervisor, err) != 0 ||
        discovery_open(&supervisor->discovery, config, &supervisor->tally,
                       reload_version(supervisor->reload), supervisor->control, err) != 0)
        return -1;
    if (config->rules.watch && watch_open(&supervisor->watch, &supervisor->loop, config->rules.dir,
                                          on_files_changed, supervisor, err) != 0)
        return -1;
    return 0;
}

static void on_started(uv_work_t *work, int status)
{
    struct supervisor *supervisor = work->data;
    (void)status;
    if (supervisor->stage == STAGE_STOPPING) {
        uv_async_send(&supervisor->poke);
        return;
    }
    struct error *err = &supervisor->startup_error;
    if (supervisor->startup_status == 0 && start_workers(supervisor, err) == 0) {
        supervisor->stage = STAGE_RUNNING;
        return;
    }
    log_error("supervisor", "%s", err->text);
    stop(supervisor, EXIT_FAILED);
}

/* --- reload --- */

static void check_config_file(struct supervisor *supervisor)
{
    struct stat now;
    if (supervisor->config->path == NULL || stat(supervisor->config->path, &now) != 0)
        return;
    if (now.st_mtim.tv_sec != supervisor->config_file.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != supervisor->config_file.st_mtim.tv_nsec ||
        now.st_size != supervisor->config_file.st_size)
        log_warn("supervisor", "%s has changed: a reload takes the rules only, restart to apply it",
                 supervisor->config->path);
}

static void on_reloaded(void *context, const struct reload_result *result)
{
    struct supervisor *supervisor = context;
    if (result->unchanged)
        return;
    telemetry_reloaded(supervisor->telemetry, result->ok,
                       (double)result->duration_ns / (double)NS_PER_S);
    if (!result->ok) {
        log_error("supervisor", "rules not reloaded, version %s goes on: %s", result->version,
                  result->error);
        health_reload_failed(supervisor->health, result->error);
        return;
    }
    log_info("supervisor",
             "rules reloaded: version %s, %zu rule%s, in %.1f ms, longest pause %.2f ms",
             result->version, result->rules, plural(result->rules),
             (double)result->duration_ns / (double)NS_PER_MS,
             (double)result->pause_ns / (double)NS_PER_MS);
    telemetry_rules(supervisor->telemetry, result->version);
    discovery_rules(supervisor->discovery, result->version);
    health_reloaded(supervisor->health, result->version);
}

static void on_sighup(struct supervisor *supervisor)
{
    if (supervisor->stage != STAGE_RUNNING) {
        log_warn("supervisor", "SIGHUP: not running yet or stopping, the rules are not reloaded");
        return;
    }
    check_config_file(supervisor);
    reload_begin(supervisor->reload, false);
}

/* --- status --- */

static void log_status(const struct supervisor *supervisor)
{
    log_info("status", "rules version %s, %zu rule%s, %zu worker%s",
             reload_version(supervisor->reload), reload_rule_count(supervisor->reload),
             plural(reload_rule_count(supervisor->reload)), supervisor->worker_count,
             plural(supervisor->worker_count));
    status_log(supervisor->config, &supervisor->tally);
}

/* --- the clock --- */

/* A handler that the engine's limits could not stop: the process ends, the message comes back. */
static void watch_handlers(struct supervisor *supervisor)
{
    int64_t now_ns = clock_monotonic_ns();
    int64_t limit_ns = supervisor->config->rules.hard_timeout_ns;
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        const struct engine_activity *activity = &supervisor->activities[i];
        int64_t started_ns = atomic_load_explicit(&activity->started_ns, memory_order_acquire);
        if (started_ns == 0 || now_ns - started_ns <= limit_ns)
            continue;
        char text[sizeof(activity->text)];
        memcpy(text, activity->text, sizeof(text));
        text[sizeof(text) - 1] = '\0';
        log_error("watchdog",
                  "worker %zu has been in one call for %.1f s and cannot be stopped: %s; "
                  "the process ends, the message comes back",
                  i + 1, (double)(now_ns - started_ns) / (double)NS_PER_S, text);
        log_flush();
        _exit(EXIT_WATCHDOG);
    }
}

static void report_connection(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        if (!worker_connected(supervisor->workers[i])) {
            health_failed(supervisor->health, "connected", "worker %zu is not connected to NATS",
                          i + 1);
            return;
        }
    }
    health_ok(supervisor->health, "connected");
}

static void on_tick(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    watch_handlers(supervisor);
    log_tick();
    if (supervisor->stage != STAGE_RUNNING)
        return;
    report_connection(supervisor);
    recovery_tick(supervisor->recovery);
    discovery_tick(supervisor->discovery);
}

/* --- workers' news, and the end --- */

static bool all_workers(const struct supervisor *supervisor, enum worker_state state)
{
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        if (worker_state(supervisor->workers[i]) != state)
            return false;
    }
    return true;
}

static bool all_ended(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        enum worker_state state = worker_state(supervisor->workers[i]);
        if (supervisor->engines[i] == NULL && state != WORKER_STOPPED && state != WORKER_FAILED)
            return false;
    }
    return true;
}

static void close_handles(struct supervisor *supervisor)
{
    if (uv_is_closing((uv_handle_t *)&supervisor->poke))
        return;
    watch_close(supervisor->watch);
    supervisor->watch = NULL;
    signals_close(&supervisor->signals);
    uv_close((uv_handle_t *)&supervisor->poke, NULL);
    uv_close((uv_handle_t *)&supervisor->tick, NULL);
    uv_close((uv_handle_t *)&supervisor->patience, NULL);
}

static void on_poke(uv_async_t *handle)
{
    struct supervisor *supervisor = handle->data;
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        if (worker_state(supervisor->workers[i]) == WORKER_FAILED &&
            supervisor->stage != STAGE_STOPPING) {
            log_error("supervisor", "worker %zu: %s", i + 1, worker_error(supervisor->workers[i]));
            stop(supervisor, EXIT_FAILED);
        }
    }
    if (supervisor->stage == STAGE_RUNNING && !supervisor->told_running &&
        all_workers(supervisor, WORKER_RUNNING)) {
        supervisor->told_running = true;
        report_connection(supervisor);
        recovery_tick(supervisor->recovery); /* ready from now on, not from the next tick on */
        log_info("supervisor", "running: rules version %s, %zu rule%s, %zu worker%s",
                 reload_version(supervisor->reload), reload_rule_count(supervisor->reload),
                 plural(reload_rule_count(supervisor->reload)), supervisor->worker_count,
                 plural(supervisor->worker_count));
    }
    reload_advance(supervisor->reload);
    if (supervisor->stage == STAGE_STOPPING && all_ended(supervisor))
        close_handles(supervisor);
}

/* The end of shutdown_timeout, kept for giving back what is unfinished. */
static int64_t last_part_ms(const struct supervisor *supervisor)
{
    int64_t quarter_ms = supervisor->config->shutdown_timeout_ns / NS_PER_MS / 4;
    return quarter_ms < LAST_PART_MAX_MS ? quarter_ms : LAST_PART_MAX_MS;
}

static void on_patience_over(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    if (supervisor->gave_up) {
        log_warn("supervisor", "shutdown_timeout is over: exiting; what was in flight is delivered "
                               "again after ack_wait");
        log_flush();
        _exit(supervisor->exit_status);
    }
    log_warn("supervisor", "shutdown_timeout is near: what is unfinished is given back");
    supervisor->gave_up = true;
    for (size_t i = 0; i < supervisor->worker_count; i++)
        worker_give_up(supervisor->workers[i]);
    uv_timer_start(timer, on_patience_over, (uint64_t)last_part_ms(supervisor), 0);
}

/* Begins to stop. Patience has two ends: first what is unfinished is given back, then we leave. */
static void stop(struct supervisor *supervisor, int exit_status)
{
    if (supervisor->stage == STAGE_STOPPING)
        return;
    supervisor->stage = STAGE_STOPPING;
    supervisor->exit_status = exit_status;
    atomic_store(&supervisor->cancelled, true);
    health_failed(supervisor->health, "running", "stopping");
    for (size_t i = 0; i < supervisor->worker_count; i++)
        worker_drain(supervisor->workers[i]);
    int64_t timeout_ms = supervisor->config->shutdown_timeout_ns / NS_PER_MS;
    uv_timer_start(&supervisor->patience, on_patience_over,
                   (uint64_t)(timeout_ms - last_part_ms(supervisor)), 0);
    uv_async_send(&supervisor->poke);
}

static void on_signal(void *context, int number)
{
    struct supervisor *supervisor = context;
    switch (number) {
    case SIGHUP:
        on_sighup(supervisor);
        break;
    case SIGUSR1:
        log_status(supervisor);
        break;
    case SIGUSR2:
        verbosity_toggle(supervisor->config);
        break;
    default:
        if (supervisor->stage == STAGE_STOPPING) {
            log_warn("supervisor", "a second signal: exiting at once");
            log_flush();
            _exit(EXIT_FAILED);
        }
        log_info("supervisor", "stopping: finishing what is in flight");
        stop(supervisor, 0);
    }
}

/* --- from start to end --- */

static int open_handles(struct supervisor *supervisor, struct error *err)
{
    uv_loop_init(&supervisor->loop);
    uv_async_init(&supervisor->loop, &supervisor->poke, on_poke);
    uv_timer_init(&supervisor->loop, &supervisor->tick);
    uv_timer_init(&supervisor->loop, &supervisor->patience);
    supervisor->poke.data = supervisor->tick.data = supervisor->patience.data = supervisor;
    supervisor->startup.data = supervisor;
    uv_timer_start(&supervisor->tick, on_tick, TICK_MS, TICK_MS);
    return signals_open(&supervisor->signals, &supervisor->loop, on_signal, supervisor, err);
}

/* Before it is ready to work, everything that must work is reported as not yet so. */
static int open_health(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = supervisor->config;
    if (health_open(&supervisor->health, TIDEMILL_VERSION, err) != 0)
        return -1;
    health_failed(supervisor->health, "connected", "connecting");
    for (size_t i = 0; i < config->source_count; i++) {
        char name[256];
        recovery_check_name(&config->sources[i], name, sizeof(name));
        health_failed(supervisor->health, name, "not bound yet");
    }
    return 0;
}

static int open_http(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = supervisor->config;
    if (process_metrics_open(TIDEMILL_VERSION, err) != 0 ||
        telemetry_open(&supervisor->telemetry, config, &supervisor->tally, supervisor->health,
                       err) != 0 ||
        status_open(&supervisor->status, config, &supervisor->tally, supervisor->health, err) != 0)
        return -1;
    telemetry_rules(supervisor->telemetry, reload_version(supervisor->reload));
    if (config->http_listen == NULL)
        return 0;
    if (http_open(&supervisor->http, config->http_listen, supervisor->health, err) != 0)
        return -1;
    log_info("supervisor", "metrics and health at %s (port %d)", config->http_listen,
             http_port(supervisor->http));
    return 0;
}

/* The rules first: what is wrong with them is known without a server. */
static int prepare(struct supervisor *supervisor, struct error *err)
{
    const struct config *config = supervisor->config;
    if (open_health(supervisor, err) != 0 || make_workers(supervisor, err) != 0 ||
        reload_open(&supervisor->reload, &supervisor->loop, config->rules.dir, supervisor->workers,
                    supervisor->worker_count, on_reloaded, supervisor, err) != 0)
        return -1;
    if (reload_first(supervisor->reload, supervisor->engines, err) != 0) {
        supervisor->exit_status = EXIT_CONFIGURATION;
        return -1;
    }
    health_reloaded(supervisor->health, reload_version(supervisor->reload));
    return open_http(supervisor, err);
}

static void release(struct supervisor *supervisor)
{
    http_close(supervisor->http);
    telemetry_close(supervisor->telemetry);
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        if (supervisor->engines != NULL)
            engine_close(supervisor->engines[i]);
        if (supervisor->workers != NULL)
            worker_free(supervisor->workers[i]);
    }
    reload_free(supervisor->reload);
    recovery_free(supervisor->recovery);
    discovery_close(supervisor->discovery);
    control_close(supervisor->control);
    progress_free(supervisor->progress);
    status_close(supervisor->status);
    health_close(supervisor->health);
    free((void *)supervisor->workers);
    free((void *)supervisor->engines);
    free(supervisor->worker_sources);
    free(supervisor->activities);
    tally_close(&supervisor->tally);
}

int supervisor_run(const struct config *config)
{
    struct supervisor supervisor = {.config = config, .exit_status = EXIT_FAILED};
    struct error err;
    signals_hold();
    if (library_open(&err) != 0) {
        log_error("supervisor", "%s", err.text);
        return EXIT_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    if (config->path != NULL)
        stat(config->path, &supervisor.config_file);
    if (open_handles(&supervisor, &err) == 0 && prepare(&supervisor, &err) == 0) {
        char servers[256]; /* without the passwords that urls may have in them */
        control_servers(&config->nats, servers, sizeof(servers));
        supervisor.exit_status = 0;
        log_info("supervisor", "tidemill %s: %zu rule%s from %s (version %s), connecting to %s",
                 TIDEMILL_VERSION, reload_rule_count(supervisor.reload),
                 plural(reload_rule_count(supervisor.reload)), config->rules.dir,
                 reload_version(supervisor.reload), servers);
        uv_queue_work(&supervisor.loop, &supervisor.startup, do_startup, on_started);
    } else {
        log_error("supervisor", "%s", err.text);
        close_handles(&supervisor);
    }
    uv_run(&supervisor.loop, UV_RUN_DEFAULT);
    release(&supervisor);
    uv_loop_close(&supervisor.loop);
    library_close();
    if (supervisor.exit_status == 0)
        log_info("supervisor", "stopped");
    return supervisor.exit_status;
}
