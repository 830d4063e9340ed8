#include "rules/trial.h"

#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/suggest.h"
#include "rules/call.h"
#include "rules/engine.h"

/*
 * Two Lua states meet here: the test's, in which these functions run, and the rule's, below
 * engine.h. No error of the test's state may cross the engine's frames: every callback is a
 * protected call, and what it raised is kept and raised again when the engine has returned.
 */

static const char type_name[] = "tidemill.trial";

static const int64_t START_NS = INT64_C(1767225600) * NS_PER_S; /* 2026-01-01 */
static const int64_t ADVANCE_NS = 5 * NS_PER_S;                 /* of real time, for one advance */

static const int64_t GRACE_NS =
    1000; /* a sleep of 0 s takes a nanosecond: let a send see its end */

/* What holds when nothing else is configured. */
enum { MEMORY = 256 << 20, MAX_PAYLOAD = 1 << 20 };

enum { ENGINE_KIB = 20 }; /* what an engine with a small rule takes, about */

/* The user values of a trial. */
enum { KEPT_CALLBACKS = 1, KEPT_INPUTS, KEPT_FAULT, KEPT_DIR, KEPT_NAME, KEPT };

struct trial {
    struct engine *engine, *retiring;
    int64_t now_ns;
    lua_State *L; /* where a method is running; NULL: none. The trial is at index 1 there */
    bool failed;  /* a callback has raised KEPT_FAULT */
};

/* A message under way; a userdata whose user value is the table it came from. */
struct sent {
    struct input input;
    size_t header_count;
    struct header headers[];
};

/* --- callbacks -------------------------------------------------------------------------------- */

/* One call of a function in the callbacks; `push` pushes its arguments and says how many. LJMP. */
struct callback {
    const char *name;
    int (*push)(lua_State *L, const void *arguments);
    const void *arguments;
};

/* [1] the trial [2] the callback. LJMP. */
static int call_function(lua_State *L)
{
    const struct callback *callback = lua_touserdata(L, 2);
    lua_getiuservalue(L, 1, KEPT_CALLBACKS);                /* callbacks */
    lua_getfield(L, -1, callback->name);                    /* callbacks function */
    lua_call(L, callback->push(L, callback->arguments), 3); /* callbacks results */
    return 3;
}

/* Leaves three results on the stack, or nothing and -1. Never raises. */
static int call_back(struct trial *trial, const char *name,
                     int (*push)(lua_State *L, const void *arguments), const void *arguments)
{
    struct callback callback = {name, push, arguments};
    lua_State *L = trial->L;
    if (L == NULL || trial->failed || !lua_checkstack(L, LUA_MINSTACK)) {
        trial->failed = true;
        return -1;
    }
    lua_pushcfunction(L, call_function); /* call */
    lua_pushvalue(L, 1);                 /* call trial */
    lua_pushlightuserdata(L, &callback); /* call trial callback */
    if (lua_pcall(L, 2, 3, 0) == LUA_OK) /* results, or fault */
        return 0;
    lua_setiuservalue(L, 1, KEPT_FAULT); /* */
    trial->failed = true;
    return -1;
}

static void push_outputs(lua_State *L, const struct call_result *result)
{
    lua_createtable(L, (int)result->output_count, 0); /* outputs */
    for (size_t i = 0; i < result->output_count; i++) {
        const struct output *output = &result->outputs[i];
        lua_createtable(L, 0, 6);                                  /* outputs output */
        lua_pushstring(L, output->subject);                        /* outputs output subject */
        lua_setfield(L, -2, "subject");                            /* outputs output */
        lua_pushlstring(L, output->payload, output->payload_size); /* outputs output payload */
        lua_setfield(L, -2, "payload");                            /* outputs output */
        lua_pushstring(L, output->id);                             /* outputs output id */
        lua_setfield(L, -2, "id");                                 /* outputs output */
        lua_pushboolean(L, output->durable);                       /* outputs output durable */
        lua_setfield(L, -2, "durable");                            /* outputs output */
        if (output->ttl_ns > 0) {
            lua_pushnumber(L, (double)output->ttl_ns / 1e9); /* outputs output ttl */
            lua_setfield(L, -2, "ttl");                      /* outputs output */
        }
        if (output->header_count > 0) {
            lua_newtable(L); /* outputs output headers */
            for (size_t j = 0; j < output->header_count; j++) {
                lua_pushstring(L, output->headers[j].value);
                lua_setfield(L, -2, output->headers[j].name);
            }
            lua_setfield(L, -2, "headers"); /* outputs output */
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1); /* outputs */
    }
}

struct end {
    const struct sent *sent; /* NULL: a timer */
    const struct call_result *result;
};

static int push_end(lua_State *L, const void *arguments)
{
    static const char *const verdicts[] = {[OUTCOME_DONE] = "ack",
                                           [OUTCOME_ERROR] = "error",
                                           [OUTCOME_RETRY] = "retry",
                                           [OUTCOME_REJECT] = "reject"};
    const struct end *end = arguments;
    const struct call_result *result = end->result;
    if (end->sent == NULL) {
        lua_pushnil(L); /* input */
    } else {
        lua_getiuservalue(L, 1, KEPT_INPUTS); /* inputs */
        lua_rawgetp(L, -1, end->sent);        /* inputs sent */
        lua_getiuservalue(L, -1, 1);          /* inputs sent input */
        lua_insert(L, -3);                    /* input inputs sent */
        lua_pop(L, 1);                        /* input inputs */
        lua_pushnil(L);                       /* input inputs nil */
        lua_rawsetp(L, -2, end->sent);        /* input inputs (nobody needs it any more) */
        lua_pop(L, 1);                        /* input */
    }
    lua_pushstring(L, verdicts[result->outcome]); /* input verdict */
    if (result->outcome == OUTCOME_RETRY)
        lua_pushnumber(L, (double)result->retry_ns / 1e9); /* input verdict detail */
    else
        lua_pushstring(L, result->error); /* input verdict detail */
    push_outputs(L, result);              /* input verdict detail outputs */
    return 4;
}

static void on_finished(void *context, void *token, const struct call_result *result)
{
    struct trial *trial = context;
    struct end end = {.sent = token, .result = result};
    if (call_back(trial, "finished", push_end, &end) == 0)
        lua_pop(trial->L, 3); /* */
}

struct question {
    const char *subject, *payload;
    size_t size;
};

static int push_question(lua_State *L, const void *arguments)
{
    const struct question *question = arguments;
    lua_pushstring(L, question->subject);                  /* subject */
    lua_pushlstring(L, question->payload, question->size); /* subject payload */
    return 2;
}

static int on_request(void *context, struct engine *engine, uint64_t wait, const char *subject,
                      const char *payload, size_t payload_size, struct error *err)
{
    struct trial *trial = context;
    struct question question = {subject, payload, payload_size};
    if (call_back(trial, "request", push_question, &question) != 0)
        return error_set(err, "the test has failed");
    lua_State *L = trial->L; /* answer error - */
    struct reply reply = {0};
    if (lua_type(L, -3) == LUA_TSTRING)
        reply.payload = lua_tolstring(L, -3, &reply.payload_size);
    else
        reply.error = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "no responders";
    bool silent = lua_isboolean(L, -3);
    if (!silent)
        engine_reply(engine, wait, &reply);
    lua_pop(L, 3); /* */
    return 0;
}

static int push_kv(lua_State *L, const void *arguments)
{
    static const char *const operations[] = {
        [KV_GET] = "get",       [KV_PUT] = "put",       [KV_CREATE] = "create",
        [KV_UPDATE] = "update", [KV_DELETE] = "delete", [KV_KEYS] = "keys"};
    const struct kv_request *request = arguments;
    lua_pushstring(L, operations[request->operation]); /* operation */
    lua_pushstring(L, request->bucket);                /* operation bucket */
    lua_pushstring(L, request->key);                   /* operation bucket key */
    if (request->value != NULL)
        lua_pushlstring(L, request->value, request->size); /* operation bucket key value */
    else
        lua_pushnil(L);                                 /* operation bucket key nil */
    lua_pushinteger(L, (lua_Integer)request->revision); /* operation bucket key value revision */
    return 5;
}

static int on_kv(void *context, struct engine *engine, uint64_t wait,
                 const struct kv_request *request, struct error *err)
{
    struct trial *trial = context;
    if (call_back(trial, "kv", push_kv, request) != 0)
        return error_set(err, "the test has failed");
    lua_State *L = trial->L; /* error value revision */
    struct reply reply = {.revision = (uint64_t)lua_tointeger(L, -1)};
    if (lua_type(L, -3) == LUA_TSTRING)
        reply.error = lua_tostring(L, -3);
    if (lua_type(L, -2) == LUA_TSTRING)
        reply.payload = lua_tolstring(L, -2, &reply.payload_size);
    engine_reply(engine, wait, &reply);
    lua_pop(L, 3); /* */
    return 0;
}

struct line {
    enum log_level level;
    const char *text;
};

static int push_line(lua_State *L, const void *arguments)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    const struct line *line = arguments;
    lua_pushstring(L, levels[line->level]); /* level */
    lua_pushstring(L, line->text);          /* level text */
    return 2;
}

static void on_log(void *context, enum log_level level, const char *rule, const char *text)
{
    (void)rule;
    struct trial *trial = context;
    struct line line = {level, text};
    if (call_back(trial, "log", push_line, &line) == 0)
        lua_pop(trial->L, 3); /* */
}

/* What a rule may do and a test does not look at. */
static void on_progress(void *context, void *token)
{
    (void)context, (void)token;
}

static void on_metric(void *context, struct rule_metric *metric, double value)
{
    (void)context, (void)metric, (void)value;
}

static int64_t monotonic_ns(void *context)
{
    return ((struct trial *)context)->now_ns - START_NS + NS_PER_S;
}

static int64_t wall_ns(void *context)
{
    return ((struct trial *)context)->now_ns;
}

/* --- the engine ------------------------------------------------------------------------------- */

static int no_such_rule(const struct ruleset *ruleset, const char *name, struct error *err)
{
    enum { KNOWN_MAX = 256 };
    const char *known[KNOWN_MAX];
    size_t count = ruleset_rule_count(ruleset);
    if (count > KNOWN_MAX)
        count = KNOWN_MAX;
    for (size_t i = 0; i < count; i++)
        known[i] = ruleset_rule(ruleset, i)->name;
    const char *nearest = suggest_nearest(name, known, count);
    if (nearest != NULL)
        return error_set(err, "no rule '%s' in %s (did you mean '%s'?)", name, ruleset_dir(ruleset),
                         nearest);
    return error_set(err, "no rule '%s' in %s", name, ruleset_dir(ruleset));
}

static int open_engine(struct trial *trial, struct engine **engine, const char *dir,
                       const char *name, struct error *err)
{
    struct ruleset *ruleset = NULL;
    const struct engine_options options = {.limits = {.timeout_ns = NS_PER_S, .memory = MEMORY},
                                           .host = {.context = trial,
                                                    .monotonic_ns = monotonic_ns,
                                                    .wall_ns = wall_ns,
                                                    .finished = on_finished,
                                                    .request = on_request,
                                                    .kv = on_kv,
                                                    .in_progress = on_progress,
                                                    .log = on_log,
                                                    .metric = on_metric,
                                                    .max_payload = MAX_PAYLOAD},
                                           .worker_id = 1,
                                           .worker_count = 1};
    if (ruleset_read(&ruleset, dir, err) != 0)
        return -1;
    int status = ruleset_keep(ruleset, name) ? engine_open(engine, ruleset, &options, err)
                                             : no_such_rule(ruleset, name, err);
    ruleset_release(ruleset);
    return status;
}

static struct trial *check_trial(lua_State *L)
{
    struct trial *trial = luaL_checkudata(L, 1, type_name);
    if (trial->L != NULL)
        luaL_error(L, "the rule is at work: not from a function that answers it");
    return trial;
}

/* Lets the engine work on behalf of the method that runs on `L`. */
static void enter(struct trial *trial, lua_State *L)
{
    trial->L = L;
    trial->failed = false;
}

/* The engine has returned: raises what a callback has raised. LJMP. */
static void leave(struct trial *trial, lua_State *L)
{
    trial->L = NULL;
    call_check(L, LUA_OK);
    if (trial->failed) {
        lua_getiuservalue(L, 1, KEPT_FAULT); /* fault */
        lua_error(L);
    }
}

/* --- methods: all LJMP ------------------------------------------------------------------------ */

static const char *text_field(lua_State *L, const char *name, size_t *size)
{
    lua_getfield(L, 2, name); /* .. text */
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s: a string expected, got %s", name, luaL_typename(L, -1));
    const char *text = lua_tolstring(L, -1, size);
    lua_pop(L, 1); /* .. (the table keeps it) */
    return text;
}

static lua_Integer number_field(lua_State *L, const char *name)
{
    int is_integer = 0;
    lua_getfield(L, 2, name); /* .. number */
    lua_Integer number = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer)
        luaL_error(L, "%s: a whole number expected, got %s", name, luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1); /* .. */
    return number;
}

static void each_header(const struct input *input,
                        void (*visit)(void *context, const char *name, const char *value),
                        void *context)
{
    const struct sent *sent = input->message;
    for (size_t i = 0; i < sent->header_count; i++)
        visit(context, sent->headers[i].name, sent->headers[i].value);
}

/* Makes a message of the table at index 2 and pushes it. */
static struct sent *push_sent(lua_State *L)
{
    size_t count = 0;
    lua_getfield(L, 2, "headers");                      /* headers */
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) /* headers name value */
        count++;
    struct sent *sent = lua_newuserdatauv(L, sizeof(*sent) + count * sizeof(sent->headers[0]),
                                          1); /* headers sent */
    memset(sent, 0, sizeof(*sent));
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) { /* headers sent name value */
        struct header *header = &sent->headers[sent->header_count++];
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "headers: strings expected");
        *header = (struct header){lua_tostring(L, -2), lua_tostring(L, -1)};
    }
    struct input *input = &sent->input;
    input->subject = text_field(L, "subject", NULL);
    input->payload = text_field(L, "payload", &input->payload_size);
    input->stream = text_field(L, "stream", NULL);
    input->consumer = text_field(L, "consumer", NULL);
    input->sequence = (uint64_t)number_field(L, "sequence");
    input->delivered = (uint64_t)number_field(L, "delivered");
    input->pending = (uint64_t)number_field(L, "pending");
    input->time_ns = number_field(L, "time_ns");
    input->format = PAYLOAD_JSON;
    input->each_header = count > 0 ? each_header : NULL;
    input->message = sent;
    lua_pushvalue(L, 2);         /* headers sent input */
    lua_setiuservalue(L, -2, 1); /* headers sent */
    return sent;
}

static void tick(struct trial *trial)
{
    if (trial->retiring != NULL)
        engine_tick(trial->retiring);
    engine_tick(trial->engine);
    if (trial->retiring != NULL && engine_active(trial->retiring) == 0) {
        engine_close(trial->retiring);
        trial->retiring = NULL;
    }
}

/* When something is due next, by the engines' clock; -1: nothing. */
static int64_t due_ns(const struct trial *trial)
{
    int64_t due = engine_due_ns(trial->engine);
    int64_t other = trial->retiring != NULL ? engine_due_ns(trial->retiring) : -1;
    return other >= 0 && (due < 0 || other < due) ? other : due;
}

/*
 * Moves the clock, and lets happen what is due until then, and `grace_ns` later. Returns false when
 * that takes too long.
 */
static bool advance_to(struct trial *trial, int64_t end_ns, int64_t grace_ns)
{
    int64_t began = clock_monotonic_ns();
    int64_t offset = trial->now_ns - monotonic_ns(trial);
    for (;;) {
        int64_t due = due_ns(trial);
        if (due < 0 || due + offset > end_ns + grace_ns)
            break;
        if (due + offset > trial->now_ns)
            trial->now_ns = due + offset;
        tick(trial);
        if (trial->failed || clock_monotonic_ns() - began > ADVANCE_NS)
            return trial->failed;
    }
    if (end_ns > trial->now_ns)
        trial->now_ns = end_ns;
    return true;
}

static int trial_send(lua_State *L)
{
    struct trial *trial = check_trial(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);                 /* trial input */
    struct sent *sent = push_sent(L); /* trial input headers sent */
    struct rule *rule = NULL;
    if (engine_match(trial->engine, sent->input.subject, &rule, 1) == 0) {
        lua_pushboolean(L, 0); /* .. false */
        return 1;
    }
    lua_getiuservalue(L, 1, KEPT_INPUTS); /* trial input headers sent inputs */
    lua_insert(L, -2);                    /* trial input headers inputs sent */
    lua_rawsetp(L, -2, sent);             /* trial input headers inputs */
    enter(trial, L);
    engine_call(trial->engine, rule, &sent->input, sent);
    bool in_time = advance_to(trial, trial->now_ns, GRACE_NS);
    leave(trial, L);
    if (!in_time)
        return luaL_error(L, "rule:send: the rule does not come to rest");
    lua_pushboolean(L, 1); /* .. true */
    return 1;
}

static int trial_advance(lua_State *L)
{
    struct trial *trial = check_trial(L);
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 2, "seconds from 0 to 1e9 expected");
    enter(trial, L);
    bool in_time = advance_to(trial, trial->now_ns + (int64_t)(seconds * 1e9 + 0.5), 0);
    leave(trial, L);
    if (!in_time)
        return luaL_error(L, "rule:advance: more than 5 s of work; advance by less");
    return 0;
}

/* Runs on the new engine what had been queued on the old one. */
static void requeue(void *context, const char *rule, const struct input *input, void *token)
{
    struct trial *trial = context;
    (void)rule;
    engine_call(trial->engine, engine_rule_at(trial->engine, 0), input, token);
}

static int trial_reload(lua_State *L)
{
    struct trial *trial = check_trial(L);
    struct engine *engine = NULL, *old = trial->engine;
    struct error err = {0};
    lua_settop(L, 1);                   /* trial */
    lua_getiuservalue(L, 1, KEPT_DIR);  /* trial dir */
    lua_getiuservalue(L, 1, KEPT_NAME); /* trial dir name */
    enter(trial, L);
    int status = open_engine(trial, &engine, lua_tostring(L, 2), lua_tostring(L, 3), &err);
    if (status == 0 && (status = engine_carry_state(engine, old, &err)) != 0)
        engine_close(engine);
    if (status == 0) {
        if (trial->retiring != NULL) {
            engine_abort_calls(trial->retiring, "two reloads later");
            engine_close(trial->retiring);
        }
        trial->engine = engine;
        trial->retiring = old;
        engine_retire(old, requeue, trial);
        tick(trial);
    }
    leave(trial, L);
    if (status != 0)
        return luaL_error(L, "%s", err.text);
    return 0;
}

static int trial_now(lua_State *L)
{
    struct trial *trial = luaL_checkudata(L, 1, type_name);
    lua_pushnumber(L, (double)trial->now_ns / 1e9); /* now */
    return 1;
}

static int trial_gc(lua_State *L)
{
    struct trial *trial = luaL_checkudata(L, 1, type_name);
    engine_close(trial->retiring);
    engine_close(trial->engine);
    trial->retiring = trial->engine = NULL;
    return 0;
}

/* open(name, callbacks); upvalue 1 is the directory. */
static int trial_open(lua_State *L)
{
    struct error err = {0};
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    struct trial *trial = lua_newuserdatauv(L, sizeof(*trial), KEPT - 1); /* name callbacks trial */
    *trial = (struct trial){.now_ns = START_NS};
    luaL_setmetatable(L, type_name);
    lua_insert(L, 1);                        /* trial name callbacks */
    lua_setiuservalue(L, 1, KEPT_CALLBACKS); /* trial name */
    lua_pushvalue(L, 2);                     /* trial name name */
    lua_setiuservalue(L, 1, KEPT_NAME);      /* trial name */
    lua_pushvalue(L, lua_upvalueindex(1));   /* trial name dir */
    lua_setiuservalue(L, 1, KEPT_DIR);       /* trial name */
    lua_newtable(L);                         /* trial name inputs */
    lua_setiuservalue(L, 1, KEPT_INPUTS);    /* trial name */
    enter(trial, L);
    int status = open_engine(trial, &trial->engine, lua_tostring(L, lua_upvalueindex(1)),
                             lua_tostring(L, 2), &err);
    leave(trial, L);
    if (status != 0)
        return luaL_error(L, "%s", err.text);
    lua_gc(L, LUA_GCSTEP, ENGINE_KIB); /* the collector sees the handle, not the engine */
    lua_settop(L, 1);                  /* trial */
    return 1;
}

void trial_push_open(lua_State *L, const char *dir)
{
    static const luaL_Reg methods[] = {{"send", trial_send},
                                       {"advance", trial_advance},
                                       {"reload", trial_reload},
                                       {"now", trial_now},
                                       {NULL, NULL}};
    luaL_newmetatable(L, type_name);    /* mt */
    luaL_newlib(L, methods);            /* mt methods */
    lua_setfield(L, -2, "__index");     /* mt */
    lua_pushcfunction(L, trial_gc);     /* mt gc */
    lua_setfield(L, -2, "__gc");        /* mt */
    lua_pushboolean(L, 0);              /* mt false */
    lua_setfield(L, -2, "__metatable"); /* mt */
    lua_pop(L, 1);                      /* */
    lua_pushstring(L, dir);             /* dir */
    lua_pushcclosure(L, trial_open, 1); /* open */
}
