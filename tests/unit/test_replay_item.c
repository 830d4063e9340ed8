#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/replay_item.h"

/* How decisions become texts that can be compared, and which of them count as the same. */

static struct replay_items left, right;

static int setup(void **state)
{
    (void)state;
    replay_items_init(&left);
    replay_items_init(&right);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    replay_items_clear(&left);
    replay_items_clear(&right);
    return 0;
}

static void add_output(struct replay_items *items, const char *rule, const char *payload)
{
    struct output output = {
        .subject = "out.x", .payload = payload, .payload_size = strlen(payload), .durable = true};
    struct call_result result = {
        .rule = rule, .outcome = OUTCOME_DONE, .outputs = &output, .output_count = 1};
    assert_int_equal(replay_items_add(items, &result, false, 0, true), 0);
}

static void add_verdict(struct replay_items *items, enum outcome outcome, enum cause cause,
                        const char *error)
{
    struct call_result result = {
        .rule = "x", .outcome = outcome, .cause = cause, .error = error, .retry_ns = 1500000000};
    assert_int_equal(replay_items_add(items, &result, false, 0, true), 0);
}

/* The payload as it is shown. */
static void expect_payload(const char *payload, const char *shown)
{
    static const char prefix[] = "\"subject\":\"out.x\",";
    replay_items_clear(&left);
    add_output(&left, "x", payload);
    assert_memory_equal(left.first->members, prefix, strlen(prefix));
    assert_string_equal(left.first->members + strlen(prefix), shown);
}

static void test_the_keys_of_objects_are_put_in_order(void **state)
{
    (void)state;
    expect_payload("{}", "\"data\":{}");
    expect_payload("{\"b\":1,\"a\":2}", "\"data\":{\"a\":2,\"b\":1}");
    expect_payload("{\"ab\":1,\"a\":2,\"\":3}", "\"data\":{\"\":3,\"a\":2,\"ab\":1}");
    expect_payload("{\"b\":{\"d\":[{\"f\":1,\"e\":2}],\"c\":{}},\"a\":[]}",
                   "\"data\":{\"a\":[],\"b\":{\"c\":{},\"d\":[{\"e\":2,\"f\":1}]}}");
}

static void test_the_order_of_arrays_stays(void **state)
{
    (void)state;
    expect_payload("[3,1,[2,null],true,\"x\"]", "\"data\":[3,1,[2,null],true,\"x\"]");
}

static void test_white_space_goes_and_strings_stay_as_they_are(void **state)
{
    (void)state;
    expect_payload(" {\n \"b\" : [ 1 , 2 ] ,\t\"a\" : \" x \" }\n",
                   "\"data\":{\"a\":\" x \",\"b\":[1,2]}");
    expect_payload("{\"a\":\"}{][,:\\\"\\\\\",\"A\":1}",
                   "\"data\":{\"A\":1,\"a\":\"}{][,:\\\"\\\\\"}");
}

static void test_scalars_and_numbers_are_kept_as_written(void **state)
{
    (void)state;
    expect_payload("42", "\"data\":42");
    expect_payload(" \"x\" ", "\"data\":\"x\"");
    expect_payload("[1.0,1e400,-0,9007199254740993]", "\"data\":[1.0,1e400,-0,9007199254740993]");
}

static void test_what_is_no_json_is_raw(void **state)
{
    (void)state;
    expect_payload("", "\"raw\":\"\"");
    expect_payload("{\"a\":1", "\"raw\":\"{\\\"a\\\":1\"");
    expect_payload("\xff", "\"raw_base64\":\"/w==\"");
    expect_payload("\"\xff\"", "\"raw_base64\":\"Iv8i\"");
}

static void test_an_object_of_many_keys_is_put_in_order(void **state)
{
    (void)state;
    char payload[4096] = "{", shown[4096] = "\"data\":{", part[32];
    for (int i = 0; i < 100; i++) {
        snprintf(part, sizeof(part), "%s\"k%02d\":%d", i > 0 ? "," : "", 99 - i, i);
        strcat(payload, part);
        snprintf(part, sizeof(part), "%s\"k%02d\":%d", i > 0 ? "," : "", i, 99 - i);
        strcat(shown, part);
    }
    strcat(payload, "}");
    strcat(shown, "}");
    expect_payload(payload, shown);
}

static void test_equal_outputs_cancel_each_other_whoever_made_them(void **state)
{
    (void)state;
    add_output(&left, "old", "{\"a\":1,\"b\":2}");
    add_output(&left, "old", "[1]");
    add_output(&right, "new", "[1]");
    add_output(&right, "new", "{ \"b\":2, \"a\":1 }");
    replay_items_cancel(&left, &right);
    assert_int_equal(left.count, 0);
    assert_int_equal(right.count, 0);
    add_output(&left, "old", "after"); /* the lists are whole */
    assert_ptr_equal(left.first->next, NULL);
}

static void test_an_output_more_is_a_difference(void **state)
{
    (void)state;
    add_output(&left, "x", "[1]");
    add_output(&right, "x", "[1]");
    add_output(&right, "x", "[1]");
    add_output(&right, "x", "1.0");
    add_output(&left, "x", "1");
    replay_items_cancel(&left, &right);
    assert_int_equal(left.count, 1);
    assert_string_equal(left.first->text, "out.x 1");
    assert_int_equal(right.count, 2);
    assert_string_equal(right.first->text, "out.x [1]");
    assert_string_equal(right.first->next->text, "out.x 1.0");
}

static void test_errors_count_by_their_reason(void **state)
{
    (void)state;
    add_verdict(&left, OUTCOME_ERROR, CAUSE_ERROR, "old/x.lua:3: five");
    add_verdict(&right, OUTCOME_ERROR, CAUSE_ERROR, "new/x.lua:7: six");
    replay_items_cancel(&left, &right);
    assert_int_equal(left.count + right.count, 0);
    add_verdict(&left, OUTCOME_ERROR, CAUSE_ERROR, "x.lua:3: five");
    add_verdict(&right, OUTCOME_ERROR, CAUSE_TIMEOUT, "x.lua:3: five");
    replay_items_cancel(&left, &right);
    assert_int_equal(left.count + right.count, 2);
    assert_string_equal(left.first->text, "error: x.lua:3: five");
}

static void test_a_retry_and_a_reject_are_not_the_same(void **state)
{
    (void)state;
    add_verdict(&left, OUTCOME_RETRY, CAUSE_NONE, NULL);
    add_verdict(&right, OUTCOME_REJECT, CAUSE_REJECTED, "no good");
    replay_items_cancel(&left, &right);
    assert_string_equal(left.first->members, "\"verdict\":\"retry\",\"delay\":1.5");
    assert_string_equal(left.first->text, "retry in 1.5 s");
    assert_string_equal(right.first->members,
                        "\"verdict\":\"reject\",\"reason\":\"rejected\",\"error\":\"no good\"");
}

#define item_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        item_test(test_the_keys_of_objects_are_put_in_order),
        item_test(test_the_order_of_arrays_stays),
        item_test(test_white_space_goes_and_strings_stay_as_they_are),
        item_test(test_scalars_and_numbers_are_kept_as_written),
        item_test(test_what_is_no_json_is_raw),
        item_test(test_an_object_of_many_keys_is_put_in_order),
        item_test(test_equal_outputs_cancel_each_other_whoever_made_them),
        item_test(test_an_output_more_is_a_difference),
        item_test(test_errors_count_by_their_reason),
        item_test(test_a_retry_and_a_reject_are_not_the_same),
    };
    return cmocka_run_group_tests_name("replay_item", tests, NULL, NULL);
}
