#include "unit/engine_fixture.h"

/* Calls: how they end, what is reported, and how they wait. */

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

static void test_a_close_handler_may_turn_an_error_into_another_verdict(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local x <close> = setmetatable({}, { __close = function()\n"
                    "  if msg.raw == 'bad' then msg:reject('late') end msg:retry(2) end })\n"
                    "error('no')");
    send_message(f, "{}");
    assert_int_equal(last_end(f)->outcome, OUTCOME_RETRY);
    assert_int_equal(last_end(f)->cause, CAUSE_NONE);
    assert_string_equal(last_end(f)->error, "");
    assert_string_equal(last_end(f)->traceback, "");
    send_message(f, "bad");
    assert_int_equal(last_end(f)->outcome, OUTCOME_REJECT);
    assert_text_contains(last_end(f)->error, "late");
    assert_string_equal(last_end(f)->traceback, "");
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
    run_body(f, "print('now')");
    assert_true(f->seen_running);
    assert_int_equal(atomic_load(&f->activity.started_ns), 0);
    assert_text_contains(f->activity.text, "x: sensors.value seq ");
}

/*
 * --- waiting ------------------------------------------------------------------------------------
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

static void test_a_metamethod_of_pairs_may_sleep(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local seen = ''\n"
                    "local t = setmetatable({}, { __pairs = function()\n"
                    "  mill.sleep(1.5) return next, { k = 'v' }, nil end })\n"
                    "for k, v in pairs(t) do seen = seen .. k .. v end\n"
                    "assert(seen == 'kv', seen)");
    send_message(f, "{}");
    advance(f, 1.4);
    assert_int_equal(f->end_count, 0);
    advance(f, 0.1);
    assert_done(f);
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
        engine_test(test_a_close_handler_may_turn_an_error_into_another_verdict),
        engine_test(test_a_retry_ends_the_handler_at_once_with_its_delay),
        engine_test(test_a_retry_cannot_be_caught),
        engine_test(test_a_reject_carries_its_reason_with_file_and_line),
        engine_test(test_a_negative_retry_is_an_error),
        engine_test(test_a_payload_that_is_not_json_rejects_the_message_even_through_pcall),
        engine_test(test_a_payload_that_nobody_touches_is_not_decoded),
        engine_test(test_in_progress_reaches_the_host),
        engine_test(test_match_gives_the_rules_in_the_order_of_their_names),
        engine_test(test_the_activity_names_rule_subject_and_sequence_only_while_running),
        engine_test(test_sleep_resumes_when_due_and_not_before),
        engine_test(test_a_metamethod_of_pairs_may_sleep),
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
    };
    return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
