#ifndef TIDEMILL_RULES_ROUTER_H
#define TIDEMILL_RULES_ROUTER_H

#include <stddef.h>

#include "base/error.h"

/*
 * The router: which rules want a subject. A trie over subject tokens with NATS wildcards (`*` one
 * token, `>` one or more at the end), so that a look-up costs about the subject's length however
 * many rules there are. Built once per engine, then only read; a look-up allocates nothing. One
 * thread, because it works in room of the router's.
 */

struct router;

struct router *router_new(void);
void router_free(struct router *router); /* NULL is fine */

/*
 * Adds a pattern for the target with this number (0..; small and dense). The same target may have
 * many patterns. Returns 0, or -1 when `pattern` is no valid subject pattern (subject.h).
 */
int router_add(struct router *router, const char *pattern, size_t target, struct error *err);

/*
 * Writes the targets that want `subject`, each once, in ascending order, at most `max`; returns how
 * many (never more than `max`).
 */
size_t router_match(struct router *router, const char *subject, size_t *targets, size_t max);

#endif
