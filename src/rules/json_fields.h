#ifndef TIDEMILL_RULES_JSON_FIELDS_H
#define TIDEMILL_RULES_JSON_FIELDS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "rules/json_lazy.h"

/*
 * Small objects of which a rule reads a few fields: the most frequent of all documents. Private to
 * rules/json*.c; json_lazy.h says what it is for and what a rule may not notice. Thread: the
 * state's.
 *
 * Nothing is stored in such a table before it is filled. A scalar that is read is decoded each
 * time: two of the same value are the same to a rule. An object or array in it has an identity, so
 * reading one fills the table, and so does everything else but reading.
 */

/* Makes the metatable. LJMP. */
void json_fields_open(lua_State *L);

/*
 * Pushes the table of a document, if it is one for which this pays; all of the text is checked.
 * False: nothing was pushed. LJMP.
 */
bool json_fields_push(lua_State *L, const char *text, size_t size, struct json_use *use);

/*
 * Makes the table at `index`, which has a metatable, a plain one, if it is one of these: whether it
 * was. LJMP; the table is then as good as before.
 */
bool json_fields_fill(lua_State *L, int index);

#endif
