/*
 * Any Lua value, made as the bytes say: whether it is encoded is what a few lines here say about
 * it; what is encoded is valid JSON and decodes to an equal value, type for type; what is not has a
 * printable message that names the place.
 */
#include "base/utf8.h"

#include <lauxlib.h>
#include <math.h>

#include "bus/json_scan.h"
#include "fuzz.h"
#include "rules/json.h"

enum { NEST_MAX = 600, HOLES_FREE = 64 };

static void build(lua_State *L, struct choices *choices, int root);

static int raise(lua_State *L)
{
    return luaL_error(L, "a metamethod was called");
}

/* Pushes a string: any bytes, or some that are worth it. */
static void push_string(lua_State *L, struct choices *choices)
{
    static const char *const strings[] = {"",         "id",           "\"\\/\b\f\n\r\t", "\x7f",
                                          "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char text[256];
    unsigned size = choose(choices, 256);
    if (size < 14) {
        lua_pushstring(L, strings[size / 2]);
        return;
    }
    size -= 14;
    choose_bytes(choices, text, size);
    lua_pushlstring(L, text, size);
}

static void push_number(lua_State *L, struct choices *choices)
{
    static const double doubles[] = {
        0.0,  -0.0, 0.1,      1e15,      1e22, 5e-324, 1.7976931348623157e308,
        1e14, 1e-5, INFINITY, -INFINITY, NAN};
    int64_t integer;
    double real;
    switch (choose(choices, 6)) {
    case 0:
        lua_pushinteger(L, (lua_Integer)choose(choices, 256) - 128);
        return;
    case 1:
        lua_pushnumber(L, doubles[choose(choices, sizeof(doubles) / sizeof(doubles[0]))]);
        return;
    case 2: /* what sensors send */
        choose_bytes(choices, &integer, 3);
        lua_pushnumber(L, (double)integer / 1000);
        return;
    case 3:
        choose_bytes(choices, &integer, sizeof(integer));
        lua_pushinteger(L, integer);
        return;
    default:
        choose_bytes(choices, &real, sizeof(real));
        lua_pushnumber(L, real); /* NaN and the infinite too */
    }
}

/* Gives the table on the top a metatable: the one of arrays, or one that must have no say. */
static void push_metatable(lua_State *L, unsigned choice)
{
    if (choice < 2) {
        json_push_array_mt(L); /* table mt */
    } else {
        static const char *const events[] = {"__index", "__len", "__pairs", "__tostring"};
        lua_newtable(L); /* table mt */
        for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
            lua_pushcfunction(L, raise);
            lua_setfield(L, -2, events[i]);
        }
    }
    lua_setmetatable(L, -2); /* table */
}

/* Pushes a key: mostly a string, or an integer, at times another one. Never nil, never NaN. */
static void push_key(lua_State *L, struct choices *choices, bool is_object)
{
    unsigned choice = choose(choices, 32);
    if (choice == 31)
        lua_pushboolean(L, 1);
    else if (choice == 30)
        lua_pushnumber(L, (double)choose(choices, 8) + 0.5);
    else if ((choice < 28) == is_object)
        push_string(L, choices);
    else
        lua_pushinteger(L, (lua_Integer)choose(choices, choice < 20 ? 12 : HOLES_FREE + 24) - 1);
}

static void push_table(lua_State *L, struct choices *choices, int root, unsigned kind)
{
    unsigned count = choose(choices, 8);
    lua_newtable(L); /* table */
    for (unsigned i = 1; i <= count && !chosen_all(choices); i++) {
        if (kind == 0)
            lua_pushinteger(L, i);
        else
            push_key(L, choices, kind == 1); /* table key */
        build(L, choices, root);             /* table key value */
        lua_rawset(L, -3);                   /* table */
    }
    unsigned metatable = choose(choices, 8);
    if (metatable < 3)
        push_metatable(L, metatable);
}

/* Puts what is on the top into tables, one in the other. */
static void nest(lua_State *L, struct choices *choices)
{
    unsigned count = choose(choices, 256) * NEST_MAX / 256, field = choose(choices, 2);
    for (unsigned i = 0; i < count; i++) {
        lua_createtable(L, 1, 0); /* value table */
        lua_insert(L, -2);        /* table value */
        if (field == 0)
            lua_rawseti(L, -2, 1);
        else
            lua_setfield(L, -2, "x"); /* table */
    }
}

/* Pushes a value. The tables around it lie on the stack from slot `root` on: what makes a cycle. */
static void build(lua_State *L, struct choices *choices, int root)
{
    luaL_checkstack(L, 16, NULL);
    unsigned kind = choose(choices, 16);
    switch (kind) {
    case 0:
        lua_pushboolean(L, (int)choose(choices, 2));
        break;
    case 1:
        lua_pushlightuserdata(L, NULL);
        break;
    case 2: /* no JSON; seldom, as it ends everything */
        if (choose(choices, 8) == 0)
            lua_pushcfunction(L, raise);
        else
            lua_pushlightuserdata(L, choose(choices, 8) == 0 ? (void *)&kind : NULL);
        break;
    case 3: /* a table that this one is in */
        lua_pushvalue(L, choose(choices, 4) == 0 && lua_istable(L, root) ? root : -2);
        if (!lua_istable(L, -1)) {
            lua_pop(L, 1);
            lua_pushboolean(L, 0);
        }
        break;
    case 4:
    case 5:
    case 6:
        push_number(L, choices);
        break;
    case 7:
    case 8:
    case 9:
        push_string(L, choices);
        break;
    case 10:
        build(L, choices, root);
        nest(L, choices);
        break;
    default:
        push_table(L, choices, root, (kind - 11) % 3);
    }
}

static bool is_utf8(lua_State *L, int index)
{
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    return utf8_is_valid(text, size);
}

static bool has_array_mt(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    json_push_array_mt(L);
    bool equal = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return equal;
}

/* Of a table's keys. */
struct keys {
    lua_Integer strings, others; /* others: neither strings nor integers from 1 */
    lua_Integer integers, largest;
};

static struct keys keys_of(lua_State *L, int table)
{
    struct keys keys = {.strings = 0};
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            keys.strings++;
        } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1) {
            keys.integers++;
            if (lua_tointeger(L, -2) > keys.largest)
                keys.largest = lua_tointeger(L, -2);
        } else {
            keys.others++;
        }
    }
    return keys;
}

/* What the header says: whether the value in a slot, with so many tables around it, is JSON. */
static bool is_json(lua_State *L, int index, int depth)
{
    int type = lua_type(L, index);
    if (type == LUA_TSTRING)
        return is_utf8(L, index);
    if (type == LUA_TNUMBER)
        return lua_isinteger(L, index) || isfinite(lua_tonumber(L, index));
    if (type == LUA_TLIGHTUSERDATA)
        return lua_touserdata(L, index) == NULL;
    if (type != LUA_TTABLE)
        return type == LUA_TBOOLEAN;
    if (depth == JSON_DEPTH_MAX)
        return false;
    luaL_checkstack(L, 8, NULL);
    struct keys keys = keys_of(L, index);
    bool tagged = has_array_mt(L, index);
    lua_Integer holes = keys.largest - keys.integers;
    if (keys.others > 0 || (keys.strings > 0 && (tagged || keys.integers > 0)))
        return false;
    if (tagged ? holes > keys.integers + HOLES_FREE : holes > 0)
        return false;
    bool good = true;
    lua_pushnil(L);
    while (good && lua_next(L, index) != 0) {
        int key = lua_gettop(L) - 1;
        good =
            (lua_type(L, key) != LUA_TSTRING || is_utf8(L, key)) && is_json(L, key + 1, depth + 1);
        lua_settop(L, good ? key : key - 1);
    }
    return good;
}

/* Whether `b`, decoded, is what `a` was. */
static void must_be_equal(lua_State *L, int a, int b)
{
    luaL_checkstack(L, 8, NULL);
    must(lua_type(L, a) == lua_type(L, b));
    must(lua_isinteger(L, a) == lua_isinteger(L, b));
    if (lua_type(L, a) == LUA_TNUMBER && !lua_isinteger(L, a))
        must(signbit(lua_tonumber(L, a)) == signbit(lua_tonumber(L, b)));
    if (!lua_istable(L, a)) {
        must(lua_rawequal(L, a, b));
        return;
    }
    struct keys mine = keys_of(L, a), theirs = keys_of(L, b);
    must(has_array_mt(L, b) == (mine.integers > 0 || has_array_mt(L, a)));
    must(theirs.strings == mine.strings && theirs.largest == mine.largest && theirs.others == 0);
    must(theirs.integers == mine.largest);
    for (lua_pushnil(L); lua_next(L, b) != 0; lua_pop(L, 1)) { /* key theirs */
        lua_pushvalue(L, -2);
        int type = lua_rawget(L, a); /* key theirs mine */
        if (type == LUA_TNIL)        /* a hole */
            must(lua_islightuserdata(L, -2) && lua_touserdata(L, -2) == NULL);
        else
            must_be_equal(L, lua_gettop(L), lua_gettop(L) - 1);
        lua_pop(L, 1);
    }
}

static void check_message(const char *message, size_t size)
{
    must(strncmp(message, "data", 4) == 0 && strlen(message) == size && size < 400);
    for (size_t i = 0; i < size; i++)
        must(message[i] >= ' ' && message[i] <= '~');
}

static int check(lua_State *L)
{
    struct choices *choices = lua_touserdata(L, 1);
    size_t size, again_size;
    lua_settop(L, 0);
    build(L, choices, 1);
    lua_settop(L, 1);
    bool good = is_json(L, 1, 0);
    must(lua_gettop(L) == 1);
    must(json_encode(L, 1) == (good ? 0 : -1) && lua_gettop(L) == 2); /* value text */
    const char *text = lua_tolstring(L, 2, &size);
    if (!good) {
        check_message(text, size);
        return 0;
    }
    must(json_scan_valid(text, size) || nesting_of(text, size) > JSON_SCAN_DEPTH_MAX);
    char *exact = copy_bytes(text, size);
    must(json_decode(L, exact, size) == 0); /* value text decoded */
    free(exact);
    must_be_equal(L, 1, 3);
    must(json_encode(L, 3) == 0);
    lua_tolstring(L, 4, &again_size);
    must(size == again_size); /* keys come in any order: as many bytes, not the same */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (L == NULL) {
        L = luaL_newstate();
        json_open(L);
        lua_settop(L, 0);
    }
    struct choices choices = {.at = data, .end = data + size};
    lua_pushcfunction(L, check);
    lua_pushlightuserdata(L, &choices);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_settop(L, 0);
    return 0;
}
