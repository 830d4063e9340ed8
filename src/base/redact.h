#ifndef TIDEMILL_BASE_REDACT_H
#define TIDEMILL_BASE_REDACT_H

/*
 * Keeps passwords out of what people read. Pure; any thread.
 */

/*
 * Writes stars, three at most, for what stands before the @ of each "scheme://...@host" in `text`:
 * user and password, or a token. A URL ends at white space, a quote or a comma, so that one whose
 * password has a slash or a second @ in it is covered too. The text never gets longer.
 */
void redact_urls(char *text);

#endif
