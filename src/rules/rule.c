#include "rules/rule.h"

#include <stdlib.h>
#include <string.h>

#include "base/subject.h"
#include "base/suggest.h"
#include "rules/call.h"
#include "rules/router.h"
#include "rules/sandbox.h"
#include "rules/schedule.h"

void rule_init(struct rule *rule, struct engine *engine, size_t index)
{
    *rule = (struct rule){.engine = engine,
                          .file = ruleset_rule(engine->ruleset, index),
                          .index = index,
                          .enabled = true,
                          .concurrency = 1,
                          .environment = LUA_NOREF,
                          .modules = LUA_NOREF,
                          .states = LUA_NOREF,
                          .subjects = LUA_NOREF,
                          .on_message = LUA_NOREF,
                          .on_load = LUA_NOREF,
                          .on_unload = LUA_NOREF};
    rule->last_input = &rule->first_input;
    rule->last_timer = &rule->first_timer;
}

/* --- the table a rule file returns: all LJMP -------------------------------------------------- */

/* The check of one rule: the table is at index 1. */
struct check {
    lua_State *L;
    struct rule *rule;
    bool has_subjects, has_every;
};

static void check_subjects(struct check *check);
static void check_on_message(struct check *check);
static void check_concurrency(struct check *check);
static void check_enabled(struct check *check);
static void check_on_load(struct check *check);
static void check_on_unload(struct check *check);
static void check_every(struct check *check);

/* The keys of a rule, in the order in which they are looked at; each finds its value, which may be
   nil, on the top of the stack. */
static const struct rule_key {
    const char *name;
    void (*check)(struct check *check);
} rule_keys[] = {
    {"enabled", check_enabled},       {"subjects", check_subjects},
    {"on_message", check_on_message}, {"concurrency", check_concurrency},
    {"on_load", check_on_load},       {"on_unload", check_on_unload},
    {"every", check_every},
};

enum { RULE_KEYS = sizeof(rule_keys) / sizeof(rule_keys[0]) };

/* Raises "rules/x.lua: key: what is wrong". */
#define fail(check, ...)                                                                           \
    luaL_error((check)->L, "%s: %s", (check)->rule->file->path,                                    \
               lua_pushfstring((check)->L, __VA_ARGS__))

static void check_subjects(struct check *check)
{
    lua_State *L = check->L;
    struct error err;
    if (lua_isnil(L, -1))
        return;
    if (!lua_istable(L, -1))
        fail(check, "subjects: a list of subjects expected, like { \"sensors.value\" }, got %s",
             luaL_typename(L, -1));
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    lua_Integer pairs = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) /* subjects key value */
        pairs++;
    if (count == 0 || pairs != count)
        fail(check, "subjects: a list of one or more subjects expected");
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, -1, i) != LUA_TSTRING) /* subjects pattern */
            fail(check, "subjects[%d]: a string expected, got %s", (int)i, luaL_typename(L, -1));
        size_t length = 0;
        const char *pattern = lua_tolstring(L, -1, &length);
        if (strlen(pattern) != length)
            fail(check, "subjects[%d]: a zero byte in '%s'", (int)i, pattern);
        if (subject_check_pattern(pattern, &err) != 0)
            fail(check, "subjects[%d]: %s", (int)i, err.text);
        if (check->rule->enabled &&
            router_add(check->rule->engine->router, pattern, check->rule->index, &err) != 0)
            fail(check, "subjects[%d]: %s", (int)i, err.text);
        lua_pop(L, 1); /* subjects */
    }
    check->has_subjects = true;
    lua_pushvalue(L, -1);                                   /* subjects subjects */
    check->rule->subjects = luaL_ref(L, LUA_REGISTRYINDEX); /* subjects */
}

/* Keeps a function that the rule may leave out. */
static lua_ref keep_function(struct check *check, const char *key)
{
    lua_State *L = check->L;
    if (lua_isnil(L, -1))
        return LUA_NOREF;
    if (!lua_isfunction(L, -1))
        fail(check, "%s: a function expected, got %s", key, luaL_typename(L, -1));
    lua_pushvalue(L, -1); /* value value */
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void check_on_message(struct check *check)
{
    check->rule->on_message = keep_function(check, "on_message");
    if (check->has_subjects && check->rule->on_message == LUA_NOREF)
        fail(check, "on_message is missing: a rule with subjects needs it");
    if (!check->has_subjects && check->rule->on_message != LUA_NOREF)
        fail(check, "subjects is missing: which messages does on_message want?");
}

static void check_on_load(struct check *check)
{
    check->rule->on_load = keep_function(check, "on_load");
}

static void check_on_unload(struct check *check)
{
    check->rule->on_unload = keep_function(check, "on_unload");
}

static void check_concurrency(struct check *check)
{
    lua_State *L = check->L;
    if (lua_isnil(L, -1))
        return;
    lua_Integer value = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (value < 1 || value > RULE_CONCURRENCY_MAX)
        fail(check, "concurrency: a whole number from 1 to %d expected, got %s",
             RULE_CONCURRENCY_MAX, luaL_tolstring(L, -1, NULL));
    check->rule->concurrency = (size_t)value;
}

static void check_enabled(struct check *check)
{
    lua_State *L = check->L;
    if (lua_isnil(L, -1))
        return;
    if (!lua_isboolean(L, -1))
        fail(check, "enabled: true or false expected, got %s", luaL_typename(L, -1));
    check->rule->enabled = lua_toboolean(L, -1);
}

/* One { seconds, fn } on the top of the stack; `place` says which. */
static void check_every_pair(struct check *check, const char *place)
{
    lua_State *L = check->L;
    bool right = lua_istable(L, -1) && lua_rawlen(L, -1) == 2;
    if (right) {
        lua_rawgeti(L, -1, 1); /* pair seconds */
        lua_rawgeti(L, -2, 2); /* pair seconds function */
        right = lua_type(L, -2) == LUA_TNUMBER && lua_isfunction(L, -1);
    }
    if (!right)
        fail(check, "%s: { seconds, function } expected", place);
    double seconds = lua_tonumber(L, -2);
    const char *what = lua_pushfstring(L, "%s: %s", check->rule->file->path,
                                       place);             /* pair seconds function what */
    schedule_add(L, check->rule, seconds, -2, true, what); /* pair seconds function what timer */
    lua_pop(L, 4);                                         /* pair */
}

static void check_every(struct check *check)
{
    lua_State *L = check->L;
    if (lua_isnil(L, -1))
        return;
    check->has_every = true;
    bool is_list = false;
    if (lua_istable(L, -1)) {
        is_list = lua_rawgeti(L, -1, 1) == LUA_TTABLE; /* every first */
        lua_pop(L, 1);                                 /* every */
    }
    if (!is_list) {
        check_every_pair(check, "every");
        return;
    }
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
        const char *place = lua_pushfstring(L, "every[%d]", (int)i); /* every place */
        lua_rawgeti(L, -2, i);                                       /* every place pair */
        check_every_pair(check, place);
        lua_pop(L, 2); /* every */
    }
}

size_t rule_key_names(const char **names, size_t max)
{
    size_t count = 0;
    for (; count < RULE_KEYS && count < max; count++)
        names[count] = rule_keys[count].name;
    return count;
}

static void check_known(struct check *check)
{
    lua_State *L = check->L;
    const char *known[RULE_KEYS];
    rule_key_names(known, RULE_KEYS);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) { /* key value */
        if (lua_type(L, -2) != LUA_TSTRING)
            fail(check, "unknown key [%s] in the rule's table", luaL_tolstring(L, -2, NULL));
        const char *key = lua_tostring(L, -2);
        size_t i = 0;
        while (i < RULE_KEYS && strcmp(known[i], key) != 0)
            i++;
        if (i < RULE_KEYS)
            continue;
        const char *nearest = suggest_nearest(key, known, RULE_KEYS);
        if (nearest != NULL)
            fail(check, "unknown key '%s' (did you mean '%s'?)", key, nearest);
        fail(check, "unknown key '%s'", key);
    }
}

/* Checks the value at index 1, which is all there is on the stack. */
static void check_rule(lua_State *L, struct rule *rule)
{
    struct check check = {.L = L, .rule = rule};
    if (!lua_istable(L, 1))
        fail(&check, "a rule file must return a table, this one returned %s",
             lua_isnil(L, 1) ? "nothing" : luaL_typename(L, 1));
    check_known(&check);
    for (size_t i = 0; i < RULE_KEYS; i++) {
        lua_pushstring(L, rule_keys[i].name); /* key */
        lua_rawget(L, 1);                     /* value */
        rule_keys[i].check(&check);
        lua_settop(L, 1); /* */
    }
    if (!check.has_subjects && !check.has_every && rule->timer_count == 0)
        fail(&check, "subjects is missing: a rule needs subjects and on_message, or every");
    if (!rule->enabled)
        schedule_cancel_all(rule);
}

void rule_push_environment(lua_State *L, struct rule *rule)
{
    sandbox_push_environment(L);                        /* environment */
    lua_pushvalue(L, -1);                               /* environment environment */
    rule->environment = luaL_ref(L, LUA_REGISTRYINDEX); /* environment */
    lua_newtable(L);                                    /* environment modules */
    rule->modules = luaL_ref(L, LUA_REGISTRYINDEX);     /* environment */
    lua_newtable(L);                                    /* environment states */
    rule->states = luaL_ref(L, LUA_REGISTRYINDEX);      /* environment */
}

void rule_load(lua_State *L, struct rule *rule)
{
    rule_push_environment(L, rule);    /* environment */
    sandbox_load(L, rule, rule->file); /* environment chunk */
    lua_call(L, 0, 1);                 /* environment returned */
    lua_remove(L, 1);                  /* returned */
    check_rule(L, rule);
}

void rule_each_subject(const struct rule *rule, void (*visit)(void *context, const char *pattern),
                       void *context)
{
    lua_State *L = rule->engine->L;
    if (rule->subjects == LUA_NOREF)
        return;
    push_ref(L, rule->subjects); /* subjects */
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, -1, i) == LUA_TSTRING) /* subjects pattern */
            visit(context, lua_tostring(L, -1));
        lua_pop(L, 1); /* subjects */
    }
    lua_pop(L, 1); /* */
}

/* --- the queue -------------------------------------------------------------------------------- */

/* Queues an input. Returns 0, or -1 when there is no memory. */
static int queue_input(struct rule *rule, const struct input *input, void *token)
{
    struct engine *engine = rule->engine;
    struct queued_input *queued = engine->free_inputs;
    if (queued != NULL)
        engine->free_inputs = queued->next;
    else if ((queued = malloc(sizeof(*queued))) == NULL)
        return -1;
    *queued = (struct queued_input){.input = input, .token = token};
    *rule->last_input = queued;
    rule->last_input = &queued->next;
    engine->active++;
    return 0;
}

bool rule_take(struct rule *rule, const struct input **input, void **token)
{
    struct engine *engine = rule->engine;
    struct queued_input *queued = rule->first_input;
    if (queued == NULL)
        return false;
    rule->first_input = queued->next;
    if (rule->first_input == NULL)
        rule->last_input = &rule->first_input;
    *input = queued->input;
    *token = queued->token;
    queued->next = engine->free_inputs;
    engine->free_inputs = queued;
    engine->active--;
    return true;
}

static void start_input(struct rule *rule, const struct input *input, void *token)
{
    struct call *call = call_new(rule->engine, rule, CALL_MESSAGE);
    if (call == NULL) {
        call_report_unstarted(rule, token, CAUSE_MEMORY, "out of memory: no call can start");
        return;
    }
    call->input = input;
    call->token = token;
    call_start(call);
}

static void start_timer(struct rule *rule, struct rule_timer *timer)
{
    struct call *call = call_new(rule->engine, rule, CALL_TIMER);
    if (call == NULL) {
        schedule_ended(timer);
        call_report_unstarted(rule, NULL, CAUSE_MEMORY, "out of memory: no call can start");
        return;
    }
    call->timer = timer;
    schedule_started(timer);
    call_start(call);
}

/*
 * Not recursive: a call that ends at once comes here again and is sent back to the loop. Behind a
 * call that waited, a whole window of messages may have queued: what does not start in this slice
 * of time waits for the next tick, so that the host's loop comes round (and sends its signs of
 * life) and its outbox may refuse.
 */
void rule_drain(struct rule *rule)
{
    if (rule->draining)
        return;
    rule->draining = true;
    while (rule->under_way < rule->concurrency) {
        if (engine_slice_over(rule->engine)) {
            rule->engine->behind |= rule->first_timer != NULL || rule->first_input != NULL;
            break;
        }
        const struct input *input = NULL;
        void *token = NULL;
        struct rule_timer *timer = schedule_take(rule);
        if (timer != NULL)
            start_timer(rule, timer);
        else if (rule_take(rule, &input, &token))
            start_input(rule, input, token);
        else
            break;
    }
    rule->draining = false;
}

void rule_accept(struct rule *rule, const struct input *input, void *token)
{
    bool at_once = !rule->draining && rule->under_way < rule->concurrency &&
                   rule->first_timer == NULL && rule->first_input == NULL;
    if (at_once) {
        rule->draining = true;
        start_input(rule, input, token);
        rule->draining = false;
    } else if (queue_input(rule, input, token) != 0) {
        call_report_unstarted(rule, token, CAUSE_MEMORY, "out of memory: the input cannot wait");
        return;
    }
    if (rule->first_timer != NULL || rule->first_input != NULL) {
        engine_begin_slice(rule->engine);
        rule_drain(rule);
    }
}
