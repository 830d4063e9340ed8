#include "mill/garbage.h"
#include "unit/bus_fake.h"

/* Messages that are done with, on fake wire messages. */

static struct garbage garbage;

static int close_garbage(void **state)
{
    (void)state;
    garbage_burn(&garbage);
    garbage_close(&garbage);
    bus_fake_reset();
    return 0;
}

static void test_nothing_is_freed_before_the_burst(void **state)
{
    static struct wire_message messages[1000];
    (void)state;
    for (size_t i = 0; i < 1000; i++)
        assert_true(garbage_add(&garbage, &messages[i]));
    assert_int_equal(bus.wires_freed, 0);
    garbage_burn(&garbage);
    assert_int_equal(bus.wires_freed, 1000);
    garbage_burn(&garbage);
    assert_int_equal(bus.wires_freed, 1000);
}

static void test_a_burst_is_due_when_there_are_many(void **state)
{
    static struct wire_message messages[512];
    (void)state;
    for (size_t i = 0; i < 512; i++) {
        assert_false(garbage_is_due(&garbage));
        assert_true(garbage_add(&garbage, &messages[i]));
    }
    assert_true(garbage_is_due(&garbage));
    garbage_burn(&garbage);
    assert_false(garbage_is_due(&garbage));
}

static void test_a_burst_is_due_when_payloads_are_large(void **state)
{
    static struct wire_message large = {.payload_size = 200 << 10};
    (void)state;
    assert_true(garbage_add(&garbage, &large));
    assert_false(garbage_is_due(&garbage));
    assert_true(garbage_add(&garbage, &large));
    assert_true(garbage_is_due(&garbage));
}

static void test_no_message_is_no_garbage(void **state)
{
    (void)state;
    assert_true(garbage_add(&garbage, NULL));
    garbage_burn(&garbage);
    assert_int_equal(bus.wires_freed, 0);
}

#define TEST(test) cmocka_unit_test_teardown(test, close_garbage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_freed_before_the_burst),
        TEST(test_a_burst_is_due_when_there_are_many),
        TEST(test_a_burst_is_due_when_payloads_are_large),
        TEST(test_no_message_is_no_garbage),
    };
    return cmocka_run_group_tests_name("garbage", tests, NULL, NULL);
}
