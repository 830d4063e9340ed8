#include "base/subject.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* How much of a bad subject an error message shows. */
enum { SHOWN_MAX = 80 };

/* Room for SHOWN_MAX bytes, each at most "\xff", and the dots that say more follows. */
struct shown {
    char text[4 * SHOWN_MAX + 4];
};

/* A subject as an error message may show it: one line, bounded. */
static struct shown show(const char *subject)
{
    struct shown shown;
    size_t used = 0;
    size_t i = 0;
    for (; subject[i] != '\0' && i < SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)subject[i];
        if (c < 0x20 || c == 0x7f)
            used += (size_t)snprintf(shown.text + used, sizeof(shown.text) - used, "\\x%02x", c);
        else
            shown.text[used++] = (char)c;
    }
    snprintf(shown.text + used, sizeof(shown.text) - used, "%s", subject[i] != '\0' ? "..." : "");
    return shown;
}

/* Why the byte `c` can't be in a subject; NULL when it can. */
static const char *bad_byte(unsigned char c)
{
    if (c == ' ')
        return "a space";
    if (c == '\t')
        return "a tab";
    if (c == '\r' || c == '\n')
        return "a line break";
    return c < 0x20 || c == 0x7f ? "a control character" : NULL;
}

/*
 * What is wrong with one token of `size` bytes; NULL when nothing is. A wildcard inside a longer
 * token is a plain letter to the server, but whoever writes "val*" means something else: refused.
 */
static const char *token_fault(const char *token, size_t size, bool pattern, bool last)
{
    if (memchr(token, '*', size) == NULL && memchr(token, '>', size) == NULL)
        return NULL;
    if (!pattern)
        return "has a wildcard, which is for patterns only";
    if (size > 1)
        return "mixes a wildcard with letters; '*' and '>' stand for whole tokens";
    return *token == '>' && !last ? "is '>', which may only be the last" : NULL;
}

static int check(const char *subject, bool pattern, struct error *err)
{
    const char *what = pattern ? "subject pattern" : "subject";
    if (*subject == '\0')
        return error_set(err, "the %s is empty", what);
    size_t size = strlen(subject);
    if (size > SUBJECT_SIZE_MAX)
        return error_set(err, "%s '%s' has %zu bytes, more than %d", what, show(subject).text, size,
                         SUBJECT_SIZE_MAX);
    for (size_t i = 0; i < size; i++) {
        const char *fault = bad_byte((unsigned char)subject[i]);
        if (fault != NULL)
            return error_set(err, "%s '%s' has %s at byte %zu", what, show(subject).text, fault,
                             i + 1);
    }
    const char *token = subject;
    for (size_t number = 1;; number++) {
        size_t token_size = strcspn(token, ".");
        bool last = token[token_size] == '\0';
        if (token_size == 0)
            return error_set(err, "%s '%s' has an empty token (number %zu)", what,
                             show(subject).text, number);
        const char *fault = token_fault(token, token_size, pattern, last);
        if (fault != NULL)
            return error_set(err, "%s '%s': token %zu %s", what, show(subject).text, number, fault);
        if (last)
            return 0;
        token += token_size + 1;
    }
}

int subject_check(const char *subject, struct error *err)
{
    return check(subject, false, err);
}

int subject_check_pattern(const char *pattern, struct error *err)
{
    return check(pattern, true, err);
}

/* Whether the token that starts here is the wildcard `c`. */
static bool is_wildcard(const char *token, char c)
{
    return token[0] == c && (token[1] == '.' || token[1] == '\0');
}

/*
 * Steps both over one token. Returns false when either has none left; then *ended says whether
 * both.
 */
static bool next_tokens(const char **a, size_t a_size, const char **b, size_t b_size, bool *ended)
{
    bool a_last = (*a)[a_size] == '\0';
    bool b_last = (*b)[b_size] == '\0';
    *ended = a_last && b_last;
    if (a_last || b_last)
        return false;
    *a += a_size + 1;
    *b += b_size + 1;
    return true;
}

bool subject_matches(const char *pattern, const char *subject)
{
    bool both_ended;
    size_t pattern_size, size;
    do {
        if (is_wildcard(pattern, '>'))
            return true;
        pattern_size = strcspn(pattern, ".");
        size = strcspn(subject, ".");
        if (!is_wildcard(pattern, '*') &&
            (pattern_size != size || memcmp(pattern, subject, size) != 0))
            return false;
    } while (next_tokens(&pattern, pattern_size, &subject, size, &both_ended));
    return both_ended;
}

bool subject_patterns_overlap(const char *a, const char *b)
{
    bool both_ended;
    size_t a_size, b_size;
    do {
        if (is_wildcard(a, '>') || is_wildcard(b, '>'))
            return true;
        a_size = strcspn(a, ".");
        b_size = strcspn(b, ".");
        if (!is_wildcard(a, '*') && !is_wildcard(b, '*') &&
            (a_size != b_size || memcmp(a, b, a_size) != 0))
            return false;
    } while (next_tokens(&a, a_size, &b, b_size, &both_ended));
    return both_ended;
}
