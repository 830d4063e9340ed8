#ifndef TIDEMILL_BUS_JSON_WRITE_H
#define TIDEMILL_BUS_JSON_WRITE_H

#include <stddef.h>
#include <stdio.h>

#include "base/string_list.h"

/*
 * The little JSON that bus/ sends: request bodies, written to a memory stream that the caller opens
 * with open_memstream and whose failure it sees from ferror or fclose. Any thread.
 */

/* Writes `text` as a JSON string, quotes included. Bytes above 127 are passed through. */
void json_write_string(FILE *out, const char *text);

/* The same for text from anywhere: bytes that are no UTF-8 become U+FFFD. */
void json_write_text(FILE *out, const char *text);

/* Writes a list as an array of strings. */
void json_write_strings(FILE *out, const struct string_list *list);

/*
 * Ends a memory stream. Returns 0, or -1 when memory ran out; `*text` is then freed and NULL. `out`
 * may be NULL (open_memstream failed), which counts as that.
 */
int json_write_close(FILE *out, char **text);

#endif
