#ifndef TIDEMILL_RULES_API_H
#define TIDEMILL_RULES_API_H

#include <lua.h>

/*
 * The `mill` table: the one global that the host adds. Read-only, the same for all rules of an
 * engine; its functions find the rule they work for by the call that runs.
 */

/* Makes the table. LJMP. Once per state, after the metatables of message, schedule and metric. */
void api_open(lua_State *L);

/* print(...): logs at info. LJMP. */
int api_print(lua_State *L);

/*
 * Turns what is at `index` into a payload: a table into JSON, a string as it is; anything else
 * raises an error that starts with `what`. Pushes the payload and returns it. LJMP.
 */
const char *api_check_payload(lua_State *L, int index, const char *what, size_t *size);

/* A subject one may publish to. LJMP. */
const char *api_check_subject(lua_State *L, int index, const char *what);

#endif
