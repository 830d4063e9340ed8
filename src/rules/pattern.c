#include "rules/pattern.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/*
 * match() walks along the pattern, item by item, and calls itself only where it may have to come
 * back: behind ? * + - and at the parentheses. So its depth is bounded by the pattern, not by the
 * subject, and by PATTERN_DEPTH_MAX. All others return NULL, or false, for "no" as well as for
 * "stop": a loop that tries again asks `stopped`.
 *
 * Patterns may hold zero bytes: nothing here relies on the '\0' behind them but the look at one
 * character beyond an item.
 */

static const char ESCAPE = '%';

enum { LOWER = 0x20 };   /* the bit that makes a letter a lower-case one */
enum { DEAR_ITEM = 64 }; /* bytes: a set that takes long to compare a character with */

/* Ends the match: the pattern is wrong. */
static const char *fail(struct pattern *m, const char *error)
{
    if (!m->stopped)
        snprintf(m->error, sizeof(m->error), "%s", error);
    m->stopped = true;
    return NULL;
}

static const char *fail_index(struct pattern *m, int index)
{
    char error[sizeof(m->error)];
    snprintf(error, sizeof(error), "invalid capture index %%%d", index);
    return fail(m, error);
}

/* Takes steps out of the fuel. Returns whether the match may go on. */
static inline bool spend(struct pattern *m, ptrdiff_t steps)
{
    m->fuel -= steps;
    if (m->fuel >= 0)
        return true;
    if (!m->stopped && !m->look(m, m->context))
        m->stopped = true;
    return !m->stopped;
}

/* --- one character ---------------------------------------------------------------------------- */

/*
 * Whether `c` is in the class of the letter: %a, %A and so on. All other characters stand for
 * themselves. (The bit of case turns no other character into a letter.)
 */
static inline __attribute__((always_inline)) bool class_has(int letter, int c)
{
    bool is = false;
    switch (letter | LOWER) {
    case 'a':
        is = isalpha(c);
        break;
    case 'c':
        is = iscntrl(c);
        break;
    case 'd':
        is = isdigit(c);
        break;
    case 'g':
        is = isgraph(c);
        break;
    case 'l':
        is = islower(c);
        break;
    case 'p':
        is = ispunct(c);
        break;
    case 's':
        is = isspace(c);
        break;
    case 'u':
        is = isupper(c);
        break;
    case 'w':
        is = isalnum(c);
        break;
    case 'x':
        is = isxdigit(c);
        break;
    case 'z': /* not in the manual any more, but still understood */
        is = c == '\0';
        break;
    default:
        return letter == c;
    }
    return (letter & LOWER) != 0 ? is : !is;
}

/* The same, not made part of its caller: walk() stays small. */
static __attribute__((noinline)) bool is_in_class(int c, int letter)
{
    return class_has(letter, c);
}

/* Whether `c` is in the set from `set`, its '[', to `last`, its ']'. */
static bool is_in_set(int c, const char *set, const char *last)
{
    const char *p = set + 1;
    bool wanted = true;
    if (*p == '^') {
        wanted = false;
        p++;
    }
    while (p < last) {
        int first = (unsigned char)*p;
        if (first == ESCAPE) {
            if (is_in_class(c, (unsigned char)p[1]))
                return wanted;
            p += 2;
        } else if (p[1] == '-' && p + 2 < last) {
            if (first <= c && c <= (unsigned char)p[2])
                return wanted;
            p += 3;
        } else {
            if (first == c)
                return wanted;
            p++;
        }
    }
    return !wanted;
}

/* The end of a set whose '[' is just before `p`, or NULL: the pattern is wrong. */
static const char *set_end(struct pattern *m, const char *p)
{
    if (*p == '^')
        p++;
    for (bool first = true; first || *p != ']'; first = false) { /* []] and [^]] hold a bracket */
        if (p >= m->end)
            return fail(m, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE && p < m->end)
            p++;
    }
    return p + 1;
}

/* The end of the item for one character that begins at `p`, or NULL: the pattern is wrong. */
static inline const char *item_end(struct pattern *m, const char *p)
{
    char first = *p++;
    if (first == '[')
        return set_end(m, p);
    if (first != ESCAPE)
        return p;
    if (p == m->end)
        return fail(m, "malformed pattern (ends with '%')");
    return p + 1;
}

/* Whether the character at `s` is what the item from `p` to `end` stands for. */
static inline bool is_matched(const struct pattern *m, const char *s, const char *p,
                              const char *end)
{
    if (s >= m->subject_end)
        return false;
    int c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return is_in_class(c, (unsigned char)p[1]);
    case '[':
        return is_in_set(c, p, end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* --- several ---------------------------------------------------------------------------------- */

static const char *match(struct pattern *m, const char *s, const char *p);

/* With a constant for `letter` the compiler makes a loop of its own for it. */
static inline __attribute__((always_inline)) const char *skip_class(const char *at,
                                                                    const char *last, int letter)
{
    while (at < last && class_has(letter, (unsigned char)*at))
        at++;
    return at;
}

static const char *end_of_class_run(const char *at, const char *last, int letter)
{
    switch (letter) {
    case 'a':
        return skip_class(at, last, 'a');
    case 'A':
        return skip_class(at, last, 'A');
    case 'd':
        return skip_class(at, last, 'd');
    case 's':
        return skip_class(at, last, 's');
    case 'S':
        return skip_class(at, last, 'S');
    case 'w':
        return skip_class(at, last, 'w');
    case 'W':
        return skip_class(at, last, 'W');
    default:
        return skip_class(at, last, letter);
    }
}

/* The end of the run of characters from `s` on that the item from `p` to `end` stands for. */
static const char *end_of_run(struct pattern *m, const char *s, const char *p, const char *end)
{
    const char *at = s, *last = m->subject_end;
    if (*p == '.') {
        at = last;
    } else if (*p == ESCAPE) {
        at = end_of_class_run(at, last, (unsigned char)p[1]);
    } else if (*p == '[' && end - p > DEAR_ITEM) {
        while (at < last && spend(m, end - p) && is_in_set((unsigned char)*at, p, end - 1))
            at++;
    } else if (*p == '[') {
        while (at < last && is_in_set((unsigned char)*at, p, end - 1))
            at++;
    } else {
        while (at < last && *at == *p)
            at++;
    }
    spend(m, at - s);
    return at;
}

/*
 * item* : as many as there are, then fewer. `p` to `end` is the item; the quantifier is at `end`.
 */
static const char *match_longest(struct pattern *m, const char *s, const char *p, const char *end)
{
    const char *farthest = end_of_run(m, s, p, end);
    if (m->stopped)
        return NULL;
    for (; farthest >= s; farthest--) {
        const char *found = match(m, farthest, end + 1);
        if (found != NULL)
            return found;
        if (m->stopped)
            break;
    }
    return NULL;
}

/* item- : none, then more. */
static const char *match_shortest(struct pattern *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *found = match(m, s, end + 1);
        if (found != NULL || m->stopped)
            return found;
        if (!spend(m, end - p) || !is_matched(m, s, p, end))
            return NULL;
    }
}

/* %bxy : from an x to the y that balances it. `p` is at the x. Returns the end, or NULL. */
static const char *match_balanced(struct pattern *m, const char *s, const char *p)
{
    if (m->end - p < 2)
        return fail(m, "malformed pattern (missing arguments to '%b')");
    char opens = p[0], closes = p[1];
    if (s >= m->subject_end || *s != opens)
        return NULL;
    const char *at = s + 1;
    for (size_t depth = 1; at < m->subject_end; at++) {
        if (*at == closes) {
            if (--depth == 0)
                return spend(m, at - s) ? at + 1 : NULL;
        } else if (*at == opens) {
            depth++;
        }
    }
    spend(m, at - s);
    return NULL;
}

/* %f[set] : where a character outside the set meets one inside. `p` is at the '['. */
static bool is_frontier(const struct pattern *m, const char *s, const char *p, const char *end)
{
    int before = s == m->subject ? '\0' : (unsigned char)s[-1];
    return !is_in_set(before, p, end - 1) && is_in_set((unsigned char)*s, p, end - 1);
}

/* %1 : what capture 1 has captured. Returns the end, or NULL. */
static const char *match_capture(struct pattern *m, const char *s, int digit)
{
    int index = digit - '1';
    if (index < 0 || index >= m->level || m->captures[index].size == PATTERN_OPEN)
        return fail_index(m, index + 1);
    const struct pattern_capture *capture = &m->captures[index];
    if (capture->size == PATTERN_POSITION || m->subject_end - s < capture->size)
        return NULL;
    if (!spend(m, capture->size) || memcmp(capture->start, s, (size_t)capture->size) != 0)
        return NULL;
    return s + capture->size;
}

/* ( : `size` is PATTERN_OPEN or PATTERN_POSITION, `p` is what follows. */
static const char *open_capture(struct pattern *m, const char *s, const char *p, ptrdiff_t size)
{
    if (m->level >= PATTERN_CAPTURES_MAX)
        return fail(m, "too many captures");
    m->captures[m->level++] = (struct pattern_capture){.start = s, .size = size};
    const char *found = match(m, s, p);
    if (found == NULL)
        m->level--;
    return found;
}

/* ) : closes the innermost capture that is open. */
static const char *close_capture(struct pattern *m, const char *s, const char *p)
{
    int index = m->level - 1;
    while (index >= 0 && m->captures[index].size != PATTERN_OPEN)
        index--;
    if (index < 0)
        return fail(m, "invalid pattern capture");
    m->captures[index].size = s - m->captures[index].start;
    const char *found = match(m, s, p);
    if (found == NULL)
        m->captures[index].size = PATTERN_OPEN;
    return found;
}

/* --- the walk --------------------------------------------------------------------------------- */

/* What an item of more than one character comes to. */
enum special { ORDINARY, MATCHED, NOT_MATCHED };

/* The items that begin with % and are not classes; moves *s and *p behind what has matched. */
static enum special match_special(struct pattern *m, const char **s, const char **p)
{
    const char *at = *p + 1, *end = at + 1;
    if (*at == 'b') {
        *s = match_balanced(m, *s, at + 1);
        *p = at + 3;
    } else if (*at == 'f') {
        if (*end != '[') {
            fail(m, "missing '[' after '%f' in pattern");
            return NOT_MATCHED;
        }
        const char *set = end;
        end = item_end(m, set);
        if (end == NULL || !spend(m, end - set) || !is_frontier(m, *s, set, end))
            return NOT_MATCHED;
        *p = end;
    } else if (*at >= '0' && *at <= '9') {
        *s = match_capture(m, *s, *at);
        *p = end;
    } else {
        return ORDINARY;
    }
    return *s != NULL ? MATCHED : NOT_MATCHED;
}

static const char *walk(struct pattern *m, const char *s, const char *p)
{
    while (p < m->end) {
        if (*p == '(') {
            if (p[1] == ')')
                return open_capture(m, s, p + 2, PATTERN_POSITION);
            return open_capture(m, s, p + 1, PATTERN_OPEN);
        }
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->end)
            return s == m->subject_end ? s : NULL;
        if (*p == ESCAPE) {
            enum special special = match_special(m, &s, &p);
            if (special == NOT_MATCHED)
                return NULL;
            if (special == MATCHED)
                continue;
        }
        const char *end = item_end(m, p);
        if (end == NULL)
            return NULL;
        m->fuel -= end - p; /* looked at by the next match(): what is here is one way through p */
        if (!is_matched(m, s, p, end)) {
            if (*end != '*' && *end != '?' && *end != '-')
                return NULL;
            p = end + 1;
            continue;
        }
        switch (*end) {
        case '*':
            return match_longest(m, s, p, end);
        case '+':
            return match_longest(m, s + 1, p, end);
        case '-':
            return match_shortest(m, s, p, end);
        case '?': {
            const char *found = match(m, s + 1, end + 1);
            if (found != NULL || m->stopped)
                return found;
            p = end + 1;
            break;
        }
        default:
            s++;
            p = end;
        }
    }
    return s;
}

/* Matches the rest of the pattern, from `p` on, at `s`: one level deeper. */
static const char *match(struct pattern *m, const char *s, const char *p)
{
    if (m->depth_left == 0)
        return fail(m, "pattern too complex");
    if (!spend(m, 1))
        return NULL;
    m->depth_left--;
    const char *found = walk(m, s, p);
    m->depth_left++;
    return found;
}

void pattern_init(struct pattern *pattern, const char *subject, size_t subject_size,
                  const char *text, size_t size)
{
    pattern->subject = subject;
    pattern->subject_end = subject + subject_size;
    pattern->end = text + size;
    pattern->stopped = false;
    pattern->error[0] = '\0';
}

const char *pattern_match(struct pattern *pattern, const char *at, const char *text)
{
    pattern->depth_left = PATTERN_DEPTH_MAX;
    pattern->level = 0;
    const char *found = match(pattern, at, text);
    return pattern->stopped ? NULL : found;
}

/*
 * The item for one character without which there is no match, at the beginning of the pattern or
 * behind its first parenthesis. Sets *end to its end. NULL: there is none.
 */
static const char *first_item(struct pattern *m, const char *text, const char **end)
{
    if (*text == '(')
        text++;
    if (text == m->end || *text == '(' || *text == ')' || *text == '$')
        return NULL;
    if (*text == ESCAPE && (text[1] == 'b' || text[1] == 'f' || isdigit((unsigned char)text[1])))
        return NULL;
    *end = item_end(m, text);
    if (*end == NULL || **end == '*' || **end == '?' || **end == '-')
        return NULL;
    return text;
}

/* The first place from `at` on that has what the item stands for; NULL: there is none. */
static const char *skip_to(struct pattern *m, const char *at, const char *p, const char *end)
{
    static const char classes[] = "acdglpsuwxACDGLPSUWX";
    const char *s = at;
    if (*p == ESCAPE &&
        memchr(classes, p[1], sizeof(classes) - 1) != NULL) /* %A is what is no %a */
        s = end_of_class_run(s, m->subject_end, (unsigned char)p[1] ^ LOWER);
    while (s < m->subject_end && !is_matched(m, s, p, end)) {
        s++;
        if (end - p > DEAR_ITEM && !spend(m, end - p))
            return NULL;
    }
    spend(m, s - at);
    return s < m->subject_end ? s : NULL;
}

const char *pattern_search(struct pattern *pattern, const char **at, const char *text,
                           const char *not_end)
{
    const char *first_end = NULL;
    const char *first = first_item(pattern, text, &first_end);
    for (const char *s = *at; s <= pattern->subject_end && !pattern->stopped; s++) {
        if (first != NULL && (s = skip_to(pattern, s, first, first_end)) == NULL)
            return NULL;
        const char *found = pattern_match(pattern, s, text);
        if (found != NULL && found != not_end) {
            *at = s;
            return found;
        }
    }
    return NULL;
}

bool pattern_is_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != '\0' && strchr("^$*+?.([%-", text[i]) != NULL)
            return false;
    return true;
}
