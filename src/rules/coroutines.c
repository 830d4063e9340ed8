#include "rules/coroutines.h"

#include <lauxlib.h>

#include "rules/call.h"

/* --- all LJMP --------------------------------------------------------------------------------- */

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *thread = lua_tothread(L, 1);
    luaL_argexpected(L, thread != NULL, 1, "coroutine");
    return thread;
}

static bool is_handler_thread(lua_State *L)
{
    struct call *call = engine_of(L)->current;
    return call == NULL || call->thread == L;
}

/* Moves `count` values; raises when there is no room for them. */
static void move(lua_State *from, lua_State *to, int count)
{
    if (!lua_checkstack(to, count + 1))
        luaL_error(to, "too many values passed to or from a coroutine");
    lua_xmove(from, to, count);
}

static int resume_again(lua_State *L, int status, lua_KContext context);

/*
 * Resumes `thread` with the top `arguments` values of `L`. Returns how many values it has yielded
 * or returned, now on the top of `L`, or -1 with the error value there. When the coroutine waits
 * for the host, `L` has to wait as well: then this does not return but goes on in resume_again,
 * which finds the coroutine with `context`: 0: a plain resume, 1: wrap.
 */
static int resume(lua_State *L, lua_State *thread, int arguments, lua_KContext context)
{
    struct call *call = engine_of(L)->current;
    if (!lua_checkstack(thread, arguments))
        return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, thread, arguments); /* */
    call->wait = WAIT_NONE;
    int results = 0;
    int status = lua_resume(thread, L, arguments, &results);
    if (status == LUA_YIELD && call->wait != WAIT_NONE) {
        if (lua_isyieldable(L))
            return lua_yieldk(L, 0, context, resume_again);
        call->wait = WAIT_NONE;
        return luaL_error(L,
                          "a coroutine cannot wait here (inside a metamethod, or a function that "
                          "table.sort or string.gsub calls)");
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        call_check(L, LUA_OK);
        if (!lua_checkstack(L, results + 1)) {
            lua_pop(thread, results);
            return luaL_error(L, "too many results to resume");
        }
        lua_xmove(thread, L, results); /* results */
        return results;
    }
    call_check(L, status);
    move(thread, L, 1); /* error */
    return -1;
}

static int finish_resume(lua_State *L, int results)
{
    lua_pushboolean(L, results >= 0); /* results success */
    lua_insert(L, results >= 0 ? -(results + 1) : -2);
    return results >= 0 ? results + 1 : 2;
}

/* Ends a coroutine that does not run: runs its pending __close methods. Raises nothing. */
static int close_thread(lua_State *L, lua_State *thread)
{
    struct call *call = engine_of(L)->current;
    call->closing++;
#if LUA_VERSION_RELEASE_NUM >= 50406
    int status = lua_closethread(thread, L);
#else
    int status = lua_resetthread(thread);
#endif
    call->closing--;
    return status;
}

static int finish_wrap(lua_State *L, lua_State *thread, int results)
{
    if (results >= 0)
        return results;
    int status = lua_status(thread);
    if (status != LUA_OK && status != LUA_YIELD && !limits_died_in_hook(thread)) {
        close_thread(L, thread);
        call_check(L, LUA_OK);
    }
    return lua_error(L);
}

/* The host has woken the handler: wakes the coroutine that waited below it. */
static int resume_again(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    bool wrapped = context == 1;
    lua_State *thread = lua_tothread(L, wrapped ? lua_upvalueindex(1) : 1);
    if (lua_status(thread) != LUA_YIELD)
        return luaL_error(L, "a waiting coroutine was resumed by somebody else");
    int results = resume(L, thread, 0, context);
    return wrapped ? finish_wrap(L, thread, results) : finish_resume(L, results);
}

static int coroutine_resume(lua_State *L)
{
    lua_State *thread = check_coroutine(L);
    return finish_resume(L, resume(L, thread, lua_gettop(L) - 1, 0));
}

static int wrap_call(lua_State *L)
{
    lua_State *thread = lua_tothread(L, lua_upvalueindex(1));
    return finish_wrap(L, thread, resume(L, thread, lua_gettop(L), 1));
}

static int coroutine_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *thread = lua_newthread(L); /* function .. thread */
    lua_pushvalue(L, 1);                  /* function .. thread function */
    lua_xmove(L, thread, 1);              /* function .. thread */
    return 1;
}

static int coroutine_wrap(lua_State *L)
{
    coroutine_create(L);               /* function .. thread */
    lua_pushcclosure(L, wrap_call, 1); /* function .. wrap */
    return 1;
}

static int coroutine_yield(lua_State *L)
{
    if (is_handler_thread(L))
        return luaL_error(L, "attempt to yield from outside a coroutine");
    engine_of(L)->current->wait = WAIT_NONE;
    return lua_yield(L, lua_gettop(L));
}

static int coroutine_isyieldable(lua_State *L)
{
    lua_State *thread = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    lua_pushboolean(L, !is_handler_thread(thread) && lua_isyieldable(thread)); /* yieldable */
    return 1;
}

/* In the handler's own coroutine: nil, true. */
static int coroutine_running(lua_State *L)
{
    if (is_handler_thread(L))
        lua_pushnil(L); /* nil */
    else
        lua_pushthread(L);                    /* thread */
    lua_pushboolean(L, is_handler_thread(L)); /* thread? is_main */
    return 2;
}

static int coroutine_close(lua_State *L)
{
    lua_State *thread = check_coroutine(L);
    lua_Debug activation;
    int status = lua_status(thread);
    if (thread == L || (status == LUA_OK && lua_getstack(thread, 0, &activation)))
        return luaL_error(L, "cannot close a running coroutine");
    if (limits_died_in_hook(thread)) {            /* its __close would run with hooks off */
        lua_pushboolean(L, 0);                    /* false */
        lua_pushliteral(L, "stopped by a limit"); /* false message */
        return 2;
    }
    status = close_thread(L, thread);
    call_check(L, status);
    lua_pushboolean(L, status == LUA_OK); /* success */
    if (status == LUA_OK)
        return 1;
    move(thread, L, 1); /* success error */
    return 2;
}

void coroutines_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"close", coroutine_close},
                                         {"create", coroutine_create},
                                         {"resume", coroutine_resume},
                                         {"running", coroutine_running},
                                         {"wrap", coroutine_wrap},
                                         {"yield", coroutine_yield},
                                         {"isyieldable", coroutine_isyieldable},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
