#include "mill/rehearsal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { COMPONENT_SIZE = 96 };

static const int64_t FINISH_NS = 3600 * NS_PER_S; /* in which no handler ends: none will */

struct rehearsal {
    struct engine *engine;
    struct rule **matches; /* room for all rules */
    int64_t now_ns;
    uint64_t ends; /* handlers of messages that have ended */
    void (*ended)(void *context, void *token, const struct call_result *result);
    void *context;
};

/* --- the engine's host --- */

static int64_t on_clock(void *context)
{
    return ((const struct rehearsal *)context)->now_ns;
}

static void on_finished(void *context, void *token, const struct call_result *result)
{
    struct rehearsal *rehearsal = context;
    rehearsal->ends += token != NULL;
    rehearsal->ended(rehearsal->context, token, result);
}

static int on_request(void *context, struct engine *engine, uint64_t wait, const char *subject,
                      const char *payload, size_t payload_size, struct error *err)
{
    (void)context, (void)engine, (void)wait, (void)subject, (void)payload, (void)payload_size;
    return error_set(err, "not available in a replay");
}

static int on_kv(void *context, struct engine *engine, uint64_t wait,
                 const struct kv_request *request, struct error *err)
{
    (void)context, (void)engine, (void)wait, (void)request;
    return error_set(err, "not available in a replay");
}

static void on_in_progress(void *context, void *token)
{
    (void)context, (void)token;
}

static void on_log(void *context, enum log_level level, const char *rule, const char *text)
{
    char component[COMPONENT_SIZE];
    (void)context;
    snprintf(component, sizeof(component), "rule %s", rule);
    log_rule(level, component, "%s", text);
}

static void on_metric(void *context, struct rule_metric *metric, double value)
{
    (void)context, (void)metric, (void)value;
}

/* --- opening and closing --- */

int rehearsal_open(struct rehearsal **out, const struct rehearsal_options *options,
                   struct error *err)
{
    struct ruleset *ruleset = NULL;
    *out = NULL;
    struct rehearsal *rehearsal = calloc(1, sizeof(*rehearsal));
    if (rehearsal == NULL)
        return error_set(err, "out of memory");
    rehearsal->now_ns = options->now_ns;
    rehearsal->ended = options->ended;
    rehearsal->context = options->context;
    struct engine_options engine = {
        .limits = {.timeout_ns = options->limits->timeout_ns, .memory = options->limits->memory},
        .host = {.context = rehearsal,
                 .monotonic_ns = on_clock,
                 .wall_ns = on_clock,
                 .finished = on_finished,
                 .request = on_request,
                 .kv = on_kv,
                 .in_progress = on_in_progress,
                 .log = on_log,
                 .metric = on_metric},
        .worker_id = 1,
        .worker_count = 1,
    };
    int status = ruleset_read(&ruleset, options->rules_dir, err);
    if (status == 0)
        status = engine_open(&rehearsal->engine, ruleset, &engine, err);
    ruleset_release(ruleset);
    if (status == 0) {
        rehearsal->matches = (struct rule **)calloc(engine_rule_count(rehearsal->engine) + 1,
                                                    sizeof(*rehearsal->matches));
        if (rehearsal->matches == NULL)
            status = error_set(err, "out of memory");
    }
    if (status != 0) {
        rehearsal_close(rehearsal);
        return -1;
    }
    *out = rehearsal;
    return 0;
}

void rehearsal_close(struct rehearsal *rehearsal)
{
    if (rehearsal == NULL)
        return;
    engine_close(rehearsal->engine);
    free((void *)rehearsal->matches);
    free(rehearsal);
}

/* --- work --- */

size_t rehearsal_give(struct rehearsal *rehearsal, const struct input *input, void *token,
                      size_t *wanted)
{
    size_t count = engine_match(rehearsal->engine, input->subject, rehearsal->matches,
                                engine_rule_count(rehearsal->engine));
    *wanted = count;
    for (size_t i = 0; i < count; i++)
        engine_call(rehearsal->engine, rehearsal->matches[i], input, token);
    return count;
}

bool rehearsal_step(struct rehearsal *rehearsal)
{
    int64_t due_ns = engine_due_ns(rehearsal->engine);
    if (due_ns < 0)
        return false;
    if (due_ns > rehearsal->now_ns)
        rehearsal->now_ns = due_ns;
    engine_tick(rehearsal->engine);
    return true;
}

void rehearsal_pass(struct rehearsal *rehearsal, int64_t now_ns)
{
    int64_t due_ns;
    while ((due_ns = engine_due_ns(rehearsal->engine)) >= 0 && due_ns <= now_ns)
        rehearsal_step(rehearsal);
    if (now_ns > rehearsal->now_ns)
        rehearsal->now_ns = now_ns;
}

void rehearsal_finish(struct rehearsal *rehearsal)
{
    int64_t until_ns = rehearsal->now_ns + FINISH_NS;
    while (engine_active(rehearsal->engine) > 0 && engine_due_ns(rehearsal->engine) >= 0 &&
           engine_due_ns(rehearsal->engine) <= until_ns) {
        uint64_t ends = rehearsal->ends;
        rehearsal_step(rehearsal);
        if (rehearsal->ends != ends)
            until_ns = rehearsal->now_ns + FINISH_NS;
    }
    engine_abort_calls(rehearsal->engine, "the replay ends, and the rule has waited for an hour");
}

int64_t rehearsal_now(const struct rehearsal *rehearsal)
{
    return rehearsal->now_ns;
}

size_t rehearsal_rule_count(const struct rehearsal *rehearsal)
{
    return engine_rule_count(rehearsal->engine);
}

const char *rehearsal_version(const struct rehearsal *rehearsal)
{
    return engine_version(rehearsal->engine);
}
