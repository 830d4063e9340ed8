#ifndef TIDEMILL_BASE_CONFIG_SECTION_H
#define TIDEMILL_BASE_CONFIG_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/value.h"

/*
 * One table of the configuration on its way into `struct config`; for config.c, config_check.c
 * and config_log.c. Every function asks for one key. A key that is missing leaves the caller's
 * value, the default, alone; one that is wrong adds a problem under its path and leaves the value
 * alone too. A section remembers which keys it was asked for: the others are the unknown ones,
 * reported by section_end. Strings are copied and replace (free) the caller's.
 */

enum { SECTION_KEYS_MAX = 24, SECTION_PATH_MAX = 64 };

struct section {
    struct config_problems *problems;
    const struct value *table;   /* NULL: not given, every key is missing */
    char path[SECTION_PATH_MAX]; /* "sources[1]"; "" for the whole file */
    const char *known[SECTION_KEYS_MAX];
    bool required[SECTION_KEYS_MAX];
    size_t known_count;
};

/* Adds a problem under a path. Control characters in the message become '?'. */
void section_add_problem(struct config_problems *problems, const char *path, const char *format,
                         ...) __attribute__((format(printf, 3, 4)));

/* Adds a problem under a key of the section. */
void section_problem(const struct section *section, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The value under a key, which is known from now on; NULL when it is missing. */
const struct value *section_value(struct section *section, const char *key);

/* The table under `key` as a section of its own. Returns whether there is one. */
bool section_enter(struct section *section, const char *key, struct section *inner);

/* The list of tables under `key`, at most `max` of them: how many. */
size_t section_list(struct section *section, const char *key, size_t max);

/* The element `index` (0..) of that list as a section. */
void section_element(struct section *section, const char *key, size_t index, struct section *inner);

/* The key last asked for must be there; section_end says so when it is not. */
void section_require(struct section *section);

/*
 * Reports the keys nobody asked for, with the nearest known one, and the required ones that are
 * missing unless such a key was probably meant to be it.
 */
void section_end(struct section *section);

/* Not empty, no control character. */
void section_string(struct section *section, const char *key, char **string);

/* One string, or a list of at least one. */
void section_strings(struct section *section, const char *key, struct string_list *list);

void section_boolean(struct section *section, const char *key, bool *boolean);
void section_integer(struct section *section, const char *key, int64_t min, int64_t max,
                     int64_t *integer);

/* "30s" or a number of seconds; at least `min` nanoseconds. */
void section_duration(struct section *section, const char *key, int64_t min, int64_t *ns);

/* A list of at least one duration, or one alone. The array replaces (frees) the caller's. */
void section_durations(struct section *section, const char *key, int64_t **ns, size_t *count);

/* "64MB" or a number of bytes, at least `min`; also -1 when `or_unlimited`. */
void section_size(struct section *section, const char *key, int64_t min, bool or_unlimited,
                  int64_t *bytes);

/* One of the names: its index. */
void section_choice(struct section *section, const char *key, const char *const *names,
                    size_t count, int *choice);

/* string_list_append, with a problem under `path` when memory runs out. */
void section_append(struct config_problems *problems, const char *path, struct string_list *list,
                    const char *string);

#endif
