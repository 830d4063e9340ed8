#ifndef TIDEMILL_BUS_CREDS_H
#define TIDEMILL_BUS_CREDS_H

#include <stddef.h>

#include "base/error.h"
#include "base/units.h"

/*
 * A creds file: the token (JWT) that an account has signed for a user, and the user's seed. libnats
 * reads it at every connect, so that a renewed one is used at once, but it says of one that is of
 * no use neither its name nor that trying again cannot help. Secrets are wiped before return. Any
 * thread.
 */

/* Whether libnats can use the file. Returns 0, or -1 with what is wrong; errors name the file. */
int creds_check(const char *path, struct error *err);

/*
 * When the token's time is over: writes when that was, "2026-01-01T00:00:00Z", and returns 1. Else
 * (or when that cannot be told) returns 0.
 */
int creds_expired(const char *path, char when[UNITS_TIME_TEXT]);

#endif
