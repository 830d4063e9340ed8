#include "unit/engine_fixture.h"

/* What a rule file may return, and what is said when it does not. */

#define RETURNS(keys) "return { subjects = {'s'}, on_message = print, " keys " }"

static void test_a_syntax_error_names_file_and_line(void **state)
{
    assert_text_contains(open_error(*state, "return {\n  subjects = = 1 }"),
                         "x.lua:2: unexpected symbol");
}

static void test_an_error_at_the_top_level_names_file_and_line(void **state)
{
    assert_string_equal(open_error(*state, "\nerror('broken')"), "x.lua:2: broken");
}

static void test_an_error_value_at_the_top_level_that_is_no_string_is_one_line(void **state)
{
    assert_text_contains(open_error(*state, "error({})"), "x.lua:1: the error value is a table");
}

static void test_a_file_that_returns_nothing_is_refused(void **state)
{
    assert_string_equal(open_error(*state, "local x = 1"),
                        "x.lua: a rule file must return a table, this one returned nothing");
}

static void test_a_file_that_returns_a_function_is_refused(void **state)
{
    assert_text_contains(open_error(*state, "return print"), "this one returned function");
}

static void test_an_unknown_key_names_the_nearest_known_one(void **state)
{
    assert_string_equal(open_error(*state, "return { subjects = {'s'}, on_mesage = print }"),
                        "x.lua: unknown key 'on_mesage' (did you mean 'on_message'?)");
}

static void test_a_key_that_is_a_number_is_refused(void **state)
{
    assert_text_contains(open_error(*state, "return { 'sensors.value' }"),
                         "x.lua: unknown key [1]");
}

static void test_subjects_must_be_a_list_of_patterns(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(open_error(f, "return { subjects = 's', on_message = print }"),
                         "x.lua: subjects: a list of subjects expected");
    assert_text_contains(open_error(f, "return { subjects = {}, on_message = print }"),
                         "x.lua: subjects: a list of one or more");
    assert_text_contains(open_error(f, "return { subjects = { a = 's' }, on_message = print }"),
                         "x.lua: subjects: a list of one or more");
    assert_text_contains(open_error(f, "return { subjects = { 's', 5 }, on_message = print }"),
                         "x.lua: subjects[2]: a string expected, got number");
    assert_text_contains(open_error(f, "return { subjects = { 's', 'a..b' }, on_message = print }"),
                         "x.lua: subjects[2]: ");
    assert_text_contains(open_error(f, "return { subjects = { 'a\\0b' }, on_message = print }"),
                         "x.lua: subjects[1]: a zero byte");
}

static void test_subjects_and_on_message_need_each_other(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(open_error(f, "return { subjects = {'s'} }"), "on_message is missing");
    assert_text_contains(open_error(f, "return { on_message = print }"), "subjects is missing");
    assert_text_contains(open_error(f, "return {}"), "subjects is missing");
    assert_text_contains(open_error(f, "return { subjects = {'s'}, on_message = 5 }"),
                         "on_message: a function expected, got number");
}

static void test_the_other_keys_are_checked_for_their_types(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(open_error(f, RETURNS("concurrency = 0")), "concurrency: a whole number");
    assert_text_contains(open_error(f, RETURNS("concurrency = 1001")), "got 1001");
    assert_text_contains(open_error(f, RETURNS("concurrency = 1.5")), "concurrency");
    assert_text_contains(open_error(f, RETURNS("concurrency = '2'")), "concurrency");
    assert_text_contains(open_error(f, RETURNS("enabled = 'no'")), "enabled: true or false");
    assert_text_contains(open_error(f, RETURNS("on_load = {}")), "on_load: a function");
    assert_text_contains(open_error(f, RETURNS("on_unload = 1")), "on_unload: a function");
    assert_text_contains(open_error(f, RETURNS("every = 5")), "every: { seconds, function }");
    assert_text_contains(open_error(f, RETURNS("every = { 5 }")), "every: { seconds, function }");
    assert_text_contains(open_error(f, RETURNS("every = { 0, print }")),
                         "every: seconds from 0.001");
    assert_text_contains(open_error(f, RETURNS("every = { { 1, print }, { 2 } }")),
                         "every[2]: { seconds, function }");
}

static void test_a_rule_without_subjects_may_live_by_timers(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "a", "return { every = { 1, print } }");
    write_rule(f, "b", "mill.every(1, print) return {}");
    open_engine(f);
    assert_int_equal(engine_rule_count(f->engine), 2);
}

static void test_a_disabled_rule_is_checked_but_does_nothing(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(
        open_error(f, "return { enabled = false, subjects = { 'a..b' }, on_message = print }"),
        "subjects[1]");
    open_with(
        f, "mill.every(1, print) return { enabled = false, subjects = {'s'}, on_message = print,\n"
           "on_load = function() error('not run') end, every = { 1, print } }");
    struct rule *rules[1];
    assert_int_equal(engine_match(f->engine, "s", rules, 1), 0);
    assert_int_equal(engine_due_ns(f->engine), -1);
}

static void test_one_broken_rule_fails_the_whole_opening(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "a", "return { subjects = {'s'}, on_message = print }");
    assert_text_contains(open_error(f, "return"), "x.lua: a rule file must return");
}

static void test_no_rule_at_all_is_no_error(void **state)
{
    struct fixture *f = *state;
    open_engine(f);
    assert_int_equal(engine_rule_count(f->engine), 0);
    assert_int_equal(strlen(engine_version(f->engine)), 12);
}

static void test_a_thousand_rules_load(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "r%04d", i);
        write_rule(f, name, "return { subjects = {'s.*'}, on_message = print }");
    }
    open_engine(f);
    static struct rule *rules[1000];
    assert_int_equal(engine_match(f->engine, "s.x", rules, 1000), 1000);
    assert_string_equal(rule_name(rules[999]), "r0999");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_a_syntax_error_names_file_and_line),
        engine_test(test_an_error_at_the_top_level_names_file_and_line),
        engine_test(test_an_error_value_at_the_top_level_that_is_no_string_is_one_line),
        engine_test(test_a_file_that_returns_nothing_is_refused),
        engine_test(test_a_file_that_returns_a_function_is_refused),
        engine_test(test_an_unknown_key_names_the_nearest_known_one),
        engine_test(test_a_key_that_is_a_number_is_refused),
        engine_test(test_subjects_must_be_a_list_of_patterns),
        engine_test(test_subjects_and_on_message_need_each_other),
        engine_test(test_the_other_keys_are_checked_for_their_types),
        engine_test(test_a_rule_without_subjects_may_live_by_timers),
        engine_test(test_a_disabled_rule_is_checked_but_does_nothing),
        engine_test(test_one_broken_rule_fails_the_whole_opening),
        engine_test(test_no_rule_at_all_is_no_error),
        engine_test(test_a_thousand_rules_load),
    };
    return cmocka_run_group_tests_name("rule", tests, NULL, NULL);
}
