#ifndef TIDEMILL_RULES_OUTPUTS_H
#define TIDEMILL_RULES_OUTPUTS_H

#include <stddef.h>

#include "base/error.h"
#include "rules/engine.h"

/*
 * What one call wants published: a list of outputs with copies of everything they point at. Bounded
 * by number and bytes. Knows no Lua. A zeroed struct is an empty list; it keeps a first block of
 * memory from call to call and allocates nothing for a call that publishes nothing.
 */

enum {
    OUTPUTS_MAX = 10000,         /* per call */
    OUTPUTS_BYTES_MAX = 64 << 20 /* per call: subjects, payloads, ids and headers together */
};

struct outputs {
    struct output *items;
    size_t count, size;
    size_t bytes;
    struct outputs_block *blocks; /* the one in use first */
};

/* Copies `output` to the end of the list. Returns 0, or -1 past a bound or without memory. */
int outputs_add(struct outputs *outputs, const struct output *output, struct error *err);

/* Empties the list; what is large is given back. */
void outputs_clear(struct outputs *outputs);

void outputs_free(struct outputs *outputs);

#endif
