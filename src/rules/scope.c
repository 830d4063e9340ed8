#include "rules/scope.h"

#include <stdlib.h>
#include <string.h>

struct local *scope_declare(struct scope *scope, const struct token *name)
{
    if (scope->count == scope->room) {
        size_t room = scope->room == 0 ? 64 : scope->room * 2;
        struct local *items = realloc(scope->items, room * sizeof(items[0]));
        if (items == NULL)
            return NULL;
        scope->items = items;
        scope->room = room;
    }
    struct local *local = &scope->items[scope->count++];
    *local = (struct local){.name = name->text, .size = name->size};
    return local;
}

struct local *scope_find(const struct scope *scope, const struct token *name)
{
    for (size_t i = scope->count; i > 0; i--) {
        struct local *local = &scope->items[i - 1];
        if (!local->hidden && local->size == name->size &&
            memcmp(local->name, name->text, name->size) == 0)
            return local;
    }
    return NULL;
}

void scope_free(struct scope *scope)
{
    free(scope->items);
    *scope = (struct scope){0};
}
