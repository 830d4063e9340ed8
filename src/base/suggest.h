#ifndef TIDEMILL_BASE_SUGGEST_H
#define TIDEMILL_BASE_SUGGEST_H

#include <stddef.h>

/*
 * "Did you mean ...?": the known word nearest to one that somebody mistyped. Near is measured in
 * single-letter edits (insert, remove, replace, swap two neighbours), without regard to case; how
 * many are allowed grows with the word, so that a suggestion is nearly always the word that was
 * meant. Pure; no allocation; any thread.
 */

/* The nearest of `known[0..count)`, the first of equals; NULL when none is near enough. */
const char *suggest_nearest(const char *word, const char *const *known, size_t count);

#endif
