#ifndef TIDEMILL_RULES_TESTING_H
#define TIDEMILL_RULES_TESTING_H

#include <stdint.h>

/*
 * Runs test files: Lua files that describe what the rules beside them do (src/lua/testing.lua). A
 * file runs in a Lua state of its own, in the rules' sandbox, with a limit of memory for the file
 * and of time for each test; the rules that it loads run in engines of their own (trial.h).
 */

enum test_outcome { TEST_PASSED, TEST_FAILED, TEST_SKIPPED };

struct test_result {
    const char *file;
    const char *name; /* "high_value raises an alert"; NULL: the file itself is at fault */
    enum test_outcome outcome;
    const char *message; /* TEST_FAILED: one line or several, with file and line; else NULL */
    int64_t duration_ns;
};

struct testing_options {
    const char *filter; /* only tests whose name matches: a Lua pattern, or plain text; NULL: all */
    /* Called for each test, in their order. What the result points at is borrowed. */
    void (*report)(void *context, const struct test_result *result);
    void *context;
};

/*
 * Runs one file. The rules are those in its directory; of a file below lib/, those in the directory
 * that lib/ is in. A file that cannot be run is reported as a failure.
 */
void testing_run(const char *path, const struct testing_options *options);

#endif
