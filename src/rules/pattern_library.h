#ifndef TIDEMILL_RULES_PATTERN_LIBRARY_H
#define TIDEMILL_RULES_PATTERN_LIBRARY_H

#include <lua.h>

/*
 * string.find, match, gmatch and gsub over our own matcher: results and errors are those of Lua
 * 5.4. What differs is that they end. Two bounds hold:
 *
 * - A call of find, match or gsub, and each step of a gmatch, has a budget of steps in proportion
 *   to its subject; beyond it, the error is "pattern too expensive: <pattern> on <n> bytes". That
 *   is an ordinary error: it says what to mend, long before a time limit of a second has passed.
 * - All steps are charged (limits_charge): past the call's deadline they end as any other code
 *   does, by the verdict that no pcall catches.
 */

enum {
    /* 30 to 100 ms. "(%w+)=(%w+)" takes n * n steps on n letters, ".-b" half of that: 3 KB and 4 KB
       of the worst still pass. */
    PATTERN_STEPS_BASE = 10000000,
    PATTERN_STEPS_PER_BYTE = 64 /* several passes over megabytes: what takes linear time passes */
};

/* Sets the four functions in the table on the top of the stack. LJMP. */
void pattern_library_open(lua_State *L);

#endif
