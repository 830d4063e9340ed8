#include "rules/guards.h"

#include <lauxlib.h>

#include "rules/call.h"
#include "rules/json_lazy.h"
#include "rules/limits.h"
#include "rules/pattern_library.h"

/* --- base: all LJMP --------------------------------------------------------------------------- */

/* Ends a pcall or xpcall that may have waited. `context`: how many slots lie below the results. */
static int finish_pcall(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    if (status != LUA_OK && status != LUA_YIELD) {
        call_check(L, status);
        lua_pushboolean(L, 0); /* .. error false */
        lua_insert(L, -2);     /* .. false error */
        return 2;
    }
    call_check(L, LUA_OK);
    return lua_gettop(L);
}

static int base_pcall(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1); /* function .. true */
    lua_insert(L, 1);      /* true function .. */
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(L, status, 0);
}

/* Ends an xpcall that may have waited: [1] function [2] handler [3..] the results after `true`. */
static int finish_xpcall(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD) {
        call_check(L, LUA_OK);
        return lua_gettop(L) - 2;
    }
    call_check(L, status);
    lua_pushvalue(L, 2);                  /* .. error handler */
    lua_insert(L, -2);                    /* .. handler error */
    call_check(L, lua_pcall(L, 1, 1, 0)); /* .. message */
    lua_pushboolean(L, 0);                /* .. message false */
    lua_insert(L, -2);                    /* .. false message */
    return 2;
}

/*
 * The handler is called after the error has left the function, not where it was raised, and never
 * as Lua's own message handler. As such it would run inside the count hook, with hooks off, when
 * the error is a limit; and Lua before 5.4.7 forgets to take it away from a coroutine that is
 * closed.
 */
static int base_xpcall(lua_State *L)
{
    int arguments = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, 1); /* function handler .. true */
    lua_pushvalue(L, 1);   /* function handler .. true function */
    lua_rotate(L, 3, 2);   /* function handler true function .. */
    int status = lua_pcallk(L, arguments, LUA_MULTRET, 0, 0, finish_xpcall);
    return finish_xpcall(L, status, 0);
}

/* Whether the table at `index` has a metatable that says "hands off". */
static bool is_protected(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__metatable") == LUA_TNIL)
        return false;
    lua_pop(L, 1); /* */
    return true;
}

/* A __gc metamethod would run with hooks off, where nothing can stop it. */
static int base_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
    lua_settop(L, 2); /* table metatable */
    json_fill(L, 1);
    json_fill(L, 2);
    if (is_protected(L, 1))
        return luaL_error(L, "cannot change a protected metatable");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc"); // table metatable "__gc"
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available to rules");
        lua_pop(L, 1); /* table metatable */
    }
    lua_setmetatable(L, 1); /* table */
    return 1;
}

static int base_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3); /* table key value */
    json_fill(L, 1);
    if (is_protected(L, 1))
        return luaL_error(L, "rawset: this table is protected");
    lua_rawset(L, 1); /* table */
    return 1;
}

/*
 * What looks past metatables, as in the manual, but for tables whose values are not made yet: those
 * are filled first (json_lazy).
 */

static int base_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2); /* table key */
    json_fill(L, 1);
    lua_rawget(L, 1); /* table value */
    return 1;
}

static int base_rawlen(lua_State *L)
{
    int type = lua_type(L, 1);
    luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    json_fill(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1)); /* .. length */
    return 1;
}

static int base_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    json_fill(L, 1);
    if (!lua_getmetatable(L, 1)) { /* .. metatable? */
        lua_pushnil(L);            /* .. nil */
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable"); /* .. metatable field? */
    return 1;
}

static int base_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2); /* table key */
    json_fill(L, 1);
    if (lua_next(L, 1)) /* table key value */
        return 2;
    lua_pushnil(L); /* table nil */
    return 1;
}

/* Ends a pairs() whose __pairs may have waited. */
static int finish_pairs(lua_State *L, int status, lua_KContext context)
{
    (void)L;
    (void)status;
    (void)context;
    return 3;
}

static int base_pairs(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") == LUA_TNIL) { /* value */
        json_fill(L, 1);
        lua_pushcfunction(L, base_next); /* value next */
        lua_pushvalue(L, 1);             /* value next value */
        lua_pushnil(L);                  /* value next value nil */
    } else {
        lua_pushvalue(L, 1);                 /* value pairs value */
        lua_callk(L, 1, 3, 0, finish_pairs); /* value next state first */
    }
    return 3;
}

/* --- guards around originals: all LJMP -------------------------------------------------------- */

/*
 * The handler of errors below call_original: what the original itself raises gets the place and the
 * name that Lua could not find, because its caller is no Lua function. Stack levels: 0 this, 1
 * where the error was raised, 2 the guard if 1 is the original, 3 the rule.
 */
static int place_error(lua_State *L)
{
    lua_Debug original, guard;
    if (lua_type(L, 1) != LUA_TSTRING || !lua_getstack(L, 1, &original) ||
        !lua_getstack(L, 2, &guard))
        return 1;
    lua_getinfo(L, "f", &original); /* error original */
    lua_getinfo(L, "fn", &guard);   /* error original guard */
    if (lua_getupvalue(L, 3, 1) == NULL || !lua_rawequal(L, 2, -1)) {
        lua_settop(L, 1); /* error */
        return 1;
    }
    luaL_where(L, 3); /* .. place */
    const char *name = guard.name != NULL ? guard.name : "?";
    name = lua_pushfstring(L, "'%s'", name);       /* .. place name */
    luaL_gsub(L, lua_tostring(L, 1), "'?'", name); /* .. place name text */
    lua_remove(L, -2);                             /* .. place text */
    lua_concat(L, 2);                              /* .. error */
    return 1;
}

/* Calls the original, upvalue 1, with the arguments as they are on the stack. */
static int call_original(lua_State *L)
{
    lua_pushcfunction(L, place_error);                            /* .. handler */
    lua_pushvalue(L, lua_upvalueindex(1));                        /* .. handler original */
    lua_rotate(L, 1, 2);                                          /* handler original .. */
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1); /* handler results */
    if (status == LUA_OK)
        return lua_gettop(L) - 1;
    call_check(L, status);
    return lua_error(L);
}

/* Replaces functions of the library on the top; each guard has the original as its upvalue. */
static void wrap(lua_State *L, const luaL_Reg *guards)
{
    for (; guards->name != NULL; guards++) {
        lua_getfield(L, -1, guards->name);    /* library original */
        lua_pushcclosure(L, guards->func, 1); /* library guard */
        lua_setfield(L, -2, guards->name);    /* library */
    }
}

static int string_rep(lua_State *L)
{
    size_t size = 0, separator_size = 0;
    luaL_checklstring(L, 1, &size);
    lua_Integer count = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator_size);
    size_t each = size + separator_size;
    if (count <= 0 || each == 0) {
        lua_pushliteral(L, ""); // ""
        return 1;
    }
    if (each > GUARD_BYTES_MAX || (lua_Unsigned)count > GUARD_BYTES_MAX / each)
        return luaL_error(L, "string.rep: the result would be longer than %d MiB",
                          GUARD_BYTES_MAX >> 20);
    limits_charge(L, (size_t)count * each / GUARD_BYTES_PER_STEP);
    return call_original(L);
}

/* What goes through its first argument, when it is a string, byte by byte. */
static int bytewise(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        limits_charge(L, (size_t)lua_rawlen(L, 1));
    return call_original(L);
}

void guards_open_string(lua_State *L)
{
    static const luaL_Reg guards[] = {
        {"rep", string_rep},   {"lower", bytewise},  {"pack", bytewise},  {"packsize", bytewise},
        {"reverse", bytewise}, {"unpack", bytewise}, {"upper", bytewise}, {NULL, NULL}};
    wrap(L, guards);
    pattern_library_open(L);
}

void guards_open_utf8(lua_State *L)
{
    static const luaL_Reg guards[] = {{"len", bytewise}, {"offset", bytewise}, {NULL, NULL}};
    wrap(L, guards);
}

/* tonumber(v) as it is called nearly always; with a base: the original. */
static int base_tonumber(lua_State *L)
{
    size_t size = 0;
    if (lua_type(L, 1) == LUA_TNUMBER && lua_gettop(L) == 1)
        return 1;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &size) : NULL;
    limits_charge(L, size);
    if (text == NULL || !lua_isnoneornil(L, 2))
        return call_original(L);
    if (lua_stringtonumber(L, text) != size + 1) // text number?
        lua_pushnil(L);                          // text number? nil
    return 1;
}

void guards_open_base(lua_State *L)
{
    static const luaL_Reg functions[] = {{"pcall", base_pcall},
                                         {"xpcall", base_xpcall},
                                         {"getmetatable", base_getmetatable},
                                         {"setmetatable", base_setmetatable},
                                         {"next", base_next},
                                         {"pairs", base_pairs},
                                         {"rawget", base_rawget},
                                         {"rawlen", base_rawlen},
                                         {"rawset", base_rawset},
                                         {NULL, NULL}};
    static const luaL_Reg guards[] = {{"tonumber", base_tonumber}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    wrap(L, guards);
}

/*
 * The length of the list at index 1. A __len metamethod could answer anything, and something else
 * the next time: such tables are refused.
 */
static lua_Integer check_list(lua_State *L, const char *what, lua_Integer max)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    json_fill(L, 1);
    if (luaL_getmetafield(L, 1, "__len") != LUA_TNIL)
        luaL_error(L, "%s: not for a table with __len", what);
    lua_Integer length = (lua_Integer)lua_rawlen(L, 1);
    if (length > max)
        luaL_error(L, "%s: more than %I elements", what, max);
    return length;
}

/* Refuses a range of more than GUARD_RANGE_MAX elements; charges for what there is. */
static void check_range(lua_State *L, const char *what, lua_Integer first, lua_Integer last)
{
    if (first <= last && (lua_Unsigned)last - (lua_Unsigned)first >= GUARD_RANGE_MAX)
        luaL_error(L, "%s: more than %d elements", what, GUARD_RANGE_MAX);
    if (first <= last)
        limits_charge(L, (size_t)(last - first));
}

/*
 * Charges for the elements that are moved up or down from the position at index 2, if it is given.
 */
static void charge_shift(lua_State *L, lua_Integer length, bool at_position)
{
    int is_integer = 0;
    lua_Integer position = at_position ? lua_tointegerx(L, 2, &is_integer) : 0;
    if (is_integer && position > 0 && position < length)
        limits_charge(L, (size_t)(length - position));
}

static int table_insert(lua_State *L)
{
    lua_Integer length = check_list(L, "table.insert", GUARD_RANGE_MAX);
    if (lua_gettop(L) == 2) { /* table value */
        lua_seti(L, 1, length + 1);
        return 0;
    }
    charge_shift(L, length, lua_gettop(L) > 2);
    return call_original(L);
}

static int table_remove(lua_State *L)
{
    charge_shift(L, check_list(L, "table.remove", GUARD_RANGE_MAX), lua_gettop(L) > 1);
    return call_original(L);
}

static int table_sort(lua_State *L)
{
    lua_Integer length = check_list(L, "table.sort", GUARD_SORT_MAX);
    limits_charge(L, (size_t)length * GUARD_SORT_STEPS);
    return call_original(L);
}

static int table_concat(lua_State *L)
{
    lua_Integer length = check_list(L, "table.concat", LUA_MAXINTEGER);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    check_range(L, "table.concat", first, luaL_optinteger(L, 4, length));
    return call_original(L);
}

static int table_unpack(lua_State *L)
{
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = 0;
    if (lua_isnoneornil(L, 3))
        last = check_list(L, "table.unpack", LUA_MAXINTEGER);
    else
        last = luaL_checkinteger(L, 3);
    check_range(L, "table.unpack", first, last);
    return call_original(L);
}

static int table_move(lua_State *L)
{
    check_range(L, "table.move", luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return call_original(L);
}

void guards_open_table(lua_State *L)
{
    static const luaL_Reg guards[] = {{"concat", table_concat},
                                      {"insert", table_insert},
                                      {"move", table_move},
                                      {"remove", table_remove},
                                      {"sort", table_sort},
                                      {"unpack", table_unpack},
                                      {NULL, NULL}};
    wrap(L, guards);
}

static int os_date(lua_State *L)
{
    size_t size = 0;
    luaL_optlstring(L, 1, "%c", &size);
    if (size > GUARD_DATE_MAX)
        return luaL_error(L, "os.date: a format of more than %d bytes", GUARD_DATE_MAX);
    return call_original(L);
}

void guards_open_os(lua_State *L)
{
    static const luaL_Reg guards[] = {{"date", os_date}, {NULL, NULL}};
    wrap(L, guards);
}

/* Upvalue 1 is cjson's decode_max_depth or encode_max_depth. */
static int cjson_max_depth(lua_State *L)
{
    if (luaL_optinteger(L, 1, 1) > GUARD_CJSON_DEPTH_MAX)
        return luaL_error(L, "cjson: a depth of more than %d", GUARD_CJSON_DEPTH_MAX);
    return call_original(L);
}

/* mill.json.encode(value). */
static int json_encode_charged(lua_State *L)
{
    int results = call_original(L); /* text */
    limits_charge(L, (size_t)lua_rawlen(L, -1));
    return results;
}

void guards_open_json(lua_State *L)
{
    static const luaL_Reg guards[] = {
        {"decode", bytewise}, {"encode", json_encode_charged}, {NULL, NULL}};
    wrap(L, guards);
}

/*
 * The bytes of what cjson would write for the value at the top, about; stops counting where it is
 * too much. What is in several tables counts as often as it is written.
 */
static size_t measure(lua_State *L, size_t size, int depth)
{
    size += lua_type(L, -1) == LUA_TSTRING ? (size_t)lua_rawlen(L, -1) : 1;
    if (lua_type(L, -1) != LUA_TTABLE || depth == 0)
        return size;
    limits_charge(L, 1);
    luaL_checkstack(L, 4, NULL);
    json_fill(L, -1);
    lua_pushnil(L);                                      /* value nil */
    while (size <= GUARD_BYTES_MAX && lua_next(L, -2)) { /* value key item */
        size += lua_type(L, -2) == LUA_TSTRING ? (size_t)lua_rawlen(L, -2) : 1;
        size = measure(L, size, depth - 1);
        lua_pop(L, 1); /* value key */
    }
    if (size > GUARD_BYTES_MAX)
        lua_pop(L, 1); /* value */
    return size;
}

/* cjson.encode(value): its buffer is no part of the rules' memory, and the end of it is exit(). */
static int cjson_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1); /* value */
    size_t size = measure(L, 0, GUARD_CJSON_DEPTH_MAX);
    if (size > GUARD_BYTES_MAX)
        return luaL_error(L, "cjson.encode: the text would be longer than %d MiB",
                          GUARD_BYTES_MAX >> 20);
    limits_charge(L, size);
    return call_original(L);
}

/* cjson.new(): another instance, guarded as well. */
static int cjson_new(lua_State *L)
{
    call_original(L); /* handler cjson */
    guards_open_cjson(L);
    return 1;
}

void guards_open_cjson(lua_State *L)
{
    static const luaL_Reg guards[] = {
        {"decode", bytewise},     {"decode_max_depth", cjson_max_depth},
        {"encode", cjson_encode}, {"encode_max_depth", cjson_max_depth},
        {"new", cjson_new},       {NULL, NULL}};
    wrap(L, guards);
}
