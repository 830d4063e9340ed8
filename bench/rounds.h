#ifndef TIDEMILL_BENCH_ROUNDS_H
#define TIDEMILL_BENCH_ROUNDS_H

#include <stddef.h>

#include "base/error.h"

/*
 * What is compared takes turns, once in each round, so that what changes on the machine meanwhile
 * meets all of them. Each round begins with another one: being first, or behind a certain other
 * one, may matter. Ends with the first turn that fails.
 */
typedef int rounds_turn(void *context, size_t index, int round, struct error *err);

int rounds_run(int rounds, size_t count, rounds_turn *turn, void *context, struct error *err);

#endif
