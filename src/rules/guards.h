#ifndef TIDEMILL_RULES_GUARDS_H
#define TIDEMILL_RULES_GUARDS_H

#include <lua.h>

/*
 * Library functions that are not Lua's own: those that could run for long where the count hook does
 * not see them (one C call with huge bounds; they also charge for their work, limits_charge, or a
 * thousand such calls would pass between two looks of the hook), and those that could catch a
 * verdict (pcall, xpcall) or reach what must not be reached (setmetatable, rawset). Each replaces
 * the original of the same name in the library table on the top of the stack. Apart from the guard
 * they behave as in the manual.
 */

enum {
    GUARD_BYTES_MAX = 16 << 20,   /* a string made by one string.rep */
    GUARD_RANGE_MAX = 4 << 20,    /* elements that one table function may walk over */
    GUARD_SORT_MAX = 256 << 10,   /* elements of one table.sort: 0.2 s */
    GUARD_SORT_STEPS = 18,        /* charged for each: the logarithm of that */
    GUARD_BYTES_PER_STEP = 16,    /* of a copy */
    GUARD_CJSON_DEPTH_MAX = 1000, /* nesting: lua-cjson recurses on the C stack */
    GUARD_DATE_MAX = 1000         /* bytes of the format of os.date: each % costs a strftime */
};

/* All LJMP; the library table stays on the top. */
void guards_open_base(lua_State *L);
void guards_open_table(lua_State *L);
void guards_open_utf8(lua_State *L);
void guards_open_os(lua_State *L);
void guards_open_cjson(lua_State *L);
void guards_open_json(lua_State *L); /* mill.json */
/* find, match, gmatch and gsub as well: pattern_library. */
void guards_open_string(lua_State *L);

#endif
