#ifndef TIDEMILL_CMD_TEST_OUTPUT_H
#define TIDEMILL_CMD_TEST_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "rules/testing.h"

/*
 * How the results of tests are written: for people (one line per test, what failed below it), as
 * TAP 13, or as JUnit's XML. JUnit's goes out at the end, the others at once.
 */

struct test_output;

/* `format` is "text", "tap" or "junit"; NULL for another word, or without memory. */
struct test_output *test_output_open(const char *format, FILE *stream);

void test_output_add(struct test_output *output, const struct test_result *result);

/* Writes the summary and frees. Returns how many tests failed; `*count` is how many there were. */
size_t test_output_close(struct test_output *output, size_t *count);

#endif
