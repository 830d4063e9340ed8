#ifndef TIDEMILL_RULES_PATTERN_H
#define TIDEMILL_RULES_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Lua's patterns, matched under a budget. Stock Lua's matcher backtracks in one C call that nothing
 * can interrupt: twenty seconds for ".-b" on 64 KB without a b. This one counts its steps, and
 * every so many of them asks `look` whether it may go on.
 *
 * What matches, what is captured and what is an error is as in Lua 5.4, faults of the pattern being
 * found, as there, only when the matching gets to them. It uses no heap, and of the C stack a
 * bounded part: PATTERN_DEPTH_MAX frames.
 *
 * A step is one character compared or one item of the pattern begun: 1 to 5 ns.
 */

enum {
    PATTERN_CAPTURES_MAX = 32, /* LUA_MAXCAPTURES */
    PATTERN_DEPTH_MAX = 200    /* nested quantifiers and captures: MAXCCALLS of lstrlib */
};

/* A capture's `size` when it is not one. */
enum { PATTERN_OPEN = -1, PATTERN_POSITION = -2 };

struct pattern_capture {
    const char *start;
    ptrdiff_t size;
};

/* The first six are the caller's to set (pattern_init does); then what pattern_match leaves. */
struct pattern {
    const char *subject, *subject_end; /* *subject_end can be read (Lua strings end in '\0') */
    const char *end;                   /* of the pattern; *end can be read, and is '\0' */
    int64_t fuel;                      /* steps until `look` is called; below 0: now */
    /*
     * Called when the fuel is used up: puts some in and returns true, or returns false, which ends
     * the match as failed without an error. It may also not return (raise a Lua error).
     */
    bool (*look)(struct pattern *pattern, void *context);
    void *context;

    bool stopped;   /* `look` said so, or there is an error */
    int depth_left; /* how much deeper the recursion may go */
    int level;      /* captures begun */
    char error[64]; /* the fault of the pattern, "": none */
    struct pattern_capture captures[PATTERN_CAPTURES_MAX];
};

/* Sets the caller's part but for fuel, look and context. No copies are made. */
void pattern_init(struct pattern *pattern, const char *subject, size_t subject_size,
                  const char *text, size_t size);

/*
 * Matches `text`, the pattern from there to its end, at `at`, a place in the subject. Returns where
 * the match ends, or NULL: no match, or `stopped`. (`^` is for the caller to look at.)
 */
const char *pattern_match(struct pattern *pattern, const char *at, const char *text);

/*
 * The first match at `*at` or later that does not end at `not_end` (may be NULL). Moves `*at` to
 * its beginning and returns its end; NULL, with `*at` undefined, as pattern_match.
 */
const char *pattern_search(struct pattern *pattern, const char **at, const char *text,
                           const char *not_end);

/* Whether a pattern has no magic in it: find may then look for it as it is. */
bool pattern_is_plain(const char *text, size_t size);

#endif
