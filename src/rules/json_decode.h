#ifndef TIDEMILL_RULES_JSON_DECODE_H
#define TIDEMILL_RULES_JSON_DECODE_H

#include <lua.h>
#include <stdbool.h>

/*
 * Reading single values of a JSON text: what json_decode reads whole documents with. Private to
 * rules/json*.c. Thread: the state's.
 */

struct json_decoder {
    lua_State *L;
    const char *end;   /* of the text */
    int depth;         /* parts that are open */
    int array_mt;      /* a stack slot of the caller's; nil until the first array */
    bool escaped;      /* set when a string has escapes */
    const char *fault; /* what is wrong, */
    const char *where; /* and with which byte */
};

/*
 * Push the value that comes next, or the string whose opening quote is before `at`: [-0, +1].
 * Return the first byte behind it, or NULL with fault and where set, when there may be more on the
 * stack. LJMP only when memory runs out.
 */
const char *json_read_value(struct json_decoder *d, const char *at);
const char *json_read_string(struct json_decoder *d, const char *at);

#endif
