#include "rules/call.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "rules/activity.h"
#include "rules/message.h"
#include "rules/rule.h"
#include "rules/schedule.h"

/*
 * A call goes round in run(): resume the coroutine; it ends or it yields; when it yields, begin
 * what it asked for; when that is done at once, go round again. Everything that touches the
 * coroutine happens in resume(), between two looks at the clock: they are the call's time, the
 * watchdog's view and the base of the deadline.
 */

enum {
    PLACE_BITS = 24, /* a request's number is a serial number and the call's place */
    CALLS_MAX = (1 << PLACE_BITS) - 1,
    FAILURE_RESERVE = 256 << 10 /* bytes over the limit, to say that the limit was passed */
};

static const int64_t FAILURE_TIME_NS = 50 * NS_PER_MS; /* for an error value's __tostring */

/* --- the pool --------------------------------------------------------------------------------- */

/* Makes the coroutine of a new call: [1] the call. LJMP. */
static int make_thread(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);
    lua_State *thread = lua_newthread(L);          /* call thread */
    call->anchor = luaL_ref(L, LUA_REGISTRYINDEX); /* call */
    call->thread = thread;
    return 0;
}

/* Calls a C function with a call as its argument, protected. Returns 0 or -1. */
static int protect(struct call *call, lua_CFunction function)
{
    lua_State *L = call->engine->L;
    lua_pushcfunction(L, function); /* function */
    lua_pushlightuserdata(L, call); /* function call */
    int status = lua_pcall(L, 1, 0, 0);
    if (status != LUA_OK)
        lua_pop(L, 1); /* */
    return status == LUA_OK ? 0 : -1;
}

static void wake(struct moment *moment);

static struct call *make_call(struct engine *engine)
{
    if (engine->call_count == engine->call_size) {
        size_t size = engine->call_size == 0 ? 16 : engine->call_size * 2;
        struct call **calls = realloc(engine->calls, size * sizeof(calls[0]));
        if (calls == NULL)
            return NULL;
        engine->calls = calls;
        engine->call_size = size;
    }
    struct call *call = engine->call_count < CALLS_MAX ? calloc(1, sizeof(*call)) : NULL;
    if (call == NULL)
        return NULL;
    call->engine = engine;
    call->moment.arrive = wake;
    call->place = engine->call_count;
    if (timers_reserve(&engine->timers) != 0) {
        free(call);
        return NULL;
    }
    if (protect(call, make_thread) != 0) {
        timers_release(&engine->timers);
        free(call);
        return NULL;
    }
    engine->calls[engine->call_count++] = call;
    return call;
}

struct call *call_new(struct engine *engine, struct rule *rule, enum call_kind kind)
{
    struct call *call = engine->free_calls;
    if (call != NULL && call->thread == NULL && protect(call, make_thread) != 0)
        return NULL;
    if (call != NULL)
        engine->free_calls = call->next_free;
    else if ((call = make_call(engine)) == NULL)
        return NULL;
    call->rule = rule;
    call->kind = kind;
    call->state = CALL_RUNNING;
    call->generation = ++engine->generation;
    call->input = NULL;
    call->token = NULL;
    call->timer = NULL;
    call->started = false;
    call->closing = 0;
    call->spent_ns = 0;
    call->ended = false;
    call->outcome = OUTCOME_DONE;
    call->cause = CAUSE_NONE;
    call->retry_ns = 0;
    call->error = call->traceback = NULL;
    call->answer = NULL;
    return call;
}

void call_free(struct call *call)
{
    if (call->outputs.count > 0)
        outputs_clear(&call->outputs);
    call->state = CALL_FREE;
    call->generation = 0;
    call->next_free = call->engine->free_calls;
    call->engine->free_calls = call;
}

void call_close_all(struct engine *engine)
{
    for (size_t i = 0; i < engine->call_count; i++) {
        struct call *call = engine->calls[i];
        outputs_free(&call->outputs);
        free(call->failure);
        free(call->early_text);
        free(call);
    }
    free(engine->calls);
    engine->calls = NULL;
    engine->call_count = 0;
}

/* --- running ---------------------------------------------------------------------------------- */

/* After a wait the handler has returned: nothing is left to do. */
static int body_done(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

/* The body of every coroutine of the pool: calls what this call is about. LJMP. */
static int body(lua_State *L)
{
    struct call *call = engine_of(L)->current;
    struct rule *rule = call->rule;
    int arguments = 0;
    switch (call->kind) {
    case CALL_CHUNK:
        rule_load(L, rule);
        return 0;
    case CALL_LOAD:
        push_ref(L, rule->on_load); /* handler */
        break;
    case CALL_MESSAGE:
        push_ref(L, rule->on_message); /* handler */
        message_push(L, call);         /* handler msg */
        arguments = 1;
        break;
    case CALL_TIMER:
        schedule_push_function(L, call->timer); /* handler */
        break;
    case CALL_UNLOAD:
        push_ref(L, rule->on_unload); /* handler */
        break;
    }
    lua_callk(L, arguments, 0, 0, body_done); /* */
    return 0;
}

/* Writes what is known of a failed call: [1] the call. LJMP. */
static int describe(lua_State *L)
{
    struct call *call = lua_touserdata(L, 1);
    if (call->error == NULL && call->outcome != OUTCOME_RETRY) {
        call->error = call->failure->text;
        failure_take_error(call->failure, L, call->thread);
    }
    if (call->outcome == OUTCOME_ERROR && call->error == call->failure->text) {
        failure_take_traceback(call->failure, L, call->thread);
        call->traceback = call->failure->traceback;
    }
    return 0;
}

/* Gives the call a place for its words. Returns NULL, and sets a constant, when memory is short. */
static struct failure *failure_of(struct call *call)
{
    if (call->failure == NULL)
        call->failure = malloc(sizeof(*call->failure));
    if (call->failure == NULL)
        call->error = "out of memory";
    else
        call->failure->text[0] = call->failure->traceback[0] = '\0';
    return call->failure;
}

/*
 * Sets the verdict, if there is none yet. `format` may be NULL: an end that needs no words. It
 * takes the place of an error that nobody caught, when a pending __close gives it.
 */
static void vjudge(struct call *call, lua_State *L, enum outcome outcome, enum cause cause,
                   const char *format, va_list args)
{
    if (call->ended)
        return;
    call->ended = true;
    call->outcome = outcome;
    call->cause = cause;
    call->error = call->traceback = NULL;
    if (format != NULL && failure_of(call) != NULL) {
        failure_set(call->failure, L, format, args);
        call->error = call->failure->text;
    }
}

__attribute__((format(printf, 5, 6))) static void judge(struct call *call, lua_State *L,
                                                        enum outcome outcome, enum cause cause,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vjudge(call, L, outcome, cause, format, args);
    va_end(args);
}

/* Sets the verdict of a call that went over a limit. */
static void judge_limit(struct call *call, lua_State *L, enum cause cause)
{
    const struct engine_limits *limits = &call->engine->options.limits;
    char duration[UNITS_DURATION_TEXT];
    if (cause == CAUSE_MEMORY)
        judge(call, L, OUTCOME_ERROR, cause,
              "out of memory: the rules hold more than %lld KiB (rules.memory)",
              (long long)(limits->memory >> 10));
    else
        judge(call, L, OUTCOME_ERROR, cause, "stopped: it ran longer than %s (rules.timeout)",
              units_format_duration(limits->timeout_ns, duration));
}

/* Why there was no memory: past the deadline, large blocks are refused whatever there is. */
static enum cause cause_of_refusal(const struct limits *limits)
{
    return limits->out_of_memory || !limits->expired ? CAUSE_MEMORY : CAUSE_TIMEOUT;
}

/* Leaves a coroutine that cannot be used again to the collector. */
static void drop_thread(struct call *call)
{
    luaL_unref(call->engine->L, LUA_REGISTRYINDEX, call->anchor);
    call->thread = NULL;
    call->anchor = LUA_NOREF;
}

static void reset_thread(lua_State *thread)
{
#if LUA_VERSION_RELEASE_NUM >= 50406
    lua_closethread(thread, NULL);
#else
    lua_resetthread(thread);
#endif
    lua_settop(thread, 0); /* */
}

/* The coroutine is over, one way or another: finds the verdict and makes it fit for reuse. */
static void settle(struct call *call, int status)
{
    struct limits *limits = &call->engine->limits;
    call->state = CALL_ENDED;
    if (status == LUA_OK && !call->ended && !limits->out_of_memory) {
        lua_settop(call->thread, 0); /* */
        return;
    }
    if (status == LUA_ERRMEM || limits->out_of_memory)
        judge_limit(call, call->thread, cause_of_refusal(limits));
    bool out_of_memory = call->cause == CAUSE_MEMORY;
    if (!call->ended) {
        call->outcome = OUTCOME_ERROR;
        call->cause = CAUSE_ERROR;
        failure_of(call);
    }
    int64_t deadline_ns = limits->deadline_ns;
    bool expired = limits->expired;
    if (call->failure != NULL) {
        limits->reserve = FAILURE_RESERVE;
        limits_arm(limits, clock_monotonic_ns() + FAILURE_TIME_NS);
        protect(call, describe);
        limits->reserve = 0;
    }
    limits_arm(limits, deadline_ns);
    limits->expired = expired;
    if (limits_died_in_hook(call->thread))
        drop_thread(call);
    else
        reset_thread(call->thread); /* runs the pending __close, under what is left of the limits */
    call->ended = true;
    if (out_of_memory)
        lua_gc(call->engine->L, LUA_GCCOLLECT);
}

/* Lets the coroutine run until it yields or ends. */
static void resume(struct call *call)
{
    struct engine *engine = call->engine;
    struct call *outer = engine->current; /* not NULL when a host runs a call inside a call-back */
    struct limits outer_limits = engine->limits;
    int64_t began = clock_monotonic_ns();
    int64_t timeout = engine->options.limits.timeout_ns;
    activity_begin(engine->activity, call, began);
    limits_arm(&engine->limits, timeout > 0 ? began + timeout - call->spent_ns : INT64_MAX);
    engine->current = call;
    call->wait = WAIT_NONE;
    if (!call->started) {
        call->began_ns = began;
        lua_pushcfunction(call->thread, body); /* body */
    }
    call->started = true;
    int results = 0;
    int status = lua_resume(call->thread, engine->L, 0, &results);
    if (status != LUA_YIELD || call->ended || engine->limits.out_of_memory)
        settle(call, status);
    engine->current = outer;
    engine->limits.deadline_ns = outer_limits.deadline_ns;
    engine->limits.expired = outer_limits.expired;
    engine->limits.out_of_memory = outer_limits.out_of_memory;
    call->left_ns = clock_monotonic_ns();
    call->spent_ns += call->left_ns - began;
    if (outer == NULL)
        activity_end(engine->activity);
}

/* Ends a call that waits and has got a verdict meanwhile. */
static void settle_waiting(struct call *call)
{
    struct engine *engine = call->engine;
    struct call *outer = engine->current;
    engine->current = call;
    call->left_ns = clock_monotonic_ns();
    limits_arm(&engine->limits, call->left_ns + FAILURE_TIME_NS);
    settle(call, LUA_YIELD);
    engine->current = outer;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void drop_early(struct call *call)
{
    free(call->early_text);
    call->early_text = NULL;
}

/* Keeps a copy of an answer that came before the question was out. */
static void keep_early(struct call *call, const struct reply *reply)
{
    const char *text = reply->error != NULL ? reply->error : reply->payload;
    size_t size = reply->error != NULL ? strlen(reply->error) : reply->payload_size;
    drop_early(call);
    call->early_text = malloc(size + 1);
    call->answer = &call->early;
    if (call->early_text == NULL) {
        call->early = (struct reply){.error = "out of memory"};
        return;
    }
    if (size > 0)
        memcpy(call->early_text, text, size);
    call->early_text[size] = '\0';
    call->early = reply->error != NULL
                      ? (struct reply){.error = call->early_text}
                      : (struct reply){.payload = reply->payload != NULL ? call->early_text : NULL,
                                       .payload_size = size,
                                       .revision = reply->revision};
}

/* Sends the request of a call that has just yielded. */
static void ask(struct call *call)
{
    struct engine *engine = call->engine;
    const struct engine_host *host = &engine->options.host;
    struct error err = {0};
    call->state = CALL_ASKING;
    call->answer = NULL;
    call->wait_number = (++engine->wait_serial << PLACE_BITS) | call->place;
    engine_wake_at(engine, &call->moment, engine_monotonic_ns(engine) + call->wait_ns);
    call->sending = true;
    int status = call->wait == WAIT_KV
                     ? host->kv(host->context, engine, call->wait_number, &call->kv, &err)
                     : host->request(host->context, engine, call->wait_number, call->request[0],
                                     call->request[1], call->request_size, &err);
    call->sending = false;
    if (status != 0 && call->answer == NULL)
        keep_early(call, &(struct reply){.error = err.text});
    if (call->answer != NULL || call->ended) {
        timers_remove(&engine->timers, &call->moment);
        call->state = CALL_RUNNING;
    }
}

/* Does what the coroutine yielded for. */
static void begin_wait(struct call *call)
{
    struct engine *engine = call->engine;
    if (call->wait != WAIT_SLEEP) {
        ask(call);
    } else {
        call->state = CALL_SLEEPING;
        engine_wake_at(engine, &call->moment, engine_monotonic_ns(engine) + call->wait_ns);
    }
}

/* Reports the end, gives the call back and lets the rule's next one start. */
static void report(struct call *call)
{
    struct rule *rule = call->rule;
    struct engine *engine = call->engine;
    const struct engine_host *host = &engine->options.host;
    bool done = call->outcome == OUTCOME_DONE;
    struct call_result result = {.rule = rule->file->name,
                                 .outcome = call->outcome,
                                 .cause = call->cause,
                                 .retry_ns = call->retry_ns,
                                 .error = call->error,
                                 .traceback = call->traceback,
                                 .outputs = done ? call->outputs.items : NULL,
                                 .output_count = done ? call->outputs.count : 0,
                                 .duration_ns = call->spent_ns,
                                 .elapsed_ns = call->left_ns - call->began_ns,
                                 .ended_ns = call->left_ns,
                                 .host_data = rule->host_data};
    call->generation = 0; /* its msg is dead from here on */
    if (call->timer != NULL)
        schedule_ended(call->timer);
    rule->under_way--;
    engine->active--;
    if (host->finished != NULL)
        host->finished(host->context, call->token, &result);
    call_free(call);
    rule_drain(rule);
}

static void run(struct call *call)
{
    while (call->state == CALL_RUNNING) {
        resume(call);
        call->answer = NULL;
        drop_early(call);
        if (call->state == CALL_RUNNING)
            begin_wait(call);
        if (call->state == CALL_RUNNING && call->ended)
            settle_waiting(call); /* aborted while it asked */
    }
    if (call->state == CALL_ENDED && call->kind != CALL_CHUNK && call->kind != CALL_LOAD)
        report(call);
}

void call_start(struct call *call)
{
    call->rule->under_way++;
    call->engine->active++;
    run(call);
    if (call->kind == CALL_CHUNK || call->kind == CALL_LOAD) {
        call->rule->under_way--;
        call->engine->active--;
    }
}

static void wake(struct moment *moment)
{
    struct call *call = (struct call *)(void *)((char *)moment - offsetof(struct call, moment));
    static const struct reply too_late = {.error = "timeout"};
    if (call->state == CALL_ASKING)
        call->answer = &too_late;
    call->state = CALL_RUNNING;
    run(call);
}

struct call *call_waiting_for(struct engine *engine, uint64_t wait)
{
    size_t place = wait & CALLS_MAX;
    if (place >= engine->call_count)
        return NULL;
    struct call *call = engine->calls[place];
    return call->state == CALL_ASKING && call->wait_number == wait ? call : NULL;
}

void call_answer(struct call *call, const struct reply *reply)
{
    if (call->sending) {
        if (call->answer == NULL)
            keep_early(call, reply);
        return;
    }
    timers_remove(&call->engine->timers, &call->moment);
    call->answer = reply;
    call->state = CALL_RUNNING;
    run(call);
}

void call_abort(struct call *call, const char *why)
{
    judge(call, call->thread, OUTCOME_ERROR, CAUSE_ERROR, "%s", why);
    if (call->sending)
        return; /* run() sees it */
    timers_remove(&call->engine->timers, &call->moment);
    settle_waiting(call);
    report(call);
}

void call_report_unstarted(struct rule *rule, void *token, enum cause cause, const char *why)
{
    const struct engine_host *host = &rule->engine->options.host;
    struct call_result result = {.rule = rule->file->name,
                                 .outcome = OUTCOME_ERROR,
                                 .cause = cause,
                                 .error = why,
                                 .ended_ns = clock_monotonic_ns(),
                                 .host_data = rule->host_data};
    if (host->finished != NULL)
        host->finished(host->context, token, &result);
}

/* --- for rule code that runs ------------------------------------------------------------------ */

/* Raises the error that no rule can catch. LJMP. */
static int raise_verdict(lua_State *L)
{
    lua_pushliteral(L, "this call is over"); /* message */
    return lua_error(L);
}

struct call *call_current(lua_State *L, const char *what)
{
    struct call *call = engine_of(L)->current;
    if (call == NULL)
        luaL_error(L, "%s: no rule is running", what);
    else if (call->ended)
        raise_verdict(L);
    return call;
}

struct call *call_handler(lua_State *L, const char *what)
{
    struct call *call = call_current(L, what);
    if (call->kind != CALL_MESSAGE && call->kind != CALL_TIMER)
        luaL_error(L, "%s works inside on_message and timers", what);
    return call;
}

void call_check(lua_State *L, int status)
{
    struct engine *engine = engine_of(L);
    if (status == LUA_ERRMEM || engine->limits.out_of_memory)
        call_over_limit(L, cause_of_refusal(&engine->limits));
    if (engine->current == NULL || !engine->current->ended)
        return;
    /*
     * Past a limit there is a shorter way than from one pcall to the next: each of these steps
     * looks at the whole stack, and a hundred thousand pcalls take half a minute. resume() and the
     * sandbox's coroutine.resume take a yield of an ended call as its end. (What closes a coroutine
     * does not.)
     */
    const struct call *call = engine->current;
    if (call->state == CALL_RUNNING && call->closing == 0 && limits_over(&engine->limits) &&
        lua_isyieldable(L))
        lua_yield(L, 0);
    raise_verdict(L);
}

int call_end(lua_State *L, struct call *call, enum outcome outcome, enum cause cause,
             const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vjudge(call, L, outcome, cause, format, args);
    va_end(args);
    return raise_verdict(L);
}

void call_over_limit(lua_State *L, enum cause cause)
{
    struct call *call = engine_of(L)->current;
    if (call != NULL)
        judge_limit(call, L, cause);
    raise_verdict(L);
}

int call_yield(lua_State *L, struct call *call, enum call_wait wait, int64_t wait_ns,
               lua_KFunction answered, const char *what)
{
    if (!lua_isyieldable(L))
        return luaL_error(L,
                          "%s cannot wait here (inside a metamethod, require, or a function that "
                          "table.sort or string.gsub calls)",
                          what);
    call->wait = wait;
    call->wait_ns = wait_ns;
    return lua_yieldk(L, 0, 0, answered);
}
