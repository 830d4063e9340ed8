#ifndef TIDEMILL_TESTS_CLUSTER_H
#define TIDEMILL_TESTS_CLUSTER_H

#include "harness.h"

/*
 * Three nats-servers on loopback that are one JetStream cluster. Number 0 is the harness' own,
 * which the harness looks through: a test of it is
 *
 *     harness_test_with(test_..., .no_server = true)
 *
 * As everywhere in the harness, waits are bounded and what does not come fails the test. Where the
 * servers themselves do not agree, those waits restart one after the other; a line says so.
 */

enum { CLUSTER_SERVERS = 3 };

struct cluster;

/*
 * Starts all three, and names them to the tidemills to come (NATS_URL). Returns when streams of
 * three replicas can be made. Belongs to the harness.
 */
struct cluster *cluster_start(struct harness *h);

/* KILL or TERM, and waits for its end. */
void cluster_end_server(struct cluster *cluster, int number, int signal);

/* Starts one that is down. */
void cluster_start_server(struct cluster *cluster, int number);

/* The number of the server that leads the consumer; -1: none does. */
int cluster_consumer_leader(struct cluster *cluster, const char *stream, const char *durable);

/* Has the consumer led by another server than number 0; returns which. */
int cluster_lead_elsewhere(struct cluster *cluster, const char *stream, const char *durable);

/*
 * Waits until the stream has a leader, which gets what is published at server 0, and all its
 * replicas are up to date. Its subjects are "<stream>.>".
 */
void cluster_wait_in_sync(struct cluster *cluster, const char *stream);

#endif
