#ifndef TIDEMILL_TESTS_ALLOC_FAULTS_H
#define TIDEMILL_TESTS_ALLOC_FAULTS_H

#include <stddef.h>

/*
 * Allocations that fail on request. Linked into the programs tests/unit/test_faults_*.c, whose
 * calls of malloc, calloc, realloc, strdup, strndup, asprintf, aligned_alloc, opendir, fopen and
 * open_memstream, and those of the program's sources, come here first (the linker's --wrap). What
 * liblua allocates comes too, by way of the allocators that src/rules gives it. Libraries' own
 * calls stay as they are.
 *
 * Blocks are counted: what was allocated since faults_track and not freed is faults_held. One
 * thread.
 */

enum { FAULTS_ALL = 0 };

/* Forgets the blocks of before and counts from here on. */
void faults_track(void);

/*
 * The allocations number `first` (from 1) to `first + count - 1` fail from now on; count
 * FAULTS_ALL: all from `first` on.
 */
void faults_arm(size_t first, size_t count);

/* Nothing fails any more. Returns how many have failed. */
size_t faults_disarm(void);

/* Blocks that are not freed. */
size_t faults_held(void);

/*
 * Does something with faults, and cleans up: returns 0 when it succeeded, -1 when it did not. It
 * arms with `first` and `count` and disarms again, and writes how many have failed. Checks itself
 * what must hold after a failure.
 */
typedef int faults_scenario(void *context, size_t first, size_t count, size_t *failed);

/*
 * Runs the scenario with its first allocation failing, its second, and so on until none is left to
 * fail; then the same with two in a row, which is what Lua takes for an answer, and with all from
 * there on. Each time nothing may be held afterwards, and without a fault it must succeed. Fails
 * the test otherwise. Returns how many runs have not succeeded. (With all failing, and under
 * sanitizers, where it would take minutes, late allocations are sampled.)
 */
size_t faults_sweep(faults_scenario *scenario, void *context);

/* Fails the test unless `text` is one line of words. */
void faults_check_line(const char *text);

#endif
