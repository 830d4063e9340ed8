#ifndef TIDEMILL_RULES_JSON_NUMBER_H
#define TIDEMILL_RULES_JSON_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * JSON numbers to C numbers and back, exactly: reading gives the nearest double, writing the fewest
 * digits that read back as the same one. No locale has a say. Private to rules/json*.c. Any thread;
 * no allocation.
 */

enum {
    JSON_NUMBER_SIZE = 32 /* room for any number written here; no NUL is written */
};

struct json_number {
    bool is_integer;
    int64_t integer;
    double real;       /* when not is_integer; finite */
    const char *fault; /* what is wrong, when reading failed */
};

/*
 * Reads the number that starts at `at` (a digit or a minus sign, before `end`). `*at` moves behind
 * it, or, on a fault, to the byte that is wrong. Returns 0, or -1 with `number->fault` set.
 */
int json_number_read(const char **at, const char *end, struct json_number *number);

/* Write into `out` (JSON_NUMBER_SIZE) and return the number of bytes. `value` is finite. */
size_t json_integer_write(int64_t value, char *out);
size_t json_real_write(double value, char *out);

#endif
