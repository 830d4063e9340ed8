#ifndef TIDEMILL_RULES_ENGINE_INTERNAL_H
#define TIDEMILL_RULES_ENGINE_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "rules/engine.h"
#include "rules/json_lazy.h"
#include "rules/limits.h"
#include "rules/outputs.h"
#include "rules/timers.h"

/*
 * What the parts of the engine share. Nobody outside src/rules includes this.
 *
 *   engine   opens and closes, hands inputs to calls, ticks, retires
 *   call     one run of a rule's code in a coroutine of the pool, its limits, its end
 *   rule     what a rule file returned, checked; the rule's queue
 *   schedule mill.every and mill.after
 *   sandbox  the libraries and the environment a rule sees, require
 *   guards   the library functions that are not Lua's own; coroutines: the same for coroutine.*
 *   api      the `mill` table; publish, metric, message, state, kv: its larger members
 *   limits   the ceiling and the deadline of the call that runs; past them it asks call to end it
 *   timers, outputs: the clockwork below; they know no rules
 *
 * A function marked LJMP may raise a Lua error, that is, not return: it runs only below the
 * protected call of a coroutine or of lua_pcall. All others never raise and expect nothing but a
 * few free stack slots. A comment behind a line that changes the stack shows the top of the stack.
 */
#define LJMP

struct call;
struct router;

/* A reference in the registry; LUA_NOREF: none. */
typedef int lua_ref;

/* An input that waits because the rule is busy. */
struct queued_input {
    struct queued_input *next;
    const struct input *input;
    void *token;
};

struct rule {
    struct engine *engine;
    const struct rule_file *file;
    size_t index;
    void *host_data;
    bool enabled;
    size_t concurrency;
    lua_ref environment, modules, states; /* tables */
    lua_ref subjects;                     /* a list, or LUA_NOREF */
    lua_ref on_message, on_load, on_unload;
    struct json_use json_use;  /* of the documents it gets */
    struct rule_timer *timers; /* those that are not over */
    size_t timer_count;

    size_t under_way; /* calls of this rule that have started and not ended */
    struct queued_input *first_input, **last_input;
    struct rule_timer *first_timer, **last_timer; /* timers that are due, ahead of the inputs */
    bool draining;                                /* rule_drain is at work further up the stack */
};

struct engine {
    lua_State *L; /* the main thread: runs no rule code, except below a lua_pcall */
    struct limits limits;
    struct blocks blocks; /* the memory of L */
    struct ruleset *ruleset;
    struct engine_options options;
    struct engine_activity *activity;
    struct engine_activity unwatched; /* what `activity` points at when nobody looks */
    struct rule *rules;
    size_t rule_count;
    struct router *router;
    size_t *matches; /* rule_count places for router_match */

    struct timers timers;
    int64_t tick_ns; /* the moment engine_tick works on; 0: not ticking */
    bool retired;
    int64_t slice_end_ns; /* what is queued starts until then; the rest waits for the next tick */
    bool behind;          /* some did not start in its slice */
    size_t drain_from;    /* the rule whose turn it is when not all can start */

    struct call *current; /* whose code runs; NULL: no rule runs */
    int requiring;        /* depth of require: a module's top level may set globals */
    struct call **calls;  /* all that were ever made; the place is part of a request's number */
    size_t call_count, call_size;
    struct call *free_calls;
    struct queued_input *free_inputs;
    size_t active; /* under way and queued inputs */
    uint64_t generation, wait_serial;

    lua_ref environment_mt, message_mt, timer_mt, metric_mts[3], bucket_mt, mill;
};

/* The engine a state belongs to: kept in the extra space, which coroutines inherit. */
static inline struct engine *engine_of(lua_State *L)
{
    return *(struct engine **)lua_getextraspace(L);
}

/* Opens the Lua state of an engine whose options are set. Returns 0 or -1. */
int engine_make_state(struct engine *engine, struct error *err);

int64_t engine_monotonic_ns(const struct engine *engine);

/* Queued calls may start for a slice of time from now; in a tick, until that of the tick ends. */
void engine_begin_slice(struct engine *engine);

/* Whether calls have been started for long enough: the host wants to look after other things. */
bool engine_slice_over(const struct engine *engine);

/* Puts a moment in the heap, never into the tick that is going on. */
void engine_wake_at(struct engine *engine, struct moment *moment, int64_t at_ns);

/* Pushes the value of a reference. */
static inline int push_ref(lua_State *L, lua_ref ref)
{
    return lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

#endif
