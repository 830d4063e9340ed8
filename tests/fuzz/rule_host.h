#ifndef TIDEMILL_TESTS_RULE_HOST_H
#define TIDEMILL_TESTS_RULE_HOST_H

#include "rules/engine.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/subject.h"
#include "fuzz.h"

/*
 * A host for the fuzzers of rules: loads the text of a rule file (and that of lib/m.lua) and runs
 * it as the service does, with messages, time that passes, answers to its requests, a reload.
 * Loading ends in a rule or in a message that names the file; every message is reported once, with
 * an outcome that is whole; and all of it stays within the engine's own limits of time and memory.
 */

enum { MEMORY = 8 << 20, MAX_PAYLOAD = 1 << 16, INPUTS = 6, WAITS_MAX = 16 };

static const int64_t TIMEOUT_NS = 20 * NS_PER_MS;

struct host {
    int64_t now_ns;
    int reported[INPUTS];
    struct {
        uint64_t id;
        bool is_kv;
        enum kv_operation operation;
    } waits[WAITS_MAX];
    size_t wait_count;
    size_t calls; /* that have run, timers among them */
};

static char dir[64];

/* --- the host --------------------------------------------------------------------------------- */

static int64_t now(void *context)
{
    return ((struct host *)context)->now_ns;
}

static void check_output(const struct output *output)
{
    must(subject_check(output->subject, NULL) == 0 && output->subject[0] != '$');
    must(output->payload_size <= MAX_PAYLOAD && output->ttl_ns >= 0);
    for (size_t i = 0; i < output->header_count; i++) {
        must(output->headers[i].name[0] != '\0' &&
             strpbrk(output->headers[i].name, "\r\n:") == NULL);
        must(strpbrk(output->headers[i].value, "\r\n") == NULL);
    }
}

static void finished(void *context, void *token, const struct call_result *result)
{
    struct host *host = context;
    host->calls++;
    must(strcmp(result->rule, "x") == 0 && result->duration_ns >= 0);
    if (token != NULL)
        must(++*(int *)token == 1);
    if (result->outcome == OUTCOME_DONE || result->outcome == OUTCOME_RETRY) {
        must(result->error == NULL && result->cause == CAUSE_NONE);
        must(result->outcome == OUTCOME_DONE || result->retry_ns >= 0);
    } else {
        must(result->error != NULL && strpbrk(result->error, "\r\n") == NULL);
        must(result->cause != CAUSE_NONE && cause_name(result->cause) != NULL);
    }
    must(result->outcome == OUTCOME_DONE || result->output_count == 0);
    for (size_t i = 0; i < result->output_count; i++)
        check_output(&result->outputs[i]);
}

static int wait_for(struct host *host, uint64_t id, bool is_kv, enum kv_operation operation)
{
    if (host->wait_count == WAITS_MAX)
        return -1;
    host->waits[host->wait_count].id = id;
    host->waits[host->wait_count].is_kv = is_kv;
    host->waits[host->wait_count++].operation = operation;
    return 0;
}

static int request(void *context, struct engine *engine, uint64_t id, const char *subject,
                   const char *payload, size_t payload_size, struct error *err)
{
    (void)engine, (void)payload;
    must(subject_check(subject, NULL) == 0 && payload_size <= MAX_PAYLOAD);
    return wait_for(context, id, false, KV_GET) == 0 ? 0 : error_set(err, "disconnected");
}

static int ask_bucket(void *context, struct engine *engine, uint64_t id,
                      const struct kv_request *asked, struct error *err)
{
    (void)engine;
    must(asked->bucket[0] != '\0' && strpbrk(asked->bucket, ". *>\r\n") == NULL);
    must((asked->key == NULL) == (asked->operation == KV_KEYS));
    must(asked->key == NULL || subject_check(asked->key, NULL) == 0);
    return wait_for(context, id, true, asked->operation) == 0 ? 0 : error_set(err, "no bucket");
}

static void note_progress(void *context, void *token)
{
    (void)context;
    must(token == NULL || *(int *)token == 0);
}

static void log_line(void *context, enum log_level level, const char *rule, const char *text)
{
    (void)context;
    must(level <= LOG_LEVEL_ERROR && strcmp(rule, "x") == 0 && text != NULL);
}

static void set_metric(void *context, struct rule_metric *metric, double value)
{
    (void)context, (void)value;
    must(metric->name[0] != '\0' &&
         metric->name[strspn(metric->name,
                             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:")] ==
             '\0');
    for (size_t i = 1; i < metric->label_count; i++)
        must(strcmp(metric->labels[i - 1].name, metric->labels[i].name) < 0);
}

static void answer(struct host *host, struct engine *engine)
{
    for (size_t i = 0; i < host->wait_count; i++) {
        struct reply reply = {.payload = "{\"x\":[1]}", .payload_size = 9, .revision = 7};
        if (host->waits[i].is_kv && host->waits[i].operation == KV_KEYS)
            reply = (struct reply){.payload = "a\nb\n", .payload_size = 4};
        if (i % 3 == 2)
            reply = (struct reply){.error = "no responders"};
        engine_reply(engine, host->waits[i].id, &reply); /* may ask again */
    }
    host->wait_count = 0;
}

/* --- the rule --------------------------------------------------------------------------------- */

static void write_file(const char *name, const char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    must(file != NULL && fwrite(text, 1, size, file) == size && fclose(file) == 0);
}

static void remove_files(void)
{
    char path[128];
    snprintf(path, sizeof(path), "rm -rf %s", dir);
    must(system(path) == 0);
}

static void make_folder(void)
{
    char path[128];
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(dir, sizeof(dir), "%s/tidemill-fuzz-XXXXXX", place);
    must(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/lib", dir);
    must(mkdir(path, 0700) == 0);
    atexit(remove_files);
}

#define PAYLOAD(text) .payload = (text), .payload_size = sizeof(text) - 1

/* Large enough to be decoded as it is touched. */
static const char reading[] =
    "{\"sensor_id\":\"s1\",\"value\":93.5,\"time\":1732300000123,\"a\":null,\"list\":[1,2,{},[],"
    "{\"x\":{\"y\":[{\"z\":-0.0},\"\\u00e9\\n\"]},\"x\":1}],\"map\":{\"a\":{\"b\":{\"c\":[[[]]]}},"
    "\"k\":true,"
    "\"text\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"},"
    "\"rows\":[{\"n\":1,\"v\":[1.5,2.5]},{\"n\":2,\"v\":[]},{\"n\":9223372036854775807,\"v\":["
    "1e300]},"
    "{\"n\":4,\"v\":{\"deep\":{\"er\":\"x\"}}},{\"n\":5},{\"n\":6}],\"map\":{\"a\":{},\"twice\":[0]"
    "}}";

static void visit_headers(const struct input *input,
                          void (*visit)(void *context, const char *name, const char *value),
                          void *context)
{
    (void)input;
    visit(context, "Nats-Msg-Id", "7");
    visit(context, "A", "");
}

static const struct input inputs[INPUTS] = {
    {.subject = "sensors.value", PAYLOAD(reading), .delivered = 1},
    {.subject = "sensors.value", PAYLOAD("{\"a\":"), .delivered = 2},
    {.subject = "x", PAYLOAD("\0\xff"), .format = PAYLOAD_RAW, .each_header = visit_headers},
    {.subject = "a.b.c", PAYLOAD(reading), .each_header = visit_headers},
    {.subject = "sensors.sos", PAYLOAD("[[]]"), .delivered = UINT64_MAX},
    {.subject = "y", PAYLOAD("null"), .sequence = 5},
};

/* A subject that a pattern must match, and so the router. */
static void check_subject(void *context, const char *pattern)
{
    struct engine *engine = context;
    char subject[SUBJECT_SIZE_MAX + 1];
    struct rule *rule = NULL;
    must(subject_check_pattern(pattern, NULL) == 0);
    snprintf(subject, sizeof(subject), "%s", pattern);
    for (char *c = subject; *c != '\0'; c++)
        *c = *c == '*' || *c == '>' ? 'w' : *c;
    must(engine_match(engine, subject, &rule, 1) == 1 && rule == engine_rule_at(engine, 0));
}

static void requeue(void *context, const char *rule, const struct input *input, void *token)
{
    (void)context, (void)rule, (void)input;
    must(++*(int *)token == 1);
}

static void run(struct host *host, struct engine *engine, struct engine *next)
{
    struct rule *rule = engine_rule_at(engine, 0);
    struct error err = {""};
    must(engine_rule_count(engine) == 1 && strcmp(rule_name(rule), "x") == 0);
    must(engine_rule_named(engine, "x") == rule);
    if (rule_enabled(rule))
        rule_each_subject(rule, check_subject, engine);
    for (size_t i = 0; i < INPUTS && rule_enabled(rule); i++)
        engine_call(engine, rule, &inputs[i], &host->reported[i]);
    for (int i = 0; i < 3; i++) {
        answer(host, engine);
        host->now_ns += NS_PER_S << i;
        engine_tick(engine);
        must(engine_memory(engine) <= MEMORY);
    }
    if (next != NULL && engine_carry_state(next, engine, &err) != 0)
        must_be_a_message(err.text);
    engine_retire(engine, requeue, NULL);
    engine_abort_calls(engine, "the end");
    engine_abort_calls(engine, "the end"); /* what on_unload and the others have begun meanwhile */
    for (size_t i = 0; i < INPUTS; i++)
        must(host->reported[i] == (rule_enabled(rule) ? 1 : 0));
}

static int64_t used_ns(void)
{
    struct timespec used;
    must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    return used.tv_sec * NS_PER_S + used.tv_nsec;
}

/* Loads and runs the rule; with a second engine, to which its state is carried over. */
static void run_rule(const char *rule, size_t size, const char *module, size_t module_size,
                     bool with_reload)
{
    if (*dir == '\0')
        make_folder();
    write_file("x.lua", rule, size);
    write_file("lib/m.lua", module, module_size);

    struct host host = {.now_ns = 1000 * NS_PER_S};
    struct engine_options options = {.limits = {.timeout_ns = TIMEOUT_NS, .memory = MEMORY},
                                     .host = {.context = &host,
                                              .monotonic_ns = now,
                                              .finished = finished,
                                              .request = request,
                                              .kv = ask_bucket,
                                              .in_progress = note_progress,
                                              .log = log_line,
                                              .metric = set_metric,
                                              .max_payload = MAX_PAYLOAD},
                                     .worker_count = 1};
    struct ruleset *ruleset = NULL;
    struct engine *engine = NULL, *next = NULL;
    struct error err = {""};
    int64_t began_ns = used_ns();
    must(ruleset_read(&ruleset, dir, &err) == 0 && strlen(ruleset_version(ruleset)) == 12);
    if (engine_open(&engine, ruleset, &options, &err) == 0) {
        if (with_reload && engine_open(&next, ruleset, &options, &err) != 0)
            next = NULL; /* it may draw lots */
        run(&host, engine, next);
    } else {
        must(engine == NULL && strncmp(err.text, dir, strlen(dir)) == 0);
        must_be_a_message(err.text);
    }
    engine_close(engine);
    engine_close(next);
    ruleset_release(ruleset);
    /* Opening twice, on_load, on_unload, and what takes time where the limits do not look. */
    must(used_ns() - began_ns < (int64_t)(host.calls + 8) * TIMEOUT_NS * 5 + NS_PER_S);
}

#endif
