#include "bus/inbound.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 256 };

int inbound_push(struct inbound_list *list, const struct inbound *item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? CAPACITY_FIRST : list->capacity * 2;
        struct inbound *items = realloc(list->items, capacity * sizeof(*items));
        if (items == NULL)
            return -1;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *item;
    return 0;
}

void inbound_drop(struct inbound *item)
{
    natsMsg_Destroy(item->message);
    free(item->denied);
}

void inbound_free(struct inbound_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        inbound_drop(&list->items[i]);
    free(list->items);
    *list = (struct inbound_list){0};
}
