#ifndef TIDEMILL_RULES_VOCABULARY_H
#define TIDEMILL_RULES_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "rules/engine.h"

/*
 * The words of the rules' language: every name that a rule can use, as a path. Read from an engine
 * that lives, so that it cannot differ from what rules meet.
 *
 *   pairs, string.format   the globals, and the fields of those that are tables
 *   mill.log.warn          likewise
 *   msg.subject, msg.retry the fields and methods of a message
 *   timer.cancel           the methods of what the host makes: timer, counter, gauge, histogram,
 *                          kv (a bucket)
 *   rule.subjects          the keys of the table that a rule file returns
 *   opts.headers           the options of mill.publish
 *
 * Constant once made; sorted.
 */

struct vocabulary;

/* Reads it from `engine`, which is not needed afterwards. Returns 0, or -1 with `err`. */
int vocabulary_open(struct vocabulary **vocabulary, struct engine *engine, struct error *err);
void vocabulary_close(struct vocabulary *vocabulary); /* NULL is fine */

/* For tests: the words, in their order. */
size_t vocabulary_size(const struct vocabulary *vocabulary);
const char *vocabulary_word(const struct vocabulary *vocabulary, size_t index);

bool vocabulary_has(const struct vocabulary *vocabulary, const char *path);

/* Whether there are words below `path`: "string", "mill.log". */
bool vocabulary_is_table(const struct vocabulary *vocabulary, const char *path);

/*
 * The last part of the word nearest to `name` in the table `path` ("" for the globals, that is,
 * what has no dot); NULL when none is near enough. Borrowed.
 */
const char *vocabulary_nearest(const struct vocabulary *vocabulary, const char *path,
                               const char *name);

#endif
