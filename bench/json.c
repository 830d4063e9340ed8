/*
 * The JSON codec beside lua-cjson, in one run: both are called from Lua on the same documents, in
 * alternating rounds, garbage collection included. Prints the median of each and the median ratio.
 *
 *   make bench-json
 */
#include "rules/json.h"
#include "base/clock.h"

#include <lauxlib.h>
#include <lua5.4/lua-cjson.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, CALLS = 100000 };

static const char reading[] =
    "{\"sensor_id\":\"boiler-07\",\"value\":93.4,\"unit\":\"C\",\"time\":1732300000123,\"seq\":"
    "48211,"
    "\"battery\":87,\"rssi\":-71,\"ok\":true,\"site\":\"north\",\"firmware\":\"2.4.1\"}";
static const char nested[] =
    "{\"device\":{\"id\":\"pump-3\",\"tags\":[\"a\",\"b\",\"c\"],\"pos\":{\"x\":1.25,\"y\":-7.5}},"
    "\"samples\":[[1,2,3],[4,5,6]],\"note\":null}";

/* Runs `calls` times f(argument), where f and the argument are values of the state. */
static const char loop[] = "local f, argument, calls = ...\n"
                           "for _ = 1, calls do f(argument) end\n";

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

/* Nanoseconds per call of the function at `function` on the value at `argument`. */
static double time_calls(lua_State *L, int function, int argument)
{
    luaL_loadstring(L, loop);
    lua_pushvalue(L, function);
    lua_pushvalue(L, argument);
    lua_pushinteger(L, CALLS);
    int64_t began = clock_monotonic_ns();
    lua_call(L, 3, 0);
    return (double)(clock_monotonic_ns() - began) / CALLS;
}

/* Compares the functions called `name` of the two libraries (at 1: ours, at 2: lua-cjson). */
static void compare(lua_State *L, const char *title, const char *name, int argument)
{
    double ours[ROUNDS], theirs[ROUNDS], ratios[ROUNDS];
    lua_getfield(L, 1, name);
    lua_getfield(L, 2, name);
    int mine = lua_gettop(L) - 1;
    for (size_t i = 0; i < ROUNDS; i++) {
        ours[i] = time_calls(L, mine, argument);
        theirs[i] = time_calls(L, mine + 1, argument);
        ratios[i] = theirs[i] / ours[i];
    }
    lua_pop(L, 2);
    printf("%-24s %-7s %7.0f ns %10.0f ns %8.2fx\n", title, name, median(ours, ROUNDS),
           median(theirs, ROUNDS), median(ratios, ROUNDS));
}

static void compare_both_ways(lua_State *L, const char *title, const char *text)
{
    lua_pushstring(L, text);
    int document = lua_gettop(L);
    compare(L, title, "decode", document);
    if (json_decode(L, text, strlen(text)) != 0)
        abort();
    compare(L, title, "encode", document + 1);
    lua_settop(L, document - 1);
}

int main(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    json_open(L);
    json_push_library(L);
    luaopen_cjson(L);
    char title[64];
    printf("%-24s %-7s %10s %13s %9s   (medians of %d rounds)\n", "document", "", "tidemill",
           "lua-cjson", "faster", ROUNDS);
    snprintf(title, sizeof(title), "reading, %zu bytes", sizeof(reading) - 1);
    compare_both_ways(L, title, reading);
    snprintf(title, sizeof(title), "nested, %zu bytes", sizeof(nested) - 1);
    compare_both_ways(L, title, nested);
    lua_close(L);
    return 0;
}
