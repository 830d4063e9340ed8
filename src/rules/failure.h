#ifndef TIDEMILL_RULES_FAILURE_H
#define TIDEMILL_RULES_FAILURE_H

#include <lua.h>
#include <stdarg.h>

/*
 * The words for code of a rule that failed: one line with file and line, and a traceback. Fixed
 * sizes; what does not fit is cut. Safe with error values of any kind, hostile ones included.
 */

struct failure {
    char text[2048];
    char traceback[4096];
};

/*
 * Writes "rules/x.lua:7: <formatted>" into `failure->text`, with the place where `L` is now. Raises
 * nothing, allocates nothing.
 */
void failure_set(struct failure *failure, lua_State *L, const char *format, va_list args);

/*
 * Takes the error value from the top of the dead coroutine `thread` and writes it as `text`. LJMP:
 * runs the value's __tostring, on `L`.
 */
void failure_take_error(struct failure *failure, lua_State *L, lua_State *thread);

/* Writes the traceback of the dead coroutine `thread`. LJMP. */
void failure_take_traceback(struct failure *failure, lua_State *L, lua_State *thread);

#endif
