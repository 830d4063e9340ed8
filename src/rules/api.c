#include "rules/api.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/subject.h"
#include "rules/call.h"
#include "rules/embedded.h"
#include "rules/guards.h"
#include "rules/json.h"
#include "rules/kv.h"
#include "rules/metric.h"
#include "rules/publish.h"
#include "rules/sandbox.h"
#include "rules/schedule.h"
#include "rules/state.h"

#ifndef TIDEMILL_VERSION
#define TIDEMILL_VERSION "unknown"
#endif

static const double WAIT_SECONDS_MAX = 1e9;
static const double REQUEST_SECONDS = 5; /* when the rule does not say */

/* --- arguments: all LJMP ---------------------------------------------------------------------- */

const char *api_check_subject(lua_State *L, int index, const char *what)
{
    struct error err;
    size_t size = 0;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s: the subject must be a string, got %s", what, luaL_typename(L, index));
    const char *subject = lua_tolstring(L, index, &size);
    if (strlen(subject) != size)
        luaL_error(L, "%s: the subject has a zero byte", what);
    if (subject_check(subject, &err) != 0)
        luaL_error(L, "%s: %s", what, err.text);
    if (subject[0] == '$')
        luaL_error(L, "%s: subjects that start with $ belong to the server (\"%s\")", what,
                   subject);
    return subject;
}

const char *api_check_payload(lua_State *L, int index, const char *what, size_t *size)
{
    const struct engine *engine = engine_of(L);
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        lua_pushvalue(L, index); /* payload */
        break;
    case LUA_TTABLE:
        if (json_encode(L, index) != 0) /* payload or fault */
            luaL_error(L, "%s: %s", what, lua_tostring(L, -1));
        break;
    default:
        luaL_error(L, "%s: the data must be a table or a string, got %s", what,
                   lua_isnone(L, index) ? "nothing" : luaL_typename(L, index));
    }
    const char *payload = lua_tolstring(L, -1, size);
    if (engine->options.host.max_payload > 0 && *size > engine->options.host.max_payload)
        luaL_error(L, "%s: %I bytes are more than the server takes (%I)", what, (lua_Integer)*size,
                   (lua_Integer)engine->options.host.max_payload);
    return payload;
}

/* Seconds from 0 on, as nanoseconds. `otherwise` when there are none; negative: there must be. */
static int64_t check_seconds(lua_State *L, int index, const char *what, double otherwise)
{
    double seconds = otherwise;
    if (!lua_isnoneornil(L, index) || otherwise < 0) {
        if (lua_type(L, index) != LUA_TNUMBER)
            luaL_error(L, "%s: seconds expected, got %s", what, luaL_typename(L, index));
        seconds = lua_tonumber(L, index);
    }
    if (!(seconds >= 0 && seconds <= WAIT_SECONDS_MAX))
        luaL_error(L, "%s: seconds from 0 to 1e9 expected, got %f", what, seconds);
    return (int64_t)(seconds * 1e9);
}

/* --- waiting: all LJMP ------------------------------------------------------------------------ */

static int mill_sleep(lua_State *L)
{
    struct call *call = call_handler(L, "mill.sleep");
    int64_t wait_ns = check_seconds(L, 1, "mill.sleep", -1);
    return call_yield(L, call, WAIT_SLEEP, wait_ns, NULL, "mill.sleep");
}

/* The call was woken: the answer is only there now. */
static int request_answered(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct reply *answer = engine_of(L)->current->answer;
    if (answer == NULL || answer->error != NULL) {
        lua_pushnil(L);                                                    /* nil */
        lua_pushstring(L, answer == NULL ? "interrupted" : answer->error); /* nil err */
        return 2;
    }
    lua_pushlstring(L, answer->payload, answer->payload_size); /* payload */
    return 1;
}

/*
 * mill.request(subject, data, timeout): the reply's payload, or nil and why there is none. The
 * strings stay on the waiting stack, which keeps them alive until the host has sent them.
 */
static int mill_request(lua_State *L)
{
    static const char what[] = "mill.request";
    struct call *call = call_handler(L, what);
    if (call->engine->options.host.request == NULL)
        return luaL_error(L, "mill.request is not available here");
    const char *subject = api_check_subject(L, 1, what);
    int64_t wait_ns = check_seconds(L, 3, what, REQUEST_SECONDS);
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);       /* subject */
        lua_pushliteral(L, ""); /* subject data */
    }
    size_t size = 0;
    const char *payload = api_check_payload(L, 2, what, &size); /* .. payload */
    call->request[0] = subject;
    call->request[1] = payload;
    call->request_size = size;
    return call_yield(L, call, WAIT_REPLY, wait_ns, request_answered, what);
}

static int mill_now(lua_State *L)
{
    const struct engine_host *host = &engine_of(L)->options.host;
    int64_t now = host->wall_ns != NULL ? host->wall_ns(host->context) : clock_wall_ns();
    lua_pushnumber(L, (double)now / 1e9); /* now */
    return 1;
}

/* --- the log: all LJMP ------------------------------------------------------------------------ */

/* Pushes a value as people read it: a table as JSON when it can be. */
static void push_readable(lua_State *L, int index)
{
    bool encode = lua_istable(L, index);
    if (encode && luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) { /* method? */
        lua_pop(L, 1);                                                     /* */
        encode = false;
    }
    if (encode && json_encode(L, index) == 0) /* text or fault */
        return;
    if (encode)
        lua_pop(L, 1);              /* */
    luaL_tolstring(L, index, NULL); /* text */
}

enum { LOG_STEPS = 1000 }; /* charged for a line: 2 to 5 us, more where the log is read slowly */

/* Logs all arguments, joined by spaces. */
static int log_arguments(lua_State *L, enum log_level level)
{
    struct call *call = engine_of(L)->current; /* a __close may log when the call is over */
    const struct engine_host *host = &call->engine->options.host;
    int count = lua_gettop(L);
    luaL_checkstack(L, 2 * count + 8, "too many values to log");
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            lua_pushliteral(L, " "); // pieces " "
        push_readable(L, i);         /* pieces piece */
    }
    lua_concat(L, lua_gettop(L) - count); /* line */
    const char *line = lua_tostring(L, -1);
    limits_charge(L, LOG_STEPS + (size_t)lua_rawlen(L, -1) / 8);
    if (host->log != NULL) {
        host->log(host->context, level, call->rule->file->name, line);
        return 0;
    }
    char component[80];
    snprintf(component, sizeof(component), "rule %s", call->rule->file->name);
    log_write(level, component, "%s", line);
    return 0;
}

static int log_at_debug(lua_State *L)
{
    return log_arguments(L, LOG_LEVEL_DEBUG);
}

static int log_at_info(lua_State *L)
{
    return log_arguments(L, LOG_LEVEL_INFO);
}

static int log_at_warn(lua_State *L)
{
    return log_arguments(L, LOG_LEVEL_WARN);
}

static int log_at_error(lua_State *L)
{
    return log_arguments(L, LOG_LEVEL_ERROR);
}

int api_print(lua_State *L)
{
    return log_arguments(L, LOG_LEVEL_INFO);
}

/* --- the table -------------------------------------------------------------------------------- */

static const luaL_Reg log_functions[] = {{"debug", log_at_debug},
                                         {"info", log_at_info},
                                         {"warn", log_at_warn},
                                         {"error", log_at_error},
                                         {NULL, NULL}};

static const luaL_Reg mill_functions[] = {{"publish", publish_from_rule},
                                          {"request", mill_request},
                                          {"sleep", mill_sleep},
                                          {"now", mill_now},
                                          {"every", schedule_every},
                                          {"after", schedule_after},
                                          {"state", state_from_rule},
                                          {"kv", kv_from_rule},
                                          {"counter", rule_metric_counter},
                                          {"gauge", rule_metric_gauge},
                                          {"histogram", rule_metric_histogram},
                                          {NULL, NULL}};

void api_open(lua_State *L)
{
    struct engine *engine = engine_of(L);
    luaL_newlib(L, mill_functions); /* mill */
    embedded_add_helpers(L);

    luaL_newlib(L, log_functions); /* mill log */
    sandbox_make_readonly(L, "mill.log");
    lua_setfield(L, -2, "log"); /* mill */

    json_push_library(L); /* mill json */
    guards_open_json(L);
    lua_pushnil(L);                     /* mill json nil */
    lua_setfield(L, -2, "empty_array"); /* mill json (all rules would share it and could fill it) */
    sandbox_make_readonly(L, "mill.json");
    lua_setfield(L, -2, "json"); /* mill */

    lua_createtable(L, 0, 2);                         /* mill worker */
    lua_pushinteger(L, engine->options.worker_id);    /* mill worker id */
    lua_setfield(L, -2, "id");                        /* mill worker */
    lua_pushinteger(L, engine->options.worker_count); /* mill worker count */
    lua_setfield(L, -2, "count");                     /* mill worker */
    sandbox_make_readonly(L, "mill.worker");
    lua_setfield(L, -2, "worker"); /* mill */

    lua_pushliteral(L, TIDEMILL_VERSION); /* mill version */
    lua_setfield(L, -2, "version");       /* mill */
    sandbox_make_readonly(L, "mill");
    engine->mill = luaL_ref(L, LUA_REGISTRYINDEX); /* */
}
