#ifndef TIDEMILL_RULES_SCOPE_H
#define TIDEMILL_RULES_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "rules/lexer.h"

/*
 * The locals that are visible at one place of a Lua source, the innermost last. A block that ends
 * sets `count` back to what it was. Names point into the source.
 */

struct local {
    const char *name;
    size_t size;
    bool hidden;         /* not visible yet: `local x = x` */
    size_t parameter_of; /* the function whose first parameter it is; 0: none */
    size_t function;     /* the function it names; 0: none */
};

struct scope {
    struct local *items;
    size_t count, room;
};

/* Adds a local; NULL when there is no memory. Good until the next one is added. */
struct local *scope_declare(struct scope *scope, const struct token *name);

/* The innermost visible local of that name, or NULL: it is a global. */
struct local *scope_find(const struct scope *scope, const struct token *name);

void scope_free(struct scope *scope);

#endif
