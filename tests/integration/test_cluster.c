#include "cluster.h"
#include "faults.h"

#include <stdio.h>

#include "base/clock.h"

/*
 * Three servers, streams of three replicas: the server that leads the consumer is killed, all are
 * restarted one after the other. tidemill goes on at another one, and with the new leader.
 */

enum {
    ELECTION_LIMIT_MS = 30000, /* the servers' own affair: 4 to 9 s, and more on a busy machine */
    RESUME_LIMIT_MS = 5000
};

/* An id that a leader has staged and never stored blocks its output for a duplicate window. */
static const char streams[] = "{ name = 'in', subjects = { 'in.>' }, replicas = 3 }, "
                              "{ name = 'out', subjects = { 'out.>' }, replicas = 3, "
                              "duplicate_window = '30s' }";

/* Waits until a server other than `gone` leads the consumer. */
static void wait_for_leader(struct cluster *cluster, int gone)
{
    int64_t deadline = harness_deadline(ELECTION_LIMIT_MS);
    int leader;
    while ((leader = cluster_consumer_leader(cluster, "in", "d")) < 0 || leader == gone) {
        assert_true(clock_monotonic_ns() < deadline); /* nobody is elected */
        faults_pause(20);
    }
}

static void test_the_leader_of_the_consumer_is_killed(struct harness *h)
{
    enum { INPUTS = 2000 };
    struct cluster *cluster = cluster_start(h);
    faults_job_with_streams(h, streams, "batch = 50", "mill.sleep(0.005)");
    struct process *mill = faults_start(h);
    cluster_wait_in_sync(cluster, "in");
    int leader = cluster_lead_elsewhere(cluster, "in", "d");
    faults_feed(h, 0, INPUTS);
    faults_wait_outputs(h, INPUTS / 10);

    cluster_end_server(cluster, leader, SIGKILL);
    wait_for_leader(cluster, leader);
    uint64_t delivered = faults_delivered(mill);

    faults_wait_delivery(mill, delivered, RESUME_LIMIT_MS);
    cluster_start_server(cluster, leader);
    faults_check_all(h, INPUTS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    assert_int_equal(harness_log_count(mill, "the stream is a new one"), 0);
    assert_in_range(faults_complaints(mill), 0, 15);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

static void test_a_rolling_restart_of_all_servers(struct harness *h)
{
    enum { INPUTS = 1200, EACH = INPUTS / CLUSTER_SERVERS };
    struct cluster *cluster = cluster_start(h);
    faults_job_with_streams(h, streams, "batch = 50", "mill.sleep(0.005)");
    struct process *mill = faults_start(h);
    for (int i = 0; i < CLUSTER_SERVERS; i++) {
        cluster_wait_in_sync(cluster, "in");
        cluster_wait_in_sync(cluster, "out");
        faults_feed(h, (size_t)i * EACH, EACH);
        cluster_end_server(cluster, i, SIGTERM);
        cluster_start_server(cluster, i);
    }

    faults_check_all(h, INPUTS);
    harness_wait_http(mill, "/readyz", 200, RESUME_LIMIT_MS);
    assert_int_equal(harness_log_count(mill, "the stream is a new one"), 0);
    assert_int_equal(harness_log_count(mill, "was gone"), 0);
    assert_in_range(faults_complaints(mill), 0, 20);
    harness_stop(mill, FAULTS_PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_the_leader_of_the_consumer_is_killed, .no_server = true),
        harness_test_with(test_a_rolling_restart_of_all_servers, .no_server = true),
    };
    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
