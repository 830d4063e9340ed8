#ifndef TIDEMILL_RULES_JSON_H
#define TIDEMILL_RULES_JSON_H

#include <lua.h>
#include <stddef.h>

/*
 * The JSON codec: RFC 8259 text to Lua values and back, exactly. What json_decode makes,
 * json_encode writes back as an equal document, type for type.
 *
 *   JSON                         Lua
 *   integer within 64 bits       integer
 *   other number                 float (nearest); an integer beyond 64 bits too; 1e400: refused
 *   string                       string (bytes, UTF-8 checked)
 *   true, false                  boolean
 *   null                         light userdata NULL, which is cjson.null
 *   array                        table 1..n with the array metatable (also when empty)
 *   object                       table without a metatable
 *
 * The array metatable is one table per Lua state, lua-cjson's cjson.array_mt convention (the light
 * userdata key json_array_mt_key in the registry); it is empty and cannot be changed. Encoding: a
 * table with that metatable is an array up to its largest key, holes become null, a key that is no
 * integer from 1 is an error; without it, an empty table is {}, a table with keys 1..n only is an
 * array, string keys make an object, and anything else (holes, mixed keys, functions, cycles, NaN,
 * a string that is not UTF-8) is an error that names the path of the value. Other metatables have
 * no say: access is raw. Floats are written in the shortest form that reads back the same and
 * always look like floats (`1.0`). Object keys that are integers or floats are an error.
 *
 * Thread: the state's. The functions marked LJMP raise Lua errors and must run in a protected call.
 */

enum {
    JSON_DEPTH_MAX = 512 /* nesting; deeper is refused */
};

/* Prepares a state: makes the array metatable. LJMP. Call once per state. */
void json_open(lua_State *L);

/* Pushes the array metatable. */
void json_push_array_mt(lua_State *L);

/*
 * Decodes one document and pushes it: [-0, +1]. On a fault pushes an error message instead ("byte
 * 12: invalid UTF-8"; offsets count from 1). Returns 0 or -1. LJMP only when memory runs out.
 */
int json_decode(lua_State *L, const char *text, size_t size);

/*
 * Encodes the value at `index` and pushes the text as a string: [-0, +1]. On a fault pushes an
 * error message instead that names the place ("data.items[3]: a function cannot be JSON"). Returns
 * 0 or -1. LJMP only when memory runs out.
 */
int json_encode(lua_State *L, int index);

/*
 * mill.json: pushes a new table with encode and decode, which raise on a fault, null, array_mt,
 * array(t) (tags t, or a new table, as an array) and empty_array. Per rule: empty_array is a table
 * a rule could fill. LJMP.
 */
void json_push_library(lua_State *L);

#endif
