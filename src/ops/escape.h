#ifndef TIDEMILL_OPS_ESCAPE_H
#define TIDEMILL_OPS_ESCAPE_H

#include <stddef.h>
#include <stdio.h>

/*
 * Text of any origin (subjects, rule names, error messages) written into the formats that
 * monitoring reads. One bad byte would make the reader refuse the whole page, so what is not UTF-8
 * comes out as U+FFFD. Any thread.
 */

/* A JSON string, with its quotes. */
void escape_json(FILE *out, const char *text);

/* Any bytes as base64 (RFC 4648), without quotes. */
void escape_base64(FILE *out, const char *bytes, size_t size);

/* The value of a Prometheus label, without the quotes. */
void escape_label(FILE *out, const char *text);

/* The text of a Prometheus HELP line. */
void escape_help(FILE *out, const char *text);

#endif
