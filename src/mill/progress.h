#ifndef TIDEMILL_MILL_PROGRESS_H
#define TIDEMILL_MILL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Progress: which rules have already succeeded with a message that has to come back because of
 * another rule, so that they do not run again in this process. Written when a message is given
 * back, read when one is delivered again, so it is off the normal way.
 *
 * Shared by all workers, since the message may come back to any of them: its lock is the one in
 * mill/ that is taken because of a message (those in rule_book.c and discovery.c are not). Bounded:
 * the oldest message is forgotten first, and forgetting costs a repeated call whose outputs have
 * the same ids.
 */

enum { PROGRESS_MESSAGES_MAX = 20000 };

struct progress;

struct progress *progress_new(void); /* NULL: out of memory */
void progress_free(struct progress *progress);

/*
 * `source` numbers the durable; `rule` has succeeded with the message. Out of memory: not
 * remembered.
 */
void progress_note(struct progress *progress, unsigned source, uint64_t sequence, const char *rule);

bool progress_has(struct progress *progress, unsigned source, uint64_t sequence, const char *rule);

/* The source's sequences mean other messages from now on. */
void progress_forget_source(struct progress *progress, unsigned source);

/* The message is settled for good. */
void progress_forget(struct progress *progress, unsigned source, uint64_t sequence);

#endif
