#ifndef TIDEMILL_RULES_SANDBOX_H
#define TIDEMILL_RULES_SANDBOX_H

#include "rules/engine_internal.h"

/*
 * What a rule can see. Each rule file has its own global table with the base functions and its own
 * copies of the library tables, taken from allow-lists; nothing a rule can write is shared with
 * another rule. Reading a global that does not exist is an error, and so is making a new one
 * outside of the top level.
 */

/* Opens the libraries, cuts them down to the allow-lists and puts the guards in. LJMP. Once. */
void sandbox_open(lua_State *L);

/* Whether plain Lua has this global, and rules have not: io, load, ... */
bool sandbox_withholds(const char *name);

/* Pushes a new environment. LJMP. */
void sandbox_push_environment(lua_State *L);

/* Compiles a file (text only) into the rule's environment and pushes the chunk. LJMP. */
void sandbox_load(lua_State *L, struct rule *rule, const struct rule_file *file);

/*
 * Replaces the table on the top of the stack by a read-only view of it; reading a key that is not
 * there is an error that starts with `name`. LJMP.
 */
void sandbox_make_readonly(lua_State *L, const char *name);

#endif
