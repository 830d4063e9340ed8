#include "base/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct fault_case {
    const char *subject;
    const char *message;
};

static void assert_faults(int (*check)(const char *, struct error *),
                          const struct fault_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = {""};
        if (check(cases[i].subject, &err) != -1)
            fail_msg("accepted: '%s'", cases[i].subject);
        assert_string_equal(err.text, cases[i].message);
    }
}

static void test_plain_subjects_may_be_published_to(void **state)
{
    (void)state;
    const char *const good[] = {"a",          "sensors.value", "a.b.c.d",  "$KV.bucket.key",
                                "grüße.welt", "a-b_c/d=e",     "_INBOX.x", "A.0"};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct error err = {""};
        if (subject_check(good[i], &err) != 0)
            fail_msg("refused: %s", err.text);
        assert_int_equal(subject_check_pattern(good[i], &err), 0);
    }
}

static void test_what_is_no_subject_is_named_with_its_place(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"", "the subject is empty"},
        {"a..b", "subject 'a..b' has an empty token (number 2)"},
        {".a", "subject '.a' has an empty token (number 1)"},
        {"a.", "subject 'a.' has an empty token (number 2)"},
        {".", "subject '.' has an empty token (number 1)"},
        {"a b", "subject 'a b' has a space at byte 2"},
        {"a.\tb", "subject 'a.\\x09b' has a tab at byte 3"},
        {"a\r\nPUB", "subject 'a\\x0d\\x0aPUB' has a line break at byte 2"},
        {"a\x01", "subject 'a\\x01' has a control character at byte 2"},
        {"\x7f", "subject '\\x7f' has a control character at byte 1"},
    };
    assert_faults(subject_check, cases, COUNT(cases));
}

static void test_a_wildcard_can_not_be_published_to(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"a.*", "subject 'a.*': token 2 has a wildcard, which is for patterns only"},
        {">", "subject '>': token 1 has a wildcard, which is for patterns only"},
        {"a.b>.c", "subject 'a.b>.c': token 2 has a wildcard, which is for patterns only"},
    };
    assert_faults(subject_check, cases, COUNT(cases));
}

static void test_patterns_with_wildcards_as_whole_tokens_are_good(void **state)
{
    (void)state;
    const char *const good[] = {"*", ">", "a.*", "a.>", "*.*.>", "a.*.b", "*.a.*"};
    for (size_t i = 0; i < COUNT(good); i++) {
        struct error err = {""};
        if (subject_check_pattern(good[i], &err) != 0)
            fail_msg("refused: %s", err.text);
    }
}

static void test_what_is_no_pattern_is_named_with_its_token(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"", "the subject pattern is empty"},
        {"a..*", "subject pattern 'a..*' has an empty token (number 2)"},
        {"sensors.val*",
         "subject pattern 'sensors.val*': token 2 mixes a wildcard with letters; '*' "
         "and '>' stand for whole tokens"},
        {"a.**", "subject pattern 'a.**': token 2 mixes a wildcard with letters; '*' and '>' stand "
                 "for whole tokens"},
        {"a.>.b", "subject pattern 'a.>.b': token 2 is '>', which may only be the last"},
        {"a.>.", "subject pattern 'a.>.': token 2 is '>', which may only be the last"},
        {"> ", "subject pattern '> ' has a space at byte 2"},
    };
    assert_faults(subject_check_pattern, cases, COUNT(cases));
}

static void test_a_subject_of_the_greatest_size_is_good_and_one_byte_more_is_not(void **state)
{
    (void)state;
    char subject[SUBJECT_SIZE_MAX + 2];
    struct error err = {""};
    memset(subject, 'x', sizeof(subject));
    subject[SUBJECT_SIZE_MAX] = '\0';
    assert_int_equal(subject_check(subject, &err), 0);
    subject[SUBJECT_SIZE_MAX] = 'x';
    subject[SUBJECT_SIZE_MAX + 1] = '\0';
    assert_int_equal(subject_check(subject, &err), -1);
    assert_non_null(strstr(err.text, "xxx...' has 1025 bytes, more than 1024"));
}

static void test_a_message_is_one_line_whatever_the_subject_holds(void **state)
{
    (void)state;
    char subject[SUBJECT_SIZE_MAX];
    struct error err = {""};
    memset(subject, '\n', sizeof(subject));
    subject[sizeof(subject) - 1] = '\0';
    assert_int_equal(subject_check(subject, &err), -1);
    assert_null(strchr(err.text, '\n'));
    assert_non_null(strstr(err.text, "at byte 1"));
}

static void test_a_fault_may_be_asked_for_without_a_message(void **state)
{
    (void)state;
    assert_int_equal(subject_check("a..b", NULL), -1);
}

struct match_case {
    const char *pattern;
    const char *subject;
    bool matches;
};

static void test_matching_follows_the_rules_of_nats(void **state)
{
    (void)state;
    const struct match_case cases[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a", "a.b", false},
        {"a.b", "a", false},
        {"a.b", "a.b", true},
        {"ab", "a", false},
        {"a", "ab", false},
        {"*", "a", true},
        {"*", "a.b", false},
        {"a.*", "a.b", true},
        {"a.*", "a", false},
        {"a.*", "a.b.c", false},
        {"*.b", "a.b", true},
        {"*.b", "a.c", false},
        {">", "a", true},
        {">", "a.b.c", true},
        {"a.>", "a", false},
        {"a.>", "a.b", true},
        {"a.>", "a.b.c", true},
        {"a.>", "b.c", false},
        {"*.>", "a", false},
        {"*.>", "a.b", true},
        {"*.b.>", "a.b", false},
        {"*.b.>", "a.b.c.d", true},
        {"a.*.c", "a.b.c", true},
        {"a.*.c", "a.b.d", false},
        {"a.*.c", "a.b.b.c", false},
        {"*.*", "a.b", true},
        {"*.*", "a", false},
        {"sensors.value", "sensors.values", false},
        {"A", "a", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (subject_matches(cases[i].pattern, cases[i].subject) != cases[i].matches)
            fail_msg("'%s' on '%s'", cases[i].pattern, cases[i].subject);
    }
}

struct overlap_case {
    const char *a;
    const char *b;
    bool overlap;
};

static void test_patterns_overlap_when_a_subject_matches_both(void **state)
{
    (void)state;
    const struct overlap_case cases[] = {
        {"a", "a", true},          {"a", "b", false},        {"a", "a.b", false},
        {"a.*", "a.b", true},      {"a.*", "*.b", true},     {"a.*", "b.*", false},
        {"a.>", "a", false},       {"a.>", "a.b.c", true},   {"a.>", "*.*.c", true},
        {">", "a.b", true},        {">", "*", true},         {"a.>", "b.>", false},
        {"*.b", "a.*.c", false},   {"*.x.>", "a.*.c", true}, {"a.*.c", "a.b.*", true},
        {"a.*.c", "a.b.d", false}, {"a.b.>", "a.*", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (subject_patterns_overlap(cases[i].a, cases[i].b) != cases[i].overlap ||
            subject_patterns_overlap(cases[i].b, cases[i].a) != cases[i].overlap)
            fail_msg("'%s' and '%s'", cases[i].a, cases[i].b);
    }
}

/* Every pattern and subject of up to three tokens over a small alphabet: overlap means what it
 * says. */
static void test_overlap_agrees_with_matching_on_every_small_pattern(void **state)
{
    (void)state;
    const char *const tokens[] = {"a", "b", "*", ">"};
    char patterns[4 + 16 + 64][8];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        snprintf(patterns[count++], 8, "%s", tokens[i]);
        for (size_t j = 0; j < 4; j++) {
            snprintf(patterns[count++], 8, "%s.%s", tokens[i], tokens[j]);
            for (size_t k = 0; k < 4; k++)
                snprintf(patterns[count++], 8, "%s.%s.%s", tokens[i], tokens[j], tokens[k]);
        }
    }
    size_t overlaps = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            if (subject_check_pattern(patterns[i], NULL) != 0 ||
                subject_check_pattern(patterns[j], NULL) != 0)
                continue;
            bool common = false;
            for (size_t k = 0; k < count && !common; k++)
                common = subject_check(patterns[k], NULL) == 0 &&
                         subject_matches(patterns[i], patterns[k]) &&
                         subject_matches(patterns[j], patterns[k]);
            if (subject_patterns_overlap(patterns[i], patterns[j]) != common)
                fail_msg("'%s' and '%s'", patterns[i], patterns[j]);
            overlaps += common;
        }
    }
    assert_true(overlaps > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_subjects_may_be_published_to),
        cmocka_unit_test(test_what_is_no_subject_is_named_with_its_place),
        cmocka_unit_test(test_a_wildcard_can_not_be_published_to),
        cmocka_unit_test(test_patterns_with_wildcards_as_whole_tokens_are_good),
        cmocka_unit_test(test_what_is_no_pattern_is_named_with_its_token),
        cmocka_unit_test(test_a_subject_of_the_greatest_size_is_good_and_one_byte_more_is_not),
        cmocka_unit_test(test_a_message_is_one_line_whatever_the_subject_holds),
        cmocka_unit_test(test_a_fault_may_be_asked_for_without_a_message),
        cmocka_unit_test(test_matching_follows_the_rules_of_nats),
        cmocka_unit_test(test_patterns_overlap_when_a_subject_matches_both),
        cmocka_unit_test(test_overlap_agrees_with_matching_on_every_small_pattern),
    };
    return cmocka_run_group_tests_name("subject", tests, NULL, NULL);
}
