#ifndef TIDEMILL_RULES_TRIAL_H
#define TIDEMILL_RULES_TRIAL_H

#include <lua.h>

/*
 * A rule on trial: alone in a real engine, for `tidemill test`, with a clock that stands still
 * until it is told to move. A Lua object of the test's state, used by src/lua/testing.lua:
 *
 *   trial = open(name, callbacks)      raises when there is no such rule or it cannot be loaded
 *   trial:send(input)                  false when the rule does not want the subject
 *   trial:advance(seconds)             timers run and sleepers wake, each at its time
 *   trial:reload()                     reads the files again and swaps, with the state carried over
 *   trial:now()                        the time of the clock: seconds since 1970
 *
 * `input` has subject, payload, stream, consumer, sequence, delivered, pending, time_ns and
 * headers, all of the right types. What the engine asks and tells goes to functions in `callbacks`:
 *
 *   finished(input, verdict, detail, outputs)     input is nil for timers and on_unload
 *   request(subject, payload)                     returns the answer, or nil and an error; false:
 *                                                 there will be none
 *   kv(operation, bucket, key, value, revision)   returns an error or nil, a value, a revision
 *   log(level, text)
 *
 * An error in one of them is raised by the method that led to it.
 */

/* Pushes `open`, for the rules in the directory `dir`. LJMP. */
void trial_push_open(lua_State *L, const char *dir);

#endif
