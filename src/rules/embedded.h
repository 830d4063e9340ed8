#ifndef TIDEMILL_RULES_EMBEDDED_H
#define TIDEMILL_RULES_EMBEDDED_H

#include "rules/engine_internal.h"

/*
 * The Lua sources in src/lua, which are part of the program. The helpers of `mill` (mill.window and
 * so on) are loaded for a rule when it first calls one: each rule has its own instances, in an
 * environment that the rule does not see, under the rule's limits.
 */

/* Compiles one of them and pushes the chunk; `name` is "window". LJMP. */
void embedded_load(lua_State *L, const char *name);

/* Adds the helpers to the `mill` table on the top. LJMP. */
void embedded_add_helpers(lua_State *L);

#endif
