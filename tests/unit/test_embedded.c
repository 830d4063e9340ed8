#include "unit/engine_fixture.h"

/* The helpers of `mill` that are written in Lua: how they come into a rule. What they do is in
   tests/lua. */

static int64_t moving_wall(void *context)
{
    return INT64_C(1700000000) * NS_PER_S + ((struct fixture *)context)->now_ns - 1000 * NS_PER_S;
}

static void reopen_carrying(struct fixture *f)
{
    struct error err = {0};
    struct engine *old = f->engine;
    open_engine(f);
    assert_int_equal(engine_carry_state(f->engine, old, &err), 0);
    engine_close(old);
}

static void test_each_helper_can_be_made(void **state)
{
    run_body(*state, "for _, helper in ipairs { mill.window { tumbling = 1 }, mill.changed {},\n"
                     "  mill.throttle { per = 1 }, mill.dedupe { within = 1 } } do\n"
                     "  assert(type(helper) == 'table')\n"
                     "end");
}

static void test_a_rule_that_spoils_its_globals_spoils_no_helper(void **state)
{
    struct fixture *f = *state;
    open_with(f, "pairs, type, error, math.type = nil, nil, nil, nil\n"
                 "local dedupe = mill.dedupe { within = 10 }\n"
                 "return { subjects = { '>' }, on_message = function()\n"
                 "  assert(dedupe:first('a')) end }");
    send_message(f, "{}");
    assert_done(f);
}

static void test_a_wrong_option_is_told_at_the_line_of_the_rule(void **state)
{
    run_failing_body(*state, "\n\nmill.window { tumblin = 60 }",
                     "x.lua:4: mill.window: unknown option 'tumblin'");
}

static void test_a_wrong_key_is_told_at_the_line_of_the_rule(void **state)
{
    run_failing_body(*state, "local t = mill.throttle { per = 60 }\nt:allow(nil)",
                     "x.lua:3: throttle:allow: the key must be");
}

static void test_the_helpers_of_two_rules_share_nothing(void **state)
{
    struct fixture *f = *state;
    const char *rule = "local dedupe = mill.dedupe { within = 10, name = 'n' }\n"
                       "return { subjects = { '>' }, on_message = function()\n"
                       "  assert(dedupe:first('a')) end }";
    write_rule(f, "y", rule);
    open_with(f, rule);
    send_to(f, "x", "a", "{}");
    assert_done(f);
    send_to(f, "y", "a", "{}");
    assert_done(f);
}

static void test_a_helper_with_a_name_survives_a_reload(void **state)
{
    struct fixture *f = *state;
    f->options.host.wall_ns = moving_wall;
    open_with(f, "local window = mill.window { tumbling = 60, name = 'n' }\n"
                 "return { subjects = { '>' }, on_message = function()\n"
                 "  mill.publish('out', window:add('a', 2)) end }");
    send_message(f, "{}");
    reopen_carrying(f);
    send_message(f, "{}");
    assert_done(f);
    assert_text_contains(last_end(f)->outputs[0].payload, "\"sum\":4");
}

static void test_a_window_of_another_size_starts_anew_after_a_reload(void **state)
{
    struct fixture *f = *state;
    f->options.host.wall_ns = moving_wall;
    open_with(f, "local window = mill.window { tumbling = 60, name = 'n' }\n"
                 "return { subjects = { '>' }, on_message = function() window:add('a', 2) end }");
    send_message(f, "{}");
    write_rule(f, "x",
               "local window = mill.window { sliding = 60, name = 'n' }\n"
               "return { subjects = { '>' }, on_message = function()\n"
               "  mill.publish('out', window:add('a', 2)) end }");
    reopen_carrying(f);
    send_message(f, "{}");
    assert_done(f);
    assert_text_contains(last_end(f)->outputs[0].payload, "\"sum\":2");
}

static void test_a_window_closes_by_a_timer_when_its_key_falls_silent(void **state)
{
    struct fixture *f = *state;
    f->options.host.wall_ns = moving_wall;
    open_with(f, "local window = mill.window { session = 10,\n"
                 "  on_close = function(w) mill.publish('closed', w) end }\n"
                 "return { subjects = { '>' }, on_message = function() window:add('a', 2) end }");
    send_message(f, "{}");
    advance(f, 9);
    assert_int_equal(last_end(f)->output_count, 0);
    advance(f, 2);
    assert_int_equal(last_end(f)->output_count, 1);
    assert_string_equal(last_end(f)->outputs[0].subject, "closed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_each_helper_can_be_made),
        engine_test(test_a_rule_that_spoils_its_globals_spoils_no_helper),
        engine_test(test_a_wrong_option_is_told_at_the_line_of_the_rule),
        engine_test(test_a_wrong_key_is_told_at_the_line_of_the_rule),
        engine_test(test_the_helpers_of_two_rules_share_nothing),
        engine_test(test_a_helper_with_a_name_survives_a_reload),
        engine_test(test_a_window_of_another_size_starts_anew_after_a_reload),
        engine_test(test_a_window_closes_by_a_timer_when_its_key_falls_silent),
    };
    return cmocka_run_group_tests_name("embedded", tests, NULL, NULL);
}
