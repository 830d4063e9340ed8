#include "unit/engine_fixture.h"

/* The engine as its host sees it: routing, order, loading, retiring. */

/*
 * --- order and concurrency ----------------------------------------------------------------------
 */

static void test_a_rule_that_waits_holds_back_its_next_messages(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.log.info('in', msg.raw) mill.sleep(1) mill.log.info('out', msg.raw)");
    send_message(f, "1");
    send_message(f, "2");
    send_message(f, "3");
    assert_int_equal(engine_active(f->engine), 3);
    assert_string_equal(f->log, "info x: in 1\n");
    advance(f, 1);
    assert_string_equal(f->log, "info x: in 1\ninfo x: out 1\ninfo x: in 2\n");
    advance(f, 1);
    advance(f, 1);
    assert_int_equal(f->end_count, 3);
    assert_int_equal(engine_active(f->engine), 0);
}

static void test_a_call_s_end_brings_what_the_host_has_set_for_its_rule(void **state)
{
    struct fixture *f = *state;
    int mark;
    open_handler(f, "if msg.raw == 'bad' then error('no') end");
    send_message(f, "good");
    assert_null(f->ends[0].host_data);
    rule_set_host_data(engine_rule_at(f->engine, 0), &mark);
    send_message(f, "good");
    send_message(f, "bad");
    assert_ptr_equal(f->ends[1].host_data, &mark);
    assert_ptr_equal(f->ends[2].host_data, &mark);
}

static void test_concurrency_lets_several_calls_wait_at_once(void **state)
{
    struct fixture *f = *state;
    open_with(f, "return { subjects = {'>'}, concurrency = 2,\n"
                 "on_message = function(msg) print('in', msg.raw) mill.sleep(1) end }");
    send_message(f, "1");
    send_message(f, "2");
    send_message(f, "3");
    assert_string_equal(f->log, "info x: in 1\ninfo x: in 2\n");
    advance(f, 1);
    assert_int_equal(f->end_count, 2);
    assert_string_equal(f->log, "info x: in 1\ninfo x: in 2\ninfo x: in 3\n");
}

static void test_a_long_queue_is_worked_off_without_recursion(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "if msg.raw == 'wait' then mill.sleep(1) end");
    send_message(f, "wait");
    for (int i = 0; i < 50000; i++)
        send_message(f, "{}");
    assert_int_equal(engine_active(f->engine), 50001);
    advance(f, 1);
    assert_int_equal(f->end_count, 50001);
}

/*
 * --- loading, unloading, carrying ---------------------------------------------------------------
 */

static void test_on_load_runs_before_the_first_message(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local limit\nreturn { subjects = {'>'}, on_load = function() limit = 5 end,\n"
                 "on_message = function() print(limit) end }");
    assert_int_equal(f->end_count, 0);
    send_message(f, "{}");
    assert_string_equal(f->log, "info x: 5\n");
}

static void test_a_failing_on_load_fails_the_opening(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(open_error(f, "return { subjects = {'>'}, on_message = print,\n"
                                      "on_load = function() error('no table') end }"),
                        "x.lua:2: no table");
}

static void test_an_endless_top_level_fails_the_opening(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(open_error(f, "while true do end"), "x.lua:1: stopped: it ran longer");
}

static void test_a_top_level_that_eats_memory_fails_the_opening(void **state)
{
    struct fixture *f = *state;
    if (UNDER_GC_STRESS) /* a collection of 32 MB for each table */
        skip();
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    assert_text_contains(open_error(f, "local t = {} while true do t[#t + 1] = {} end"),
                         "x.lua:1: out of memory");
}

static void requeue(void *context, const char *rule, const struct input *input, void *token)
{
    struct fixture *f = context;
    assert_ptr_equal(input, token);
    size_t used = strlen(f->requeued);
    snprintf(f->requeued + used, sizeof(f->requeued) - used, "%s:%.*s ", rule,
             (int)input->payload_size, input->payload);
}

static void test_retiring_gives_queued_inputs_back_and_runs_on_unload(void **state)
{
    struct fixture *f = *state;
    open_with(f, "mill.every(1, function() print('timer') end)\n"
                 "return { subjects = {'>'}, on_message = function(msg) mill.sleep(5) end,\n"
                 "on_unload = function() print('unload') end }");
    send_message(f, "1");
    send_message(f, "2");
    send_message(f, "3");
    engine_retire(f->engine, requeue, f);
    assert_string_equal(f->requeued, "x:2 x:3 ");
    assert_string_equal(f->log, "info x: unload\n");
    assert_int_equal(engine_active(f->engine), 1);
    advance(f, 5);
    assert_int_equal(engine_active(f->engine), 0);
    assert_string_equal(f->log, "info x: unload\n");
    assert_done(f);
}

static void finish_and_retire(void *context, void *token, const struct call_result *result)
{
    struct fixture *f = context;
    fixture_finished(context, token, result);
    if (f->end_count == 1)
        engine_retire(f->engine, requeue, f);
}

static void test_a_host_may_retire_the_engine_when_a_call_has_finished(void **state)
{
    struct fixture *f = *state;
    f->options.host.finished = finish_and_retire;
    open_handler(f, "if msg.raw == '1' then mill.sleep(1) end");
    send_message(f, "1");
    send_message(f, "2");
    send_message(f, "3");
    advance(f, 1);
    assert_string_equal(f->requeued, "x:2 x:3 ");
    assert_int_equal(f->end_count, 1);
    assert_int_equal(engine_active(f->engine), 0);
}

static void test_a_failing_on_unload_is_reported(void **state)
{
    struct fixture *f = *state;
    open_with(f, "return { subjects = {'>'}, on_message = print,\n"
                 "on_unload = function() error('x') end }");
    engine_retire(f->engine, requeue, f);
    assert_error_contains(f, "x.lua:2: x");
    assert_null(last_end(f)->token);
}

static void test_no_memory_for_a_state_is_an_error(void **state)
{
    struct fixture *f = *state;
    for (int64_t memory = 1000; memory < 120000; memory += 500) {
        struct engine *engine = NULL;
        struct error err = {0};
        f->options.limits.memory = memory;
        write_rule(f, "x",
                   "return { subjects = {'>'}, on_message = print, on_load = function() end }");
        if (try_open(f, &engine, &err) != 0)
            assert_true(strlen(err.text) > 0);
        engine_close(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_a_rule_that_waits_holds_back_its_next_messages),
        engine_test(test_concurrency_lets_several_calls_wait_at_once),
        engine_test(test_a_call_s_end_brings_what_the_host_has_set_for_its_rule),
        engine_test(test_a_long_queue_is_worked_off_without_recursion),
        engine_test(test_on_load_runs_before_the_first_message),
        engine_test(test_a_failing_on_load_fails_the_opening),
        engine_test(test_an_endless_top_level_fails_the_opening),
        engine_test(test_a_top_level_that_eats_memory_fails_the_opening),
        engine_test(test_retiring_gives_queued_inputs_back_and_runs_on_unload),
        engine_test(test_a_host_may_retire_the_engine_when_a_call_has_finished),
        engine_test(test_a_failing_on_unload_is_reported),
        engine_test(test_no_memory_for_a_state_is_an_error),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
