#include "rules/embedded.h"

#include <string.h>

#include "rules/call.h"
#include "rules/sandbox.h"

/* The Makefile makes two symbols out of each src/lua/NAME.lua. */
#define SOURCE(name)                                                                               \
    extern const char _binary_src_lua_##name##_lua_start[], _binary_src_lua_##name##_lua_end[];
#define ENTRY(name)                                                                                \
    {                                                                                              \
#name, _binary_src_lua_##name##_lua_start, _binary_src_lua_##name##_lua_end                \
    }

SOURCE(changed)
SOURCE(dedupe)
SOURCE(keyed)
SOURCE(testing)
SOURCE(throttle)
SOURCE(window)

static const struct source {
    const char *name, *start, *end;
} sources[] = {ENTRY(changed), ENTRY(dedupe),   ENTRY(keyed),
               ENTRY(testing), ENTRY(throttle), ENTRY(window)};

enum { SOURCES = sizeof(sources) / sizeof(sources[0]) };

static const char *const helpers[] = {"changed", "dedupe", "throttle", "window"};

enum { HELPERS = sizeof(helpers) / sizeof(helpers[0]) };

static const struct source *find(const char *name)
{
    for (size_t i = 0; i < SOURCES; i++)
        if (strcmp(sources[i].name, name) == 0)
            return &sources[i];
    return NULL;
}

void embedded_load(lua_State *L, const char *name)
{
    const struct source *source = find(name);
    if (source == NULL)
        luaL_error(L, "no embedded module '%s'", name);
    const char *chunk = lua_pushfstring(L, "=mill.%s", name); /* chunkname */
    size_t size = (size_t)(source->end - source->start);
    if (luaL_loadbufferx(L, source->start, size, chunk, "t") != LUA_OK) /* chunkname chunk */
        lua_error(L);
    lua_remove(L, -2); /* chunk */
}

/*
 * message(): which message is being handled, "stream:sequence", and its delivery; nothing outside
 * of on_message. LJMP.
 */
static int message_under_way(lua_State *L)
{
    const struct call *call = call_current(L, "message");
    if (call->kind != CALL_MESSAGE)
        return 0;
    lua_pushfstring(L, "%s:%I", call->input->stream, (LUAI_UACINT)call->input->sequence); /* id */
    lua_pushinteger(L, (lua_Integer)call->input->delivered); /* id delivered */
    return 2;
}

/*
 * embedded(name): what the module returned, one instance per rule. Upvalue 1: the environment of
 * the helpers of this rule. LJMP.
 */
static int push_module(lua_State *L)
{
    const struct source *source = find(luaL_checkstring(L, 1));
    luaL_argcheck(L, source != NULL, 1, "no such module");
    push_ref(L, call_current(L, source->name)->rule->modules); /* modules */
    if (lua_rawgetp(L, -1, source) != LUA_TNIL)                /* modules module */
        return 1;
    embedded_load(L, source->name);          /* modules nil chunk */
    lua_pushvalue(L, lua_upvalueindex(1));   /* modules nil chunk environment */
    lua_setupvalue(L, -2, 1);                /* modules nil chunk */
    lua_pushvalue(L, lua_upvalueindex(1));   /* modules nil chunk environment */
    lua_pushcclosure(L, push_module, 1);     /* modules nil chunk embedded */
    lua_pushcfunction(L, message_under_way); /* modules nil chunk embedded message */
    lua_call(L, 2, 1);                       /* modules nil module */
    lua_pushvalue(L, -1);                    /* modules nil module module */
    lua_rawsetp(L, -4, source);              /* modules nil module */
    return 1;
}

/* The environment of a rule's helpers: made once per rule. LJMP. */
static void push_environment(lua_State *L, const struct rule *rule)
{
    push_ref(L, rule->modules);                    /* modules */
    if (lua_rawgetp(L, -1, helpers) == LUA_TNIL) { /* modules environment? */
        lua_pop(L, 1);                             /* modules */
        sandbox_push_environment(L);               /* modules environment */
        lua_pushvalue(L, -1);                      /* modules environment environment */
        lua_rawsetp(L, -3, helpers);               /* modules environment */
    }
    lua_remove(L, -2); /* environment */
}

/* mill.window(options) and so on; upvalue 1 is the name. LJMP. */
static int call_helper(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(1));
    struct call *call = call_current(L, name);
    push_environment(L, call->rule);     /* .. environment */
    lua_pushcclosure(L, push_module, 1); /* .. embedded */
    lua_pushstring(L, name);             /* .. embedded name */
    lua_call(L, 1, 1);                   /* .. constructor */
    lua_insert(L, 1);                    /* constructor .. */
    lua_call(L, lua_gettop(L) - 1, 1);   /* object */
    return 1;
}

void embedded_add_helpers(lua_State *L)
{
    for (size_t i = 0; i < HELPERS; i++) {
        lua_pushstring(L, helpers[i]);       /* mill name */
        lua_pushcclosure(L, call_helper, 1); /* mill function */
        lua_setfield(L, -2, helpers[i]);     /* mill */
    }
}
