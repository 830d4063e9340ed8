#ifndef TIDEMILL_RULES_LUAFILE_H
#define TIDEMILL_RULES_LUAFILE_H

#include <stddef.h>

#include "base/error.h"
#include "base/value.h"

/*
 * A Lua file that is data: it runs once, in a sandbox of its own, and the table it returns becomes
 * a plain value tree. It may compute with string, table, math, tonumber, tostring, ipairs, pairs,
 * next, select, type, error and assert, and read the environment:
 *
 *   env(name)            the variable; nil when it is not set or empty
 *   env(name, default)   the same with a default instead of nil
 *
 * Nothing else: no files, no modules, no compiled chunks, and a name that was never set is an
 * error. A file that uses more than 64 MB or runs longer than a second is stopped. Tables that
 * contain themselves, or are too deep or too large, are refused. Any thread (the environment must
 * not be changed meanwhile).
 */

/*
 * Runs the file. Returns 0 and a VALUE_TABLE that the caller frees with value_free, or -1 with
 * `*out` nil and one line, with file and line where there is one: "tidemill.lua:7: unexpected
 * symbol near '}'". In every table the keys that are strings are sorted.
 */
int luafile_eval(const char *path, struct value *out, struct error *err);

/* For tests: the same for a text; `name` stands for the file in messages. */
int luafile_eval_text(const char *name, const char *text, size_t size, struct value *out,
                      struct error *err);

#endif
