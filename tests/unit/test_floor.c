/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mill/floor.h"

/* The floor, case by case: what is settled, what the server tells, what may be acknowledged. */

enum { LIMIT = 1000 };

static int open_floor(void **state)
{
    *state = floor_new(LIMIT);
    return *state == NULL ? -1 : 0;
}

static int close_floor(void **state)
{
    floor_free(*state);
    return 0;
}

static enum floor_arrival arrive(struct floor *floor, uint64_t sequence, uint64_t number,
                                 uint64_t count)
{
    struct floor_delivery delivery = {sequence, number, count};
    uint64_t slot;
    return floor_arrived(floor, &delivery, &slot);
}

static void settle(struct floor *floor, uint64_t sequence)
{
    floor_settle(floor, sequence, 0);
}

/* The server's answer, as it must have been asked for. */
static void tell(struct floor *floor, struct floor_facts facts)
{
    assert_int_equal(floor_question(floor), FLOOR_ASK_CONSUMER);
    floor_asked(floor, FLOOR_ASK_CONSUMER);
    facts.created_ns = facts.created_ns != 0 ? facts.created_ns : 1;
    floor_told_consumer(floor, &facts);
}

static void tell_first(struct floor *floor, uint64_t first)
{
    assert_int_equal(floor_question(floor), FLOOR_ASK_STREAM);
    floor_asked(floor, FLOOR_ASK_STREAM);
    floor_told_stream(floor, first);
}

static void tell_idle(struct floor *floor, uint64_t sequence, uint64_t number)
{
    tell(floor, (struct floor_facts){.acked_sequence = sequence,
                                     .acked_number = number,
                                     .delivered = sequence,
                                     .delivered_number = number});
}

/* Asserts that this sequence would be acknowledged; 0: none. */
static void expect_ack(struct floor *floor, uint64_t sequence)
{
    struct floor_ack ack = {0};
    if (!floor_next_ack(floor, &ack))
        ack.sequence = 0;
    assert_int_equal(ack.sequence, sequence);
}

static void acknowledge(struct floor *floor, uint64_t sequence)
{
    struct floor_ack ack;
    expect_ack(floor, sequence);
    floor_next_ack(floor, &ack);
    floor_ack_sent(floor, &ack);
    floor_ack_answered(floor);
}

static void test_nothing_is_acknowledged_before_the_server_has_told_where_it_is(void **state)
{
    struct floor *floor = *state;
    assert_int_equal(arrive(floor, 1, 1, 1), FLOOR_NEW);
    settle(floor, 1);
    expect_ack(floor, 0);
    tell_idle(floor, 0, 0);
    expect_ack(floor, 1);
}

static void test_the_floor_is_what_is_settled_without_a_gap(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    for (uint64_t i = 1; i <= 5; i++)
        arrive(floor, i, i, 1);
    settle(floor, 2);
    expect_ack(floor, 0);
    settle(floor, 1);
    acknowledge(floor, 2);
    settle(floor, 5);
    expect_ack(floor, 0);
    settle(floor, 3);
    settle(floor, 4);
    acknowledge(floor, 5);
    assert_int_equal(floor_count(floor), 0);
}

static void test_where_no_sequence_is_left_out_nothing_can_be_unknown(void **state)
{
    struct floor *floor = *state;
    tell(floor, (struct floor_facts){.acked_sequence = 4,
                                     .acked_number = 4,
                                     .delivered = 9,
                                     .delivered_number = 9,
                                     .pending = 5});
    arrive(floor, 6, 10, 2);
    settle(floor, 6);
    tell_first(floor, 1);
    expect_ack(floor, 0);
    arrive(floor, 5, 11, 2);
    settle(floor, 5);
    acknowledge(floor, 6);
    arrive(floor, 8, 12, 2);
    settle(floor, 8);
    expect_ack(floor, 0);
}

static void test_a_delivery_to_somebody_else_stops_the_floor(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    arrive(floor, 1, 1, 1);
    arrive(floor, 3, 3, 1);
    settle(floor, 1);
    settle(floor, 3);
    acknowledge(floor, 1);
    expect_ack(floor, 0);
    tell(floor, (struct floor_facts){.acked_sequence = 1,
                                     .acked_number = 1,
                                     .delivered = 3,
                                     .delivered_number = 3,
                                     .pending = 2});
    tell_first(floor, 1);
    expect_ack(floor, 0);
    assert_int_equal(arrive(floor, 2, 4, 2), FLOOR_NEW); /* the other has died */
    expect_ack(floor, 0);
    settle(floor, 2);
    acknowledge(floor, 3);
    assert_true(floor_is_complete(floor));
}

static void test_as_many_as_are_pending_are_all_that_are(void **state)
{
    struct floor *floor = *state;
    arrive(floor, 7, 21, 2);
    settle(floor, 7);
    tell(floor, (struct floor_facts){.acked_sequence = 5,
                                     .acked_number = 5,
                                     .delivered = 7,
                                     .delivered_number = 21,
                                     .pending = 1});
    tell_first(floor, 1);
    acknowledge(floor, 7);
    arrive(floor, 8, 22, 1);
    settle(floor, 8);
    acknowledge(floor, 8);
}

static void test_a_message_that_left_the_stream_does_not_stand_for_another(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    arrive(floor, 1, 1, 1);
    arrive(floor, 3, 3, 1); /* 2 is with somebody else */
    settle(floor, 1);
    settle(floor, 3);
    /* 1 has expired: of two entries one is pending, and so is 2. */
    tell(floor, (struct floor_facts){.delivered = 3, .delivered_number = 3, .pending = 2});
    tell_first(floor, 2);
    expect_ack(floor, 0);
    arrive(floor, 2, 4, 2);
    settle(floor, 2);
    acknowledge(floor, 3);
}

static void test_what_is_settled_is_recognised_when_it_comes_again(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    arrive(floor, 1, 1, 1);
    arrive(floor, 2, 2, 1);
    settle(floor, 2);
    assert_int_equal(arrive(floor, 1, 3, 2), FLOOR_OPEN);
    assert_int_equal(arrive(floor, 2, 4, 2), FLOOR_SETTLED);
    settle(floor, 1);
    acknowledge(floor, 2);
}

static void test_what_the_server_forgot_to_be_acknowledged_is_so_again(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        arrive(floor, i, i, 1);
        settle(floor, i);
    }
    acknowledge(floor, 3);
    floor_doubt(floor); /* the server was killed, and has gone back to where 1 was acknowledged */
    expect_ack(floor, 0);
    tell(floor, (struct floor_facts){.acked_sequence = 1,
                                     .acked_number = 1,
                                     .delivered = 2,
                                     .delivered_number = 2,
                                     .pending = 1});
    tell_first(floor, 1);
    assert_int_equal(arrive(floor, 3, 3, 1), FLOOR_SETTLED);
    assert_int_equal(arrive(floor, 2, 4, 2), FLOOR_SETTLED);
    acknowledge(floor, 3);
}

static void test_numbers_that_go_back_are_those_of_another_consumer(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    for (uint64_t i = 1; i <= 3; i++)
        arrive(floor, i, i, 1);
    settle(floor, 1);
    expect_ack(floor, 1);
    arrive(floor, 1, 1, 1);
    expect_ack(floor, 0);
    tell(floor, (struct floor_facts){.created_ns = 2, .delivered = 1, .delivered_number = 1});
    expect_ack(floor, 0);
    floor_reset(floor);
    assert_int_equal(floor_count(floor), 0);
    tell(floor, (struct floor_facts){.created_ns = 2, .delivered = 1, .delivered_number = 1});
    assert_int_equal(arrive(floor, 2, 2, 1), FLOOR_NEW);
    settle(floor, 2);
    expect_ack(floor, 2);
}

static void test_a_message_pending_below_the_floor_is_counted(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 5, 5);
    arrive(floor, 7, 8, 1); /* 6 or another went elsewhere */
    settle(floor, 7);
    struct floor_facts facts = {.acked_sequence = 5,
                                .acked_number = 5,
                                .delivered = 7,
                                .delivered_number = 8,
                                .pending = 2};
    tell(floor, facts);
    tell_first(floor, 1);
    expect_ack(floor, 0);
    assert_int_equal(arrive(floor, 5, 9, 2), FLOOR_SETTLED); /* it was that one */
    expect_ack(floor, 7);
}

static void test_in_a_cluster_a_floor_counts_when_it_was_told_twice(void **state)
{
    struct floor *floor = *state;
    struct floor_facts facts = {.acked_sequence = 5,
                                .acked_number = 5,
                                .delivered = 7,
                                .delivered_number = 21,
                                .pending = 1,
                                .replicated = true};
    arrive(floor, 7, 21, 2);
    settle(floor, 7);
    tell(floor, facts);
    tell_first(floor, 1);
    expect_ack(floor, 0);
    tell(floor, facts);
    expect_ack(floor, 7);
}

static void test_the_number_of_an_ack_grows_and_is_below_those_above_it(void **state)
{
    struct floor *floor = *state;
    struct floor_ack ack;
    tell_idle(floor, 0, 0);
    for (uint64_t i = 1; i <= 3; i++)
        arrive(floor, i, i, 1);
    arrive(floor, 1, 4, 2);
    settle(floor, 1);
    assert_true(floor_next_ack(floor, &ack));
    assert_int_equal(ack.number, 1);
    acknowledge(floor, 1);
    settle(floor, 2);
    assert_true(floor_next_ack(floor, &ack));
    assert_int_equal(ack.number, 2);
}

static void test_a_full_ledger_takes_nothing_and_covers_nothing(void **state)
{
    struct floor *floor = *state;
    tell_idle(floor, 0, 0);
    for (uint64_t i = 1; i <= LIMIT; i++)
        assert_int_equal(arrive(floor, i, i, 1), FLOOR_NEW);
    assert_true(floor_is_full(floor, 1));
    assert_int_equal(arrive(floor, LIMIT + 1, LIMIT + 1, 1), FLOOR_FULL);
    for (uint64_t i = 1; i <= LIMIT; i++)
        settle(floor, i);
    tell(floor, (struct floor_facts){
                    .delivered = LIMIT + 1, .delivered_number = LIMIT + 1, .pending = LIMIT + 1});
    tell_first(floor, 1);
    acknowledge(floor, LIMIT);
    expect_ack(floor, 0);
}

static void count_visit(void *context, uint64_t sequence, uint64_t number)
{
    (void)number;
    *(uint64_t *)context += sequence;
}

static void test_settled_entries_are_visited_when_they_are_old(void **state)
{
    struct floor *floor = *state;
    uint64_t sum = 0;
    tell_idle(floor, 0, 0);
    floor_tick(floor, 1000);
    for (uint64_t i = 1; i <= 3; i++)
        arrive(floor, i, i, 1);
    settle(floor, 2);
    settle(floor, 3);
    floor_tick(floor, 1500);
    floor_visit_settled(floor, 600, count_visit, &sum);
    assert_int_equal(sum, 0);
    floor_tick(floor, 1600);
    floor_visit_settled(floor, 600, count_visit, &sum);
    assert_int_equal(sum, 5);
    floor_visit_settled(floor, 600, count_visit, &sum);
    assert_int_equal(sum, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define with_floor(test) cmocka_unit_test_setup_teardown(test, open_floor, close_floor)
        with_floor(test_nothing_is_acknowledged_before_the_server_has_told_where_it_is),
        with_floor(test_the_floor_is_what_is_settled_without_a_gap),
        with_floor(test_where_no_sequence_is_left_out_nothing_can_be_unknown),
        with_floor(test_a_delivery_to_somebody_else_stops_the_floor),
        with_floor(test_as_many_as_are_pending_are_all_that_are),
        with_floor(test_a_message_that_left_the_stream_does_not_stand_for_another),
        with_floor(test_what_is_settled_is_recognised_when_it_comes_again),
        with_floor(test_what_the_server_forgot_to_be_acknowledged_is_so_again),
        with_floor(test_numbers_that_go_back_are_those_of_another_consumer),
        with_floor(test_a_message_pending_below_the_floor_is_counted),
        with_floor(test_in_a_cluster_a_floor_counts_when_it_was_told_twice),
        with_floor(test_the_number_of_an_ack_grows_and_is_below_those_above_it),
        with_floor(test_a_full_ledger_takes_nothing_and_covers_nothing),
        with_floor(test_settled_entries_are_visited_when_they_are_old),
    };
    return cmocka_run_group_tests_name("floor", tests, NULL, NULL);
}
