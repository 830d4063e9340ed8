#ifndef TIDEMILL_RULES_LIMITS_H
#define TIDEMILL_RULES_LIMITS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/blocks.h"

/*
 * What stops a rule: a counting allocator with a ceiling, and a count hook with a deadline. One
 * struct per Lua state; the state's thread only.
 *
 * Both are sticky. Once the deadline has passed, the hook fires at every instruction, so that no
 * pcall in a rule can go on; once an allocation was refused for good, the next look of the hook
 * ends the call as well. limits_arm makes a fresh start.
 *
 * The hook sees Lua's instructions only. What else takes time looks at the clock by itself: library
 * functions charge for their work (limits_charge), and past the deadline the allocator refuses
 * large blocks, which bounds operators on huge strings.
 */

struct limits {
    size_t memory_max; /* bytes; what grows in place may pass it by a sixteenth */
    size_t memory_used;
    size_t reserve;      /* bytes over memory_max while the engine reports a failure */
    size_t refused_size; /* a refusal that Lua answers with a full collection and a second try */
    bool out_of_memory;  /* the second try was refused too */
    bool expired;
    int64_t deadline_ns; /* clock_monotonic_ns; INT64_MAX: none */
    size_t charged;      /* steps since the last look at the clock */
    struct blocks *blocks;
};

enum {
    LIMITS_HOOK_COUNT = 1000,    /* instructions between two looks at the clock: 5 to 20 us */
    LIMITS_CHARGE_COUNT = 20000, /* likewise steps of library functions: 20 to 100 us */
    LIMITS_LARGE_BLOCK =
        64 << 10 /* bytes that take longer to fill than a look at the clock: 5 us */
};

/* `blocks` is where the memory is from. */
void limits_init(struct limits *limits, size_t memory_max, struct blocks *blocks);

/* The lua_Alloc of the state; `limits` is its user data. */
void *limits_alloc(void *limits, void *block, size_t old_size, size_t new_size);

/* Starts to count for one stretch of running. */
void limits_arm(struct limits *limits, int64_t deadline_ns);

/* Whether a limit was passed: looks at the clock. */
bool limits_over(struct limits *limits);

/* Sets the hook on `L`; coroutines made from it inherit it. Past a limit: call_over_limit. */
void limits_watch(lua_State *L);

/*
 * Counts work that a library function does, or is about to do, where the hook does not see it:
 * steps of some nanoseconds. Looks at the clock at times, and past a limit raises as the hook does.
 * LJMP.
 */
void limits_charge(lua_State *L, size_t steps);

/*
 * Whether the hook has raised in this dead coroutine. Then Lua has left its hooks off for good: it
 * must not run anything any more, not even its pending __close methods.
 */
bool limits_died_in_hook(lua_State *thread);

#endif
