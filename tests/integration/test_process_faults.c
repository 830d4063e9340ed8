#include "faults.h"

#include <stdio.h>

/*
 * tidemill itself goes away: killed, or stopped for longer than the server waits. What it had in
 * flight comes again, to it or to another, and what it had stored is not stored twice.
 */

enum { ACK_WAIT_MS = 2000 /* faults_job's */ };

static void test_a_tidemill_killed_at_random_moments_loses_and_doubles_nothing(struct harness *h)
{
    enum { INPUTS = 2500, KILLS = 8 };
    uint64_t random = faults_seed();
    faults_job(h, "batch = 100", "mill.sleep(0.001)");
    for (int i = 0; i < KILLS; i++) {
        struct process *mill = harness_tidemill(h, "run");
        if (i == 0) {
            harness_wait_log(mill, " running: ", FAULTS_PATIENCE_MS);
            faults_feed(h, 0, INPUTS);
        }
        /* From the middle of the start to the middle of the work. */
        faults_pause((int)faults_draw(&random, 800));
        harness_signal(mill, SIGKILL);
        harness_wait_exit(mill, FAULTS_PATIENCE_MS);
    }
    struct process *mill = faults_start(h);

    faults_check_all(h, INPUTS);

    harness_stop(mill, FAULTS_PATIENCE_MS);
}

static void test_a_tidemill_stopped_for_longer_than_ack_wait_goes_on(struct harness *h)
{
    enum { INPUTS = 1200 };
    faults_job(h, "batch = 100", "mill.sleep(0.001)");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 4);

    harness_signal(mill, SIGSTOP);
    faults_pause(2 * ACK_WAIT_MS);
    uint64_t stored = harness_count(h, "out");
    harness_signal(mill, SIGCONT);

    assert_in_range(stored, INPUTS / 4, INPUTS - 1); /* it was in the middle of the work */
    faults_check_all(h, INPUTS);
    harness_wait_http(mill, "/readyz", 200, FAULTS_PATIENCE_MS);
    assert_in_range(faults_complaints(mill), 0, 5);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* Meanwhile another has done its messages; when it wakes up it does them once more, for nothing. */
static void test_a_tidemill_stopped_while_another_does_its_messages(struct harness *h)
{
    enum { INPUTS = 1200 };
    faults_job(h, "batch = 100", "mill.sleep(0.001)");
    struct process *sleeper = faults_start(h), *other = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 4);

    harness_signal(sleeper, SIGSTOP);
    faults_wait_outputs(h, INPUTS);
    harness_signal(sleeper, SIGCONT);

    faults_check_all(h, INPUTS);
    harness_wait_http(sleeper, "/readyz", 200, FAULTS_PATIENCE_MS);
    harness_stop(sleeper, FAULTS_PATIENCE_MS);
    harness_stop(other, FAULTS_PATIENCE_MS);
    faults_check_outputs(h, 0, INPUTS); /* what the sleeper still had to say included */
}

static void test_of_two_tidemills_on_one_durable_one_is_killed(struct harness *h)
{
    enum { INPUTS = 1200 };
    faults_job(h, "batch = 100", "mill.sleep(0.001)");
    struct process *victim = faults_start(h), *other = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 4);
    assert_in_range(faults_delivered(victim), 1, INPUTS);
    assert_in_range(faults_delivered(other), 1, INPUTS);

    harness_signal(victim, SIGKILL);

    faults_check_all(h, INPUTS);
    assert_int_equal(harness_http(other, "/readyz", NULL), 200);
    assert_int_equal(faults_complaints(other), 0);
    harness_stop(other, FAULTS_PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_tidemill_killed_at_random_moments_loses_and_doubles_nothing),
        harness_test(test_a_tidemill_stopped_for_longer_than_ack_wait_goes_on),
        harness_test(test_a_tidemill_stopped_while_another_does_its_messages),
        harness_test(test_of_two_tidemills_on_one_durable_one_is_killed),
    };
    return cmocka_run_group_tests_name("process_faults", tests, NULL, NULL);
}
