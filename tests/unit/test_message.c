#include "unit/engine_fixture.h"

/* The `msg` a handler gets. */

static void test_every_field_shows_what_the_input_holds(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "assert(msg.subject == 'sensors.value')\n"
                    "assert(msg.data.value == 91 and math.type(msg.data.value) == 'integer')\n"
                    "assert(msg.raw == '{\"value\":91}')\n"
                    "assert(next(msg.headers) == nil)\n"
                    "assert(msg.stream == 'clientA_sensor' and msg.consumer == 'rule_executor')\n"
                    "assert(math.type(msg.sequence) == 'integer' and msg.sequence > 0)\n"
                    "assert(msg.time_ns == 1700000000123456789)\n"
                    "assert(math.abs(msg.time - 1700000000.123) < 0.001)\n"
                    "assert(msg.delivered == 1 and msg.pending == 7)\n"
                    "assert(tostring(msg):find('^msg%(sensors.value seq %d+%)$'))");
    send_message(f, "{\"value\":91}");
    assert_done(f);
}

static void test_the_data_is_decoded_once_and_is_the_rules_own(void **state)
{
    struct fixture *f = *state;
    const char *rule = "return { subjects = {'>'}, on_message = function(msg)\n"
                       "assert(msg.data == msg.data and msg.data.v == 1) msg.data.v = 2\n"
                       "assert(msg.data.v == 2) end }";
    write_rule(f, "a", rule);
    write_rule(f, "b", rule);
    open_engine(f);
    send_to(f, "a", "s", "{\"v\":1}");
    assert_done(f);
    send_to(f, "b", "s", "{\"v\":1}");
    assert_done(f);
}

static void test_the_data_of_a_raw_source_is_the_payload(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "assert(msg.data == '{nope' and msg.raw == '{nope')");
    struct input input = {.subject = "s",
                          .payload = "{nope",
                          .payload_size = 5,
                          .stream = "",
                          .consumer = "",
                          .format = PAYLOAD_RAW};
    engine_call(f->engine, engine_rule_at(f->engine, 0), &input, NULL);
    assert_done(f);
}

static void visit_two(const struct input *input,
                      void (*visit)(void *context, const char *name, const char *value),
                      void *context)
{
    assert_ptr_equal(input->message, &fixture);
    visit(context, "Content-Type", "application/json");
    visit(context, "X-Site", "north");
}

static void test_the_headers_are_a_table_of_names_and_values(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "assert(msg.headers['X-Site'] == 'north' and msg.headers == msg.headers)\n"
                    "assert(msg.headers['Content-Type'] == 'application/json')\n"
                    "assert(msg.headers.nope == nil)");
    struct input input = {.subject = "s",
                          .payload = "",
                          .stream = "",
                          .consumer = "",
                          .each_header = visit_two,
                          .message = f};
    engine_call(f->engine, engine_rule_at(f->engine, 0), &input, NULL);
    assert_done(f);
}

static void visit_many(const struct input *input,
                       void (*visit)(void *context, const char *name, const char *value),
                       void *context)
{
    char name[16];
    static char value[2000];
    (void)input;
    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "H%d", i);
        snprintf(value, 12, "%d", i);
        value[strlen(value)] = 'x';
        visit(context, name, value);
    }
}

static void test_headers_beyond_the_memory_limit_end_the_call_not_the_process(void **state)
{
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 60 * NS_PER_S;
    open_handler(f, "pcall(function() return msg.headers end) print('not reached')");
    struct input input = {
        .subject = "s", .payload = "", .stream = "", .consumer = "", .each_header = visit_many};
    engine_call(f->engine, engine_rule_at(f->engine, 0), &input, NULL);
    assert_int_equal(last_end(f)->cause, CAUSE_MEMORY);
    assert_string_equal(f->log, "");
}

static void test_an_unknown_field_is_an_error_with_the_nearest_name(void **state)
{
    run_failing_body(*state, "print(msg.dta)",
                     "x.lua:2: msg has no field 'dta' (did you mean 'data'?)");
}

static void test_msg_cannot_be_written(void **state)
{
    run_failing_body(*state, "msg.subject = 'other'", "x.lua:2: msg is read-only (msg.subject)");
}

static void test_a_msg_kept_beyond_its_call_is_an_error(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local kept\nreturn { subjects = {'>'}, on_message = function(msg)\n"
                 "if kept then return kept.subject end kept = msg end }");
    send_message(f, "{}");
    send_message(f, "{}");
    assert_error_contains(f, "x.lua:3: this msg is over");
}

static void test_a_msg_can_be_read_after_a_wait(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "mill.sleep(1) assert(msg.data.v == 1) mill.sleep(1) assert(msg.subject)");
    send_message(f, "{\"v\":1}");
    advance(f, 1);
    advance(f, 1);
    assert_done(f);
}

static void test_a_method_called_with_a_dot_is_a_clear_error(void **state)
{
    run_failing_body(*state, "msg.retry(5)", "call it as msg:retry(...), with a colon");
}

static void test_the_verdict_on_another_calls_msg_is_refused(void **state)
{
    struct fixture *f = *state;
    open_with(
        f, "local first\nreturn { subjects = {'>'}, concurrency = 2, on_message = function(msg)\n"
           "if first then first:retry(1) end first = msg mill.sleep(1) end }");
    send_message(f, "1");
    send_message(f, "2");
    assert_error_contains(f, "called from another message's handler");
    advance(f, 1);
    assert_done(f);
}

static void test_something_else_than_a_msg_is_refused(void **state)
{
    run_body(*state, "local retry = msg.retry\n"
                     "for _, v in ipairs { 1, 'x', {}, mill.counter('c') } do\n"
                     "assert(not pcall(retry, v, 1)) end assert(not pcall(retry))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_every_field_shows_what_the_input_holds),
        engine_test(test_the_data_is_decoded_once_and_is_the_rules_own),
        engine_test(test_the_data_of_a_raw_source_is_the_payload),
        engine_test(test_the_headers_are_a_table_of_names_and_values),
        engine_test(test_headers_beyond_the_memory_limit_end_the_call_not_the_process),
        engine_test(test_an_unknown_field_is_an_error_with_the_nearest_name),
        engine_test(test_msg_cannot_be_written),
        engine_test(test_a_msg_kept_beyond_its_call_is_an_error),
        engine_test(test_a_msg_can_be_read_after_a_wait),
        engine_test(test_a_method_called_with_a_dot_is_a_clear_error),
        engine_test(test_the_verdict_on_another_calls_msg_is_refused),
        engine_test(test_something_else_than_a_msg_is_refused),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
