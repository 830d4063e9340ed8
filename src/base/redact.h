#ifndef TIDEMILL_BASE_REDACT_H
#define TIDEMILL_BASE_REDACT_H

#include <stddef.h>

/*
 * Keeps passwords out of what people read. Pure; any thread.
 */

/*
 * Writes stars, three at most, for what stands before the @ of each "scheme://...@host" in `text`:
 * user and password, or a token. A URL ends at white space, a quote or a comma, so that one whose
 * password has a slash or a second @ in it is covered too. Where the text fills its `size` bytes,
 * and so may have been cut before the @, all that is left of the last URL counts as secret. The
 * text never gets longer.
 */
void redact_urls(char *text, size_t size);

#endif
