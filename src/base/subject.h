#ifndef TIDEMILL_BASE_SUBJECT_H
#define TIDEMILL_BASE_SUBJECT_H

#include <stdbool.h>

#include "base/error.h"

/*
 * NATS subjects: tokens separated by dots; no empty token, no white space, no control character, at
 * most SUBJECT_SIZE_MAX bytes. In a pattern `*` stands for one whole token and `>` as the last
 * token for one or more; elsewhere in a token the two are refused, although the server takes them
 * as letters there, because whoever writes `val*` means something else. Pure; any thread.
 */

enum { SUBJECT_SIZE_MAX = 1024 };

/* 0 for a subject one may publish to (no wildcards); else -1 with what is wrong and where. */
int subject_check(const char *subject, struct error *err);

/* The same for a pattern one may subscribe to. */
int subject_check_pattern(const char *pattern, struct error *err);

/* Whether a valid pattern matches a valid subject. */
bool subject_matches(const char *pattern, const char *subject);

/* Whether some subject matches both patterns. */
bool subject_patterns_overlap(const char *a, const char *b);

#endif
