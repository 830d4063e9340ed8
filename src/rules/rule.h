#ifndef TIDEMILL_RULES_RULE_H
#define TIDEMILL_RULES_RULE_H

#include "rules/engine_internal.h"

/*
 * A rule: its file's top level, the check of the table that it returned, and its queue. At most
 * `concurrency` calls of a rule are under way; timers that are due come before queued inputs.
 */

enum { RULE_CONCURRENCY_MAX = 1000 };

/* Prepares a rule that is not loaded. */
void rule_init(struct rule *rule, struct engine *engine, size_t index);

/*
 * Gives a rule the environment its file runs in, without modules and states yet: pushes it. LJMP.
 */
void rule_push_environment(lua_State *L, struct rule *rule);

/*
 * Runs the file's top level in a new environment, checks what it returned, and adds the rule's
 * patterns to the router. Every error says file, key or line, and what was expected. LJMP.
 */
void rule_load(lua_State *L, struct rule *rule);

/* Writes the keys a rule's table may have (string constants), at most `max`; returns how many. */
size_t rule_key_names(const char **names, size_t max);

/* Takes the first queued input. Returns false when there is none. */
bool rule_take(struct rule *rule, const struct input **input, void **token);

/* Starts what is queued, as far as the rule's concurrency lets it. */
void rule_drain(struct rule *rule);

/* Runs an input now, or queues it. */
void rule_accept(struct rule *rule, const struct input *input, void *token);

#endif
