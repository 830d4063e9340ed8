#ifndef TIDEMILL_RULES_LINT_H
#define TIDEMILL_RULES_LINT_H

#include "base/error.h"
#include "rules/ruleset.h"
#include "rules/vocabulary.h"

/*
 * Finds what is certainly wrong in rules that load: globals that nobody sets, misspelt names in
 * `mill`, `msg` and the libraries. Only looks at the sources (uses.h); runs nothing. What a handler
 * would stumble over at its first message is told beforehand, and nothing else: a warning about a
 * rule that works is a fault of this module.
 */

struct lint;

struct lint *lint_new(void);       /* NULL: no memory */
void lint_free(struct lint *lint); /* NULL is fine */

/*
 * Reads a rule or module. All that belong together first, as one may set a global that the other
 * uses. `file` must stay as long as the lint. A source that is not understood is passed over.
 * Returns 0, or -1 when there is no memory.
 */
int lint_read(struct lint *lint, const struct rule_file *file);

/* Calls `found` with every finding, in the order of the files and their lines. */
typedef void lint_found(void *context, const char *path, int line, const char *text);
void lint_judge(const struct lint *lint, const struct vocabulary *vocabulary, lint_found *found,
                void *context);

/* Calls `visit` with every literal subject to which a file publishes durably. */
typedef void lint_published(void *context, const char *path, int line, const char *subject);
void lint_each_publish(const struct lint *lint, lint_published *visit, void *context);

#endif
