#include "rules/uses.h"

#include <stdlib.h>

int uses_add(struct uses *uses, const struct use *use)
{
    if (uses->count == uses->room) {
        size_t room = uses->room == 0 ? 64 : uses->room * 2;
        struct use *items = realloc(uses->items, room * sizeof(items[0]));
        if (items == NULL)
            return -1;
        uses->items = items;
        uses->room = room;
    }
    uses->items[uses->count++] = *use;
    return 0;
}

void function_list_add(struct function_list *list, size_t function)
{
    if (function != 0 && list->count < FUNCTION_LIST_MAX)
        list->items[list->count++] = function;
}

static bool is_in(const struct function_list *list, size_t function)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i] == function)
            return true;
    return false;
}

void uses_keep_messages(struct uses *uses, size_t first, const struct function_list *handlers,
                        const struct function_list *spoilt)
{
    bool sure = handlers->count < FUNCTION_LIST_MAX && spoilt->count < FUNCTION_LIST_MAX;
    size_t kept = first;
    for (size_t i = first; i < uses->count; i++) {
        const struct use *use = &uses->items[i];
        if (use->kind == USE_MESSAGE &&
            (!sure || !is_in(handlers, use->function) || is_in(spoilt, use->function)))
            continue;
        uses->items[kept++] = *use;
    }
    uses->count = kept;
}

void uses_free(struct uses *uses)
{
    free(uses->items);
    *uses = (struct uses){0};
}
