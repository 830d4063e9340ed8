#include "rules/sandbox.h"

#include <lua-cjson.h>
#include <string.h>

#include "base/suggest.h"
#include "rules/api.h"
#include "rules/call.h"
#include "rules/coroutines.h"
#include "rules/guards.h"

/*
 * The libraries are opened once, in the state's own global table, which no rule ever sees. There
 * they are cut down to the lists below and their dangerous functions replaced by guarded ones. They
 * must be replaced in place: ("x"):rep() finds `rep` through the string metatable, not in the
 * rule's environment. Each environment then gets shallow copies.
 */

static const char *const base_names[] = {
    "assert",       "error",    "getmetatable", "ipairs", "next",     "pairs",   "pcall",
    "print",        "rawequal", "rawget",       "rawlen", "rawset",   "require", "select",
    "setmetatable", "tonumber", "tostring",     "type",   "_VERSION", "xpcall",  NULL};

static const char *const string_names[] = {
    "byte", "char",     "find", "format",  "gmatch", "gsub",   "len",   "lower", "match",
    "pack", "packsize", "rep",  "reverse", "sub",    "unpack", "upper", NULL};
static const char *const table_names[] = {"concat", "insert", "move",   "pack",
                                          "remove", "sort",   "unpack", NULL};
static const char *const math_names[] = {
    "abs", "acos",       "asin", "atan",      "ceil", "cos",    "deg",
    "exp", "floor",      "fmod", "huge",      "log",  "max",    "maxinteger",
    "min", "mininteger", "modf", "pi",        "rad",  "random", "randomseed",
    "sin", "sqrt",       "tan",  "tointeger", "type", "ult",    NULL};
static const char *const utf8_names[] = {"char", "charpattern", "codepoint", "codes",
                                         "len",  "offset",      NULL};
static const char *const coroutine_names[] = {
    "close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield", NULL};
static const char *const os_names[] = {"clock", "date", "difftime", "time", NULL};

static const struct library {
    const char *name;
    lua_CFunction open;
    const char *const *names;
    bool own; /* opened anew for each rule: math has a random state that must not be shared */
} libraries[] = {
    {LUA_STRLIBNAME, luaopen_string, string_names, false},
    {LUA_TABLIBNAME, luaopen_table, table_names, false},
    {LUA_MATHLIBNAME, luaopen_math, math_names, true},
    {LUA_UTF8LIBNAME, luaopen_utf8, utf8_names, false},
    {LUA_COLIBNAME, luaopen_coroutine, coroutine_names, false},
    {LUA_OSLIBNAME, luaopen_os, os_names, false},
};

enum { LIBRARIES = sizeof(libraries) / sizeof(libraries[0]) };

/* Globals of plain Lua that rules do not have, to say so instead of "undefined". */
static const char *const missing_names[] = {"io",       "debug",      "package",        "load",
                                            "loadfile", "loadstring", "collectgarbage", "dofile",
                                            "warn",     "setfenv",    "getfenv",        NULL};

static bool is_listed(const char *const *names, const char *name)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

bool sandbox_withholds(const char *name)
{
    return is_listed(missing_names, name);
}

/* Copies the listed fields of the table on the top to the table below it. LJMP. */
static void copy_listed(lua_State *L, const char *const *names)
{
    for (; *names != NULL; names++) {
        lua_getfield(L, -1, *names); /* to from value */
        lua_setfield(L, -3, *names); /* to from */
    }
}

/* Removes from the table on the top what is not listed. LJMP. */
static void cut_down(lua_State *L, const char *const *names)
{
    for (lua_pushnil(L); lua_next(L, -2);) { /* table key value */
        lua_pop(L, 1);                       /* table key */
        if (lua_type(L, -1) == LUA_TSTRING && is_listed(names, lua_tostring(L, -1)))
            continue;
        lua_pushvalue(L, -1); /* table key key */
        lua_pushnil(L);       /* table key key nil */
        lua_rawset(L, -4);    /* table key (clearing a field while traversing is allowed) */
    }
}

/* --- globals ---------------------------------------------------------------------------------- */

enum { SUGGESTIONS_MAX = 256 };

/* The key of `table` (at `index`) nearest to `word`, or NULL. Borrowed from the table. */
static const char *nearest_key(lua_State *L, int index, const char *word)
{
    const char *known[SUGGESTIONS_MAX];
    size_t count = 0;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) /* key value */
        if (count < SUGGESTIONS_MAX && lua_type(L, -2) == LUA_TSTRING)
            known[count++] = lua_tostring(L, -2);
    return suggest_nearest(word, known, count);
}

/* A read of a global that is not there: [1] environment [2] name. LJMP. */
static int global_missing(lua_State *L)
{
    const char *name = luaL_tolstring(L, 2, NULL); /* name */
    if (is_listed(missing_names, name))
        return luaL_error(L, "'%s' is not available to rules", name);
    const char *nearest = nearest_key(L, 1, name);
    if (nearest != NULL)
        return luaL_error(L, "undefined global '%s' (did you mean '%s'?)", name, nearest);
    return luaL_error(L, "undefined global '%s'", name);
}

/* A write of a global that is not there: [1] environment [2] name [3] value. LJMP. */
static int global_new(lua_State *L)
{
    struct engine *engine = engine_of(L);
    struct call *call = call_current(L, "an assignment");
    if (call->kind != CALL_CHUNK && engine->requiring == 0) {
        const char *name = luaL_tolstring(L, 2, NULL);
        return luaL_error(L,
                          "assignment to undefined global '%s': use \"local %s\", or "
                          "mill.state for what must last",
                          name, name);
    }
    lua_rawset(L, 1); /* environment */
    return 0;
}

/* --- read-only tables ------------------------------------------------------------------------- */

/* LJMP. Upvalue 1 is the table's name. */
static int readonly_newindex(lua_State *L)
{
    return luaL_error(L, "%s is read-only", lua_tostring(L, lua_upvalueindex(1)));
}

/* A read of a key that is not there: [1] the real table [2] key. LJMP. Upvalue 1 is the name. */
static int readonly_missing(lua_State *L)
{
    const char *table = lua_tostring(L, lua_upvalueindex(1));
    const char *key = luaL_tolstring(L, 2, NULL); /* key */
    const char *nearest = nearest_key(L, 1, key);
    if (nearest != NULL)
        return luaL_error(L, "%s.%s does not exist (did you mean '%s'?)", table, key, nearest);
    return luaL_error(L, "%s.%s does not exist", table, key);
}

/* The iterator of pairs(): keeps the real table, upvalue 1, out of sight. LJMP. */
static int readonly_next(lua_State *L)
{
    lua_settop(L, 2);                                /* view key */
    return lua_next(L, lua_upvalueindex(1)) ? 2 : 0; /* view key value? */
}

/* LJMP. Upvalue 1 is the real table. */
static int readonly_pairs(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1)); /* real */
    lua_pushcclosure(L, readonly_next, 1); /* next */
    lua_pushvalue(L, 1);                   /* next view */
    return 2;
}

void sandbox_make_readonly(lua_State *L, const char *name)
{
    lua_createtable(L, 0, 1);                  /* real mt */
    lua_pushstring(L, name);                   /* real mt name */
    lua_pushcclosure(L, readonly_missing, 1);  /* real mt missing */
    lua_setfield(L, -2, "__index");            /* real mt */
    lua_setmetatable(L, -2);                   /* real */
    lua_newtable(L);                           /* real view */
    lua_createtable(L, 0, 5);                  /* real view mt */
    lua_pushvalue(L, -3);                      /* real view mt real */
    lua_setfield(L, -2, "__index");            /* real view mt */
    lua_pushstring(L, name);                   /* real view mt name */
    lua_pushcclosure(L, readonly_newindex, 1); /* real view mt newindex */
    lua_setfield(L, -2, "__newindex");         /* real view mt */
    lua_pushvalue(L, -3);                      /* real view mt real */
    lua_pushcclosure(L, readonly_pairs, 1);    /* real view mt pairs */
    lua_setfield(L, -2, "__pairs");            /* real view mt */
    lua_pushboolean(L, 0);                     /* real view mt false */
    lua_setfield(L, -2, "__metatable");        /* real view mt */
    lua_setmetatable(L, -2);                   /* real view */
    lua_remove(L, -2);                         /* view */
}

/* Nobody writes into a metatable that all rules' values share: it is on the top. LJMP. */
static void protect_metatable(lua_State *L, const char *name)
{
    lua_pushboolean(L, 0);                     /* shared false */
    lua_setfield(L, -2, "__metatable");        /* shared */
    lua_createtable(L, 0, 2);                  /* shared mt */
    lua_pushstring(L, name);                   /* shared mt name */
    lua_pushcclosure(L, readonly_newindex, 1); /* shared mt newindex */
    lua_setfield(L, -2, "__newindex");         /* shared mt */
    lua_pushboolean(L, 0);                     /* shared mt false */
    lua_setfield(L, -2, "__metatable");        /* shared mt */
    lua_setmetatable(L, -2);                   /* shared */
}

/* --- require ---------------------------------------------------------------------------------- */

/* A module that is being loaded has this light userdata in the rule's table of modules. */
static char loading;

void sandbox_load(lua_State *L, struct rule *rule, const struct rule_file *file)
{
    const char *chunk = lua_pushfstring(L, "@%s", file->path);               /* chunkname */
    if (luaL_loadbufferx(L, file->source, file->size, chunk, "t") != LUA_OK) /* chunkname chunk */
        lua_error(L);
    lua_remove(L, -2);              /* chunk */
    push_ref(L, rule->environment); /* chunk environment */
    lua_setupvalue(L, -2, 1);       /* chunk */
}

/* Loads a module of the ruleset: [1] name [2] modules [3] the rule. LJMP. */
static int load_module(lua_State *L)
{
    struct rule *rule = lua_touserdata(L, 3);
    const char *name = lua_tostring(L, 1);
    const struct rule_file *file = ruleset_module(rule->engine->ruleset, name);
    lua_pushvalue(L, 1);                /* name */
    lua_pushlightuserdata(L, &loading); /* name loading */
    lua_rawset(L, 2);                   /* */
    sandbox_load(L, rule, file);        /* chunk */
    lua_pushvalue(L, 1);                /* chunk name */
    lua_call(L, 1, 1);                  /* module */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);         /* */
        lua_pushboolean(L, 1); /* true */
    }
    lua_pushvalue(L, 1);  /* module name */
    lua_pushvalue(L, -2); /* module name module */
    lua_rawset(L, 2);     /* module */
    return 1;
}

/* require(name): a module of the ruleset, one instance per rule; or "cjson". LJMP. */
static int base_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct call *call = call_current(L, "require");
    struct rule *rule = call->rule;
    lua_settop(L, 1);           /* name */
    push_ref(L, rule->modules); /* name modules */
    lua_pushvalue(L, 1);        /* name modules name */
    lua_rawget(L, 2);           /* name modules module */
    if (lua_touserdata(L, -1) == &loading)
        return luaL_error(L, "module '%s' is required while it is being loaded (a cycle)", name);
    if (!lua_isnil(L, -1))
        return 1;
    lua_settop(L, 2); /* name modules */
    if (strcmp(name, "cjson") == 0) {
        lua_pushcfunction(L, luaopen_cjson); /* name modules open */
        lua_call(L, 0, 1);                   /* name modules cjson */
        guards_open_cjson(L);
        lua_pushvalue(L, -1);     /* name modules cjson cjson */
        lua_setfield(L, 2, name); /* name modules cjson */
        return 1;
    }
    if (ruleset_module(rule->engine->ruleset, name) == NULL)
        return luaL_error(L,
                          "module '%s' not found: rules can require \"cjson\" and files in %s/lib",
                          name, ruleset_dir(rule->engine->ruleset));
    lua_pushcfunction(L, load_module); /* name modules load */
    lua_pushvalue(L, 1);               /* name modules load name */
    lua_pushvalue(L, 2);               /* name modules load name modules */
    lua_pushlightuserdata(L, rule);    /* name modules load name modules rule */
    rule->engine->requiring++;
    int status = lua_pcall(L, 3, 1, 0); /* name modules module */
    rule->engine->requiring--;
    if (status != LUA_OK) {
        lua_pushvalue(L, 1); /* name modules error name */
        lua_pushnil(L);      /* name modules error name nil */
        lua_rawset(L, 2);    /* name modules error */
        call_check(L, status);
        return lua_error(L);
    }
    return 1;
}

/* --- opening ---------------------------------------------------------------------------------- */

static const luaL_Reg own_base[] = {{"require", base_require}, {"print", api_print}, {NULL, NULL}};

void sandbox_open(lua_State *L)
{
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1); /* globals */
    luaL_setfuncs(L, own_base, 0);                /* globals */
    guards_open_base(L);                          /* globals */
    cut_down(L, base_names);                      /* globals */
    for (size_t i = 0; i < LIBRARIES; i++) {
        luaL_requiref(L, libraries[i].name, libraries[i].open, 1); /* globals library */
        if (libraries[i].open == luaopen_string)
            guards_open_string(L);
        else if (libraries[i].open == luaopen_table)
            guards_open_table(L);
        else if (libraries[i].open == luaopen_coroutine)
            coroutines_open(L);
        else if (libraries[i].open == luaopen_utf8)
            guards_open_utf8(L);
        else if (libraries[i].open == luaopen_os)
            guards_open_os(L);
        cut_down(L, libraries[i].names);
        lua_pop(L, 1); /* globals */
    }
    lua_pop(L, 1); /* */

    lua_pushliteral(L, "");      // ""
    if (lua_getmetatable(L, -1)) // "" mt
        protect_metatable(L, "the strings' metatable");
    lua_pop(L, 2); /* (json_open has protected the arrays' metatable) */

    lua_createtable(L, 0, 3);                                      /* mt */
    lua_pushcfunction(L, global_missing);                          /* mt missing */
    lua_setfield(L, -2, "__index");                                /* mt */
    lua_pushcfunction(L, global_new);                              /* mt new */
    lua_setfield(L, -2, "__newindex");                             /* mt */
    lua_pushboolean(L, 0);                                         /* mt false */
    lua_setfield(L, -2, "__metatable");                            /* mt */
    engine_of(L)->environment_mt = luaL_ref(L, LUA_REGISTRYINDEX); /* */
}

void sandbox_push_environment(lua_State *L)
{
    struct engine *engine = engine_of(L);
    lua_createtable(L, 0, 40); /* environment */
    lua_pushglobaltable(L);    /* environment globals */
    copy_listed(L, base_names);
    for (size_t i = 0; i < LIBRARIES; i++) {
        lua_createtable(L, 0, 16); /* environment globals copy */
        if (libraries[i].own) {
            lua_pushcfunction(L, libraries[i].open); /* environment globals copy open */
            lua_call(L, 0, 1);                       /* environment globals copy library */
        } else {
            lua_getfield(L, -2, libraries[i].name); /* environment globals copy library */
        }
        copy_listed(L, libraries[i].names);
        lua_pop(L, 1);                          /* environment globals copy */
        lua_setfield(L, -3, libraries[i].name); /* environment globals */
    }
    lua_pop(L, 1);                       /* environment */
    lua_pushvalue(L, -1);                /* environment environment */
    lua_setfield(L, -2, LUA_GNAME);      /* environment */
    push_ref(L, engine->mill);           /* environment mill */
    lua_setfield(L, -2, "mill");         /* environment */
    push_ref(L, engine->environment_mt); /* environment mt */
    lua_setmetatable(L, -2);             /* environment */
}
