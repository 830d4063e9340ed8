#ifndef TIDEMILL_BASE_STRING_LIST_H
#define TIDEMILL_BASE_STRING_LIST_H

#include <stddef.h>

/* A growing list of strings of its own. All zero: empty. Thread: the owner's. */
struct string_list {
    char **items; /* NUL-terminated */
    size_t count;
};

/* Adds a copy of `string`. Returns 0, or -1 when memory runs out; the list is then as it was. */
int string_list_append(struct string_list *list, const char *string);

/* Frees what it holds: it is empty then. */
void string_list_free(struct string_list *list);

#endif
