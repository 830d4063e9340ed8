#include "rules/outputs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The list of what a call wants published. */

static struct outputs outputs;

static int teardown(void **state)
{
    (void)state;
    outputs_free(&outputs);
    return 0;
}

static void test_an_output_is_copied_with_all_that_it_points_at(void **state)
{
    (void)state;
    char subject[] = "alerts.high", payload[] = {'a', '\0', 'b'}, id[] = "id", name[] = "N",
         value[] = "V";
    struct header header = {.name = name, .value = value};
    struct output output = {.subject = subject,
                            .payload = payload,
                            .payload_size = 3,
                            .id = id,
                            .ttl_ns = 5,
                            .durable = true,
                            .headers = &header,
                            .header_count = 1};
    assert_int_equal(outputs_add(&outputs, &output, NULL), 0);
    subject[0] = payload[0] = id[0] = name[0] = value[0] = '?';
    const struct output *kept = &outputs.items[0];
    assert_string_equal(kept->subject, "alerts.high");
    assert_memory_equal(kept->payload, "a\0b", 3);
    assert_string_equal(kept->id, "id");
    assert_string_equal(kept->headers[0].name, "N");
    assert_string_equal(kept->headers[0].value, "V");
    assert_int_equal(kept->ttl_ns, 5);
    assert_true(kept->durable);
}

static void test_what_was_added_before_stays_where_it_is(void **state)
{
    (void)state;
    static char payload[5000];
    memset(payload, 'x', sizeof(payload));
    for (size_t i = 0; i < 200; i++) {
        payload[0] = (char)('A' + i % 26);
        struct output output = {
            .subject = "s", .payload = payload, .payload_size = sizeof(payload)};
        assert_int_equal(outputs_add(&outputs, &output, NULL), 0);
    }
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(outputs.items[i].payload[0], 'A' + i % 26);
}

static void test_more_than_the_bounds_is_refused(void **state)
{
    (void)state;
    struct error err;
    struct output output = {.subject = "s", .payload = "", .payload_size = 0};
    for (size_t i = 0; i < OUTPUTS_MAX; i++)
        assert_int_equal(outputs_add(&outputs, &output, &err), 0);
    assert_int_equal(outputs_add(&outputs, &output, &err), -1);
    assert_non_null(strstr(err.text, "more than 10000"));
    outputs_clear(&outputs);
    assert_int_equal(outputs_add(&outputs, &output, &err), 0);
    output.payload_size = OUTPUTS_BYTES_MAX;
    assert_int_equal(outputs_add(&outputs, &output, &err), -1);
    assert_non_null(strstr(err.text, "64 MiB"));
    assert_int_equal(outputs.count, 1);
}

static void test_an_emptied_list_can_be_filled_again(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            struct output output = {.subject = "s", .payload = "payload", .payload_size = 7};
            assert_int_equal(outputs_add(&outputs, &output, NULL), 0);
        }
        assert_int_equal(outputs.count, 1000);
        outputs_clear(&outputs);
        assert_int_equal(outputs.count, 0);
        assert_int_equal(outputs.bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_an_output_is_copied_with_all_that_it_points_at, teardown),
        cmocka_unit_test_teardown(test_what_was_added_before_stays_where_it_is, teardown),
        cmocka_unit_test_teardown(test_more_than_the_bounds_is_refused, teardown),
        cmocka_unit_test_teardown(test_an_emptied_list_can_be_filled_again, teardown),
    };
    return cmocka_run_group_tests_name("outputs", tests, NULL, NULL);
}
