#include "base/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const keys[] = {"stream", "durable",  "filter",      "batch",
                                   "ack",    "ack_wait", "max_deliver", "url"};

static const char *nearest(const char *word)
{
    return suggest_nearest(word, keys, sizeof(keys) / sizeof(keys[0]));
}

static void test_swapped_letters_are_one_edit(void **state)
{
    (void)state;
    assert_string_equal(nearest("durabel"), "durable");
    assert_string_equal(nearest("akc"), "ack");
    assert_string_equal(nearest("ulr"), "url");
}

static void test_a_missing_an_extra_and_a_wrong_letter_are_found(void **state)
{
    (void)state;
    assert_string_equal(nearest("strem"), "stream");
    assert_string_equal(nearest("sstream"), "stream");
    assert_string_equal(nearest("batsh"), "batch");
    assert_string_equal(nearest("filters"), "filter");
    assert_string_equal(nearest("max_delivery"), "max_deliver");
}

static void test_case_does_not_count(void **state)
{
    (void)state;
    assert_string_equal(nearest("URL"), "url");
    assert_string_equal(nearest("Ack_Wait"), "ack_wait");
}

static void test_a_word_far_from_all_has_no_suggestion(void **state)
{
    (void)state;
    assert_null(nearest("password"));
    assert_null(nearest("xyz"));
    assert_null(nearest("q"));
    assert_null(nearest(""));
    assert_null(nearest("durabilities"));
}

static void test_the_nearest_wins_over_an_earlier_one(void **state)
{
    (void)state;
    const char *const known[] = {"timeouts", "hard_timeout", "timeout"};
    assert_string_equal(suggest_nearest("timeoutt", known, 3), "timeouts");
    assert_string_equal(suggest_nearest("timeou", known, 3), "timeout");
    assert_string_equal(suggest_nearest("hardtimeout", known, 3), "hard_timeout");
}

static void test_the_first_of_equals_wins(void **state)
{
    (void)state;
    const char *const known[] = {"cert", "curt"};
    assert_string_equal(suggest_nearest("crt", known, 2), "cert");
}

static void test_the_known_word_itself_is_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("ack"), "ack");
}

static void test_an_overlong_word_has_no_suggestion(void **state)
{
    (void)state;
    char word[5000];
    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    const char *const known[] = {word};
    assert_null(nearest(word));
    assert_null(suggest_nearest("ack", known, 1));
}

static void test_without_known_words_there_is_no_suggestion(void **state)
{
    (void)state;
    assert_null(suggest_nearest("ack", NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swapped_letters_are_one_edit),
        cmocka_unit_test(test_a_missing_an_extra_and_a_wrong_letter_are_found),
        cmocka_unit_test(test_case_does_not_count),
        cmocka_unit_test(test_a_word_far_from_all_has_no_suggestion),
        cmocka_unit_test(test_the_nearest_wins_over_an_earlier_one),
        cmocka_unit_test(test_the_first_of_equals_wins),
        cmocka_unit_test(test_the_known_word_itself_is_the_nearest),
        cmocka_unit_test(test_an_overlong_word_has_no_suggestion),
        cmocka_unit_test(test_without_known_words_there_is_no_suggestion),
    };
    return cmocka_run_group_tests_name("suggest", tests, NULL, NULL);
}
