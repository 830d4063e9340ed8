#ifndef TIDEMILL_MILL_REHEARSAL_H
#define TIDEMILL_MILL_REHEARSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "rules/engine.h"

/*
 * A rehearsal: rules run on stored messages, as if it were then. Its clock stands at a moment of
 * the past and is moved by hand; timers and mill.sleep follow it. Nothing leaves: what handlers
 * decide is told to the owner, and mill.request and mill.kv answer that they are not available.
 *
 * One thread.
 */

struct rehearsal;

struct rehearsal_options {
    const char *rules_dir;
    const struct rules_config *limits; /* timeout and memory; borrowed for the opening */
    int64_t now_ns;                    /* since 1970: when it begins */
    /* A handler ended, or, with `token` NULL, a timer's. */
    void (*ended)(void *context, void *token, const struct call_result *result);
    void *context;
};

int rehearsal_open(struct rehearsal **rehearsal, const struct rehearsal_options *options,
                   struct error *err);
void rehearsal_close(struct rehearsal *rehearsal); /* NULL is fine */

/*
 * Gives a message to the rules that want it; for each of them `ended` is called once, perhaps
 * before this returns. Returns how many they are, which is set in `*wanted` before the first call.
 */
size_t rehearsal_give(struct rehearsal *rehearsal, const struct input *input, void *token,
                      size_t *wanted);

/* Lets the time pass until `now_ns`, with all that is due on the way, each at its own moment. */
void rehearsal_pass(struct rehearsal *rehearsal, int64_t now_ns);

/* Lets it pass until the next thing is due. False: nothing is. */
bool rehearsal_step(struct rehearsal *rehearsal);

/* Waits, in its own time, for the handlers that still wait; ends with an error those that go on. */
void rehearsal_finish(struct rehearsal *rehearsal);

int64_t rehearsal_now(const struct rehearsal *rehearsal);
size_t rehearsal_rule_count(const struct rehearsal *rehearsal);
const char *rehearsal_version(const struct rehearsal *rehearsal);

#endif
