#ifndef TIDEMILL_RULES_KV_H
#define TIDEMILL_RULES_KV_H

#include <lua.h>

/*
 * mill.kv(bucket): a bucket's functions. They check what a rule passes, hand a struct kv_request to
 * the host and wait for its answer, as mill.request does.
 */

/* Makes the metatable. LJMP. Once per state. */
void kv_open(lua_State *L);

/* mill.kv(bucket). LJMP. */
int kv_from_rule(lua_State *L);

#endif
