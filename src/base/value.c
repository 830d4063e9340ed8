#include "base/value.h"

#include <stdlib.h>
#include <string.h>

const struct value *value_get(const struct value *table, const char *key)
{
    if (table == NULL || table->type != VALUE_TABLE)
        return NULL;
    size_t size = strlen(key);
    for (size_t i = table->length; i < table->pair_count; i++) {
        const struct value *found = &table->pairs[i].key;
        if (found->type == VALUE_STRING && found->size == size &&
            memcmp(found->string, key, size) == 0)
            return &table->pairs[i].value;
    }
    return NULL;
}

const char *value_type_name(const struct value *value)
{
    switch (value->type) {
    case VALUE_NIL:
        return "nil";
    case VALUE_BOOLEAN:
        return "boolean";
    case VALUE_INTEGER:
    case VALUE_NUMBER:
        return "number";
    case VALUE_STRING:
        return "string";
    case VALUE_TABLE:
        return "table";
    case VALUE_OTHER:
        break;
    }
    return value->string != NULL ? value->string : "value";
}

/* Recurses as deep as the tree is; whoever makes trees bounds that. */
void value_free(struct value *value)
{
    if (value == NULL)
        return;
    free(value->string);
    for (size_t i = 0; i < value->pair_count; i++) {
        value_free(&value->pairs[i].key);
        value_free(&value->pairs[i].value);
    }
    free(value->pairs);
    *value = (struct value){.type = VALUE_NIL};
}
