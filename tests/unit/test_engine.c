#include "unit/engine_fixture.h"

/* The engine as its host sees it: calls, their ends, outputs, waiting, timers, limits, reload. */

/* --- calls ------------------------------------------------------------------------------------ */

static void test_a_handler_that_returns_is_reported_as_done_with_its_token(void **state)
{
    struct fixture *f = *state;
    run_body(f, "");
    assert_string_equal(last_end(f)->rule, "x");
    assert_non_null(last_end(f)->token);
    assert_int_equal(last_end(f)->output_count, 0);
    assert_int_equal(engine_active(f->engine), 0);
}

static void test_the_outputs_of_a_handler_come_with_its_end_in_order(void **state)
{
    struct fixture *f = *state;
    run_body(f, "mill.publish('alerts.high', { value = msg.data.value or 1 })\n"
                "mill.publish('alerts.raw', 'text', { id = 'a1', ttl = 1.5, durable = false,\n"
                "             headers = { ['X-Kind'] = 7 } })");
    struct end *end = last_end(f);
    assert_int_equal(end->output_count, 2);
    assert_string_equal(end->outputs[0].subject, "alerts.high");
    assert_string_equal(end->outputs[0].payload, "{\"value\":1}");
    assert_true(end->outputs[0].durable);
    assert_string_equal(end->outputs[0].id, "");
    assert_string_equal(end->outputs[1].payload, "text");
    assert_string_equal(end->outputs[1].id, "a1");
    assert_int_equal(end->outputs[1].ttl_ns, 1500 * NS_PER_MS);
    assert_false(end->outputs[1].durable);
    assert_string_equal(end->outputs[1].header_name, "X-Kind");
    assert_string_equal(end->outputs[1].header_value, "7");
}

static void test_the_outputs_of_a_handler_that_fails_are_dropped(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "mill.publish('a.b', 'x') error('no')", "x.lua:2: no");
    assert_int_equal(last_end(f)->output_count, 0);
}

static void test_many_large_outputs_of_one_call_all_arrive(void **state)
{
    struct fixture *f = *state;
    run_body(f, "for i = 1, 5000 do mill.publish('a.b', ('x'):rep(100) .. i) end\n"
                "mill.publish('a.c', ('y'):rep(300000))");
    assert_int_equal(last_end(f)->output_count, 5001);
    assert_int_equal(strlen(last_end(f)->outputs[15].payload), 102);
}

static void test_more_than_ten_thousand_outputs_are_an_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "for i = 1, 10001 do mill.publish('a.b', 'x') end", "more than 10000");
}

static void test_more_than_64_mib_of_outputs_are_an_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "local s = ('x'):rep(1 << 20) for i = 1, 65 do mill.publish('a.b', s) end",
                     "more than 64 MiB");
}

static void test_an_error_has_one_line_with_file_and_line_and_a_traceback(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "local t = nil\nlocal v = t.x", "x.lua:3: attempt to index a nil value");
    assert_text_contains(last_end(f)->traceback, "x.lua:3: in function");
    assert_int_equal(last_end(f)->cause, CAUSE_ERROR);
}

static void test_an_error_message_of_several_lines_becomes_one(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "error('a\\nb\\n')", "x.lua:2: a b");
}

static void test_an_error_value_that_is_a_table_is_described(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "error({ code = 1 })", "x.lua:2: the error value is a table");
}

static void test_an_error_value_of_nil_is_described(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "error()", "the error value is a nil");
}

static void test_an_error_value_with_tostring_is_asked_for_its_text(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "error(setmetatable({}, { __tostring = function() return 'E42' end }))",
                     "x.lua:2: E42");
}

static void test_an_error_value_whose_tostring_fails_is_survived(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "error(setmetatable({}, { __tostring = function() error('x') end }))",
                     "__tostring failed");
}

static void test_an_error_value_whose_tostring_never_ends_is_survived(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f,
                     "error(setmetatable({}, { __tostring = function() while true do end end }))",
                     "ran longer");
}

static void test_a_very_long_error_is_cut(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "error(('x'):rep(100000))", "x.lua:2: xxxx");
    assert_true(strlen(last_end(f)->error) < 2048);
}

static void test_the_engine_works_on_after_an_error(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "if msg.raw == 'bad' then error('bad') end");
    for (int i = 0; i < 100; i++)
        send_message(f, i % 2 == 0 ? "bad" : "{}");
    assert_int_equal(f->end_count, 100);
    assert_done(f);
}

static void test_an_unfinished_nested_error_leaves_the_coroutine_usable(void **state)
{
    struct fixture *f = *state;
    open_handler(
        f, "local function deep(n) if n == 0 then error('deep') end deep(n - 1) return 1 end\n"
           "if msg.raw == 'bad' then deep(150) end mill.sleep(1)");
    send_message(f, "bad");
    assert_error_contains(f, "deep");
    send_message(f, "{}");
    advance(f, 1);
    assert_int_equal(f->end_count, 2);
    assert_done(f);
}

static void test_close_variables_run_when_a_call_ends_with_an_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(
        f,
        "local x <close> = setmetatable({}, { __close = function() print('closed') end })\n"
        "error('no')",
        "no");
    assert_text_contains(f->log, "info x: closed");
}

static void test_a_retry_ends_the_handler_at_once_with_its_delay(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.publish('a.b', 'x') msg:retry(2.5) print('not reached')");
    send_message(f, "{}");
    assert_int_equal(last_end(f)->outcome, OUTCOME_RETRY);
    assert_int_equal(last_end(f)->retry_ns, 2500 * NS_PER_MS);
    assert_int_equal(last_end(f)->output_count, 0);
    assert_string_equal(last_end(f)->error, "");
    assert_string_equal(f->log, "");
}

static void test_a_retry_cannot_be_caught(void **state)
{
    struct fixture *f = *state;
    open_handler(f,
                 "pcall(msg.retry, msg, 1) pcall(pcall, msg.retry, msg, 3) print('not reached')");
    send_message(f, "{}");
    assert_int_equal(last_end(f)->outcome, OUTCOME_RETRY);
    assert_int_equal(last_end(f)->retry_ns, NS_PER_S);
    assert_string_equal(f->log, "");
}

static void test_a_reject_carries_its_reason_with_file_and_line(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "xpcall(function() msg:reject('no sensor id') end, print)");
    send_message(f, "{}");
    assert_int_equal(last_end(f)->outcome, OUTCOME_REJECT);
    assert_int_equal(last_end(f)->cause, CAUSE_REJECTED);
    assert_text_contains(last_end(f)->error, "x.lua:2: no sensor id");
}

static void test_a_negative_retry_is_an_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "msg:retry(-1)", "seconds from 0");
}

static void test_a_payload_that_is_not_json_rejects_the_message_even_through_pcall(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "pcall(function() return msg.data end) print('not reached')");
    send_message(f, "{nope");
    assert_int_equal(last_end(f)->outcome, OUTCOME_REJECT);
    assert_int_equal(last_end(f)->cause, CAUSE_PAYLOAD);
    assert_text_contains(last_end(f)->error, "x.lua:2: the payload is not JSON: byte 2");
    assert_string_equal(f->log, "");
}

static void test_a_payload_that_nobody_touches_is_not_decoded(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "assert(msg.raw == '{nope')");
    send_message(f, "{nope");
    assert_done(f);
}

static void test_in_progress_reaches_the_host(void **state)
{
    struct fixture *f = *state;
    run_body(f, "msg:in_progress()");
    assert_int_equal(f->in_progress, 1);
}

static void test_match_gives_the_rules_in_the_order_of_their_names(void **state)
{
    struct fixture *f = *state;
    const char *source = "return { subjects = { 's.*' }, on_message = function() end }";
    write_rule(f, "b", source);
    write_rule(f, "a", source);
    write_rule(f, "c", "return { subjects = { 'other' }, on_message = function() end }");
    write_rule(f, "d", "return { enabled = false, subjects = { 's.*' }, on_message = print }");
    open_engine(f);
    struct rule *rules[8];
    assert_int_equal(engine_rule_count(f->engine), 4);
    assert_int_equal(engine_match(f->engine, "s.one", rules, 8), 2);
    assert_string_equal(rule_name(rules[0]), "a");
    assert_string_equal(rule_name(rules[1]), "b");
    assert_int_equal(engine_match(f->engine, "s.one", rules, 1), 1);
    assert_int_equal(engine_match(f->engine, "nobody", rules, 8), 0);
    assert_ptr_equal(engine_rule_named(f->engine, "c"), engine_rule_at(f->engine, 2));
    assert_null(engine_rule_named(f->engine, "zz"));
    assert_null(engine_rule_at(f->engine, 4));
}

static void test_the_activity_names_rule_subject_and_sequence_only_while_running(void **state)
{
    struct fixture *f = *state;
    run_body(f, "");
    assert_int_equal(atomic_load(&f->activity.started_ns), 0);
    assert_text_contains(f->activity.text, "x: sensors.value seq ");
}

/* --- order and concurrency ----------------------------------------------------------------------
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

/* --- waiting ------------------------------------------------------------------------------------
 */

static void test_sleep_resumes_when_due_and_not_before(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.sleep(1.5)");
    send_message(f, "{}");
    assert_int_equal(engine_due_ns(f->engine), f->now_ns + 1500 * NS_PER_MS);
    advance(f, 1.4);
    assert_int_equal(f->end_count, 0);
    advance(f, 0.1);
    assert_done(f);
    assert_int_equal(engine_due_ns(f->engine), -1);
}

static void test_a_sleep_of_zero_in_a_loop_lets_the_tick_end(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "while true do mill.sleep(0) end");
    send_message(f, "{}");
    advance(f, 0);
    advance(f, 1);
    assert_int_equal(engine_active(f->engine), 1);
}

static void test_sleep_works_inside_pcall(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local ok, err = pcall(function() mill.sleep(1) error('late', 0) end)\n"
                    "assert(not ok and err == 'late')\n"
                    "local a, b, c = xpcall(function(x) mill.sleep(1) return x, 2 end, print, 1)\n"
                    "assert(a and b == 1 and c == 2)");
    send_message(f, "{}");
    advance(f, 1);
    advance(f, 1);
    assert_int_equal(f->end_count, 1);
    assert_done(f);
}

static void test_sleep_works_inside_a_coroutine_of_the_rule(void **state)
{
    struct fixture *f = *state;
    open_handler(
        f, "local co = coroutine.create(function(a)\n"
           "  mill.sleep(1) local b = coroutine.yield(a + 1) mill.sleep(1) return b * 2 end)\n"
           "local ok, v = coroutine.resume(co, 1) assert(ok and v == 2)\n"
           "ok, v = coroutine.resume(co, 21) assert(ok and v == 42)\n"
           "for x in coroutine.wrap(function() for i = 1, 3 do mill.sleep(1) "
           "coroutine.yield(i) end end) do print(x) end");
    send_message(f, "{}");
    for (int i = 0; i < 5; i++)
        advance(f, 1);
    assert_int_equal(f->end_count, 1);
    assert_done(f);
    assert_string_equal(f->log, "info x: 1\ninfo x: 2\ninfo x: 3\n");
}

static void test_sleep_where_one_cannot_wait_is_a_clear_error(void **state)
{
    struct fixture *f = *state;
    run_failing_body(f, "table.sort({ 3, 2, 1 }, function(a, b) mill.sleep(1) return a < b end)",
                     "mill.sleep cannot wait here");
}

static void test_a_request_waits_for_its_reply(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local reply, err = mill.request('svc.lookup', { id = 7 }, 2)\n"
                    "mill.publish('out', reply)");
    send_message(f, "{}");
    assert_string_equal(f->request_subject, "svc.lookup");
    assert_string_equal(f->request_payload, "{\"id\":7}");
    engine_reply(f->engine, f->wait + 1, &(struct reply){.payload = "no", .payload_size = 2});
    assert_int_equal(f->end_count, 0);
    engine_reply(f->engine, f->wait, &(struct reply){.payload = "yes!", .payload_size = 4});
    assert_done(f);
    assert_string_equal(last_end(f)->outputs[0].payload, "yes!");
    engine_reply(f->engine, f->wait, &(struct reply){.payload = "late", .payload_size = 4});
    assert_int_equal(f->end_count, 1);
    assert_int_equal(engine_due_ns(f->engine), -1);
}

static void test_a_request_without_reply_times_out_with_nil(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local reply, err = mill.request('svc', 'x', 2)\n"
                    "assert(reply == nil) mill.publish('out', err)");
    send_message(f, "{}");
    advance(f, 2);
    assert_done(f);
    assert_string_equal(last_end(f)->outputs[0].payload, "timeout");
}

static void test_a_request_that_cannot_be_sent_gives_nil_and_the_reason(void **state)
{
    struct fixture *f = *state;
    f->request_status = -1;
    run_body(
        f, "local reply, err = mill.request('svc') assert(reply == nil and err == 'disconnected')");
}

static void test_a_reply_that_comes_within_the_request_is_taken(void **state)
{
    struct fixture *f = *state;
    f->instant_reply = "now";
    run_body(f, "for i = 1, 20000 do assert(mill.request('svc') == 'now') end");
}

static void test_no_responders_is_nil_and_the_reason(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local r, err = mill.request('svc') mill.publish('out', tostring(r) .. err)");
    send_message(f, "{}");
    engine_reply(f->engine, f->wait, &(struct reply){.error = "no responders"});
    assert_string_equal(last_end(f)->outputs[0].payload, "nilno responders");
}

static void test_a_request_in_a_nested_coroutine_gets_its_reply(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local ask = coroutine.wrap(function() return mill.request('svc') end)\n"
                    "mill.publish('out', ask())");
    send_message(f, "{}");
    engine_reply(f->engine, f->wait, &(struct reply){.payload = "r", .payload_size = 1});
    assert_done(f);
    assert_string_equal(last_end(f)->outputs[0].payload, "r");
}

static void test_aborted_calls_end_with_an_error_queued_ones_too(void **state)
{
    struct fixture *f = *state;
    open_handler(
        f, "local x <close> = setmetatable({}, { __close = function() print('closed') end })\n"
           "mill.sleep(1)");
    send_message(f, "1");
    send_message(f, "2");
    engine_abort_calls(f->engine, "shutting down");
    assert_int_equal(f->end_count, 2);
    assert_int_equal(engine_active(f->engine), 0);
    assert_text_contains(f->ends[0].error, "shutting down");
    assert_text_contains(f->ends[1].error, "shutting down");
    assert_int_equal(f->ends[1].outcome, OUTCOME_ERROR);
    assert_int_equal(engine_due_ns(f->engine), -1);
}

static void test_an_engine_with_calls_under_way_can_be_closed(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.after(1, print) mill.request('svc')");
    send_message(f, "1");
    send_message(f, "2");
    engine_close(f->engine);
    f->engine = NULL;
    assert_int_equal(f->end_count, 0);
}

/* --- timers --------------------------------------------------------------------------------------
 */

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

/* --- limits --------------------------------------------------------------------------------------
 */

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
    assert_text_contains(fixture.ends[0].error, "x.lua:3: stopped: it ran longer than 100ms");
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
    f->options.limits.timeout_ns = 200 * NS_PER_MS;
    open_handler(f, "local t = os.clock() while os.clock() - t < 0.12 do end\n"
                    "mill.sleep(1)\n"
                    "t = os.clock() while os.clock() - t < 0.12 do end");
    send_message(f, "{}");
    advance(f, 1);
    assert_int_equal(last_end(f)->cause, CAUSE_TIMEOUT);
    assert_text_contains(last_end(f)->error, "x.lua:4:");
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
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    run_body(f, "for i = 1, 3000 do local s = ('x'):rep(100000) .. i end");
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

/* --- loading, unloading, carrying ---------------------------------------------------------------
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
        engine_test(test_a_handler_that_returns_is_reported_as_done_with_its_token),
        engine_test(test_the_outputs_of_a_handler_come_with_its_end_in_order),
        engine_test(test_the_outputs_of_a_handler_that_fails_are_dropped),
        engine_test(test_many_large_outputs_of_one_call_all_arrive),
        engine_test(test_more_than_ten_thousand_outputs_are_an_error),
        engine_test(test_more_than_64_mib_of_outputs_are_an_error),
        engine_test(test_an_error_has_one_line_with_file_and_line_and_a_traceback),
        engine_test(test_an_error_message_of_several_lines_becomes_one),
        engine_test(test_an_error_value_that_is_a_table_is_described),
        engine_test(test_an_error_value_of_nil_is_described),
        engine_test(test_an_error_value_with_tostring_is_asked_for_its_text),
        engine_test(test_an_error_value_whose_tostring_fails_is_survived),
        engine_test(test_an_error_value_whose_tostring_never_ends_is_survived),
        engine_test(test_a_very_long_error_is_cut),
        engine_test(test_the_engine_works_on_after_an_error),
        engine_test(test_an_unfinished_nested_error_leaves_the_coroutine_usable),
        engine_test(test_close_variables_run_when_a_call_ends_with_an_error),
        engine_test(test_a_retry_ends_the_handler_at_once_with_its_delay),
        engine_test(test_a_retry_cannot_be_caught),
        engine_test(test_a_reject_carries_its_reason_with_file_and_line),
        engine_test(test_a_negative_retry_is_an_error),
        engine_test(test_a_payload_that_is_not_json_rejects_the_message_even_through_pcall),
        engine_test(test_a_payload_that_nobody_touches_is_not_decoded),
        engine_test(test_in_progress_reaches_the_host),
        engine_test(test_match_gives_the_rules_in_the_order_of_their_names),
        engine_test(test_the_activity_names_rule_subject_and_sequence_only_while_running),
        engine_test(test_a_rule_that_waits_holds_back_its_next_messages),
        engine_test(test_concurrency_lets_several_calls_wait_at_once),
        engine_test(test_a_long_queue_is_worked_off_without_recursion),
        engine_test(test_sleep_resumes_when_due_and_not_before),
        engine_test(test_a_sleep_of_zero_in_a_loop_lets_the_tick_end),
        engine_test(test_sleep_works_inside_pcall),
        engine_test(test_sleep_works_inside_a_coroutine_of_the_rule),
        engine_test(test_sleep_where_one_cannot_wait_is_a_clear_error),
        engine_test(test_a_request_waits_for_its_reply),
        engine_test(test_a_request_without_reply_times_out_with_nil),
        engine_test(test_a_request_that_cannot_be_sent_gives_nil_and_the_reason),
        engine_test(test_a_reply_that_comes_within_the_request_is_taken),
        engine_test(test_no_responders_is_nil_and_the_reason),
        engine_test(test_a_request_in_a_nested_coroutine_gets_its_reply),
        engine_test(test_aborted_calls_end_with_an_error_queued_ones_too),
        engine_test(test_an_engine_with_calls_under_way_can_be_closed),
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
        engine_test(test_endless_recursion_is_an_error),
        engine_test(test_endless_recursion_through_c_is_an_error),
        engine_test(test_nested_coroutines_without_end_are_an_error),
        engine_test(test_on_load_runs_before_the_first_message),
        engine_test(test_a_failing_on_load_fails_the_opening),
        engine_test(test_an_endless_top_level_fails_the_opening),
        engine_test(test_a_top_level_that_eats_memory_fails_the_opening),
        engine_test(test_retiring_gives_queued_inputs_back_and_runs_on_unload),
        engine_test(test_a_failing_on_unload_is_reported),
        engine_test(test_no_memory_for_a_state_is_an_error),
    };
    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
