/*
 * The JSON codec beside lua-cjson, in one run: both work from Lua on the same documents, in
 * alternating rounds, garbage collection included. Prints the median of each and the median ratio.
 *
 *   make bench-json
 *
 * What is measured: `decode`, as mill.json.decode does it; `two fields`, a msg.data of which a rule
 * reads two; `whole`, one of which it reads all (as it is decoded after a rule has done so for a
 * while), `whole, first` (before that is noticed) and `whole, eager` (what mill.json.decode makes);
 * `encode`.
 */
#include "rules/json.h"
#include "base/clock.h"
#include "rules/json_lazy.h"

#include <lauxlib.h>
#include <lua5.4/lua-cjson.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 15, ROUND_BYTES = 4 << 20 };

/* Makes the documents: a table of { title, text, function that reads two fields }. */
static const char make_documents[] =
    "local array, encode = ...\n"
    "local function reading(i)\n"
    "  return { sensor_id = 'boiler-0' .. i % 10, value = 93.4 + i, unit = 'C', ok = true,\n"
    "    time = 1732300000123 + i, seq = 48211 + i, battery = 87, rssi = -71, site = 'north',\n"
    "    firmware = '2.4.1' }\n"
    "end\n"
    "local function machine(samples)\n"
    "  local list = array {}\n"
    "  for i = 1, samples do\n"
    "    list[i] = { at = 1732300000123 + 250 * i, channel = 'vibration-' .. i % 4, ok = true,\n"
    "      axes = { x = i * 0.25, y = -i * 0.5, z = 9.81 + i } }\n"
    "  end\n"
    "  return { sensor_id = 'press-7', kind = 'batch', sequence = 48211,\n"
    "    device = { id = 'a81f09', model = 'VX-200', firmware = { major = 2, minor = 4 },\n"
    "      tags = array { 'north', 'line-3', 'critical' } },\n"
    "    location = { site = 'north', hall = 3, position = { x = 12.5, y = -7.25 } },\n"
    "    power = { battery = 87, volts = 3.71, charging = false },\n"
    "    status = { state = 'running', since = 1732300000123, alarms = array {} },\n"
    "    samples = list }\n"
    "end\n"
    "local function two(d) return d.sensor_id, d.value end\n"
    "local function deep(d) return d.device.id, d.status.state end\n"
    "local function late(d) return d.sensor_id, d.samples[#d.samples].axes.z end\n"
    "local function sized(title, make, size, read)\n"
    "  local n = 1\n"
    "  while #encode(make(n)) < size do n = n + 1 end\n"
    "  local text = encode(make(n))\n"
    "  return { title .. ', ' .. #text .. ' bytes', text, read }\n"
    "end\n"
    "return { sized('flat reading', reading, 1, two),\n"
    "  sized('nested', machine, 1000, deep), sized('nested', machine, 10000, deep),\n"
    "  sized('nested, item', machine, 1000, late), sized('nested, item', machine, 10000, late) }\n";

static const char loops[] =
    "local function walk(value)\n"
    "  for _, v in pairs(value) do if type(v) == 'table' then walk(v) end end\n"
    "end\n"
    "local function call(f, argument, calls) for _ = 1, calls do f(argument) end end\n"
    "local function read(f, argument, calls, fields)\n"
    "  for _ = 1, calls do fields(f(argument)) end\n"
    "end\n"
    "local function whole(f, argument, calls)\n"
    "  for _ = 1, calls do walk(f(argument)) end\n"
    "end\n"
    "return call, read, whole\n";

enum slot { OURS = 1, THEIRS, DOCUMENTS, CALL, READ, WHOLE, LAZY, LEARNING, SLOTS = LEARNING };

/* decode(text) as msg.data is; upvalue 1 is what is learnt, if anything. */
static int decode_lazy(lua_State *L)
{
    size_t size = 0;
    const char *text = lua_tolstring(L, 1, &size);
    if (json_decode_lazy(L, text, size, lua_touserdata(L, lua_upvalueindex(1))) != 0)
        return lua_error(L);
    return 1;
}

/* As in rules: looks past no metatable of ours. */
static int fill_next(lua_State *L)
{
    lua_settop(L, 2);
    json_fill(L, 1);
    return lua_next(L, 1) != 0 ? 2 : 0;
}

static int fill_pairs(lua_State *L)
{
    json_fill(L, 1);
    lua_pushcfunction(L, fill_next);
    lua_pushvalue(L, 1);
    return 2;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return values[count / 2];
}

/* Nanoseconds per call in loop(function, argument, calls, fields). */
static double time_calls(lua_State *L, int loop, int function, int argument, int fields, int calls)
{
    lua_pushvalue(L, loop);
    lua_pushvalue(L, function);
    lua_pushvalue(L, argument);
    lua_pushinteger(L, calls);
    lua_pushvalue(L, fields);
    int64_t began = clock_monotonic_ns();
    lua_call(L, 4, 0);
    return (double)(clock_monotonic_ns() - began) / calls;
}

/* Compares two functions that do the same in a loop. */
static void compare(lua_State *L, const char *title, const char *what, int loop, int mine,
                    int theirs, int argument, int fields)
{
    double ours[ROUNDS], others[ROUNDS], ratios[ROUNDS];
    size_t size = lua_istable(L, argument) ? 1000 : (size_t)lua_rawlen(L, argument);
    int calls = (int)(ROUND_BYTES / size);
    for (size_t i = 0; i < ROUNDS; i++) {
        ours[i] = time_calls(L, loop, mine, argument, fields, calls);
        others[i] = time_calls(L, loop, theirs, argument, fields, calls);
        ratios[i] = others[i] / ours[i];
    }
    printf("%-26s %-13s %8.0f ns %9.0f ns %8.2fx\n", title, what, median(ours, ROUNDS),
           median(others, ROUNDS), median(ratios, ROUNDS));
}

/* The document on the top: title, text, fields. */
static void compare_document(lua_State *L)
{
    int document = lua_gettop(L);
    lua_getfield(L, OURS, "decode");
    lua_getfield(L, THEIRS, "decode");
    lua_getfield(L, OURS, "encode");
    lua_getfield(L, THEIRS, "encode");
    int ours = document + 1, theirs = document + 2;
    lua_rawgeti(L, document, 1);
    lua_rawgeti(L, document, 2);
    lua_rawgeti(L, document, 3);
    int text = lua_gettop(L) - 1, fields = lua_gettop(L);
    const char *title = lua_tostring(L, text - 1);
    compare(L, title, "decode", CALL, ours, theirs, text, fields);
    compare(L, title, "two fields", READ, LEARNING, theirs, text, fields);
    compare(L, title, "whole", WHOLE, LEARNING, theirs, text, fields);
    compare(L, title, "whole, first", WHOLE, LAZY, theirs, text, fields);
    compare(L, title, "whole, eager", WHOLE, ours, theirs, text, fields);
    size_t size = 0;
    const char *bytes = lua_tolstring(L, text, &size);
    if (json_decode(L, bytes, size) != 0)
        abort();
    compare(L, title, "encode", CALL, document + 3, document + 4, lua_gettop(L), fields);
    lua_settop(L, document);
}

static int compare_all(lua_State *L)
{
    static struct json_use use;
    json_push_library(L);
    luaopen_cjson(L);
    if (luaL_loadstring(L, make_documents) != LUA_OK)
        return lua_error(L);
    lua_getfield(L, OURS, "array");
    lua_getfield(L, OURS, "encode");
    lua_call(L, 2, 1);
    lua_pushcfunction(L, fill_pairs);
    lua_setglobal(L, "pairs");
    if (luaL_loadstring(L, loops) != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 3);
    lua_pushlightuserdata(L, NULL);
    lua_pushcclosure(L, decode_lazy, 1);
    lua_pushlightuserdata(L, &use);
    lua_pushcclosure(L, decode_lazy, 1);
    printf("%-26s %-13s %11s %12s %9s   (medians of %d rounds)\n", "document", "", "tidemill",
           "lua-cjson", "faster", ROUNDS);
    for (lua_Integer i = 1; lua_rawgeti(L, DOCUMENTS, i) != LUA_TNIL; i++) {
        memset(&use, 0, sizeof(use));
        compare_document(L);
        lua_settop(L, SLOTS);
    }
    return 0;
}

int main(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    json_open(L);
    lua_settop(L, 0);
    lua_pushcfunction(L, compare_all);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        fprintf(stderr, "bench/json: %s\n", lua_tostring(L, -1));
        return 1;
    }
    lua_close(L);
    return 0;
}
