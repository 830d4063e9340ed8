#ifndef TIDEMILL_CMD_TEST_FILES_H
#define TIDEMILL_CMD_TEST_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * The test files that `tidemill test` runs, sorted, and whether a Lua file near them has changed.
 */

struct test_files {
    char **paths;
    size_t count, room;
    uint64_t stamp; /* of the names, sizes and times of all Lua files met on the way */
};

/*
 * Adds a file, or the *_test.lua files in a directory and the folders in it; hidden names are
 * passed over. Returns 0 or -1. The caller frees with test_files_free in both cases.
 */
int test_files_add(struct test_files *files, const char *path, struct error *err);

void test_files_sort(struct test_files *files);
void test_files_free(struct test_files *files);

#endif
