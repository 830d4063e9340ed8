#ifndef TIDEMILL_BASE_UNITS_H
#define TIDEMILL_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * Durations, sizes and times as people write them, to nanoseconds and bytes and back.
 *
 *   duration   a number and one of us, ms, s, m, h, d: "30s", "1.5h", "250ms"; a bare number is
 *              seconds
 *   size       a number and one of B, KB, MB, GB, TB, also written KiB or K and so on: "64MB". KB
 *              and KiB both mean 1024 bytes, as in most configuration files; a bare number is bytes
 *   time       RFC 3339 with its offset: "2026-01-01T00:00:00Z", "2026-01-01T01:00:00.5+01:00"
 *
 * Never negative; what does not fit is refused, never cut. Case does not matter in sizes. Fractions
 * may have any number of digits and are rounded to a whole nanosecond or byte (times: cut). Any
 * thread; no allocation. All return 0, or -1 with a message that shows the text and says what is
 * wrong with it.
 */

int units_parse_duration(const char *text, int64_t *ns, struct error *err);
int units_parse_size(const char *text, int64_t *bytes, struct error *err);

/*
 * In nanoseconds since 1970-01-01 UTC; 1970 to 2262. A leap second counts as the second after it.
 */
int units_parse_time(const char *text, int64_t *ns, struct error *err);

/* The same for numbers that already are numbers. A size must be whole. */
int units_duration_from_seconds(double seconds, int64_t *ns, struct error *err);
int units_size_from_number(double number, int64_t *bytes, struct error *err);

/* Enough for every duration. */
enum { UNITS_DURATION_TEXT = 24 };

/* Writes "1500ms", "30s", "2m", ...: the largest unit that gives a whole number. Returns `text`. */
char *units_format_duration(int64_t ns, char text[UNITS_DURATION_TEXT]);

/* Enough for every time. */
enum { UNITS_TIME_TEXT = 32 };

/*
 * Writes a time of 1970 to 2262 in UTC, as RFC 3339 has it, with 0 to 9 digits of the second's
 * fraction: "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.250Z". What has no digit is cut, as
 * units_parse_time cuts. Returns `text`.
 */
char *units_format_time(int64_t ns, unsigned digits, char text[UNITS_TIME_TEXT]);

#endif
