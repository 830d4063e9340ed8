#ifndef TIDEMILL_RULES_MESSAGE_H
#define TIDEMILL_RULES_MESSAGE_H

#include "rules/engine_internal.h"

/*
 * `msg`: what a handler sees of its input. A small userdata that reads the input when a field is
 * asked for; nothing is copied or decoded before. Read-only, and dead once its call has ended.
 */

/* Makes the metatable. LJMP. Once per state. */
void message_open(lua_State *L);

/* Pushes the message of a CALL_MESSAGE. LJMP. */
void message_push(lua_State *L, struct call *call);

/* Pushes a table whose keys are the names of all fields and methods. LJMP. Not to be changed. */
void message_push_names(lua_State *L);

#endif
