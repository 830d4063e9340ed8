#include "unit/engine_fixture.h"

/* mill.every, mill.after and the `every` key. */

static void test_a_timer_runs_again_and_again_until_it_is_cancelled(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local n, t = 0\nt = mill.every(1, function() n = n + 1 print(n)\n"
                 "mill.publish('tick', 't') if n == 3 then t:cancel() t:cancel() end end)\n"
                 "return { subjects = {'>'}, on_message = function() end }");
    for (int i = 0; i < 5; i++)
        advance(f, 1);
    assert_int_equal(f->end_count, 3);
    assert_null(last_end(f)->token);
    assert_string_equal(last_end(f)->outputs[0].subject, "tick");
    assert_string_equal(f->log, "info x: 1\ninfo x: 2\ninfo x: 3\n");
    assert_int_equal(engine_due_ns(f->engine), -1);
}

static void test_after_runs_once(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.after(2, function() print('late') end)");
    send_message(f, "{}");
    advance(f, 1);
    assert_string_equal(f->log, "");
    advance(f, 5);
    advance(f, 5);
    assert_string_equal(f->log, "info x: late\n");
}

static void test_a_timer_that_still_runs_skips_its_turn(void **state)
{
    struct fixture *f = *state;
    open_with(f, "return { every = { 1, function() print('in') mill.sleep(2.5) end } }");
    advance(f, 1); /* starts */
    advance(f, 1); /* skipped */
    advance(f, 1); /* skipped */
    advance(f, 0.5);
    assert_int_equal(f->end_count, 1);
    assert_string_equal(f->log, "info x: in\n");
    advance(f, 0.5);
    assert_string_equal(f->log, "info x: in\ninfo x: in\n");
}

static void test_a_timer_does_not_catch_up_in_a_burst(void **state)
{
    struct fixture *f = *state;
    open_with(f, "return { every = { 1, function() print('t') end } }");
    advance(f, 100);
    assert_string_equal(f->log, "info x: t\n");
    assert_int_equal(engine_due_ns(f->engine), f->now_ns + NS_PER_S);
}

static void test_every_takes_a_list_of_pairs(void **state)
{
    struct fixture *f = *state;
    open_with(f, "return { every = { { 1, function() print('a') end },\n"
                 "                   { 2, function() print('b') end } } }");
    advance(f, 1);
    advance(f, 1);
    assert_string_equal(f->log, "info x: a\ninfo x: b\ninfo x: a\n");
}

static void test_a_timer_waits_behind_a_busy_handler_and_runs_before_queued_messages(void **state)
{
    struct fixture *f = *state;
    open_with(
        f,
        "mill.after(1, function() print('timer') end)\n"
        "return { subjects = {'>'}, on_message = function(msg) print(msg.raw) mill.sleep(2) end }");
    send_message(f, "1");
    send_message(f, "2");
    advance(f, 1);
    assert_string_equal(f->log, "info x: 1\n");
    advance(f, 1);
    assert_string_equal(f->log, "info x: 1\ninfo x: timer\ninfo x: 2\n");
}

static void test_a_failing_timer_is_reported_and_goes_on(void **state)
{
    struct fixture *f = *state;
    open_with(f, "return { every = { 1, function() error('tick') end } }");
    advance(f, 1);
    advance(f, 1);
    assert_int_equal(f->end_count, 2);
    assert_error_contains(f, "x.lua:1: tick");
}

static void test_a_cancelled_timer_never_runs_even_when_queued(void **state)
{
    struct fixture *f = *state;
    open_with(
        f, "local t = mill.after(1, function() print('timer') end)\n"
           "return { subjects = {'>'}, on_message = function(msg) mill.sleep(2) t:cancel() end }");
    send_message(f, "1");
    advance(f, 1);
    advance(f, 1);
    assert_int_equal(f->end_count, 1);
    assert_string_equal(f->log, "");
}

static void test_too_many_timers_are_an_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "for i = 1, 10001 do mill.after(1, print) end", "10000 timers already");
}

static void test_a_timer_below_a_millisecond_is_an_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "mill.every(0.0001, print)", "mill.every: seconds from 0.001");
}

static void test_many_timers_fire_in_the_order_of_their_time(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local last = 0\n"
                 "for i = 1, 2000 do local s = (i * 7919) % 2003 + 1\n"
                 "  mill.after(s, function() assert(s > last) last = s end) end\n"
                 "return { every = { 1e6, print } }");
    for (int i = 0; i < 2010; i++)
        advance(f, 1);
    assert_int_equal(f->end_count, 2000);
    assert_done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_a_timer_runs_again_and_again_until_it_is_cancelled),
        engine_test(test_after_runs_once),
        engine_test(test_a_timer_that_still_runs_skips_its_turn),
        engine_test(test_a_timer_does_not_catch_up_in_a_burst),
        engine_test(test_every_takes_a_list_of_pairs),
        engine_test(test_a_timer_waits_behind_a_busy_handler_and_runs_before_queued_messages),
        engine_test(test_a_failing_timer_is_reported_and_goes_on),
        engine_test(test_a_cancelled_timer_never_runs_even_when_queued),
        engine_test(test_too_many_timers_are_an_error),
        engine_test(test_a_timer_below_a_millisecond_is_an_error),
        engine_test(test_many_timers_fire_in_the_order_of_their_time),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
