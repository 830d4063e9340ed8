#include "faults.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/*
 * What tidemill stands on is taken away under it: its consumer, its stream, the stream it stores
 * into, the server's leave to deliver more.
 */

enum { RESUME_LIMIT_MS = 5000 };

static void delete_consumer(struct harness *h)
{
    assert_int_equal(js_DeleteConsumer(harness_js(h), "in", "d", NULL, NULL), NATS_OK);
}

/* ---- the consumer ---- */

static void test_a_consumer_deleted_under_it_is_created_again(struct harness *h)
{
    enum { INPUTS = 1200 };
    faults_job(h, "batch = 100", "mill.sleep(0.001)");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 4);

    delete_consumer(h);
    uint64_t delivered = faults_delivered(mill);

    faults_wait_delivery(mill, delivered, RESUME_LIMIT_MS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    faults_check_all(h, INPUTS);
    assert_int_equal(harness_log_count(mill, "was gone"), 1);
    assert_in_range(faults_complaints(mill), 1, 3);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

static void test_an_idle_tidemill_notices_that_its_consumer_was_deleted(struct harness *h)
{
    faults_job(h, "", "");
    struct process *mill = faults_start(h);

    delete_consumer(h);
    harness_wait_log(mill, "was gone", RESUME_LIMIT_MS);
    faults_feed(h, 0, 10);

    faults_wait_delivery(mill, 0, RESUME_LIMIT_MS);
    faults_check_all(h, 10);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* The stream is long, most of it is settled: only the rest may come again. */
static void test_a_consumer_created_again_goes_on_behind_what_was_settled(struct harness *h)
{
    enum { SETTLED = 5000, MORE = 10 };
    harness_setenv(h, "TIDEMILL_LOG_LEVEL", "debug");
    faults_job(h, "", "");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, SETTLED);
    harness_wait_drained(h, "in", "d", FAULTS_PATIENCE_MS);
    harness_wait_log(mill, "settled up to sequence 5000", FAULTS_PATIENCE_MS);
    uint64_t delivered = faults_delivered(mill);

    delete_consumer(h);
    harness_wait_log(mill, "was gone", RESUME_LIMIT_MS);
    faults_feed(h, SETTLED, MORE);

    faults_check_all(h, SETTLED + MORE);
    assert_int_equal(faults_delivered(mill) - delivered, MORE);
    harness_stop(mill, FAULTS_PATIENCE_MS);
    mill = faults_start(h); /* it takes the consumer as it is, though the file says start = "all" */
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* What comes while there is no consumer is new, too. */
static void test_a_consumer_of_new_messages_created_again_misses_none(struct harness *h)
{
    enum { INPUTS = 100 };
    harness_setenv(h, "TIDEMILL_LOG_LEVEL", "debug");
    faults_job(h, "start = 'new'", "");
    struct process *mill = faults_start(h);
    harness_wait_log(mill, "settled up to sequence 0", FAULTS_PATIENCE_MS);

    delete_consumer(h);
    faults_feed(h, 0, INPUTS);

    harness_wait_count(h, "out", INPUTS, FAULTS_PATIENCE_MS);
    faults_check_all(h, INPUTS);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* ---- the stream ---- */

static void test_a_stream_deleted_under_it_is_created_again(struct harness *h)
{
    enum { FIRST = 100, INPUTS = 200 };
    faults_job(h, "", "");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, FIRST);
    harness_wait_drained(h, "in", "d", FAULTS_PATIENCE_MS);

    assert_int_equal(js_DeleteStream(harness_js(h), "in", NULL, NULL), NATS_OK);
    harness_wait_log(mill, "was gone", RESUME_LIMIT_MS);
    /* The sequences begin anew: these are other messages, and none of them was ever done. */
    faults_feed(h, FIRST, INPUTS);

    faults_check_all(h, FIRST + INPUTS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    assert_in_range(faults_complaints(mill), 1, 3);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* The stream is somebody else's: tidemill can only wait until it is there again. */
static void test_a_stream_that_is_not_its_own_comes_back_later(struct harness *h)
{
    enum { FIRST = 100, INPUTS = 200 };
    harness_stream(h, "in", "in.>");
    faults_job_with_streams(h, "{ name = 'out', subjects = { 'out.>' } }", "", "");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, FIRST);
    harness_wait_drained(h, "in", "d", FAULTS_PATIENCE_MS);

    assert_int_equal(js_DeleteStream(harness_js(h), "in", NULL, NULL), NATS_OK);
    faults_wait_unready(mill, "consumer in/d: ", RESUME_LIMIT_MS);
    faults_pause(4000);
    faults_wait_unready(mill, "does not exist", RESUME_LIMIT_MS);
    uint64_t delivered = faults_delivered(mill);
    harness_stream(h, "in", "in.>");
    faults_feed(h, FIRST, INPUTS);

    faults_wait_delivery(mill, delivered, RESUME_LIMIT_MS);
    faults_check_all(h, FIRST + INPUTS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    assert_in_range(faults_complaints(mill), 1, 4);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* ---- the stream it stores into ---- */

static void limit_outputs(struct harness *h, int64_t messages)
{
    static const char *subjects[] = {"out.>"};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "out";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Discard = js_DiscardNew;
    config.MaxMsgs = messages;
    natsStatus s = js_UpdateStream(NULL, harness_js(h), &config, NULL, NULL);
    if (s == NATS_NOT_FOUND)
        s = js_AddStream(NULL, harness_js(h), &config, NULL, NULL);
    assert_int_equal(s, NATS_OK);
}

static void test_an_output_stream_that_is_full_for_a_while(struct harness *h)
{
    enum { INPUTS = 1000, FULL = 300 };
    limit_outputs(h, FULL);
    faults_job_with_streams(h, "{ name = 'in', subjects = { 'in.>' } }", "batch = 100", "");
    struct process *mill = faults_start(h);

    faults_feed(h, 0, INPUTS);
    harness_wait_log(mill, "maximum messages exceeded", FAULTS_PATIENCE_MS);
    faults_wait_unready(mill, "maximum messages exceeded", FAULTS_PATIENCE_MS);
    assert_int_equal(harness_count(h, "out"), FULL);
    limit_outputs(h, -1);

    faults_check_all(h, INPUTS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    assert_in_range(faults_complaints(mill), 1, 10);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* Nothing opens a seal: every input becomes a dead letter, and the log stays readable. */
static void test_an_output_stream_that_is_sealed_makes_dead_letters(struct harness *h)
{
    enum { STORED = 50, SEALED = 200 };
    static const char *subjects[] = {"out.>"};
    faults_job(h, "max_deliver = 2", "");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, STORED);
    harness_wait_drained(h, "in", "d", FAULTS_PATIENCE_MS);

    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "out";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Sealed = true;
    assert_int_equal(js_UpdateStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
    faults_feed(h, STORED, SEALED);

    harness_wait_count(h, "dead", SEALED, FAULTS_PATIENCE_MS);
    faults_check_all(h, STORED);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* ---- max_ack_pending ---- */

static void test_a_small_max_ack_pending_and_a_slow_rule(struct harness *h)
{
    enum { INPUTS = 150 };
    faults_job(h, "max_ack_pending = 10", "mill.sleep(0.02)");
    struct process *mill = faults_start(h);

    faults_feed(h, 0, INPUTS);

    faults_check_all(h, INPUTS);
    assert_int_equal(faults_metric(mill, "tidemill_messages_redelivered_total", ""), 0);
    assert_int_equal(faults_complaints(mill), 0);
    assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/*
 * Messages that wait for their next try count as pending: they fill it up, and nothing is delivered
 * until the first of them is due. That is slow, and it is no fault: it stays ready.
 */
static void test_delayed_retries_that_fill_max_ack_pending_up(struct harness *h)
{
    enum { INPUTS = 60 };
    faults_job(h, "max_ack_pending = 10",
               "if msg.delivered == 1 and msg.data.n < 10 then msg:retry(3) return end");
    struct process *mill = faults_start(h);

    faults_feed(h, 0, INPUTS);

    faults_check_all(h, INPUTS);
    assert_int_equal(faults_metric(mill, "tidemill_messages_redelivered_total", ""), 10);
    assert_int_equal(faults_complaints(mill), 0);
    assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_consumer_deleted_under_it_is_created_again),
        harness_test(test_an_idle_tidemill_notices_that_its_consumer_was_deleted),
        harness_test(test_a_consumer_created_again_goes_on_behind_what_was_settled),
        harness_test(test_a_consumer_of_new_messages_created_again_misses_none),
        harness_test(test_a_stream_deleted_under_it_is_created_again),
        harness_test(test_a_stream_that_is_not_its_own_comes_back_later),
        harness_test(test_an_output_stream_that_is_full_for_a_while),
        harness_test(test_an_output_stream_that_is_sealed_makes_dead_letters),
        harness_test(test_a_small_max_ack_pending_and_a_slow_rule),
        harness_test(test_delayed_retries_that_fill_max_ack_pending_up),
    };
    return cmocka_run_group_tests_name("consumer_faults", tests, NULL, NULL);
}
