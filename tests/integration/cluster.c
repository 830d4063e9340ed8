#include "cluster.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "loopback.h"
#include "server.h"

enum {
    PATIENCE_MS = 60000,
    MEND_MS = 10000, /* after so long without agreement a server is restarted */
    REQUEST_MS = 2000,
    STEP_MS = 50,
    CONFIG_SIZE = 512
};

struct cluster {
    struct harness *h;
    int ports[CLUSTER_SERVERS];              /* of the routes */
    struct server *servers[CLUSTER_SERVERS]; /* [0] is NULL: the harness has that one */
};

static void release(void *object)
{
    struct cluster *cluster = object;
    for (int i = 1; i < CLUSTER_SERVERS; i++)
        server_close(cluster->servers[i]);
    free(cluster);
}

static void write_config(const struct cluster *cluster, int number, char text[CONFIG_SIZE])
{
    snprintf(text, CONFIG_SIZE,
             "server_name: n%d\n"
             "cluster {\n"
             "  name: test\n"
             "  listen: \"127.0.0.1:%d\"\n"
             "  routes: [\"nats://127.0.0.1:%d\", \"nats://127.0.0.1:%d\", "
             "\"nats://127.0.0.1:%d\"]\n"
             "}\n",
             number, cluster->ports[number], cluster->ports[0], cluster->ports[1],
             cluster->ports[2]);
}

static void open_server(struct cluster *cluster, int number)
{
    char text[CONFIG_SIZE], folder[32];
    struct error err;
    write_config(cluster, number, text);
    if (number == 0) {
        harness_server_config(cluster->h, text);
        harness_server_start(cluster->h);
        return;
    }
    snprintf(folder, sizeof(folder), "n%d/here", number);
    harness_write_file(cluster->h, folder, "");
    snprintf(folder, sizeof(folder), "n%d", number);
    struct server_options options = {.folder = harness_path(cluster->h, folder), .config = text};
    if (server_open(&cluster->servers[number], &options, harness_deadline(PATIENCE_MS), &err) != 0)
        harness_fail(cluster->h, "server %d: %s", number, err.text);
}

/*
 * Waits until the cluster is as it is to be. Servers that start at about the same time now and then
 * get stuck (2.10.27, one start in thirty on a busy machine: a peer counts as gone for good), and
 * then one is restarted after the other, as whoever runs them would do.
 */
static bool wait_mending(struct cluster *cluster,
                         bool (*is_done)(struct cluster *cluster, const char *stream),
                         const char *stream)
{
    int64_t deadline = harness_deadline(PATIENCE_MS), mend_ns = harness_deadline(MEND_MS);
    for (int next = 0; !is_done(cluster, stream); poll(NULL, 0, STEP_MS)) {
        if (clock_monotonic_ns() > deadline)
            return false;
        if (clock_monotonic_ns() > mend_ns) {
            print_message("the servers do not agree about stream %s: n%d is restarted\n", stream,
                          next);
            cluster_end_server(cluster, next, SIGTERM);
            cluster_start_server(cluster, next);
            next = (next + 1) % CLUSTER_SERVERS;
            mend_ns = harness_deadline(MEND_MS);
        }
    }
    return true;
}

/* A stream of three replicas shows that all have met and have a leader. */
static bool can_be_made(struct cluster *cluster, const char *stream)
{
    static const char *subjects[] = {"cluster.probe"};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = stream;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    config.Replicas = CLUSTER_SERVERS;
    if (js_AddStream(NULL, harness_js(cluster->h), &config, NULL, NULL) != NATS_OK)
        return false;
    js_DeleteStream(harness_js(cluster->h), stream, NULL, NULL);
    return true;
}

struct cluster *cluster_start(struct harness *h)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    assert_non_null(cluster);
    harness_defer(h, release, cluster);
    cluster->h = h;
    for (int i = 0; i < CLUSTER_SERVERS; i++)
        cluster->ports[i] = loopback_free_port();
    for (int i = 0; i < CLUSTER_SERVERS; i++)
        open_server(cluster, i);
    char urls[256];
    snprintf(urls, sizeof(urls), "%s,%s,%s", harness_url(h), server_url(cluster->servers[1]),
             server_url(cluster->servers[2]));
    harness_setenv(h, "NATS_URL", urls);
    if (!wait_mending(cluster, can_be_made, "probe"))
        harness_fail(h, "the cluster makes no stream of three replicas: %s",
                     nats_GetLastError(NULL));
    return cluster;
}

void cluster_end_server(struct cluster *cluster, int number, int signal)
{
    if (number == 0 && signal == SIGKILL)
        harness_server_kill(cluster->h);
    else if (number == 0)
        harness_server_stop(cluster->h);
    else if (server_end(cluster->servers[number], signal, harness_deadline(PATIENCE_MS)) != 0)
        harness_fail(cluster->h, "server %d does not end on signal %d", number, signal);
}

void cluster_start_server(struct cluster *cluster, int number)
{
    struct error err;
    if (number == 0)
        harness_server_start(cluster->h);
    else if (server_start(cluster->servers[number], harness_deadline(PATIENCE_MS), &err) != 0)
        harness_fail(cluster->h, "server %d: %s", number, err.text);
}

/* ---- who leads ---- */

int cluster_consumer_leader(struct cluster *cluster, const char *stream, const char *durable)
{
    jsConsumerInfo *info = NULL;
    int number = -1;
    natsStatus s = js_GetConsumerInfo(&info, harness_js(cluster->h), stream, durable, NULL, NULL);
    if (s == NATS_OK && info->Cluster != NULL && info->Cluster->Leader != NULL &&
        info->Cluster->Leader[0] == 'n')
        number = atoi(info->Cluster->Leader + 1);
    jsConsumerInfo_Destroy(info);
    return number;
}

int cluster_lead_elsewhere(struct cluster *cluster, const char *stream, const char *durable)
{
    int64_t deadline = harness_deadline(PATIENCE_MS);
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.LEADER.STEPDOWN.%s.%s", stream, durable);
    for (;;) {
        int leader = cluster_consumer_leader(cluster, stream, durable);
        if (leader > 0)
            return leader;
        if (clock_monotonic_ns() > deadline)
            harness_fail(cluster->h, "consumer %s has no leader but number 0", durable);
        natsMsg *reply = NULL;
        if (leader == 0)
            natsConnection_Request(&reply, harness_nats(cluster->h), subject, "", 0, REQUEST_MS);
        natsMsg_Destroy(reply);
        poll(NULL, 0, STEP_MS);
    }
}

static bool is_in_sync(struct cluster *cluster, const char *stream)
{
    jsStreamInfo *info = NULL;
    if (js_GetStreamInfo(&info, harness_js(cluster->h), stream, NULL, NULL) != NATS_OK)
        return false;
    const jsClusterInfo *state = info->Cluster;
    bool current = state != NULL && state->Leader != NULL && state->Leader[0] != '\0' &&
                   state->ReplicasLen == CLUSTER_SERVERS - 1;
    for (int i = 0; current && i < state->ReplicasLen; i++)
        current = state->Replicas[i]->Current && !state->Replicas[i]->Offline;
    jsStreamInfo_Destroy(info);
    return current;
}

/*
 * Whether what is published at server 0 gets to the stream's leader, which is not said by the API's
 * answers: from 2.10 on they come by another route. The message itself is refused there.
 */
static bool is_reachable(struct cluster *cluster, const char *stream)
{
    char subject[64];
    natsMsg *msg = NULL, *reply = NULL;
    snprintf(subject, sizeof(subject), "%s.probe", stream);
    natsStatus s = natsMsg_Create(&msg, subject, NULL, "", 0);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(msg, "Nats-Expected-Stream", "another");
    if (s == NATS_OK)
        s = natsConnection_RequestMsg(&reply, harness_nats(cluster->h), msg, REQUEST_MS);
    natsMsg_Destroy(msg);
    natsMsg_Destroy(reply);
    return s == NATS_OK;
}

static bool is_well(struct cluster *cluster, const char *stream)
{
    return is_in_sync(cluster, stream) && is_reachable(cluster, stream);
}

void cluster_wait_in_sync(struct cluster *cluster, const char *stream)
{
    if (!wait_mending(cluster, is_well, stream))
        harness_fail(cluster->h, "the replicas of stream %s do not come up to date", stream);
}
