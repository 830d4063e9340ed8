/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "bus/consumer_facts.h"

#define COUNTS                                                                                     \
    "\"created\":\"2026-01-01T00:00:00.000000005Z\","                                              \
    "\"delivered\":{\"consumer_seq\":9,\"stream_seq\":7,\"last_active\":\"x\"},"                   \
    "\"ack_floor\":{\"consumer_seq\":4,\"stream_seq\":3},\"num_ack_pending\":2"

static void test_an_answer_tells_both_floors_and_what_is_pending(void **state)
{
    (void)state;
    static const char text[] = "{" COUNTS ",\"cluster\":{\"leader\":\"a\"}}";
    struct consumer_facts facts;
    assert_true(consumer_facts_read(text, strlen(text), &facts));
    assert_int_equal(facts.created_ns, INT64_C(1767225600) * 1000000000 + 5);
    assert_int_equal(facts.acked_sequence, 3);
    assert_int_equal(facts.acked_number, 4);
    assert_int_equal(facts.delivered_sequence, 7);
    assert_int_equal(facts.delivered_number, 9);
    assert_int_equal(facts.ack_pending, 2);
    assert_false(facts.replicated);
}

static void test_a_consumer_with_replicas_is_known_by_them(void **state)
{
    (void)state;
    static const char text[] = "{" COUNTS ",\"cluster\":{\"replicas\":[{\"name\":\"b\"}]}}";
    struct consumer_facts facts;
    assert_true(consumer_facts_read(text, strlen(text), &facts));
    assert_true(facts.replicated);
}

static void test_an_error_is_no_answer(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"error\":{\"code\":404,\"err_code\":10014,\"description\":\"consumer not found\"}}", "",
        "{\"created\":\"2026-01-01T00:00:00Z\"}", "{" COUNTS};
    struct consumer_facts facts;
    uint64_t first;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(consumer_facts_read(texts[i], strlen(texts[i]), &facts));
        assert_false(stream_first_sequence_read(texts[i], strlen(texts[i]), &first));
    }
}

static void test_a_stream_tells_its_first_sequence(void **state)
{
    (void)state;
    static const char text[] = "{\"state\":{\"messages\":3,\"first_seq\":12}}";
    uint64_t first;
    assert_true(stream_first_sequence_read(text, strlen(text), &first));
    assert_int_equal(first, 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_tells_both_floors_and_what_is_pending),
        cmocka_unit_test(test_a_consumer_with_replicas_is_known_by_them),
        cmocka_unit_test(test_an_error_is_no_answer),
        cmocka_unit_test(test_a_stream_tells_its_first_sequence),
    };
    return cmocka_run_group_tests_name("consumer_facts", tests, NULL, NULL);
}
