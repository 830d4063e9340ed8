#ifndef TIDEMILL_RULES_STATE_H
#define TIDEMILL_RULES_STATE_H

#include "rules/engine_internal.h"

/*
 * mill.state: tables of plain data, per rule and name, that go over from one engine to the next.
 * Plain is nil, booleans, numbers, strings, cjson.null, JSON arrays, and tables of these with
 * strings, numbers or booleans as keys, without metatables and cycles. A table that is held in two
 * places is two tables afterwards.
 *
 * What is carried is first written out of the one Lua state into a block of bytes and then read
 * into the other: no Lua error can leave one state across frames of the other.
 */

enum { STATE_NAME_MAX = 128, STATE_DEPTH_MAX = 100 };

/* mill.state(name): the same table each time. LJMP. */
int state_from_rule(lua_State *L);

/*
 * Carries the tables of a rule. What `from` holds replaces what `to` holds under the same key; the
 * tables of `to` stay the same tables. -1 with rule, state and key in `err`; when that is for want
 * of memory, `to` may have got some of it.
 */
struct carried;

/* Writes out the tables of all rules. NULL on failure. */
struct carried *state_write(struct engine *from, struct error *err);

/* Reads them into the rules of the same names. Returns 0 or -1. */
int state_read(struct engine *to, const struct carried *carried, struct error *err);

void state_free(struct carried *carried); /* NULL is fine */

#endif
