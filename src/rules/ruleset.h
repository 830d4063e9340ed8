#ifndef TIDEMILL_RULES_RULESET_H
#define TIDEMILL_RULES_RULESET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * A ruleset: the rules directory as it was read once, so that every worker and every later look
 * sees the same bytes. `*.lua` are rules, `*_test.lua` are tests (left out here), `lib/` (with
 * folders below it) holds modules for `require`. Constant after reading; counted references; any
 * thread.
 */

struct ruleset;

struct rule_file {
    char *name;   /* a rule: "high_value"; a module: "units" or "sub.units" as require() names it */
    char *path;   /* "rules/high_value.lua": the directory as given, for error messages */
    char *source; /* NUL-terminated */
    size_t size;
};

enum {
    RULESET_FILES_MAX = 10000,      /* files in one ruleset */
    RULESET_FILE_SIZE_MAX = 4 << 20 /* bytes in one file */
};

/*
 * Reads `dir`. Hidden names, other suffixes and other folders are passed over; links to files and
 * to lib/ are followed, as in a mounted ConfigMap. Errors: no such directory, an unreadable file, a
 * file that is too large, too many files, two files for one module; one line that names the path. A
 * directory without a rule is no error. Returns 0 and a ruleset with one reference, or -1.
 */
int ruleset_read(struct ruleset **ruleset, const char *dir, struct error *err);

/*
 * Leaves out all rules but `name`, to try it alone; only while nobody else has the ruleset. False,
 * and nothing changed, when there is no such rule.
 */
bool ruleset_keep(struct ruleset *ruleset, const char *name);

struct ruleset *ruleset_retain(struct ruleset *ruleset);
void ruleset_release(struct ruleset *ruleset); /* NULL is fine */

size_t ruleset_rule_count(const struct ruleset *ruleset); /* sorted by name */
const struct rule_file *ruleset_rule(const struct ruleset *ruleset, size_t index);
const struct rule_file *ruleset_module(const struct ruleset *ruleset,
                                       const char *name); /* or NULL */

size_t ruleset_module_count(const struct ruleset *ruleset); /* sorted by name */
const struct rule_file *ruleset_module_at(const struct ruleset *ruleset, size_t index);

const char *ruleset_dir(const struct ruleset *ruleset);

/* The rules version: 12 hexadecimal digits of a hash over names and contents, NUL-terminated. */
const char *ruleset_version(const struct ruleset *ruleset);

#endif
