#include "base/string_list.h"

#include <stdlib.h>
#include <string.h>

int string_list_append(struct string_list *list, const char *string)
{
    char *copy = strdup(string);
    char **items = copy != NULL ? realloc(list->items, (list->count + 1) * sizeof(*items)) : NULL;
    if (items == NULL) {
        free(copy);
        return -1;
    }
    list->items = items;
    list->items[list->count++] = copy;
    return 0;
}

void string_list_free(struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct string_list){0};
}
