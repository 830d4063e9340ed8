#include "rules/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rules/api.h"
#include "rules/call.h"
#include "rules/engine_internal.h"
#include "rules/json.h"
#include "rules/kv.h"
#include "rules/message.h"
#include "rules/metric.h"
#include "rules/router.h"
#include "rules/rule.h"
#include "rules/sandbox.h"
#include "rules/schedule.h"
#include "rules/state.h"

#define SLICE_NS (4 * NS_PER_MS) /* of starting queued calls in one go */

const char *engine_lua_version(void)
{
    return LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE;
}

const char *cause_name(enum cause cause)
{
    static const char *const names[] = {
        [CAUSE_NONE] = "none",     [CAUSE_ERROR] = "error",       [CAUSE_TIMEOUT] = "timeout",
        [CAUSE_MEMORY] = "memory", [CAUSE_REJECTED] = "rejected", [CAUSE_PAYLOAD] = "payload"};
    return names[cause];
}

int64_t engine_monotonic_ns(const struct engine *engine)
{
    const struct engine_host *host = &engine->options.host;
    return host->monotonic_ns != NULL ? host->monotonic_ns(host->context) : clock_monotonic_ns();
}

void engine_wake_at(struct engine *engine, struct moment *moment, int64_t at_ns)
{
    if (engine->tick_ns != 0 && at_ns <= engine->tick_ns)
        at_ns = engine->tick_ns + 1; /* or a handler that sleeps for 0 s would never let go */
    timers_add(&engine->timers, moment, at_ns);
}

/* --- opening and closing ---------------------------------------------------------------------- */

/* Everything that is made once per state. LJMP. */
static int open_state(lua_State *L)
{
    json_open(L);
    message_open(L);
    schedule_open(L);
    metric_open(L);
    kv_open(L);
    sandbox_open(L);
    api_open(L);
    return 0;
}

/* Not reached: nothing that raises runs outside of a protected call. */
static int panic(lua_State *L)
{
    const char *message = lua_tostring(L, -1);
    log_error("engine", "unprotected Lua error: %s", message != NULL ? message : "?");
    return 0; /* Lua aborts */
}

int engine_make_state(struct engine *engine, struct error *err)
{
    int64_t memory = engine->options.limits.memory;
    limits_init(&engine->limits, memory > 0 ? (size_t)memory : SIZE_MAX / 2, &engine->blocks);
    engine->L = lua_newstate(limits_alloc, &engine->limits);
    if (engine->L == NULL)
        return error_set(err, "no memory for a Lua state (rules.memory)");
    *(struct engine **)lua_getextraspace(engine->L) = engine;
    lua_atpanic(engine->L, panic);
    limits_watch(engine->L);
    lua_pushcfunction(engine->L, open_state); /* open */
    if (lua_pcall(engine->L, 0, 0, 0) != LUA_OK) {
        const char *why = lua_tostring(engine->L, -1);
        return error_set(err, "cannot open the Lua libraries: %s", why != NULL ? why : "?");
    }
    return 0;
}

/* Runs a call whose end is not reported, as part of the opening. */
static int run_opening(struct engine *engine, struct rule *rule, enum call_kind kind,
                       struct error *err)
{
    struct call *call = call_new(engine, rule, kind);
    if (call == NULL)
        return error_set(err, "%s: out of memory (rules.memory)", rule->file->path);
    call_start(call);
    int status = call->outcome == OUTCOME_DONE ? 0 : -1;
    const char *path = rule->file->path;
    const char *why = call->error != NULL ? call->error : "failed";
    if (status != 0 && strncmp(why, path, strlen(path)) == 0)
        error_set(err, "%s", why);
    else if (status != 0)
        error_set(err, "%s: %s", path, why);
    call_free(call);
    return status;
}

/* Whom engine_check tells of rules that fail. */
struct faults {
    engine_fault *tell;
    void *context;
    int count;
};

/* A part of the opening that must work; `faults` NULL: else the engine does not open. */
static int open_rule(struct engine *engine, struct rule *rule, enum call_kind kind,
                     struct faults *faults, struct error *err)
{
    if (run_opening(engine, rule, kind, err) == 0)
        return 0;
    if (faults == NULL)
        return -1;
    rule->enabled = false;
    faults->tell(faults->context, rule->file->name, err);
    faults->count++;
    return 0;
}

static int load_rules(struct engine *engine, struct faults *faults, struct error *err)
{
    for (size_t i = 0; i < engine->rule_count; i++)
        if (open_rule(engine, &engine->rules[i], CALL_CHUNK, faults, err) != 0)
            return -1;
    for (size_t i = 0; i < engine->rule_count; i++) {
        struct rule *rule = &engine->rules[i];
        if (rule->enabled && rule->on_load != LUA_NOREF &&
            open_rule(engine, rule, CALL_LOAD, faults, err) != 0)
            return -1;
    }
    return 0;
}

static int open_with(struct engine **out, struct ruleset *ruleset,
                     const struct engine_options *options, struct faults *faults, struct error *err)
{
    *out = NULL;
    struct engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL)
        return error_set(err, "out of memory");
    engine->options = *options;
    engine->activity = options->activity != NULL ? options->activity : &engine->unwatched;
    engine->ruleset = ruleset_retain(ruleset);
    size_t count = ruleset_rule_count(ruleset);
    engine->rules = calloc(count + 1, sizeof(engine->rules[0]));
    engine->matches = calloc(count + 1, sizeof(engine->matches[0]));
    engine->router = router_new();
    int status = -1;
    if (engine->rules == NULL || engine->matches == NULL || engine->router == NULL) {
        error_set(err, "out of memory");
    } else {
        engine->rule_count = count;
        for (size_t i = 0; i < count; i++)
            rule_init(&engine->rules[i], engine, i);
        status = engine_make_state(engine, err);
        if (status == 0)
            status = load_rules(engine, faults, err);
    }
    if (status != 0) {
        engine_close(engine);
        return -1;
    }
    *out = engine;
    return 0;
}

int engine_open(struct engine **engine, struct ruleset *ruleset,
                const struct engine_options *options, struct error *err)
{
    return open_with(engine, ruleset, options, NULL, err);
}

int engine_check(struct engine **engine, struct ruleset *ruleset,
                 const struct engine_options *options, engine_fault *fault, void *context,
                 struct error *err)
{
    struct faults faults = {.tell = fault, .context = context};
    return open_with(engine, ruleset, options, &faults, err) == 0 ? faults.count : -1;
}

void engine_put_to_work(struct engine *engine, struct engine_activity *activity, size_t max_payload)
{
    engine->activity = activity;
    engine->options.host.max_payload = max_payload;
}

void engine_close(struct engine *engine)
{
    if (engine == NULL)
        return;
    if (engine->L != NULL)
        lua_close(engine->L); /* runs no rule code: rules have no __gc */
    blocks_close(&engine->blocks);
    call_close_all(engine);
    for (size_t i = 0; i < engine->rule_count; i++) {
        const struct input *input = NULL;
        void *token = NULL;
        while (rule_take(&engine->rules[i], &input, &token))
            continue;
    }
    while (engine->free_inputs != NULL) {
        struct queued_input *queued = engine->free_inputs;
        engine->free_inputs = queued->next;
        free(queued);
    }
    timers_free(&engine->timers);
    router_free(engine->router);
    ruleset_release(engine->ruleset);
    free(engine->matches);
    free(engine->rules);
    free(engine);
}

/* --- the rules -------------------------------------------------------------------------------- */

size_t engine_match(struct engine *engine, const char *subject, struct rule **rules, size_t max)
{
    if (max > engine->rule_count)
        max = engine->rule_count;
    size_t count = router_match(engine->router, subject, engine->matches, max);
    for (size_t i = 0; i < count; i++)
        rules[i] = &engine->rules[engine->matches[i]];
    return count;
}

size_t engine_rule_count(const struct engine *engine)
{
    return engine->rule_count;
}

struct rule *engine_rule_at(const struct engine *engine, size_t index)
{
    return index < engine->rule_count ? &engine->rules[index] : NULL;
}

struct rule *engine_rule_named(const struct engine *engine, const char *name)
{
    size_t first = 0, end = engine->rule_count; /* sorted by name */
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = strcmp(name, engine->rules[middle].file->name);
        if (order == 0)
            return &engine->rules[middle];
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

const char *rule_name(const struct rule *rule)
{
    return rule->file->name;
}

void rule_set_host_data(struct rule *rule, void *host_data)
{
    rule->host_data = host_data;
}

bool rule_enabled(const struct rule *rule)
{
    return rule->enabled;
}

const char *engine_version(const struct engine *engine)
{
    return ruleset_version(engine->ruleset);
}

size_t engine_memory(const struct engine *engine)
{
    return engine->limits.memory_used;
}

/* --- work ------------------------------------------------------------------------------------- */

void engine_begin_slice(struct engine *engine)
{
    if (engine->tick_ns == 0)
        engine->slice_end_ns = engine_monotonic_ns(engine) + SLICE_NS;
}

bool engine_slice_over(const struct engine *engine)
{
    return engine_monotonic_ns(engine) >= engine->slice_end_ns;
}

void engine_call(struct engine *engine, struct rule *rule, const struct input *input, void *token)
{
    (void)engine;
    rule_accept(rule, input, token);
}

void engine_reply(struct engine *engine, uint64_t wait, const struct reply *reply)
{
    struct call *call = call_waiting_for(engine, wait);
    if (call == NULL)
        return;
    engine_begin_slice(engine);
    call_answer(call, reply);
}

int64_t engine_due_ns(const struct engine *engine)
{
    const struct moment *first = timers_first(&engine->timers);
    if (engine->behind)
        return 0; /* at once */
    return first == NULL ? -1 : first->at_ns;
}

/* Starts what an earlier slice had no time for, beginning with another rule each time. */
static void catch_up(struct engine *engine)
{
    engine->behind = false;
    for (size_t i = 0; i < engine->rule_count && !engine->behind; i++) {
        engine->drain_from = (engine->drain_from + 1) % engine->rule_count;
        rule_drain(&engine->rules[engine->drain_from]);
    }
}

void engine_tick(struct engine *engine)
{
    if (engine->tick_ns != 0)
        return; /* a host that ticks inside a call-back: the outer tick goes on */
    int64_t now = engine_monotonic_ns(engine);
    engine_begin_slice(engine);
    engine->tick_ns = now;
    if (engine->behind)
        catch_up(engine);
    struct moment *first = NULL;
    while ((first = timers_first(&engine->timers)) != NULL && first->at_ns <= now) {
        timers_remove(&engine->timers, first);
        first->arrive(first);
    }
    engine->tick_ns = 0;
}

size_t engine_active(const struct engine *engine)
{
    return engine->active;
}

/* --- from one engine to the next -------------------------------------------------------------- */

int engine_carry_state(struct engine *to, struct engine *from, struct error *err)
{
    struct carried *carried = state_write(from, err);
    if (carried == NULL)
        return -1;
    int status = state_read(to, carried, err);
    state_free(carried);
    return status;
}

static void unload(struct engine *engine, struct rule *rule)
{
    if (!rule->enabled || rule->on_unload == LUA_NOREF)
        return;
    struct call *call = call_new(engine, rule, CALL_UNLOAD);
    if (call == NULL)
        call_report_unstarted(rule, NULL, CAUSE_MEMORY, "out of memory: on_unload cannot start");
    else
        call_start(call);
}

void engine_retire(struct engine *engine,
                   void (*requeue)(void *context, const char *rule, const struct input *input,
                                   void *token),
                   void *context)
{
    engine->retired = true;
    for (size_t i = 0; i < engine->rule_count; i++) {
        struct rule *rule = &engine->rules[i];
        const struct input *input = NULL;
        void *token = NULL;
        schedule_cancel_all(rule);
        bool draining = rule->draining;
        rule->draining = true; /* nothing starts while the queue is given away */
        while (rule_take(rule, &input, &token))
            requeue(context, rule->file->name, input, token);
        unload(engine, rule);
        rule->draining = draining;
    }
}

void engine_abort_calls(struct engine *engine, const char *why)
{
    for (size_t i = 0; i < engine->rule_count; i++) {
        struct rule *rule = &engine->rules[i];
        const struct input *input = NULL;
        void *token = NULL;
        while (rule_take(rule, &input, &token))
            call_report_unstarted(rule, token, CAUSE_ERROR, why);
    }
    uint64_t newest = engine->generation; /* what starts meanwhile is not meant */
    for (size_t i = 0; i < engine->call_count; i++) {
        struct call *call = engine->calls[i];
        bool waits = call->state == CALL_SLEEPING || call->state == CALL_ASKING;
        if (waits && call->generation <= newest)
            call_abort(call, why);
    }
}
