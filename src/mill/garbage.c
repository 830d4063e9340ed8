#include "mill/garbage.h"

#include <stdlib.h>

enum { DUE_COUNT = 512, DUE_BYTES = 256 << 10 };

bool garbage_add(struct garbage *garbage, struct wire_message *message)
{
    if (message == NULL)
        return true;
    if (garbage->count == garbage->capacity) {
        size_t capacity = garbage->capacity == 0 ? 256 : garbage->capacity * 2;
        struct wire_message **messages = (struct wire_message **)realloc(
            (void *)garbage->messages, capacity * sizeof(*messages));
        if (messages == NULL)
            return false;
        garbage->messages = messages;
        garbage->capacity = capacity;
    }
    garbage->messages[garbage->count++] = message;
    garbage->bytes += wire_payload_size(message);
    return true;
}

bool garbage_is_due(const struct garbage *garbage)
{
    return garbage->count >= DUE_COUNT || garbage->bytes >= DUE_BYTES;
}

void garbage_burn(struct garbage *garbage)
{
    for (size_t i = 0; i < garbage->count; i++)
        wire_free(garbage->messages[i]);
    garbage->count = garbage->bytes = 0;
}

void garbage_close(struct garbage *garbage)
{
    free((void *)garbage->messages);
    *garbage = (struct garbage){0};
}
