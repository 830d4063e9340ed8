#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct place {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void open_place(struct place *place)
{
    pthread_mutex_init(&place->lock, NULL);
    clock_condition_init(&place->changed);
    place->done = false;
}

static void close_place(struct place *place)
{
    pthread_cond_destroy(&place->changed);
    pthread_mutex_destroy(&place->lock);
}

/* Whether the deadline was over before anything was done. */
static bool wait_in_vain(struct place *place, int64_t deadline_ns)
{
    bool in_time = true;
    pthread_mutex_lock(&place->lock);
    while (!place->done && in_time)
        in_time = clock_condition_wait(&place->changed, &place->lock, deadline_ns);
    pthread_mutex_unlock(&place->lock);
    return !in_time;
}

static void test_a_wait_for_nothing_ends_at_its_deadline(void **state)
{
    (void)state;
    struct place place;
    open_place(&place);
    int64_t deadline_ns = clock_monotonic_ns() + 20 * NS_PER_MS;
    assert_true(wait_in_vain(&place, deadline_ns));
    assert_true(clock_monotonic_ns() >= deadline_ns);
    assert_true(wait_in_vain(&place, deadline_ns));
    close_place(&place);
}

static void *finish(void *context)
{
    struct place *place = context;
    pthread_mutex_lock(&place->lock);
    place->done = true;
    pthread_cond_broadcast(&place->changed);
    pthread_mutex_unlock(&place->lock);
    return NULL;
}

static void test_a_wait_ends_when_it_is_told(void **state)
{
    (void)state;
    struct place place;
    pthread_t thread;
    open_place(&place);
    assert_int_equal(pthread_create(&thread, NULL, finish, &place), 0);
    assert_false(wait_in_vain(&place, clock_monotonic_ns() + 3600 * NS_PER_S));
    pthread_join(thread, NULL);
    close_place(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wait_for_nothing_ends_at_its_deadline),
        cmocka_unit_test(test_a_wait_ends_when_it_is_told),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
