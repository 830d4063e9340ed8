#ifndef TIDEMILL_TESTS_ENGINE_FIXTURE_H
#define TIDEMILL_TESTS_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "rules/engine.h"
#include "sanitizer.h"

/*
 * A small host for the engine's tests: rules written into a temporary folder, a clock that stands
 * still until a test moves it, and a record of all that the engine reports.
 */

enum { ENDS_MAX = 64, OUTPUTS_SEEN_MAX = 16 };

struct seen_output {
    char subject[128], payload[512], id[64];
    int64_t ttl_ns;
    bool durable;
    size_t header_count;
    char header_name[64], header_value[64]; /* the first */
};

struct end {
    char rule[64];
    void *host_data;
    void *token;
    enum outcome outcome;
    enum cause cause;
    int64_t retry_ns;
    char error[2100], traceback[4200];
    size_t output_count;
    struct seen_output outputs[OUTPUTS_SEEN_MAX];
};

struct fixture {
    char dir[64];
    struct engine_options options;
    struct engine_activity activity;
    struct engine *engine;
    int64_t now_ns;

    struct end ends[ENDS_MAX];
    size_t end_count;
    char log[4096];    /* "info x: text\n" */
    bool seen_running; /* the activity said so while the rule logged */
    char metric[512];
    uint64_t wait; /* of the last request */
    char request_subject[128], request_payload[256];
    int request_status;        /* what the host answers to a request */
    const char *instant_reply; /* answers within the request */
    int in_progress;
    char requeued[256];
    bool metric_known; /* the last value was for a metric that had been here */
};

static struct fixture fixture;

static inline int64_t fixture_monotonic(void *context)
{
    return ((struct fixture *)context)->now_ns;
}

static inline int64_t fixture_wall(void *context)
{
    (void)context;
    return INT64_C(1700000000500000000);
}

static inline void fixture_copy(char *to, size_t size, const char *from, size_t length)
{
    if (length >= size)
        length = size - 1;
    if (length > 0)
        memcpy(to, from, length);
    to[length] = '\0';
}

#define FIXTURE_COPY(to, from) fixture_copy(to, sizeof(to), from, (from) == NULL ? 0 : strlen(from))

static inline void fixture_finished(void *context, void *token, const struct call_result *result)
{
    struct fixture *f = context;
    struct end *end = &f->ends[f->end_count++ % ENDS_MAX];
    memset(end, 0, sizeof(*end));
    FIXTURE_COPY(end->rule, result->rule);
    FIXTURE_COPY(end->error, result->error);
    FIXTURE_COPY(end->traceback, result->traceback);
    end->token = token;
    end->outcome = result->outcome;
    end->cause = result->cause;
    end->retry_ns = result->retry_ns;
    end->host_data = result->host_data;
    end->output_count = result->output_count;
    for (size_t i = 0; i < result->output_count && i < OUTPUTS_SEEN_MAX; i++) {
        const struct output *from = &result->outputs[i];
        struct seen_output *to = &end->outputs[i];
        FIXTURE_COPY(to->subject, from->subject);
        fixture_copy(to->payload, sizeof(to->payload), from->payload, from->payload_size);
        FIXTURE_COPY(to->id, from->id);
        to->ttl_ns = from->ttl_ns;
        to->durable = from->durable;
        to->header_count = from->header_count;
        if (from->header_count > 0) {
            FIXTURE_COPY(to->header_name, from->headers[0].name);
            FIXTURE_COPY(to->header_value, from->headers[0].value);
        }
    }
}

static inline int fixture_request(void *context, struct engine *engine, uint64_t wait,
                                  const char *subject, const char *payload, size_t payload_size,
                                  struct error *err)
{
    struct fixture *f = context;
    f->wait = wait;
    FIXTURE_COPY(f->request_subject, subject);
    fixture_copy(f->request_payload, sizeof(f->request_payload), payload, payload_size);
    if (f->request_status != 0)
        return error_set(err, "disconnected");
    if (f->instant_reply != NULL) {
        struct reply reply = {.payload = f->instant_reply,
                              .payload_size = strlen(f->instant_reply)};
        engine_reply(engine, wait, &reply);
    }
    return 0;
}

static inline void fixture_in_progress(void *context, void *token)
{
    (void)token;
    ((struct fixture *)context)->in_progress++;
}

static inline void fixture_log(void *context, enum log_level level, const char *rule,
                               const char *text)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct fixture *f = context;
    size_t used = strlen(f->log);
    f->seen_running = atomic_load(&f->activity.started_ns) > 0;
    snprintf(f->log + used, sizeof(f->log) - used, "%s %s: %s\n", names[level], rule, text);
}

static inline void fixture_metric(void *context, struct rule_metric *metric, double value)
{
    struct fixture *f = context;
    int used = snprintf(f->metric, sizeof(f->metric), "%d %s", (int)metric->kind, metric->name);
    for (size_t i = 0; i < metric->label_count; i++)
        used += snprintf(f->metric + used, sizeof(f->metric) - (size_t)used, " %s=%s",
                         metric->labels[i].name, metric->labels[i].value);
    snprintf(f->metric + used, sizeof(f->metric) - (size_t)used, " %g", value);
    f->metric_known = metric->handle == f;
    metric->handle = f;
}

static inline int fixture_setup(void **state)
{
    memset(&fixture, 0, sizeof(fixture));
    struct fixture *f = &fixture;
    strcpy(f->dir, "/tmp/tidemill-engine-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    f->now_ns = 1000 * NS_PER_S;
    f->options = (struct engine_options){
        .limits = {.timeout_ns = NS_PER_S / 10 * SLOWNESS, .memory = 32 << 20},
        .host = {.context = f,
                 .monotonic_ns = fixture_monotonic,
                 .wall_ns = fixture_wall,
                 .finished = fixture_finished,
                 .request = fixture_request,
                 .in_progress = fixture_in_progress,
                 .log = fixture_log,
                 .metric = fixture_metric},
        .activity = &f->activity,
        .worker_id = 2,
        .worker_count = 4};
    *state = f;
    return 0;
}

static inline int fixture_remove(const char *path, const struct stat *status, int type,
                                 struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    engine_close(f->engine);
    f->engine = NULL;
    return nftw(f->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Writes "<name>.lua"; `name` may be "lib/units". */
static inline void write_rule(struct fixture *f, const char *name, const char *source)
{
    char path[256];
    const char *slash = strrchr(name, '/');
    if (slash != NULL) {
        snprintf(path, sizeof(path), "%s/%.*s", f->dir, (int)(slash - name), name);
        mkdir(path, 0700);
    }
    snprintf(path, sizeof(path), "%s/%s.lua", f->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(source, file);
    assert_int_equal(fclose(file), 0);
}

static inline int try_open(struct fixture *f, struct engine **engine, struct error *err)
{
    struct ruleset *ruleset = NULL;
    assert_int_equal(ruleset_read(&ruleset, f->dir, err), 0);
    int status = engine_open(engine, ruleset, &f->options, err);
    ruleset_release(ruleset);
    return status;
}

static inline void open_engine(struct fixture *f)
{
    struct error err = {0};
    if (try_open(f, &f->engine, &err) != 0)
        fail_msg("engine_open: %s", err.text);
}

/* Opens an engine with one rule, "x". */
static inline void open_with(struct fixture *f, const char *source)
{
    write_rule(f, "x", source);
    open_engine(f);
}

/* Opens an engine with one rule, "x", whose on_message has `body`. */
static inline void open_handler(struct fixture *f, const char *body)
{
    char source[8192];
    snprintf(source, sizeof(source),
             "return { subjects = { \">\" }, on_message = function(msg)\n%s\nend }", body);
    open_with(f, source);
}

/* The error of an engine_open that must fail, without the folder's name. */
static inline const char *open_error(struct fixture *f, const char *source)
{
    static struct error err;
    struct engine *engine = NULL;
    write_rule(f, "x", source);
    if (try_open(f, &engine, &err) == 0) {
        engine_close(engine);
        fail_msg("engine_open succeeded");
    }
    assert_null(engine);
    assert_null(strchr(err.text, '\n'));
    size_t length = strlen(f->dir);
    if (strncmp(err.text, f->dir, length) == 0)
        return err.text + length + 1;
    return err.text;
}

/* Hands a message to a rule. The input stays valid until the next but 63rd. */
static inline void send_to(struct fixture *f, const char *rule, const char *subject,
                           const char *payload)
{
    static struct input inputs[64];
    static uint64_t sequence;
    struct input *input = &inputs[sequence++ % 64];
    *input = (struct input){.subject = subject,
                            .payload = payload,
                            .payload_size = strlen(payload),
                            .stream = "clientA_sensor",
                            .consumer = "rule_executor",
                            .sequence = sequence,
                            .delivered = 1,
                            .pending = 7,
                            .time_ns = INT64_C(1700000000123456789)};
    struct rule *target = engine_rule_named(f->engine, rule);
    assert_non_null(target);
    engine_call(f->engine, target, input, input);
}

static inline void send_message(struct fixture *f, const char *payload)
{
    send_to(f, "x", "sensors.value", payload);
}

static inline struct end *last_end(struct fixture *f)
{
    assert_true(f->end_count > 0);
    return &f->ends[(f->end_count - 1) % ENDS_MAX];
}

/* The last call must have ended with an error, one line, that contains `wanted`. */
static inline void assert_error_contains(struct fixture *f, const char *wanted)
{
    struct end *end = last_end(f);
    assert_int_equal(end->outcome, OUTCOME_ERROR);
    if (strstr(end->error, wanted) == NULL)
        fail_msg("wanted \"%s\" in \"%s\"", wanted, end->error);
    assert_null(strchr(end->error, '\n'));
}

static inline void assert_done(struct fixture *f)
{
    struct end *end = last_end(f);
    if (end->outcome != OUTCOME_DONE)
        fail_msg("ended with %s: %s", cause_name(end->cause), end->error);
}

/* Runs a body in a new engine; it must return (assert inside it what must hold). */
static inline void run_body(struct fixture *f, const char *body)
{
    open_handler(f, body);
    send_message(f, "{}");
    assert_int_equal(f->end_count, 1);
    assert_done(f);
}

static inline void run_failing_body(struct fixture *f, const char *body, const char *wanted)
{
    open_handler(f, body);
    send_message(f, "{}");
    assert_int_equal(f->end_count, 1);
    assert_error_contains(f, wanted);
}

static inline void assert_text_contains(const char *text, const char *wanted)
{
    if (strstr(text, wanted) == NULL)
        fail_msg("wanted \"%s\" in \"%s\"", wanted, text);
}

static inline void advance(struct fixture *f, double seconds)
{
    f->now_ns += (int64_t)(seconds * 1e9);
    engine_tick(f->engine);
}

#define engine_test(function)                                                                      \
    cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

#endif
