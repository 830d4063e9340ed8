#include "unit/engine_fixture.h"

/* mill.state: what survives a reload. */

/* Runs `before` in a first engine, carries its states into a second one that runs `after`. */
static int carry(struct fixture *f, const char *before, const char *after, struct error *err)
{
    struct engine *old = NULL;
    open_with(f, before);
    send_message(f, "{}");
    assert_done(f);
    old = f->engine;
    open_with(f, after);
    int status = engine_carry_state(f->engine, old, err);
    engine_close(old);
    if (status == 0) {
        send_message(f, "{}");
        assert_done(f);
    }
    return status;
}

#define RULE(top, body) top " return { subjects = {'>'}, on_message = function(msg) " body " end }"

static void test_plain_data_is_carried_exactly(void **state)
{
    struct error err = {0};
    int status =
        carry(*state,
              RULE("local s = mill.state('s')",
                   "s.i = 1 << 62 s.f = 0.1 s.t = true s.n = false s.text = 'a\\0b' s[1] = 'one' "
                   "s[2] = 'two' "
                   "s.deep = { a = { b = { 1, 2, 3 } } } s[2.5] = 'float key' s[true] = 'bool key' "
                   "s.null = mill.json.null s.list = mill.json.decode('[]')"),
              RULE("local s = mill.state('s')",
                   "assert(s.i == 1 << 62 and math.type(s.i) == 'integer' and s.f == 0.1) "
                   "assert(s.t == true and s.n == false and s.text == 'a\\0b' and #s == 2 and s[2] "
                   "== 'two') "
                   "assert(s.deep.a.b[3] == 3 and s[2.5] == 'float key' and s[true] == 'bool key') "
                   "assert(s.null == mill.json.null and mill.json.encode(s.list) == '[]') "
                   "local count = 0 for k in pairs(s) do count = count + 1 end assert(count == 12, "
                   "count)"),
              &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, 0);
}

static void test_a_table_taken_at_the_top_level_shows_what_was_carried(void **state)
{
    struct error err = {0};
    carry(*state, RULE("", "mill.state('seen').a = 1"),
          RULE("local seen = mill.state('seen') seen.b = 2 seen.a = 0",
               "assert(seen.a == 1 and seen.b == 2 and seen == mill.state('seen'))"),
          &err);
}

static void test_a_state_the_new_rule_asks_for_later_is_carried_too(void **state)
{
    struct error err = {0};
    carry(*state, RULE("", "mill.state('late').a = 1"),
          RULE("", "assert(mill.state('late').a == 1)"), &err);
}

static void test_the_states_of_rules_are_apart(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "a", RULE("", "mill.state('s').v = 'a' mill.state('t').v = 't'"));
    write_rule(f, "b", RULE("", "assert(next(mill.state('s')) == nil)"));
    open_engine(f);
    send_to(f, "a", "s", "{}");
    send_to(f, "b", "s", "{}");
    assert_done(f);
}

static void test_a_rule_that_is_gone_takes_its_states_with_it(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    write_rule(f, "gone", RULE("", "mill.state('s').v = 1"));
    open_engine(f);
    send_to(f, "gone", "s", "{}");
    struct engine *old = f->engine;
    char path[256];
    snprintf(path, sizeof(path), "%s/gone.lua", f->dir);
    remove(path);
    open_with(f, RULE("", "assert(next(mill.state('s')) == nil)"));
    assert_int_equal(engine_carry_state(f->engine, old, &err), 0);
    engine_close(old);
    send_message(f, "{}");
    assert_done(f);
}

static void assert_not_carried(struct fixture *f, const char *body, const char *wanted)
{
    struct error err = {0};
    char before[1024];
    snprintf(before, sizeof(before), RULE("local s = mill.state('s')", "%s"), body);
    assert_int_equal(carry(f, before, RULE("", ""), &err), -1);
    assert_text_contains(err.text, wanted);
    assert_null(strchr(err.text, '\n'));
}

static void test_a_function_in_a_state_is_named_with_its_path(void **state)
{
    assert_not_carried(*state, "s.items = { 1, { f = print } }",
                       "rule x: mill.state(\"s\").items[2].f: a function cannot be kept");
}

static void test_a_cycle_in_a_state_is_named_with_its_path(void **state)
{
    assert_not_carried(*state, "s.a = { b = {} } s.a.b.c = s.a",
                       "mill.state(\"s\").a.b.c: a table that contains itself");
}

static void test_a_table_with_a_metatable_in_a_state_is_named(void **state)
{
    assert_not_carried(*state, "s.point = setmetatable({}, {})",
                       "mill.state(\"s\").point: a table with a metatable cannot be kept");
}

static void test_userdata_and_odd_keys_in_a_state_are_named(void **state)
{
    assert_not_carried(*state, "s.c = mill.counter('c')",
                       "mill.state(\"s\").c: a userdata cannot be kept");
    engine_close(fixture.engine);
    fixture.engine = NULL;
    assert_not_carried(*state, "s.k = { [{}] = 1 }", "mill.state(\"s\").k: only strings");
}

static void test_a_state_nested_too_deeply_is_refused(void **state)
{
    assert_not_carried(*state, "local t = s for i = 1, 200 do t.n = {} t = t.n end",
                       "nested too deeply");
}

static void test_a_state_that_does_not_fit_leaves_the_new_engine_whole(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    open_with(f, RULE("local s = mill.state('s')", "for i = 1, 20000 do s[i] = { i } end"));
    send_message(f, "{}");
    assert_done(f);
    struct engine *old = f->engine;
    f->options.limits.memory = 1 << 20;
    open_with(f, RULE("local s = mill.state('s')", "assert(#s == 0)"));
    assert_int_equal(engine_carry_state(f->engine, old, &err), -1);
    assert_text_contains(err.text, "not enough memory");
    engine_close(old);
    send_message(f, "{}");
    assert_done(f);
}

static void test_the_name_of_a_state_is_checked(void **state)
{
    struct fixture *f = *state;
    run_body(f, "assert(not pcall(mill.state)) assert(not pcall(mill.state, 5))\n"
                "assert(not pcall(mill.state, '')) assert(not pcall(mill.state, ('x'):rep(129)))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_plain_data_is_carried_exactly),
        engine_test(test_a_table_taken_at_the_top_level_shows_what_was_carried),
        engine_test(test_a_state_the_new_rule_asks_for_later_is_carried_too),
        engine_test(test_the_states_of_rules_are_apart),
        engine_test(test_a_rule_that_is_gone_takes_its_states_with_it),
        engine_test(test_a_function_in_a_state_is_named_with_its_path),
        engine_test(test_a_cycle_in_a_state_is_named_with_its_path),
        engine_test(test_a_table_with_a_metatable_in_a_state_is_named),
        engine_test(test_userdata_and_odd_keys_in_a_state_are_named),
        engine_test(test_a_state_nested_too_deeply_is_refused),
        engine_test(test_a_state_that_does_not_fit_leaves_the_new_engine_whole),
        engine_test(test_the_name_of_a_state_is_checked),
    };
    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
