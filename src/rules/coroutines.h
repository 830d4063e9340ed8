#ifndef TIDEMILL_RULES_COROUTINES_H
#define TIDEMILL_RULES_COROUTINES_H

#include <lua.h>

/*
 * coroutine.* for rules. As in the manual, and:
 * - a verdict (a limit, msg:retry ...) passes through resume, wrap and close;
 * - mill.sleep and mill.request work inside a rule's own coroutines: the whole chain of coroutines
 * up to the handler waits;
 * - the handler's own coroutine belongs to the engine: it cannot be yielded, and `running` does not
 *   give it away.
 */

/* Replaces the functions in the library table on the top of the stack. LJMP. */
void coroutines_open(lua_State *L);

#endif
