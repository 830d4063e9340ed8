#include "rules/router.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/subject.h"

enum { MATCHES_MAX = 4096 };

static size_t matches[MATCHES_MAX];

/* Adds the pattern; a refusal fails the test. */
static void add(struct router *router, const char *pattern, size_t target)
{
    struct error err = {""};
    if (router_add(router, pattern, target, &err) != 0)
        fail_msg("refused: %s", err.text);
}

/* Matches and writes the targets as "0 3 7". */
static const char *match(struct router *router, const char *subject)
{
    static char text[MATCHES_MAX * 8];
    size_t count = router_match(router, subject, matches, MATCHES_MAX);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%zu", i > 0 ? " " : "",
                                 matches[i]);
    return text;
}

static void test_without_patterns_nobody_wants_a_subject(void **state)
{
    (void)state;
    struct router *router = router_new();
    assert_string_equal(match(router, "a"), "");
    assert_string_equal(match(router, "a.b.c"), "");
    assert_string_equal(match(router, ""), "");
    router_free(router);
}

static void test_a_plain_pattern_matches_its_subject_only(void **state)
{
    (void)state;
    struct router *router = router_new();
    add(router, "sensors.value", 0);
    add(router, "sensors.sos", 1);
    add(router, "sensors", 2);
    assert_string_equal(match(router, "sensors.value"), "0");
    assert_string_equal(match(router, "sensors.sos"), "1");
    assert_string_equal(match(router, "sensors"), "2");
    assert_string_equal(match(router, "sensors.value.x"), "");
    assert_string_equal(match(router, "sensors.valu"), "");
    assert_string_equal(match(router, "value"), "");
    router_free(router);
}

static void test_a_star_stands_for_one_token(void **state)
{
    (void)state;
    struct router *router = router_new();
    add(router, "*", 0);
    add(router, "a.*", 1);
    add(router, "*.b", 2);
    add(router, "a.*.c", 3);
    assert_string_equal(match(router, "a"), "0");
    assert_string_equal(match(router, "a.b"), "1 2");
    assert_string_equal(match(router, "x.b"), "2");
    assert_string_equal(match(router, "a.x.c"), "3");
    assert_string_equal(match(router, "a.x.d"), "");
    router_free(router);
}

static void test_a_greater_than_stands_for_one_or_more_tokens(void **state)
{
    (void)state;
    struct router *router = router_new();
    add(router, ">", 0);
    add(router, "a.>", 1);
    add(router, "a.*.>", 2);
    assert_string_equal(match(router, "a"), "0");
    assert_string_equal(match(router, "a.b"), "0 1");
    assert_string_equal(match(router, "a.b.c"), "0 1 2");
    assert_string_equal(match(router, "a.b.c.d.e.f.g"), "0 1 2");
    assert_string_equal(match(router, "b.c"), "0");
    router_free(router);
}

static void test_a_target_with_many_patterns_is_written_once(void **state)
{
    (void)state;
    struct router *router = router_new();
    add(router, "a.b", 5);
    add(router, "a.b", 5);
    add(router, "a.*", 5);
    add(router, "*.b", 5);
    add(router, "a.>", 5);
    add(router, ">", 5);
    assert_string_equal(match(router, "a.b"), "5");
    assert_string_equal(match(router, "a.b"), "5");
    router_free(router);
}

static void test_targets_come_in_ascending_order_and_at_most_max(void **state)
{
    (void)state;
    struct router *router = router_new();
    add(router, "a", 900);
    add(router, "a", 3);
    add(router, "*", 64);
    add(router, ">", 63);
    add(router, "a", 0);
    assert_string_equal(match(router, "a"), "0 3 63 64 900");
    assert_int_equal(router_match(router, "a", matches, 2), 2);
    assert_int_equal(matches[0], 0);
    assert_int_equal(matches[1], 3);
    assert_int_equal(router_match(router, "a", matches, 0), 0);
    /* What was left off does not appear in the next answer. */
    assert_string_equal(match(router, "b"), "63 64");
    router_free(router);
}

static void test_a_bad_pattern_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct router *router = router_new();
    struct error err = {""};
    assert_int_equal(router_add(router, "a..b", 0, &err), -1);
    assert_string_equal(err.text, "subject pattern 'a..b' has an empty token (number 2)");
    assert_int_equal(router_add(router, "a.>.b", 0, &err), -1);
    assert_int_equal(router_add(router, "", 0, &err), -1);
    assert_int_equal(router_add(router, "a", SIZE_MAX, &err), -1);
    assert_string_equal(match(router, "a.b"), "");
    router_free(router);
}

static void test_a_subject_deeper_than_every_pattern_is_matched(void **state)
{
    (void)state;
    char subject[4 * SUBJECT_SIZE_MAX];
    struct router *router = router_new();
    for (size_t i = 0; i < sizeof(subject); i++)
        subject[i] = i % 2 == 0 ? 'a' : '.';
    subject[sizeof(subject) - 1] = '\0';
    add(router, "a.a", 0);
    assert_string_equal(match(router, subject), "");
    add(router, "a.a.>", 1);
    add(router, ">", 2);
    assert_string_equal(match(router, subject), "1 2");
    router_free(router);
}

/* The longest patterns there are, plain and with a wildcard in every token. */
static void test_the_deepest_patterns_match(void **state)
{
    (void)state;
    char plain[SUBJECT_SIZE_MAX], stars[SUBJECT_SIZE_MAX], mixed[SUBJECT_SIZE_MAX];
    for (size_t i = 0; i < SUBJECT_SIZE_MAX; i++) {
        plain[i] = i % 2 == 0 ? 'a' : '.';
        stars[i] = i % 2 == 0 ? '*' : '.';
        mixed[i] = i % 2 == 1 ? '.' : i % 4 == 0 ? 'a' : '*';
    }
    plain[SUBJECT_SIZE_MAX - 1] = stars[SUBJECT_SIZE_MAX - 1] = mixed[SUBJECT_SIZE_MAX - 1] = '\0';
    mixed[SUBJECT_SIZE_MAX - 2] = '>';
    struct router *router = router_new();
    add(router, plain, 0);
    add(router, stars, 1);
    add(router, mixed, 2);
    assert_string_equal(match(router, plain), "0 1 2");
    plain[0] = 'b';
    assert_string_equal(match(router, plain), "1");
    plain[SUBJECT_SIZE_MAX - 3] = '\0';
    assert_string_equal(match(router, plain), "");
    router_free(router);
}

/*
 * For each depth d: 'a' or '*' first, then stars, then '>'. A walk that tried every combination
 * anew would never end; this one visits each node once.
 */
static void test_many_wildcards_do_not_multiply_the_work(void **state)
{
    (void)state;
    char pattern[SUBJECT_SIZE_MAX], subject[SUBJECT_SIZE_MAX];
    struct router *router = router_new();
    size_t target = 0;
    for (size_t depth = 1; depth <= 400; depth += 7) {
        for (size_t plain = 0; plain <= depth; plain += 50) {
            for (size_t i = 0; i < depth; i++)
                memcpy(pattern + 2 * i, i < plain ? "a." : "*.", 2);
            strcpy(pattern + 2 * depth, ">");
            add(router, pattern, target++);
        }
    }
    for (size_t i = 0; i < SUBJECT_SIZE_MAX; i++)
        subject[i] = i % 2 == 0 ? 'a' : '.';
    subject[SUBJECT_SIZE_MAX - 1] = '\0';
    for (int i = 0; i < 1000; i++)
        assert_int_equal(router_match(router, subject, matches, MATCHES_MAX), target);
    router_free(router);
}

/* A small generator of our own, so that every system makes the same patterns. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

/* One to six tokens of a small alphabet, so that many of them meet. */
static void generate(uint64_t *seed, bool pattern, char *text, size_t room)
{
    static const char *const tokens[] = {"a", "b", "ab", "ba", "x1", "*", "*", ">"};
    size_t count = 1 + next_random(seed) % 6;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        size_t choices = pattern ? (last ? 8 : 7) : 5;
        used += (size_t)snprintf(text + used, room - used, "%s%s", i > 0 ? "." : "",
                                 tokens[next_random(seed) % choices]);
    }
}

static void test_the_router_agrees_with_matching_pattern_by_pattern(void **state)
{
    (void)state;
    enum { ROUNDS = 60, PATTERNS = 150, SUBJECTS = 300, TARGETS = 100 };
    static char patterns[PATTERNS][64];
    size_t owners[PATTERNS];
    size_t hits = 0;
    uint64_t seed = UINT64_C(20260101);
    print_message("seed %" PRIu64 "\n", seed);
    for (int round = 0; round < ROUNDS; round++) {
        struct router *router = router_new();
        for (size_t i = 0; i < PATTERNS; i++) {
            generate(&seed, true, patterns[i], sizeof(patterns[i]));
            owners[i] = next_random(&seed) % TARGETS;
            add(router, patterns[i], owners[i]);
        }
        for (int s = 0; s < SUBJECTS; s++) {
            char subject[64];
            bool wanted[TARGETS] = {false};
            generate(&seed, false, subject, sizeof(subject));
            for (size_t i = 0; i < PATTERNS; i++)
                wanted[owners[i]] |= subject_matches(patterns[i], subject);
            size_t count = router_match(router, subject, matches, MATCHES_MAX);
            size_t next = 0;
            for (size_t target = 0; target < TARGETS; target++) {
                bool matched = next < count && matches[next] == target;
                if (matched != wanted[target])
                    fail_msg("round %d, '%s', target %zu", round, subject, target);
                next += matched;
            }
            assert_int_equal(next, count);
            hits += count;
        }
        router_free(router);
    }
    assert_true(hits > 10000);
}

static void test_thousands_of_rules_are_told_apart(void **state)
{
    (void)state;
    struct router *router = router_new();
    char text[64], expected[16];
    for (size_t i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "plant%zu.line%zu.value", i % 50, i);
        add(router, text, i);
    }
    for (size_t i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "plant%zu.line%zu.value", i % 50, i);
        snprintf(expected, sizeof(expected), "%zu", i);
        assert_string_equal(match(router, text), expected);
        snprintf(text, sizeof(text), "plant%zu.line%zu.value", (i + 1) % 50, i);
        assert_string_equal(match(router, text), "");
    }
    router_free(router);
}

static void test_nothing_is_freed_without_complaint(void **state)
{
    (void)state;
    router_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_patterns_nobody_wants_a_subject),
        cmocka_unit_test(test_a_plain_pattern_matches_its_subject_only),
        cmocka_unit_test(test_a_star_stands_for_one_token),
        cmocka_unit_test(test_a_greater_than_stands_for_one_or_more_tokens),
        cmocka_unit_test(test_a_target_with_many_patterns_is_written_once),
        cmocka_unit_test(test_targets_come_in_ascending_order_and_at_most_max),
        cmocka_unit_test(test_a_bad_pattern_is_refused_and_changes_nothing),
        cmocka_unit_test(test_a_subject_deeper_than_every_pattern_is_matched),
        cmocka_unit_test(test_the_deepest_patterns_match),
        cmocka_unit_test(test_many_wildcards_do_not_multiply_the_work),
        cmocka_unit_test(test_the_router_agrees_with_matching_pattern_by_pattern),
        cmocka_unit_test(test_thousands_of_rules_are_told_apart),
        cmocka_unit_test(test_nothing_is_freed_without_complaint),
    };
    return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
