#ifndef TIDEMILL_RULES_JSON_DOCUMENT_H
#define TIDEMILL_RULES_JSON_DOCUMENT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rules/json_decode.h"
#include "rules/json_lazy.h"
#include "rules/json_outline.h"

/*
 * A text that was found to be JSON, with its outline, and how values are made of its parts. Private
 * to rules/json*.c. Thread: the state's.
 *
 * A part is made whole, or only in its outermost level: then what is in it is made the same way, or
 * waits until json_lazy is asked for it, and the table is one of those described there.
 */

/* A Lua userdata. Offsets are from the start of its own text. */
struct json_document {
    struct json_use *use;     /* NULL: nobody wants to know */
    uint32_t size, count;     /* of the text, and of the parts */
    struct json_part parts[]; /* the text is behind them */
};

/* Keys that no rule can have: the addresses of these bytes, as light userdata. */
enum {
    JSON_LAZY_DOCUMENT,  /* in a table whose values are not all made: the document, */
    JSON_LAZY_PART,      /* the number of its part, if not 0, */
    JSON_LAZY_ITEMS,     /* in an array: the table of items made so far, or none */
    JSON_LAZY_FIELDS,    /* in a table of json_fields.h: its document; */
    JSON_LAZY_OBJECT_MT, /* in the registry: the metatables of such tables */
    JSON_LAZY_ARRAY_MT,
    JSON_LAZY_FIELDS_MT,
    JSON_LAZY_KEYS
};
extern const char json_lazy_keys[JSON_LAZY_KEYS];

static inline const char *json_document_text(const struct json_document *d)
{
    return (const char *)(d->parts + d->count);
}

/* Pushes a document with room for `count` parts and `size` bytes, which the caller writes. LJMP. */
struct json_document *json_document_push(lua_State *L, struct json_use *use, size_t count,
                                         size_t size);

/* A decoder for keys and scalars of the document: those need no slot for the array metatable. */
struct json_decoder json_document_decoder(lua_State *L, const struct json_document *d);

/* Pushes the key of a part that has one. LJMP. */
void json_document_push_key(struct json_decoder *decoder, const struct json_document *d,
                            const struct json_part *part);

/* __newindex of all of these tables: makes the table a plain one, then writes. */
int json_lazy_newindex(lua_State *L);

/*
 * Pushes the value of a part of the document at the stack slot `document`, with all that is in it
 * when it is to be `whole`: [-0, +1]. LJMP.
 */
void json_document_push_part(lua_State *L, int document, uint32_t number, bool whole);

#endif
