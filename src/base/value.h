#ifndef TIDEMILL_BASE_VALUE_H
#define TIDEMILL_BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A plain value without a language: what a configuration file returned, ready to be checked. A
 * tree, never a graph. Owned by whoever made it; freed as a whole with value_free.
 */

enum value_type {
    VALUE_NIL,
    VALUE_BOOLEAN,
    VALUE_INTEGER,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_TABLE,
    VALUE_OTHER /* a function, userdata, ...: `string` names its type */
};

struct value {
    enum value_type type;
    bool boolean;
    int64_t integer;
    double number;
    char *string;             /* VALUE_STRING, VALUE_OTHER; NUL-terminated */
    size_t size;              /* of the string, without the NUL */
    struct value_pair *pairs; /* VALUE_TABLE: in no order, except that */
    size_t pair_count;        /* the keys 1..n come first and in order */
    size_t length;            /* VALUE_TABLE: n, how many pairs have the keys 1..n */
};

struct value_pair {
    struct value key; /* VALUE_STRING, VALUE_INTEGER, or another scalar */
    struct value value;
};

/* The value under a string key; NULL when `table` is no table or has no such key. */
const struct value *value_get(const struct value *table, const char *key);

/* The value's type as people write it: "nil", "boolean", "number", "string", "table", ... */
const char *value_type_name(const struct value *value);

/* Frees what `value` holds, not `value` itself. NULL is fine. */
void value_free(struct value *value);

#endif
