#include "rules/message.h"

#include <string.h>

#include "base/suggest.h"
#include "rules/call.h"
#include "rules/json.h"
#include "rules/json_lazy.h"

/* Calls are never freed while the state lives, so the pointer is good; the generation tells whether
   the call is still about this message. */
struct message {
    struct call *call;
    uint64_t generation;
};

enum { KEPT_DATA = 1, KEPT_HEADERS, KEPT_COUNT = KEPT_HEADERS }; /* user values */

enum field {
    FIELD_SUBJECT,
    FIELD_DATA,
    FIELD_RAW,
    FIELD_HEADERS,
    FIELD_STREAM,
    FIELD_CONSUMER,
    FIELD_SEQUENCE,
    FIELD_TIME,
    FIELD_TIME_NS,
    FIELD_DELIVERED,
    FIELD_PENDING
};

static const char *const field_names[] = {
    [FIELD_SUBJECT] = "subject",     [FIELD_DATA] = "data",      [FIELD_RAW] = "raw",
    [FIELD_HEADERS] = "headers",     [FIELD_STREAM] = "stream",  [FIELD_CONSUMER] = "consumer",
    [FIELD_SEQUENCE] = "sequence",   [FIELD_TIME] = "time",      [FIELD_TIME_NS] = "time_ns",
    [FIELD_DELIVERED] = "delivered", [FIELD_PENDING] = "pending"};

/* The message at `index`, whose call is running or waiting. LJMP. */
static struct call *check_message(lua_State *L, int index)
{
    struct message *message = lua_touserdata(L, index);
    bool is_message = message != NULL && lua_getmetatable(L, index); /* metatable? */
    if (is_message) {
        push_ref(L, engine_of(L)->message_mt); /* metatable msg_mt */
        is_message = lua_rawequal(L, -1, -2);
        lua_pop(L, 2); /* */
    }
    if (!is_message)
        luaL_typeerror(L, index, "msg");
    if (message->call->generation != message->generation)
        luaL_error(L, "this msg is over: its handler has ended (keep msg.data or msg.subject in a "
                      "local instead)");
    return message->call;
}

/* The call of msg:method(...), which must be the one that runs. LJMP. */
static struct call *check_own_message(lua_State *L, const char *method)
{
    if (lua_type(L, 1) != LUA_TUSERDATA)
        luaL_error(L, "call it as msg:%s(...), with a colon", method);
    struct call *call = check_message(L, 1);
    if (call_current(L, method) != call)
        luaL_error(L, "msg:%s called from another message's handler", method);
    return call;
}

/* msg:retry(seconds): ends the handler. LJMP. */
static int method_retry(lua_State *L)
{
    struct call *call = check_own_message(L, "retry");
    double seconds = luaL_checknumber(L, 2);
    if (!(seconds >= 0 && seconds <= 1e9))
        return luaL_argerror(L, 2, "seconds from 0 to 1e9 expected");
    call->retry_ns = (int64_t)(seconds * 1e9);
    return call_end(L, call, OUTCOME_RETRY, CAUSE_NONE, NULL);
}

/* msg:reject(reason): ends the handler. LJMP. */
static int method_reject(lua_State *L)
{
    struct call *call = check_own_message(L, "reject");
    const char *reason = luaL_optstring(L, 2, "rejected");
    return call_end(L, call, OUTCOME_REJECT, CAUSE_REJECTED, "%s", reason);
}

/* msg:in_progress(): asks the server for more time. LJMP. */
static int method_in_progress(lua_State *L)
{
    struct call *call = check_own_message(L, "in_progress");
    const struct engine_host *host = &call->engine->options.host;
    if (host->in_progress == NULL)
        return luaL_error(L, "msg:in_progress is not available here");
    host->in_progress(host->context, call->token);
    return 0;
}

static const luaL_Reg methods[] = {{"retry", method_retry},
                                   {"reject", method_reject},
                                   {"in_progress", method_in_progress},
                                   {NULL, NULL}};

/*
 * Decodes the payload and pushes the data, or the fault; returns 0 or -1. At once when it is large
 * beside the memory of the rules: decoding bit by bit keeps the text as well. LJMP.
 */
static int decode_data(lua_State *L, struct call *call)
{
    const struct input *input = call->input;
    if (input->payload_size > call->engine->limits.memory_max / 16)
        return json_decode(L, input->payload, input->payload_size);
    return json_decode_lazy(L, input->payload, input->payload_size, &call->rule->json_use);
}

/* msg.data: decoded when it is first touched, then kept. LJMP. */
static int push_data(lua_State *L, struct call *call)
{
    if (lua_getiuservalue(L, 1, KEPT_DATA) != LUA_TNIL) /* data */
        return 1;
    const struct input *input = call->input;
    lua_pop(L, 1); /* */
    if (input->format == PAYLOAD_RAW) {
        lua_pushlstring(L, input->payload, input->payload_size); /* data */
    } else if (decode_data(L, call) != 0) {                      /* fault */
        if (engine_of(L)->current != call)
            return lua_error(L);
        return call_end(L, call, OUTCOME_REJECT, CAUSE_PAYLOAD, "the payload is not JSON: %s",
                        lua_tostring(L, -1));
    }
    lua_pushvalue(L, -1);               /* data data */
    lua_setiuservalue(L, 1, KEPT_DATA); /* data */
    return 1;
}

/* Sets table[name] = value: [1] the table [2] name [3] value. LJMP. */
static int set_header(lua_State *L)
{
    lua_pushstring(L, lua_touserdata(L, 3));  /* table name value value */
    lua_setfield(L, 1, lua_touserdata(L, 2)); /* table name value */
    return 0;
}

struct header_table {
    lua_State *L; /* the table is on its top */
    int status;
};

/* Adds one header. Raises nothing: the host's code is between us and the protected call. */
static void add_header(void *context, const char *name, const char *value)
{
    struct header_table *table = context;
    lua_State *L = table->L;
    if (table->status != LUA_OK)
        return;
    lua_pushcfunction(L, set_header);                   /* table function */
    lua_pushvalue(L, -2);                               /* table function table */
    lua_pushlightuserdata(L, (void *)(uintptr_t)name);  /* table function table name */
    lua_pushlightuserdata(L, (void *)(uintptr_t)value); /* table function table name value */
    table->status = lua_pcall(L, 3, 0, 0);              /* table error? */
    if (table->status != LUA_OK)
        lua_pop(L, 1); /* table */
}

/* msg.headers: a table of its own, made at the first touch. LJMP. */
static int push_headers(lua_State *L, struct call *call)
{
    if (lua_getiuservalue(L, 1, KEPT_HEADERS) != LUA_TNIL) /* headers */
        return 1;
    lua_pop(L, 1);   /* */
    lua_newtable(L); /* headers */
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    struct header_table table = {.L = L, .status = LUA_OK};
    if (call->input->each_header != NULL)
        call->input->each_header(call->input, add_header, &table);
    if (table.status != LUA_OK)
        return call_end(L, engine_of(L)->current, OUTCOME_ERROR, CAUSE_MEMORY, "out of memory");
    lua_pushvalue(L, -1);                  /* headers headers */
    lua_setiuservalue(L, 1, KEPT_HEADERS); /* headers */
    return 1;
}

/* Pushes a field's value. LJMP. */
static int push_field(lua_State *L, struct call *call, enum field field)
{
    const struct input *input = call->input;
    switch (field) {
    case FIELD_SUBJECT:
        lua_pushstring(L, input->subject); /* value */
        return 1;
    case FIELD_DATA:
        return push_data(L, call);
    case FIELD_RAW:
        lua_pushlstring(L, input->payload, input->payload_size); /* value */
        return 1;
    case FIELD_HEADERS:
        return push_headers(L, call);
    case FIELD_STREAM:
        lua_pushstring(L, input->stream); /* value */
        return 1;
    case FIELD_CONSUMER:
        lua_pushstring(L, input->consumer); /* value */
        return 1;
    case FIELD_SEQUENCE:
        lua_pushinteger(L, (lua_Integer)input->sequence); /* value */
        return 1;
    case FIELD_TIME:
        lua_pushnumber(L, (double)input->time_ns / 1e9); /* value */
        return 1;
    case FIELD_TIME_NS:
        lua_pushinteger(L, (lua_Integer)input->time_ns); /* value */
        return 1;
    case FIELD_DELIVERED:
        lua_pushinteger(L, (lua_Integer)input->delivered); /* value */
        return 1;
    case FIELD_PENDING:
        lua_pushinteger(L, (lua_Integer)input->pending); /* value */
        return 1;
    }
    return 0;
}

/* LJMP. */
static int unknown_field(lua_State *L, const char *key)
{
    enum { FIELDS = sizeof(field_names) / sizeof(field_names[0]), METHODS = 3 };
    const char *known[FIELDS + METHODS];
    memcpy(known, field_names, sizeof(field_names));
    for (size_t i = 0; i < METHODS; i++)
        known[FIELDS + i] = methods[i].name;
    const char *nearest = suggest_nearest(key, known, FIELDS + METHODS);
    if (nearest != NULL)
        return luaL_error(L, "msg has no field '%s' (did you mean '%s'?)", key, nearest);
    return luaL_error(L, "msg has no field '%s' (those of the payload are in msg.data)", key);
}

/* msg.key; upvalue 1 maps a name to a field's number or to a method. LJMP. */
static int message_index(lua_State *L)
{
    lua_pushvalue(L, 2);                           /* name */
    int type = lua_rawget(L, lua_upvalueindex(1)); /* number or method */
    if (type == LUA_TFUNCTION)
        return 1;
    if (type != LUA_TNUMBER)
        return unknown_field(L, luaL_tolstring(L, 2, NULL));
    struct call *call = check_message(L, 1);
    return push_field(L, call, (enum field)lua_tointeger(L, -1));
}

/* LJMP. */
static int message_newindex(lua_State *L)
{
    return luaL_error(L, "msg is read-only (msg.%s)", luaL_tolstring(L, 2, NULL));
}

/* LJMP. */
static int message_tostring(lua_State *L)
{
    struct call *call = check_message(L, 1);
    lua_pushfstring(L, "msg(%s seq %I)", call->input->subject,
                    (lua_Integer)call->input->sequence); /* text */
    return 1;
}

void message_open(lua_State *L)
{
    lua_createtable(L, 0, 6);     /* mt */
    lua_newtable(L);              /* mt names */
    luaL_setfuncs(L, methods, 0); /* mt names */
    for (size_t i = 0; i < sizeof(field_names) / sizeof(field_names[0]); i++) {
        lua_pushinteger(L, (lua_Integer)i);  /* mt names number */
        lua_setfield(L, -2, field_names[i]); /* mt names */
    }
    lua_pushcclosure(L, message_index, 1);                     /* mt index */
    lua_setfield(L, -2, "__index");                            /* mt */
    lua_pushcfunction(L, message_newindex);                    /* mt newindex */
    lua_setfield(L, -2, "__newindex");                         /* mt */
    lua_pushcfunction(L, message_tostring);                    /* mt tostring */
    lua_setfield(L, -2, "__tostring");                         /* mt */
    lua_pushboolean(L, 0);                                     /* mt false */
    lua_setfield(L, -2, "__metatable");                        /* mt */
    lua_pushliteral(L, "msg");                                 /* mt name */
    lua_setfield(L, -2, "__name");                             /* mt */
    engine_of(L)->message_mt = luaL_ref(L, LUA_REGISTRYINDEX); /* */
}

void message_push(lua_State *L, struct call *call)
{
    struct message *message = lua_newuserdatauv(L, sizeof(*message), KEPT_COUNT); /* msg */
    message->call = call;
    message->generation = call->generation;
    push_ref(L, call->engine->message_mt); /* msg mt */
    lua_setmetatable(L, -2);               /* msg */
}

void message_push_names(lua_State *L)
{
    push_ref(L, engine_of(L)->message_mt); /* mt */
    lua_getfield(L, -1, "__index");        /* mt index */
    lua_getupvalue(L, -1, 1);              /* mt index names */
    lua_replace(L, -3);                    /* names index */
    lua_pop(L, 1);                         /* names */
}
