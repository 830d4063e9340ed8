#ifndef TIDEMILL_RULES_JSON_OUTLINE_H
#define TIDEMILL_RULES_JSON_OUTLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The outline of a JSON document: where its objects and arrays begin and end, found in one fast
 * pass that checks all of the text as json_decode does, and makes no value. Private to
 * rules/json*.c. Any thread; no allocation.
 *
 * Parts are numbered as they begin: 0 is the document, and all that are inside a part follow it,
 * up to but not including `after`. So the first part inside part n is n + 1, and the next one
 * beside it is parts[n + 1].after.
 */

enum {
    JSON_OUTLINE_MAX = 1 << 30 /* bytes of a text; offsets and key sizes fit their fields */
};

struct json_part {
    uint32_t start, size; /* its text, brackets included */
    uint32_t key;         /* where the text of its key starts, behind the quote; 0: it has none */
    uint32_t key_size : 30;
    uint32_t key_escaped : 1; /* the key's text is not its bytes */
    uint32_t taken : 1;       /* for json_lazy; 0 here */
    uint32_t after;           /* the number of the first part that is not inside it */
    uint32_t count;           /* fields, keys that come again included, or items */
    uint32_t parts;           /* how many of these are objects and arrays */
    uint32_t touched;         /* for json_lazy; 0 here */
};

/*
 * Outlines the document. Returns how many parts it has; writes the first `room` of them. 0 when
 * json_decode would refuse the text, and also when the document is neither an object nor an array
 * or is too large.
 */
size_t json_outline(const char *text, size_t size, struct json_part *parts, size_t room);

/* A field of the outermost object: offsets in the text. */
struct json_field {
    uint32_t key, key_size; /* behind the quote */
    uint32_t value;         /* its first byte */
};

/*
 * The fields of a document that is an object, with the same check of all of the text. Returns how
 * many there are. 0 when json_decode would refuse the text, and when it is no object, an empty one,
 * one with more than `room` fields, or one whose keys have escapes or may come again.
 */
size_t json_outline_fields(const char *text, size_t size, struct json_field *fields, size_t room);

#endif
