#include "feeder.h"

#include <nats/nats.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    AHEAD_MAX = 2000, /* inputs published after the first one that has no PubAck */
    CONNECT_MS = 1000,
    RETRY_MS = 30,
    STEP_MS = 2
};

#define ACK_PATIENCE_NS (2 * NS_PER_S) /* without any PubAck: publish again */

struct feeder {
    struct feed_source source;
    char url[64];
    pthread_t thread;
    atomic_bool ending;
    atomic_size_t stored;
    bool acked[AHEAD_MAX]; /* from `lowest` on, by number % AHEAD_MAX */
    size_t lowest;         /* the first without a PubAck */
    size_t next;           /* the first never published on this connection */
    int64_t last_ack_ns;
    natsConnection *nats;
    natsSubscription *acks;
    char inbox[64];
};

static void disconnect(struct feeder *feeder)
{
    natsSubscription_Destroy(feeder->acks);
    natsConnection_Destroy(feeder->nats);
    feeder->acks = NULL;
    feeder->nats = NULL;
}

/* libnats prints what nobody handles. */
static void ignore_fault(natsConnection *nats, natsSubscription *subscription, natsStatus status,
                         void *context)
{
    (void)nats, (void)subscription, (void)status, (void)context;
}

static natsStatus listen_to_inbox(struct feeder *feeder)
{
    natsInbox *inbox = NULL;
    char subject[80];
    natsStatus s = natsInbox_Create(&inbox);
    if (s == NATS_OK) {
        snprintf(feeder->inbox, sizeof(feeder->inbox), "%s", inbox);
        snprintf(subject, sizeof(subject), "%s.*", inbox);
        s = natsConnection_SubscribeSync(&feeder->acks, feeder->nats, subject);
    }
    natsInbox_Destroy(inbox);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(feeder->acks, -1, -1);
    return s;
}

/* A new connection, on which everything without a PubAck is published again. */
static natsStatus connect(struct feeder *feeder)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(options, feeder->url);
    if (s == NATS_OK)
        s = natsOptions_SetName(options, "feeder");
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(options, CONNECT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(options, false);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, ignore_fault, NULL);
    if (s == NATS_OK)
        s = natsConnection_Connect(&feeder->nats, options);
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        s = listen_to_inbox(feeder);
    feeder->next = feeder->lowest;
    feeder->last_ack_ns = clock_monotonic_ns();
    return s;
}

static natsStatus publish(struct feeder *feeder, size_t number)
{
    struct feed_input input;
    char reply[96];
    natsMsg *msg = NULL;
    feeder->source.input(feeder->source.context, number, &input);
    snprintf(reply, sizeof(reply), "%s.%zu", feeder->inbox, number);
    natsStatus s = natsMsg_Create(&msg, input.subject, reply, input.payload, (int)input.size);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(msg, "Nats-Msg-Id", input.id);
    if (s == NATS_OK)
        s = natsMsgHeader_Set(msg, "Input-Id", input.id);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(feeder->nats, msg);
    natsMsg_Destroy(msg);
    return s;
}

static natsStatus publish_due(struct feeder *feeder, int64_t started_ns)
{
    natsStatus s = NATS_OK;
    size_t due =
        feeder->source.due(feeder->source.context, (clock_monotonic_ns() - started_ns) / NS_PER_MS);
    if (feeder->next < feeder->lowest)
        feeder->next = feeder->lowest; /* those between had a PubAck on an earlier connection */
    for (; s == NATS_OK && feeder->next < due && feeder->next < feeder->source.count &&
           feeder->next - feeder->lowest < AHEAD_MAX;
         feeder->next++) {
        if (feeder->lowest == feeder->next)
            feeder->last_ack_ns = clock_monotonic_ns(); /* patience begins with the first */
        if (!feeder->acked[feeder->next % AHEAD_MAX])
            s = publish(feeder, feeder->next);
    }
    return s;
}

/* Marks what a PubAck is for; anything else (a stream not there yet) leaves it unacked. */
static void note_ack(struct feeder *feeder, natsMsg *msg)
{
    char text[256];
    const char *dot = strrchr(natsMsg_GetSubject(msg), '.');
    size_t number = strtoull(dot + 1, NULL, 10);
    snprintf(text, sizeof(text), "%.*s", natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
    if (strstr(text, "\"seq\"") == NULL || number < feeder->lowest ||
        number >= feeder->lowest + AHEAD_MAX || feeder->acked[number % AHEAD_MAX])
        return;
    feeder->acked[number % AHEAD_MAX] = true;
    feeder->last_ack_ns = clock_monotonic_ns();
    atomic_fetch_add(&feeder->stored, 1);
    for (; feeder->acked[feeder->lowest % AHEAD_MAX]; feeder->lowest++)
        feeder->acked[feeder->lowest % AHEAD_MAX] = false;
}

static natsStatus take_acks(struct feeder *feeder)
{
    natsMsg *msg = NULL;
    natsStatus s = natsSubscription_NextMsg(&msg, feeder->acks, STEP_MS);
    while (s == NATS_OK) {
        note_ack(feeder, msg);
        natsMsg_Destroy(msg);
        s = natsSubscription_NextMsg(&msg, feeder->acks, 0);
    }
    if (s != NATS_TIMEOUT)
        return s;
    bool silent = feeder->lowest < feeder->next &&
                  clock_monotonic_ns() - feeder->last_ack_ns > ACK_PATIENCE_NS;
    return silent ? NATS_TIMEOUT : NATS_OK;
}

static void *feed(void *argument)
{
    struct feeder *feeder = argument;
    int64_t started_ns = clock_monotonic_ns();
    while (!atomic_load(&feeder->ending) && feeder->lowest < feeder->source.count) {
        natsStatus s = feeder->nats == NULL ? connect(feeder) : NATS_OK;
        if (s == NATS_OK)
            s = publish_due(feeder, started_ns);
        if (s == NATS_OK)
            s = take_acks(feeder);
        if (s != NATS_OK) {
            disconnect(feeder);
            poll(NULL, 0, RETRY_MS);
        }
    }
    disconnect(feeder);
    return NULL;
}

struct feeder *feeder_start(const struct feed_source *source, const char *url)
{
    struct feeder *feeder = calloc(1, sizeof(*feeder));
    if (feeder == NULL)
        return NULL;
    feeder->source = *source;
    snprintf(feeder->url, sizeof(feeder->url), "%s", url);
    if (pthread_create(&feeder->thread, NULL, feed, feeder) != 0) {
        free(feeder);
        return NULL;
    }
    return feeder;
}

size_t feeder_stored(struct feeder *feeder)
{
    return atomic_load(&feeder->stored);
}

void feeder_end(struct feeder *feeder)
{
    if (feeder == NULL)
        return;
    atomic_store(&feeder->ending, true);
    pthread_join(feeder->thread, NULL);
    free(feeder);
}
