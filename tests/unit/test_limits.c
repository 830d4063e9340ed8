#include "unit/engine_fixture.h"

#include "rules/engine_internal.h"

/* No rule outlives its limits, and none harms the next call. */

static void assert_stopped_by(struct fixture *f, enum cause cause)
{
    assert_int_equal(f->end_count, 1);
    assert_int_equal(last_end(f)->outcome, OUTCOME_ERROR);
    assert_string_equal(cause_name(last_end(f)->cause), cause_name(cause));
    assert_string_equal(f->log, "");
    /* the next calls are none the worse for it, and as limited as the first */
    send_message(f, "fine");
    assert_int_equal(f->end_count, 2);
    assert_done(f);
    send_message(f, "{}");
    assert_int_equal(f->end_count, 3);
    assert_int_equal(last_end(f)->cause, cause);
}

static void stop_body(struct fixture *f, const char *body, enum cause cause)
{
    char guarded[4096];
    if (cause == CAUSE_MEMORY) /* to eat the memory may take its time */
        f->options.limits.timeout_ns = 60 * NS_PER_S;
    snprintf(guarded, sizeof(guarded),
             "if msg.raw == 'fine' then return end\n%s\nprint('not reached')", body);
    open_handler(f, guarded);
    send_message(f, "{}");
    assert_stopped_by(f, cause);
}

static void test_an_endless_loop_is_stopped(void **state)
{
    stop_body(*state, "while true do end", CAUSE_TIMEOUT);
    assert_text_contains(fixture.ends[0].error, SLOWNESS == 1
                                                    ? "x.lua:3: stopped: it ran longer than 100ms"
                                                    : "x.lua:3: stopped: it ran longer than ");
}

static void test_an_endless_loop_inside_pcall_is_stopped(void **state)
{
    stop_body(*state, "while true do pcall(function() while true do end end) end", CAUSE_TIMEOUT);
}

static void test_an_endless_loop_inside_xpcall_and_its_handler_is_stopped(void **state)
{
    stop_body(*state, "xpcall(function() while true do end end, function() while true do end end)",
              CAUSE_TIMEOUT);
}

static void test_an_endless_loop_inside_coroutines_is_stopped(void **state)
{
    stop_body(*state,
              "local co = coroutine.create(function() coroutine.wrap(function()\n"
              "while true do end end)() end) while true do coroutine.resume(co) end",
              CAUSE_TIMEOUT);
}

static void test_an_endless_loop_in_a_close_handler_is_stopped(void **state)
{
    stop_body(*state,
              "local x <close> = setmetatable({}, { __close = function() while true do end end })\n"
              "local co = coroutine.create(function() local y <close> = x coroutine.yield() end)\n"
              "coroutine.resume(co) coroutine.close(co)",
              CAUSE_TIMEOUT);
}

static void test_a_message_handler_cannot_outlive_the_limit(void **state)
{
    stop_body(*state,
              "local function again() return xpcall(error, again) end\n"
              "while true do xpcall(error, again) end",
              CAUSE_TIMEOUT);
}

static void test_the_time_of_waiting_does_not_count(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.sleep(100) for i = 1, 1000 do end mill.sleep(100)");
    send_message(f, "{}");
    advance(f, 100);
    advance(f, 100);
    assert_done(f);
}

static void test_the_time_before_and_after_a_wait_adds_up(void **state)
{
    struct fixture *f = *state;
    int64_t limit_ns = SLOWNESS == 1 ? NS_PER_S : 5 * NS_PER_S;
    f->options.limits.timeout_ns = limit_ns;
    open_handler(f, "local t = os.clock() while os.clock() - t < 0.06 do end\n"
                    "mill.sleep(1)\n"
                    "while true do end");
    send_message(f, "{}");
    int64_t woken_ns = clock_monotonic_ns();
    advance(f, 1);
    int64_t after_ns = clock_monotonic_ns() - woken_ns;
    assert_int_equal(last_end(f)->cause, CAUSE_TIMEOUT);
    assert_text_contains(last_end(f)->error, "x.lua:4:");
    /* Processor time is never more than time: of the limit at least 0.06 s were gone. */
    assert_in_range(after_ns, 0, limit_ns - 50 * NS_PER_MS);
}

static void test_memory_growth_is_stopped(void **state)
{
    stop_body(*state, "local t = {} for i = 1, 1e9 do t[i] = { i } end", CAUSE_MEMORY);
    assert_text_contains(fixture.ends[0].error, "out of memory");
    assert_true(engine_memory(fixture.engine) < (8 << 20));
}

static void test_memory_growth_cannot_be_caught(void **state)
{
    stop_body(*state,
              "pcall(function() local s = ('x'):rep(1 << 20) while true do s = s .. s end end)",
              CAUSE_MEMORY);
}

static void test_memory_growth_in_a_coroutine_cannot_be_caught(void **state)
{
    stop_body(*state,
              "coroutine.resume(coroutine.create(function()\n"
              "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end))",
              CAUSE_MEMORY);
}

static void test_a_memory_error_replaced_by_a_close_handler_is_still_one(void **state)
{
    stop_body(*state,
              "pcall(function() local c <close> = setmetatable({}, { __close = function() "
              "error('hi') end })\n"
              "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end)",
              CAUSE_MEMORY);
}

static void test_memory_that_a_rule_keeps_fails_its_calls_not_the_process(void **state)
{
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 60 * NS_PER_S;
    open_with(f, "local kept = {}\nreturn { subjects = {'>'}, on_message = function(msg)\n"
                 "for i = 1, 1e9 do kept[#kept + 1] = { i } end end }");
    for (int i = 0; i < 5; i++)
        send_message(f, "{}");
    assert_int_equal(f->end_count, 5);
    assert_int_equal(last_end(f)->cause, CAUSE_MEMORY);
}

static void test_garbage_is_collected_instead_of_counted(void **state)
{
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 20 * NS_PER_S * SLOWNESS;
    run_body(f, "for i = 1, 3000 do local s = ('x'):rep(100000) .. i end");
}

/*
 * Nothing is collected here before memory is full, and then it is mostly a stack that wants more.
 */
static void test_garbage_is_collected_for_a_stack_that_grows_too(void **state)
{
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 20 * NS_PER_S * SLOWNESS;
    open_handler(f, "local function depth(n) if n == 0 then return 0 end\n"
                    "  return 1 + depth(n - 1) end\n"
                    "for i = 1, 300 do\n"
                    "  local junk = ('x'):rep(100 * i)\n"
                    "  assert(coroutine.wrap(depth)(1500) == 1500)\n"
                    "end");
    lua_gc(f->engine->L, LUA_GCSTOP);
    send_message(f, "{}");
    assert_done(f);
}

static void test_a_close_handler_cannot_wait_when_its_call_is_over(void **state)
{
    struct fixture *f = *state;
    open_handler(
        f, "if msg.raw == 'fine' then return end\n"
           "local x <close> = setmetatable({}, { __close = function()\n"
           "  print(select(2, pcall(mill.sleep, 1))) mill.sleep(1) end })\n"
           "local co = coroutine.create(function() local y <close> = x coroutine.yield() end)\n"
           "coroutine.resume(co) print(coroutine.close(co))\n"
           "error('over')");
    for (int i = 0; i < 3; i++) {
        send_message(f, "{}");
        assert_error_contains(f, "over");
        send_message(f, "fine");
        assert_done(f);
    }
    assert_text_contains(f->log, "mill.sleep cannot wait here");
    assert_int_equal(engine_active(f->engine), 0);
    assert_int_equal(engine_due_ns(f->engine), -1);
}

static void test_a_close_handler_may_not_undo_a_verdict(void **state)
{
    struct fixture *f = *state;
    open_handler(
        f, "local x <close> = setmetatable({}, { __close = function() msg:reject('late') end })\n"
           "msg:retry(1)");
    send_message(f, "{}");
    assert_int_equal(last_end(f)->outcome, OUTCOME_RETRY);
}

static void test_a_metamethod_that_never_ends_is_stopped(void **state)
{
    stop_body(*state,
              "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end,\n"
              "__lt = function() while true do end end })\n"
              "pcall(table.sort, { t, t, t })",
              CAUSE_TIMEOUT);
}

static void test_a_loop_of_calls_into_the_host_is_stopped(void **state)
{
    struct fixture *f = *state;
    f->options.host.log = NULL;
    f->options.limits.memory = 128 << 20;
    open_handler(f,
                 "local c = mill.counter('c') while true do pcall(c.inc, c) pcall(mill.now) end");
    send_message(f, "{}");
    assert_int_equal(last_end(f)->cause, CAUSE_TIMEOUT);
}

static void test_endless_recursion_is_an_error(void **state)
{
    struct fixture *f = *state;
    f->options.limits.memory = 256 << 20;
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    run_failing_body(f, "local function f() return 1 + f() end f()", "stack overflow");
}

static void test_endless_recursion_through_c_is_an_error(void **state)
{
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    run_failing_body(f, "local function f() return (('x'):gsub('x', f)) end f()", "overflow");
}

static void test_nested_coroutines_without_end_are_an_error(void **state)
{
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    run_failing_body(f, "local function f() return coroutine.wrap(f)() end f()", "overflow");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_an_endless_loop_is_stopped),
        engine_test(test_an_endless_loop_inside_pcall_is_stopped),
        engine_test(test_an_endless_loop_inside_xpcall_and_its_handler_is_stopped),
        engine_test(test_an_endless_loop_inside_coroutines_is_stopped),
        engine_test(test_an_endless_loop_in_a_close_handler_is_stopped),
        engine_test(test_a_message_handler_cannot_outlive_the_limit),
        engine_test(test_the_time_of_waiting_does_not_count),
        engine_test(test_the_time_before_and_after_a_wait_adds_up),
        engine_test(test_memory_growth_is_stopped),
        engine_test(test_memory_growth_cannot_be_caught),
        engine_test(test_memory_growth_in_a_coroutine_cannot_be_caught),
        engine_test(test_a_memory_error_replaced_by_a_close_handler_is_still_one),
        engine_test(test_memory_that_a_rule_keeps_fails_its_calls_not_the_process),
        engine_test(test_garbage_is_collected_instead_of_counted),
        engine_test(test_garbage_is_collected_for_a_stack_that_grows_too),
        engine_test(test_a_close_handler_cannot_wait_when_its_call_is_over),
        engine_test(test_a_close_handler_may_not_undo_a_verdict),
        engine_test(test_a_metamethod_that_never_ends_is_stopped),
        engine_test(test_a_loop_of_calls_into_the_host_is_stopped),
        engine_test(test_endless_recursion_is_an_error),
        engine_test(test_endless_recursion_through_c_is_an_error),
        engine_test(test_nested_coroutines_without_end_are_an_error),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
