/*
 * Subjects and patterns: the first line is a subject, each other line a pattern. What is valid and
 * what matches is what a few lines here say; the router finds the same rules; two patterns overlap
 * when there is a subject that both match, which is made here.
 */
#include "base/subject.h"

#include "fuzz.h"
#include "rules/router.h"

enum { PATTERNS_MAX = 12 };

/* The next token as a text of its own; NULL at the end. */
static char *next_token(const char **at)
{
    if (*at == NULL)
        return NULL;
    size_t size = strcspn(*at, ".");
    char *token = strndup(*at, size);
    *at = (*at)[size] == '.' ? *at + size + 1 : NULL;
    return token;
}

static bool is_valid(const char *text, bool is_pattern)
{
    bool valid = *text != '\0' && strlen(text) <= SUBJECT_SIZE_MAX;
    char *token;
    for (const char *c = text; *c != '\0'; c++)
        valid = valid && (unsigned char)*c > ' ' && *c != 0x7f;
    while ((token = next_token(&text)) != NULL) {
        bool wild = strpbrk(token, "*>") != NULL;
        valid = valid && *token != '\0' && (!wild || (is_pattern && strlen(token) == 1));
        valid = valid && (*token != '>' || text == NULL);
        free(token);
    }
    return valid;
}

/* Token by token. */
static bool matches(const char *pattern, const char *subject)
{
    char *wanted = next_token(&pattern), *token = next_token(&subject);
    bool same = wanted == NULL && token == NULL;
    if (wanted != NULL && token != NULL)
        same =
            strcmp(wanted, ">") == 0 ||
            ((strcmp(wanted, "*") == 0 || strcmp(wanted, token) == 0) && matches(pattern, subject));
    free(wanted);
    free(token);
    return same;
}

/* A subject for both patterns, if there is one: what either says, or x where neither does. */
static void make_witness(const char *a, const char *b, char *out)
{
    bool a_goes_on = false, b_goes_on = false; /* behind its > */
    *out = '\0';
    for (;;) {
        char *one = next_token(&a), *other = next_token(&b);
        if (one == NULL && other == NULL)
            return;
        a_goes_on = a_goes_on || (one != NULL && strcmp(one, ">") == 0);
        b_goes_on = b_goes_on || (other != NULL && strcmp(other, ">") == 0);
        const char *token = "x";
        if (one != NULL && strpbrk(one, "*>") == NULL)
            token = one;
        else if (other != NULL && strpbrk(other, "*>") == NULL)
            token = other;
        sprintf(out + strlen(out), "%s%s", *out != '\0' ? "." : "", token);
        free(one);
        free(other);
    }
}

static void check_overlap(const char *a, const char *b, const char *subject)
{
    char *witness = malloc(strlen(a) + strlen(b) + 8);
    must(witness != NULL);
    bool overlap = subject_patterns_overlap(a, b);
    must(overlap == subject_patterns_overlap(b, a));
    must(strcmp(a, b) != 0 || overlap);
    if (subject_matches(a, subject) && subject_matches(b, subject))
        must(overlap);
    make_witness(a, b, witness);
    must(overlap == (matches(a, witness) && matches(b, witness)));
    free(witness);
}

/* Checks one text as a subject and as a pattern. Returns whether it is a pattern. */
static bool check_text(const char *text)
{
    struct error err = {""};
    must((subject_check(text, &err) == 0) == is_valid(text, false));
    must((subject_check_pattern(text, &err) == 0) == is_valid(text, true));
    if (!is_valid(text, false))
        must_be_a_message(err.text[0] != '\0' ? err.text : "-");
    return is_valid(text, true);
}

static void check_router(char **patterns, size_t count, const char *subject)
{
    struct router *router = router_new();
    size_t targets[PATTERNS_MAX], wanted = 0;
    for (size_t i = 0; i < count; i++) /* two patterns for each target */
        must(router_add(router, patterns[i], i / 2, NULL) == 0);
    size_t found = router_match(router, subject, targets, PATTERNS_MAX);
    must(found <= count);
    for (size_t i = 1; i < found; i++)
        must(targets[i - 1] < targets[i]);
    for (size_t i = 0; i < count; i += 2) {
        bool match = subject_matches(patterns[i], subject) ||
                     (i + 1 < count && subject_matches(patterns[i + 1], subject));
        must(!match || (wanted < found && targets[wanted] == i / 2));
        wanted += match;
    }
    must(wanted == found);
    for (size_t max = 0; max < found; max++) {
        size_t fewer[PATTERNS_MAX];
        must(router_match(router, subject, fewer, max) == max);
    }
    router_free(router);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size), *rest = text, *patterns[PATTERNS_MAX];
    size_t count = 0;
    const char *subject = strsep(&rest, "\n");
    check_text(subject);
    while (rest != NULL && count < PATTERNS_MAX) {
        patterns[count] = strsep(&rest, "\n");
        count += check_text(patterns[count]);
    }
    for (size_t i = 0; i < count && is_valid(subject, false); i++) {
        must(subject_matches(patterns[i], subject) == matches(patterns[i], subject));
        for (size_t j = 0; j <= i; j++)
            check_overlap(patterns[i], patterns[j], subject);
    }
    check_router(patterns, count, subject);
    free(text);
    return 0;
}
