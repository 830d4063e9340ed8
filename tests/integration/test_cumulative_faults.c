#include "faults.h"

#include <stdio.h>

/*
 * Cumulative acks while processes, servers and consumers come and go. The job is that of faults.h.
 */

enum { PATIENCE_MS = 20000 };

static void work_cumulatively(struct harness *h, const char *source)
{
    char text[128];
    snprintf(text, sizeof(text), "ack = 'cumulative', %s", source);
    faults_job(h, text, "mill.sleep(0.001)");
}

static void test_a_killed_process_loses_nothing_and_its_outputs_are_stored_once(struct harness *h)
{
    enum { INPUTS = 800, KILLS = 3 };
    uint64_t random = faults_seed();
    work_cumulatively(h, "batch = 100");
    for (int i = 0; i < KILLS; i++) {
        struct process *mill = faults_start(h);
        if (i == 0)
            faults_feed(h, 0, INPUTS);
        faults_pause((int)faults_draw(&random, 400));
        harness_signal(mill, SIGKILL);
        harness_wait_exit(mill, PATIENCE_MS);
    }
    struct process *mill = faults_start(h);
    faults_check_all(h, INPUTS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_server_killed_in_mid_flow_loses_nothing(struct harness *h)
{
    enum { INPUTS = 800 };
    work_cumulatively(h, "batch = 100");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, INPUTS);
    for (uint64_t i = 1; i <= 3; i++) {
        faults_wait_outputs(h, i * INPUTS / 5);
        harness_server_kill(h);
        harness_server_start(h);
    }
    faults_check_all(h, INPUTS);
    harness_stop(mill, PATIENCE_MS);
}

/* It costs speed: neither may acknowledge what the other holds. */
static void test_two_processes_by_mistake_lose_nothing(struct harness *h)
{
    enum { INPUTS = 800 };
    work_cumulatively(h, "batch = 20");
    struct process *first = faults_start(h), *second = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 2);
    assert_true(faults_delivered(first) > 0);
    assert_true(faults_delivered(second) > 0);
    harness_signal(second, SIGKILL);
    harness_wait_exit(second, PATIENCE_MS);
    faults_check_all(h, INPUTS);
    harness_stop(first, PATIENCE_MS);
}

static void test_two_processes_by_mistake_come_to_an_end_all_the_same(struct harness *h)
{
    enum { INPUTS = 200 };
    work_cumulatively(h, "batch = 20, max_deliver = 50");
    struct process *first = faults_start(h), *second = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_check_all(h, INPUTS);
    harness_stop(first, PATIENCE_MS);
    harness_stop(second, PATIENCE_MS);
}

static void test_a_consumer_deleted_in_mid_flow_is_created_again(struct harness *h)
{
    enum { INPUTS = 800 };
    work_cumulatively(h, "batch = 100");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 4);
    assert_int_equal(js_DeleteConsumer(harness_js(h), "in", "d", NULL, NULL), NATS_OK);
    faults_check_all(h, INPUTS);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_killed_process_loses_nothing_and_its_outputs_are_stored_once),
        harness_test(test_a_server_killed_in_mid_flow_loses_nothing),
        harness_test(test_two_processes_by_mistake_lose_nothing),
        harness_test(test_two_processes_by_mistake_come_to_an_end_all_the_same),
        harness_test(test_a_consumer_deleted_in_mid_flow_is_created_again),
    };
    return cmocka_run_group_tests_name("cumulative_faults", tests, NULL, NULL);
}
