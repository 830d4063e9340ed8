#include "mill/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

static int open_progress(void **state)
{
    *state = progress_new();
    return *state != NULL ? 0 : -1;
}

static int close_progress(void **state)
{
    progress_free(*state);
    return 0;
}

static void test_nothing_is_known_at_first(void **state)
{
    assert_false(progress_has(*state, 0, 1, "a"));
    progress_forget(*state, 0, 1);
}

static void test_a_rule_that_was_noted_is_known(void **state)
{
    progress_note(*state, 0, 1, "a");
    progress_note(*state, 0, 1, "b");
    assert_true(progress_has(*state, 0, 1, "a"));
    assert_true(progress_has(*state, 0, 1, "b"));
    assert_false(progress_has(*state, 0, 1, "c"));
}

static void test_sources_and_sequences_are_kept_apart(void **state)
{
    progress_note(*state, 1, 7, "a");
    assert_false(progress_has(*state, 0, 7, "a"));
    assert_false(progress_has(*state, 1, 8, "a"));
    assert_false(progress_has(*state, 1, 7 + 4096, "a"));
    assert_true(progress_has(*state, 1, 7, "a"));
}

static void test_a_name_is_copied(void **state)
{
    char name[] = "alpha";
    progress_note(*state, 0, 1, name);
    name[0] = 'x';
    assert_true(progress_has(*state, 0, 1, "alpha"));
}

static void test_a_settled_message_is_forgotten_with_all_its_rules(void **state)
{
    progress_note(*state, 0, 1, "a");
    progress_note(*state, 0, 1, "b");
    progress_note(*state, 0, 2, "a");
    progress_forget(*state, 0, 1);
    assert_false(progress_has(*state, 0, 1, "a"));
    assert_false(progress_has(*state, 0, 1, "b"));
    assert_true(progress_has(*state, 0, 2, "a"));
    progress_note(*state, 0, 1, "b");
    assert_false(progress_has(*state, 0, 1, "a"));
}

static void test_the_oldest_message_makes_room(void **state)
{
    for (uint64_t i = 1; i <= PROGRESS_MESSAGES_MAX; i++)
        progress_note(*state, 0, i, "a");
    assert_true(progress_has(*state, 0, 1, "a"));
    progress_note(*state, 0, PROGRESS_MESSAGES_MAX + 1, "a");
    assert_false(progress_has(*state, 0, 1, "a"));
    assert_true(progress_has(*state, 0, 2, "a"));
    assert_true(progress_has(*state, 0, PROGRESS_MESSAGES_MAX + 1, "a"));
}

static void test_a_known_message_pushes_none_out(void **state)
{
    for (uint64_t i = 1; i <= PROGRESS_MESSAGES_MAX; i++)
        progress_note(*state, 0, i, "a");
    progress_note(*state, 0, PROGRESS_MESSAGES_MAX, "b");
    progress_note(*state, 0, 1, "b");
    assert_true(progress_has(*state, 0, 1, "a"));
    assert_true(progress_has(*state, 0, 1, "b"));
    assert_true(progress_has(*state, 0, 2, "a"));
}

static void test_far_more_messages_than_the_bound_are_survived(void **state)
{
    uint64_t many = 3 * (uint64_t)PROGRESS_MESSAGES_MAX;
    for (uint64_t i = 0; i < many; i++) {
        progress_note(*state, (unsigned)(i % 3), i, "a");
        if (i % 5 == 0)
            progress_forget(*state, (unsigned)(i % 3), i);
    }
    uint64_t last = many - 1;
    assert_true(progress_has(*state, (unsigned)(last % 3), last, "a"));
    assert_false(progress_has(*state, 0, 0, "a"));
}

enum { THREADS = 4, ROUNDS = 20000 };

struct walker {
    struct progress *progress;
    unsigned source;
    unsigned missed;
};

/* Every thread has a source of its own, so that it knows what must be remembered. */
static void *walk(void *argument)
{
    struct walker *walker = argument;
    for (uint64_t i = 0; i < ROUNDS; i++) {
        progress_note(walker->progress, walker->source, i, "a");
        progress_note(walker->progress, walker->source, i, "b");
        if (!progress_has(walker->progress, walker->source, i, "a") ||
            !progress_has(walker->progress, walker->source, i, "b"))
            walker->missed++;
        progress_forget(walker->progress, walker->source, i);
        if (progress_has(walker->progress, walker->source, i, "a"))
            walker->missed++;
    }
    return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
    struct walker walkers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        walkers[i] = (struct walker){.progress = *state, .source = i};
        assert_int_equal(pthread_create(&threads[i], NULL, walk, &walkers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(walkers[i].missed, 0);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_progress, close_progress)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_known_at_first),
        TEST(test_a_rule_that_was_noted_is_known),
        TEST(test_sources_and_sequences_are_kept_apart),
        TEST(test_a_name_is_copied),
        TEST(test_a_settled_message_is_forgotten_with_all_its_rules),
        TEST(test_the_oldest_message_makes_room),
        TEST(test_a_known_message_pushes_none_out),
        TEST(test_far_more_messages_than_the_bound_are_survived),
        TEST(test_threads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
