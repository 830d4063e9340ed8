#include "rules/schedule.h"

#include "rules/call.h"
#include "rules/rule.h"

static const double SECONDS_MIN = 0.001, SECONDS_MAX = 1e9;

/* Takes a timer out of everything; its memory goes when the rule lets go of the object. */
static void end_timer(struct rule_timer *timer)
{
    struct engine *engine = timer->rule->engine;
    timer->cancelled = true;
    timers_remove(&engine->timers, &timer->moment);
    if (timer->queued || timer->running || timer->anchor == LUA_NOREF)
        return;
    timers_release(&engine->timers);
    struct rule *rule = timer->rule;
    if (timer->previous != NULL)
        timer->previous->next = timer->next;
    else
        rule->timers = timer->next;
    if (timer->next != NULL)
        timer->next->previous = timer->previous;
    rule->timer_count--;
    luaL_unref(engine->L, LUA_REGISTRYINDEX, timer->anchor);
    timer->anchor = LUA_NOREF;
}

/* The timer is due: queues it and sets the next turn. */
static void arrive(struct moment *moment)
{
    struct rule_timer *timer = (struct rule_timer *)(void *)moment;
    struct rule *rule = timer->rule;
    struct engine *engine = rule->engine;
    if (timer->interval_ns > 0) {
        int64_t next = moment->at_ns + timer->interval_ns;
        int64_t now = engine_monotonic_ns(engine);
        engine_wake_at(engine, moment, next > now ? next : now + timer->interval_ns);
    }
    if (timer->queued || timer->running)
        return;
    timer->queued = true;
    timer->next_queued = NULL;
    *rule->last_timer = timer;
    rule->last_timer = &timer->next_queued;
    rule_drain(rule);
}

struct rule_timer *schedule_take(struct rule *rule)
{
    while (rule->first_timer != NULL) {
        struct rule_timer *timer = rule->first_timer;
        rule->first_timer = timer->next_queued;
        if (rule->first_timer == NULL)
            rule->last_timer = &rule->first_timer;
        timer->queued = false;
        if (!timer->cancelled)
            return timer;
        end_timer(timer);
    }
    return NULL;
}

void schedule_started(struct rule_timer *timer)
{
    timer->running = true;
}

void schedule_ended(struct rule_timer *timer)
{
    timer->running = false;
    if (timer->cancelled || timer->interval_ns == 0)
        end_timer(timer);
}

void schedule_push_function(lua_State *L, struct rule_timer *timer)
{
    push_ref(L, timer->anchor);  /* timer */
    lua_getiuservalue(L, -1, 1); /* timer function */
    lua_remove(L, -2);           /* function */
}

void schedule_cancel_all(struct rule *rule)
{
    struct rule_timer *next = NULL;
    for (struct rule_timer *timer = rule->timers; timer != NULL; timer = next) {
        next = timer->next;
        end_timer(timer);
    }
    schedule_take(rule); /* all that are queued are cancelled: drops them */
}

void schedule_add(lua_State *L, struct rule *rule, double seconds, int index, bool repeat,
                  const char *what)
{
    struct engine *engine = rule->engine;
    index = lua_absindex(L, index);
    if (!(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX))
        luaL_error(L, "%s: seconds from 0.001 to 1e9 expected, got %f", what, seconds);
    if (rule->timer_count >= TIMERS_PER_RULE_MAX)
        luaL_error(L, "%s: this rule has %d timers already", what, TIMERS_PER_RULE_MAX);
    int64_t wait_ns = (int64_t)(seconds * 1e9);
    struct rule_timer *timer = lua_newuserdatauv(L, sizeof(*timer), 1); /* timer */
    *timer = (struct rule_timer){.moment.arrive = arrive,
                                 .rule = rule,
                                 .interval_ns = repeat ? wait_ns : 0,
                                 .anchor = LUA_NOREF};
    push_ref(L, engine->timer_mt);                  /* timer mt */
    lua_setmetatable(L, -2);                        /* timer */
    lua_pushvalue(L, index);                        /* timer function */
    lua_setiuservalue(L, -2, 1);                    /* timer */
    lua_pushvalue(L, -1);                           /* timer timer */
    timer->anchor = luaL_ref(L, LUA_REGISTRYINDEX); /* timer */
    if (timers_reserve(&engine->timers) != 0) {
        luaL_unref(L, LUA_REGISTRYINDEX, timer->anchor);
        timer->anchor = LUA_NOREF;
        luaL_error(L, "%s: out of memory", what);
    }
    timer->next = rule->timers;
    if (timer->next != NULL)
        timer->next->previous = timer;
    rule->timers = timer;
    rule->timer_count++;
    if (!engine->retired)
        engine_wake_at(engine, &timer->moment, engine_monotonic_ns(engine) + wait_ns);
}

/* LJMP. */
static int add_from_rule(lua_State *L, bool repeat, const char *what)
{
    struct call *call = call_current(L, what);
    double seconds = luaL_checknumber(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    schedule_add(L, call->rule, seconds, 2, repeat, what); /* timer */
    return 1;
}

int schedule_every(lua_State *L)
{
    return add_from_rule(L, true, "mill.every");
}

int schedule_after(lua_State *L)
{
    return add_from_rule(L, false, "mill.after");
}

/* timer:cancel(); upvalue 1 is the metatable. Again, or after the end, it does nothing. LJMP. */
static int timer_cancel(lua_State *L)
{
    struct rule_timer *timer = lua_touserdata(L, 1);
    if (timer == NULL || !lua_getmetatable(L, 1) ||
        !lua_rawequal(L, -1, lua_upvalueindex(1))) /* metatable? */
        return luaL_typeerror(L, 1, "timer (call it as timer:cancel())");
    if (timer->anchor != LUA_NOREF)
        end_timer(timer);
    return 0;
}

void schedule_open(lua_State *L)
{
    lua_createtable(L, 0, 3);                                /* mt */
    lua_newtable(L);                                         /* mt methods */
    lua_pushvalue(L, -2);                                    /* mt methods mt */
    lua_pushcclosure(L, timer_cancel, 1);                    /* mt methods cancel */
    lua_setfield(L, -2, "cancel");                           /* mt methods */
    lua_setfield(L, -2, "__index");                          /* mt */
    lua_pushboolean(L, 0);                                   /* mt false */
    lua_setfield(L, -2, "__metatable");                      /* mt */
    lua_pushliteral(L, "timer");                             /* mt name */
    lua_setfield(L, -2, "__name");                           /* mt */
    engine_of(L)->timer_mt = luaL_ref(L, LUA_REGISTRYINDEX); /* */
}
