#include "base/suggest.h"

#include <string.h>

/* Longer words are no option names; they get no suggestion. */
enum { WORD_MAX = 63 };

/* One edit in a short word, two in a middling one, three in a long one. */
static size_t edits_allowed(size_t length)
{
    if (length < 3)
        return length > 1 ? 1 : 0;
    return length < 6 ? 1 : length < 11 ? 2 : 3;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/*
 * The edit distance with swaps of neighbours (optimal string alignment), row by row; `limit + 1` as
 * soon as no path can come out at `limit` or less. Both words have at most WORD_MAX bytes.
 */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size, size_t limit)
{
    size_t rows[3][WORD_MAX + 1];
    size_t *above2 = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_size; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = i;
        size_t best = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t replace = above[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            row[j] = smaller(replace, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = smaller(row[j], above2[j - 2] + 1);
            best = smaller(best, row[j]);
        }
        /* A swap reaches back two rows, so one row over the limit is not yet the end. */
        if (best > limit + 1)
            return limit + 1;
        size_t *free_row = above2;
        above2 = above;
        above = row;
        row = free_row;
    }
    return above[b_size];
}

const char *suggest_nearest(const char *word, const char *const *known, size_t count)
{
    size_t size = strlen(word);
    if (size > WORD_MAX)
        return NULL;
    size_t allowed = edits_allowed(size);
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t known_size = strlen(known[i]);
        if (known_size > WORD_MAX || known_size > size + allowed || size > known_size + allowed)
            continue;
        size_t edits = distance(word, size, known[i], known_size, allowed);
        if (edits > allowed)
            continue;
        nearest = known[i];
        if (edits == 0)
            break;
        allowed = edits - 1; /* only a nearer one replaces it */
    }
    return nearest;
}
