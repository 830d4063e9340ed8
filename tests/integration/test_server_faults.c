#include "faults.h"

#include <stdio.h>

#include "base/clock.h"

/*
 * The server goes away: killed and back, or there and silent. What was under way is done when it is
 * back, once; meanwhile /readyz says 503 and why, and the log says it in a line or two.
 */

enum {
    INPUTS = 800,
    BEFORE = 200,          /* outputs stored before the fault */
    RESUME_LIMIT_MS = 5000 /* from the server's being back to the first delivery */
};

/* A message a millisecond: the faults fall into the middle of the work. */
static struct process *start_working(struct harness *h)
{
    faults_job(h, "batch = 50", "mill.sleep(0.001)");
    struct process *mill = faults_start(h);
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, BEFORE);
    return mill;
}

static void check_server_absence(struct harness *h, int absence_ms)
{
    struct process *mill = start_working(h);

    harness_server_kill(h);
    faults_wait_unready(mill, "not connected to NATS", 2000);
    faults_pause(absence_ms);
    assert_int_equal(harness_http(mill, "/readyz", NULL), 503);
    uint64_t delivered = faults_delivered(mill);
    harness_server_start(h);

    faults_wait_delivery(mill, delivered, RESUME_LIMIT_MS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    faults_check_all(h, INPUTS);
    assert_int_equal(harness_log_count(mill, "disconnected from NATS"), 1);
    assert_int_equal(harness_log_count(mill, "connected again"), 1);
    assert_in_range(faults_complaints(mill), 1, 8);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

static void test_a_server_killed_and_back_in_a_second(struct harness *h)
{
    check_server_absence(h, 1000);
}

/* Longer than any time there is: ack_wait 2 s, two heartbeats 2 s, an output's tries 5.75 s. */
static void test_a_server_killed_and_back_after_every_timeout(struct harness *h)
{
    check_server_absence(h, faults_long() ? 30000 : 7000);
}

static void test_an_idle_tidemill_takes_up_work_when_the_server_is_back(struct harness *h)
{
    faults_job(h, "", "");
    struct process *mill = faults_start(h);

    harness_server_kill(h);
    faults_wait_unready(mill, "not connected to NATS", 2000);
    faults_pause(3000); /* silence that would be too long on a connection that stands */
    harness_server_start(h);
    faults_feed(h, 0, 10);

    faults_wait_delivery(mill, 0, RESUME_LIMIT_MS);
    faults_check_all(h, 10);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

static void test_a_server_killed_again_and_again(struct harness *h)
{
    enum { KILLS = 3 };
    uint64_t random = faults_seed();
    struct process *mill = start_working(h);
    for (int i = 0; i < KILLS; i++) {
        harness_server_kill(h);
        faults_pause((int)faults_draw(&random, 300));
        harness_server_start(h);
        faults_pause((int)faults_draw(&random, 1200));
    }
    faults_check_all(h, INPUTS);
    assert_in_range(harness_log_count(mill, "disconnected from NATS"), 1, KILLS);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

/* Half open: the connection stands, and nobody answers on it. */
static void check_silent_server(struct harness *h, int silence_ms)
{
    struct process *mill = start_working(h);

    harness_server_signal(h, SIGSTOP);
    int64_t stopped_ns = clock_monotonic_ns();
    faults_wait_unready(mill, "", FAULTS_PATIENCE_MS);
    int64_t left_ms = silence_ms - (clock_monotonic_ns() - stopped_ns) / NS_PER_MS;
    faults_pause(left_ms > 0 ? (int)left_ms : 0);
    assert_int_equal(harness_http(mill, "/readyz", NULL), 503);
    uint64_t delivered = faults_delivered(mill);
    harness_server_signal(h, SIGCONT);

    faults_wait_delivery(mill, delivered, RESUME_LIMIT_MS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    faults_check_all(h, INPUTS);
    assert_in_range(faults_complaints(mill), 1, 12);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

static void test_a_server_that_is_silent_is_noticed_and_taken_up_again(struct harness *h)
{
    check_silent_server(h, 7000);
}

/* Three pings unanswered: libnats closes the connection and knocks at a door that nobody opens. */
static void test_a_server_that_is_silent_for_longer_than_the_pings_allow(struct harness *h)
{
    if (!faults_long())
        return;
    check_silent_server(h, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_server_killed_and_back_in_a_second),
        harness_test(test_a_server_killed_and_back_after_every_timeout),
        harness_test(test_an_idle_tidemill_takes_up_work_when_the_server_is_back),
        harness_test(test_a_server_killed_again_and_again),
        harness_test(test_a_server_that_is_silent_is_noticed_and_taken_up_again),
        harness_test(test_a_server_that_is_silent_for_longer_than_the_pings_allow),
    };
    return cmocka_run_group_tests_name("server_faults", tests, NULL, NULL);
}
