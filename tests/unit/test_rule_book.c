#include "mill/rule_book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS = 2 };

static int open_book(void **state)
{
    *state = rule_book_new(WORKERS);
    return *state != NULL ? 0 : -1;
}

static int close_book(void **state)
{
    rule_book_free(*state);
    return 0;
}

/* The row of a name; 0: there is none. */
static size_t find(struct rule_book *book, const char *name)
{
    for (size_t row = 1; row < rule_book_count(book); row++) {
        if (strcmp(rule_book_name(book, row), name) == 0)
            return row;
    }
    return 0;
}

static void fill(struct rule_book *book)
{
    for (int i = 0; i < RULE_BOOK_ROWS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "rule%d", i);
        rule_book_counters(book, name, 0);
    }
}

static void test_a_new_book_shows_no_rule(void **state)
{
    struct rule_book *book = *state;
    assert_int_equal(rule_book_count(book), 1);
    assert_null(rule_book_name(book, 0));
}

static void test_a_rule_finds_its_counters_again(void **state)
{
    struct rule_book *book = *state;
    struct rule_counters *counters = rule_book_counters(book, "high_value", 0);
    rule_book_counters(book, "sos", 0);
    assert_ptr_equal(rule_book_counters(book, "high_value", 0), counters);
    assert_int_equal(rule_book_count(book), 3);
    assert_string_equal(rule_book_name(book, 1), "high_value");
    assert_ptr_equal(rule_book_row(book, 1, 0), counters);
}

static void test_each_worker_has_counters_of_its_own_on_lines_of_its_own(void **state)
{
    struct rule_book *book = *state;
    struct rule_counters *first = rule_book_counters(book, "sos", 0);
    struct rule_counters *second = rule_book_counters(book, "sos", 1);
    assert_int_equal(rule_book_count(book), 2);
    assert_true((char *)second - (char *)first >= (ptrdiff_t)sizeof(*first));
    assert_int_equal((uintptr_t)first % CACHE_LINE, 0);
    assert_int_equal((uintptr_t)second % CACHE_LINE, 0);
    counter_add(second->calls, 3);
    assert_int_equal(counter_get(rule_book_row(book, 1, 0)->calls), 0);
    assert_int_equal(counter_get(rule_book_row(book, 1, 1)->calls), 3);
}

static void test_the_name_is_copied(void **state)
{
    char name[] = "sos";
    rule_book_counters(*state, name, 0);
    name[0] = 'x';
    assert_int_equal(find(*state, "sos"), 1);
}

static void test_a_full_book_gives_what_is_new_the_overflow(void **state)
{
    struct rule_book *book = *state;
    fill(book);
    assert_int_equal(rule_book_count(book), RULE_BOOK_ROWS + 1);
    assert_null(rule_book_name(book, 0));

    struct rule_counters *one = rule_book_counters(book, "one_more", 0);
    assert_ptr_equal(rule_book_counters(book, "another", 0), one);
    assert_string_equal(rule_book_name(book, 0), RULE_BOOK_OVERFLOW);
    assert_ptr_equal(rule_book_row(book, 0, 0), one);
    assert_int_equal(rule_book_count(book), RULE_BOOK_ROWS + 1);
}

static void test_a_full_book_still_finds_what_it_has(void **state)
{
    struct rule_book *book = *state;
    struct rule_counters *early = rule_book_counters(book, "rule0", 0);
    fill(book);
    rule_book_counters(book, "one_more", 0);
    assert_ptr_equal(rule_book_counters(book, "rule0", 0), early);
    char last[32];
    snprintf(last, sizeof(last), "rule%d", RULE_BOOK_ROWS - 1);
    assert_ptr_equal(rule_book_counters(book, last, 0), rule_book_row(book, find(book, last), 0));
    assert_ptr_not_equal(rule_book_counters(book, last, 0), rule_book_row(book, 0, 0));
}

static void test_a_rule_called_overflow_counts_there(void **state)
{
    struct rule_book *book = *state;
    assert_ptr_equal(rule_book_counters(book, RULE_BOOK_OVERFLOW, 1), rule_book_row(book, 0, 1));
    assert_int_equal(rule_book_count(book), 1);
    assert_string_equal(rule_book_name(book, 0), RULE_BOOK_OVERFLOW);
}

static void *add_rules(void *book)
{
    fill(book);
    return NULL;
}

static void test_what_is_counted_can_be_read_while_another_adds(void **state)
{
    struct rule_book *book = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, add_rules, book), 0);
    size_t count = 0;
    while (count <= RULE_BOOK_ROWS) {
        count = rule_book_count(book);
        assert_non_null(count > 1 ? rule_book_name(book, count - 1) : "");
        assert_int_equal(counter_get(rule_book_row(book, count - 1, 1)->calls), 0);
    }
    pthread_join(thread, NULL);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_book, close_book)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_a_new_book_shows_no_rule),
        TEST(test_a_rule_finds_its_counters_again),
        TEST(test_each_worker_has_counters_of_its_own_on_lines_of_its_own),
        TEST(test_the_name_is_copied),
        TEST(test_a_full_book_gives_what_is_new_the_overflow),
        TEST(test_a_full_book_still_finds_what_it_has),
        TEST(test_a_rule_called_overflow_counts_there),
        TEST(test_what_is_counted_can_be_read_while_another_adds),
    };
    return cmocka_run_group_tests_name("rule_book", tests, NULL, NULL);
}
