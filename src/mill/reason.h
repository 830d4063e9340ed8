#ifndef TIDEMILL_MILL_REASON_H
#define TIDEMILL_MILL_REASON_H

/*
 * Why a rule did not do its work, and why a message became a dead letter: the words of
 * Tidemill-Reason as numbers, for counting.
 */

enum reason {
    REASON_ERROR,
    REASON_TIMEOUT,
    REASON_MEMORY,
    REASON_OUTPUT,   /* could not be stored */
    REASON_RETRY,    /* msg:retry */
    REASON_REJECTED, /* msg:reject */
    REASON_PAYLOAD,  /* not what the source's format says */
    REASON_MAX_DELIVER,
    REASON_COUNT
};

enum { REASONS_OF_RULES = REASON_MAX_DELIVER }; /* those before it can be a rule's */

/* The word: "error", "timeout", ... Static. */
const char *reason_name(enum reason reason);

/* The number of a word; REASON_ERROR for one that is none of them. */
enum reason reason_named(const char *word);

#endif
