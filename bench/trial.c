#include "trial.h"

#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "usage.h"

enum { FIRST_PULL_SID = 10, MIDDLE_SID, LAST_ACK_SID, TEXT_SIZE = 128, PATH_SIZE = 512 };

static const int64_t START_NS = 30 * NS_PER_S; /* in which a program must begin */
static const int64_t RUN_NS = 120 * NS_PER_S;  /* and in which it must end */
static const int64_t STOP_NS = 30 * NS_PER_S;
static const int64_t LOOK_NS = 250 * NS_PER_MS; /* how often it is seen whether it still lives */
static const int64_t SETTLE_STEP_NS = NS_PER_MS;

static bool is_cumulative(const char *program)
{
    return strstr(program, "-cumulative") != NULL;
}

static bool is_tidemill(const char *program)
{
    return strncmp(program, "tidemill", 8) == 0;
}

/* The build that is measured, or the one to compare it with. */
static const char *path_of_tidemill(const char *program)
{
    bool other = strncmp(program, "tidemill-other", strlen("tidemill-other")) == 0;
    const char *path = getenv(other ? "TIDEMILL_OTHER" : "TIDEMILL");
    return path != NULL ? path : "tidemill";
}

bool trial_decodes_with_cjson(const char *program)
{
    return strstr(program, "-cjson") != NULL;
}

bool trial_knows(const char *program)
{
    static const char *const known[] = {"tidemill",
                                        "tidemill-cumulative",
                                        "tidemill-cjson",
                                        "tidemill-other",
                                        "tidemill-other-cumulative",
                                        "floor",
                                        "fetch",
                                        "fetch-bare",
                                        "drain",
                                        "drain-cumulative"};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strcmp(program, known[i]) == 0)
            return true;
    return false;
}

bool trial_raises_alerts(const char *program)
{
    return strncmp(program, "drain", 5) != 0;
}

/* --- starting and stopping --- */

static const char *stream_of(const struct trial *trial)
{
    return trial->stream != NULL ? trial->stream : "bench";
}

static int start_tidemill(struct stage *stage, const struct trial *trial,
                          struct process_options *options, struct process **process,
                          struct error *err)
{
    char config[1024], url[TEXT_SIZE], name[TEXT_SIZE], batch[32] = "";
    if (trial->batch > 0)
        snprintf(batch, sizeof(batch), ", batch = %d", trial->batch);
    snprintf(config, sizeof(config),
             "return {\n"
             "  sources = { { stream = \"%s\", durable = \"%s\", workers = %d, ack = \"%s\",\n"
             "                format = \"%s\"%s%s } },\n"
             "  rules = { dir = \"%s\" },\n"
             "  http = false,\n"
             "}\n",
             stream_of(trial), trial->name, trial->workers,
             is_cumulative(trial->program) ? "cumulative" : "each",
             trial_decodes_with_cjson(trial->program) ? "raw" : "json", batch,
             trial->source != NULL ? trial->source : "", trial->rules);
    snprintf(name, sizeof(name), "%s.lua", trial->name);
    snprintf(url, sizeof(url), "NATS_URL=%s", stage_url(stage));
    const char *const argv[] = {path_of_tidemill(trial->program), "run", "-c", name, NULL};
    const char *const environment[] = {url, "TIDEMILL_RULES", "TIDEMILL_HTTP", "TIDEMILL_LOG_LEVEL",
                                       NULL};
    if (stage_write(stage, name, config, err) != 0)
        return -1;
    options->argv = argv;
    options->environment = environment;
    return process_open(process, options, err);
}

void trial_beside(const char *program, char *path, size_t size)
{
    char own[PATH_SIZE];
    ssize_t read = readlink("/proc/self/exe", own, sizeof(own) - 1);
    own[read > 0 ? read : 0] = '\0';
    snprintf(path, size, "%s/%s", dirname(own), program);
}

static int start_reference(struct stage *stage, const struct trial *trial,
                           struct process_options *options, struct process **process,
                           struct error *err)
{
    char program[TEXT_SIZE], path[PATH_SIZE + TEXT_SIZE], limit[16], count[24], batch[16];
    snprintf(program, sizeof(program), "%s", trial->program);
    program[strcspn(program, "-")] = '\0';
    trial_beside(program, path, sizeof(path));
    snprintf(limit, sizeof(limit), "%d", trial->limit);
    snprintf(count, sizeof(count), "%" PRIu64, trial->count);
    snprintf(batch, sizeof(batch), "%d", trial->batch > 0 ? trial->batch : 500);
    const char *variant = is_cumulative(trial->program)             ? "--cumulative"
                          : strstr(trial->program, "-bare") != NULL ? "--bare"
                                                                    : NULL;
    const char *const argv[] = {path,
                                "--url",
                                stage_url(stage),
                                "--stream",
                                stream_of(trial),
                                "--durable",
                                trial->name,
                                "--limit",
                                limit,
                                "--count",
                                count,
                                "--batch",
                                batch,
                                "--hold",
                                variant,
                                NULL};
    options->argv = argv;
    if (stage_consumer(stage, stream_of(trial), trial->name, is_cumulative(trial->program), err) !=
        0)
        return -1;
    return process_open(process, options, err);
}

int trial_start(struct stage *stage, const struct trial *trial, struct process **process,
                struct error *err)
{
    char log[PATH_SIZE];
    struct process_options options = {.folder = stage->folder, .log = log};
    snprintf(log, sizeof(log), "%s/%s.log", stage->folder, trial->name);
    *process = NULL;
    return (is_tidemill(trial->program) ? start_tidemill : start_reference)(stage, trial, &options,
                                                                            process, err);
}

/* The end of what it has written. */
static int fail_with_log(struct process *process, const char *what, struct error *err)
{
    const char *log = process_text(process);
    size_t size = log == NULL ? 0 : strlen(log);
    return error_set(err, "%s; its log ends: %s", what,
                     size == 0 ? "(empty)" : log + (size > 300 ? size - 300 : 0));
}

int trial_stop(struct process *process, struct error *err)
{
    int status = 0;
    if (process_wait(process, clock_monotonic_ns()))
        status = fail_with_log(process, "it ended by itself", err);
    process_signal(process, SIGTERM);
    if (status == 0 && !process_wait(process, clock_monotonic_ns() + STOP_NS))
        status = fail_with_log(process, "it does not end", err);
    if (status == 0 && process_status(process) != 0 && process_status(process) != 128 + SIGTERM)
        status = fail_with_log(process, "it failed at its end", err);
    process_close(process);
    return status;
}

/* --- events --- */

int trial_watch(struct stage *stage, const char *subject, int sid, int maximum, struct error *err)
{
    socket_printf(stage->events, "UNSUB %d\r\nSUB %s %d\r\n", sid, subject, sid);
    if (maximum > 0)
        socket_printf(stage->events, "UNSUB %d %d\r\n", sid, maximum);
    return socket_barrier(stage->events, err);
}

int trial_wait(struct stage *stage, int64_t deadline_ns, struct error *err)
{
    for (;;) {
        struct socket_message message;
        int status = socket_next(stage->events, &message, err);
        if (status > 0)
            return message.sid;
        if (status == 0)
            status = socket_flush(stage->events, err);
        if (status == 0)
            status = socket_read(stage->events, deadline_ns, err);
        if (status <= 0)
            return status;
    }
}

/* The next event of a program that must not end meanwhile. */
static int wait_alive(struct stage *stage, struct process *process, int64_t patience_ns,
                      struct error *err)
{
    int64_t deadline_ns = clock_monotonic_ns() + patience_ns;
    for (;;) {
        int sid = trial_wait(stage, clock_monotonic_ns() + LOOK_NS, err);
        if (sid != 0)
            return sid;
        if (process_wait(process, clock_monotonic_ns()))
            return fail_with_log(process, "it ended by itself", err);
        if (clock_monotonic_ns() > deadline_ns)
            return fail_with_log(process, "it took too long", err);
    }
}

void trial_pull_subject(const struct trial *trial, char *subject, size_t size)
{
    snprintf(subject, size, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream_of(trial), trial->name);
}

static int watch_all(struct stage *stage, const struct trial *trial, struct error *err)
{
    char subject[256];
    trial_pull_subject(trial, subject, sizeof(subject));
    if (trial_watch(stage, subject, FIRST_PULL_SID, 1, err) != 0)
        return -1;
    snprintf(subject, sizeof(subject), "$JS.ACK.%s.%s.*.%" PRIu64 ".>", stream_of(trial),
             trial->name, trial->count / 2);
    if (trial_watch(stage, subject, MIDDLE_SID, 1, err) != 0)
        return -1;
    snprintf(subject, sizeof(subject), "$JS.ACK.%s.%s.*.%" PRIu64 ".>", stream_of(trial),
             trial->name, trial->count);
    return trial_watch(stage, subject, LAST_ACK_SID, 1, err);
}

/* --- measuring --- */

struct snapshot {
    struct usage client, server;
};

static int take_snapshot(struct stage *stage, struct process *process, struct snapshot *snapshot,
                         struct error *err)
{
    if (usage_read(&snapshot->client, process_id(process), err) != 0)
        return -1;
    return usage_read(&snapshot->server, stage_server_id(stage), err);
}

static void compute(const struct trial *trial, const struct snapshot *began,
                    const struct snapshot *ended, struct measure *measure)
{
    double count = (double)trial->count;
    double seconds = (double)(ended->client.at_ns - began->client.at_ns) / 1e9;
    measure->rate = count / seconds;
    measure->client_us = (double)(ended->client.cpu_ns - began->client.cpu_ns) / 1e3 / count;
    measure->server_us = (double)(ended->server.cpu_ns - began->server.cpu_ns) / 1e3 / count;
    measure->switches = (double)(ended->client.switches - began->client.switches) / count;
}

/* The last reading is acknowledged; an alert of an earlier one may still be under way. */
static int wait_settled(struct stage *stage, struct process *process, const struct trial *trial,
                        struct error *err)
{
    int64_t deadline_ns = clock_monotonic_ns() + RUN_NS;
    for (;;) {
        struct stage_consumer_state state;
        if (stage_consumer_state(stage, stream_of(trial), trial->name, &state, err) != 0)
            return -1;
        if (state.delivered == trial->count && state.pending == 0 && state.ack_pending == 0)
            return 0;
        if (process_wait(process, clock_monotonic_ns() + SETTLE_STEP_NS))
            return fail_with_log(process, "it ended by itself", err);
        if (clock_monotonic_ns() > deadline_ns)
            return error_set(err, "%" PRIu64 " messages are pending and %" PRIu64 " not settled",
                             state.pending, state.ack_pending);
    }
}

static double megabytes(struct process *process, const char *what)
{
    return (double)usage_memory(process_id(process), what) / 1024;
}

/* From the first pull to the last ack. That of the middle may come late, or not at all. */
static int wait_for_acks(struct stage *stage, struct process *process, struct measure *measure,
                         struct error *err)
{
    int sid;
    while ((sid = wait_alive(stage, process, RUN_NS, err)) != LAST_ACK_SID) {
        if (sid < 0)
            return -1;
        if (sid == MIDDLE_SID)
            measure->middle_mb = megabytes(process, "VmRSS");
    }
    return 0;
}

static int observe(struct stage *stage, struct process *process, const struct trial *trial,
                   struct measure *measure, struct error *err)
{
    struct snapshot began, ended;
    if (wait_alive(stage, process, START_NS, err) != FIRST_PULL_SID ||
        take_snapshot(stage, process, &began, err) != 0)
        return -1;
    measure->start_mb = megabytes(process, "VmRSS");
    measure->middle_mb = 0;
    if (wait_for_acks(stage, process, measure, err) != 0 ||
        wait_settled(stage, process, trial, err) != 0 ||
        take_snapshot(stage, process, &ended, err) != 0)
        return -1;
    measure->end_mb = megabytes(process, "VmRSS");
    measure->memory_mb = megabytes(process, "VmHWM");
    compute(trial, &began, &ended, measure);
    return 0;
}

static int check_alerts(struct stage *stage, const struct trial *trial, struct error *err)
{
    uint64_t alerts = 0;
    if (stage_count(stage, "alerts", &alerts, err) != 0)
        return -1;
    if (alerts != trial->alerts)
        return error_set(err, "%" PRIu64 " alerts in the stream, there must be %" PRIu64, alerts,
                         trial->alerts);
    return 0;
}

int trial_run(struct stage *stage, const struct trial *trial, struct measure *measure,
              struct error *err)
{
    struct process *process = NULL;
    struct error ignored;
    if (stage_stream(stage, "alerts", "alerts.>", "", err) != 0 ||
        watch_all(stage, trial, err) != 0 || trial_start(stage, trial, &process, err) != 0)
        return error_prefix(err, "%s", trial->program);
    int status = observe(stage, process, trial, measure, err);
    if (trial_stop(process, status == 0 ? err : &ignored) != 0)
        status = -1;
    if (status == 0)
        status = check_alerts(stage, trial, err);
    if (status == 0)
        status = stage_delete_consumer(stage, stream_of(trial), trial->name, err);
    return status == 0 ? 0 : error_prefix(err, "%s", trial->program);
}
