#include "unit/engine_fixture.h"

/* What the writer of a rule is told of a mistake: file, line and what was wrong, in one line. */

struct mistake {
    const char *body; /* of a handler */
    const char *says; /* after the file and line 2 */
};

static const char payload[] =
    "{\"value\":5,\"name\":\"pump\",\"unit\":null,\"at\":{\"place\":null}}";

static void expect_words(struct fixture *f, const struct mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char wanted[512];
        open_handler(f, mistakes[i].body);
        send_message(f, payload);
        snprintf(wanted, sizeof(wanted), "%s/x.lua:2: %s", f->dir, mistakes[i].says);
        assert_string_equal(last_end(f)->error, wanted);
        engine_close(f->engine);
        f->engine = NULL;
    }
}

#define EXPECT_WORDS(f, mistakes)                                                                  \
    expect_words(f, mistakes, sizeof(mistakes) / sizeof((mistakes)[0]))

static void test_a_missing_field_is_named(void **state)
{
    static const struct mistake mistakes[] = {
        {"return msg.data.valeu.x", "attempt to index a nil value (field 'valeu')"},
        {"return 'a' .. msg.data.valeu", "attempt to concatenate a nil value (field 'valeu')"},
        {"return #msg.data.valeu", "attempt to get length of a nil value (field 'valeu')"},
        {"msg.data.valeu()", "attempt to call a nil value (field 'valeu')"},
    };
    EXPECT_WORDS(*state, mistakes);
}

static void test_a_json_null_is_called_so(void **state)
{
    static const struct mistake mistakes[] = {
        {"return msg.data.at.place.x", "attempt to index a JSON null (field 'place')"},
        {"msg.data.unit.x = 1", "attempt to index a JSON null (field 'unit')"},
        {"return -msg.data.unit", "attempt to perform arithmetic on a JSON null (field 'unit')"},
        {"return 'a' .. msg.data.unit", "attempt to concatenate a JSON null (field 'unit')"},
        {"return msg.data.unit > 5", "attempt to compare number with a JSON null"},
        {"return msg.data.unit < 5", "attempt to compare a JSON null with number"},
        {"return msg.data.unit < msg.data.unit", "attempt to compare two JSON nulls"},
        {"for k in pairs(msg.data.unit) do print(k) end",
         "bad argument #1 to 'for iterator' (table expected, got a JSON null)"},
        {"return table.concat({ msg.data.unit })",
         "invalid value (a JSON null) at index 1 in table for 'concat'"},
    };
    EXPECT_WORDS(*state, mistakes);
}

static void test_an_error_of_an_iterator_has_a_place(void **state)
{
    static const struct mistake mistakes[] = {
        {"for _, v in ipairs(msg.data.list) do print(v) end", "attempt to index a nil value"},
        {"for _, v in ipairs(msg.data.unit) do print(v) end", "attempt to index a JSON null"},
    };
    EXPECT_WORDS(*state, mistakes);
}

static void test_a_rule_s_own_words_stay_as_they_are(void **state)
{
    static const struct mistake mistakes[] = {
        {"error('no userdata value here: a userdata value')",
         "no userdata value here: a userdata value"},
        {"error({ code = 5 })", "the error value is a table: {\"code\":5}"},
        {"error({ print })", "the error value is a table, not a message"},
        {"error(nil)", "the error value is a nil, not a message"},
    };
    EXPECT_WORDS(*state, mistakes);
}

static void test_a_field_of_the_payload_is_sent_to_msg_data(void **state)
{
    static const struct mistake mistakes[] = {
        {"return msg.value", "msg has no field 'value' (those of the payload are in msg.data)"},
        {"return msg.dta", "msg has no field 'dta' (did you mean 'data'?)"},
    };
    EXPECT_WORDS(*state, mistakes);
}

static void test_a_wrong_argument_of_publish_is_named_with_its_path(void **state)
{
    static const struct mistake mistakes[] = {
        {"mill.publish('a.b', { f = print })", "mill.publish: data.f: a function cannot be JSON"},
        {"mill.publish('a.b', { a = { { 1, print } } })",
         "mill.publish: data.a[1][2]: a function cannot be JSON"},
        {"mill.publish('a.b', { mean = 0 / 0 })",
         "mill.publish: data.mean: NaN (not a number) cannot be JSON"},
        {"mill.publish(msg.data.target, {})",
         "mill.publish: the subject must be a string, got nil"},
        {"mill.publish('a.*', {})",
         "mill.publish: subject 'a.*': token 2 has a wildcard, which is for patterns only"},
        {"mill.publish('a.b')", "mill.publish: the data must be a table or a string, got nil"},
    };
    EXPECT_WORDS(*state, mistakes);
}

static void test_a_long_error_with_nulls_is_cut_not_overrun(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "error('attempt to call a userdata value' .. ('x'):rep(5000), 0)");
    send_message(f, payload);
    assert_text_contains(last_end(f)->error, "attempt to call a JSON nullxxx");
    assert_true(strlen(last_end(f)->error) < 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_a_missing_field_is_named),
        engine_test(test_a_json_null_is_called_so),
        engine_test(test_an_error_of_an_iterator_has_a_place),
        engine_test(test_a_rule_s_own_words_stay_as_they_are),
        engine_test(test_a_field_of_the_payload_is_sent_to_msg_data),
        engine_test(test_a_wrong_argument_of_publish_is_named_with_its_path),
        engine_test(test_a_long_error_with_nulls_is_cut_not_overrun),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
