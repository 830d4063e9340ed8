#ifndef TIDEMILL_RULES_SCHEDULE_H
#define TIDEMILL_RULES_SCHEDULE_H

#include "rules/engine_internal.h"

/*
 * The rules' timers: mill.every, mill.after, and the `every` key of a rule. A timer that is due
 * becomes a call of its rule; it waits in the rule's queue, ahead of the inputs, while the rule is
 * busy. A repeating timer that is still queued or running when it is due again skips that turn, and
 * never catches up in a burst. The timer's struct is the Lua object itself, held in the registry
 * until it is over.
 */

enum { TIMERS_PER_RULE_MAX = 10000 };

struct rule_timer {
    struct moment moment;
    struct rule *rule;
    int64_t interval_ns; /* 0: once */
    lua_ref anchor;      /* LUA_NOREF: over */
    bool queued, running;
    bool cancelled;
    struct rule_timer *next_queued;
    struct rule_timer *previous, *next; /* of the rule's timers that are not over */
};

/* Makes the metatable. LJMP. Once per state. */
void schedule_open(lua_State *L);

/*
 * Starts a timer of `rule` that calls the function at `index` and pushes the timer object. `what`
 * names the source for error messages. LJMP.
 */
void schedule_add(lua_State *L, struct rule *rule, double seconds, int index, bool repeat,
                  const char *what);

/* Pushes the timer's function. */
void schedule_push_function(lua_State *L, struct rule_timer *timer);

/* The call of a timer starts; has ended. */
void schedule_started(struct rule_timer *timer);
void schedule_ended(struct rule_timer *timer);

/* Takes the next timer from the rule's queue; NULL: none. */
struct rule_timer *schedule_take(struct rule *rule);

/* Ends all timers of a rule. Those whose function runs end with it. */
void schedule_cancel_all(struct rule *rule);

/* mill.every(seconds, fn), mill.after(seconds, fn). LJMP. */
int schedule_every(lua_State *L);
int schedule_after(lua_State *L);

#endif
