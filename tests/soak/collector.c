#include "collector.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "traffic.h"

enum { CONNECT_MS = 1000, RETRY_MS = 50, STEP_MS = 50 };

#define SILENCE_NS (2 * NS_PER_S) /* perhaps the consumer is gone: make another one */

struct collector {
    char url[64];
    pthread_t thread;
    bool running;
    atomic_bool ending;
    atomic_size_t complete;
    uint8_t *seen; /* outcomes, by the number of the input */
    size_t inputs_max;
    _Atomic uint64_t last; /* the sequence of the last message read */
    int64_t heard_ns;
    natsConnection *nats;
    natsSubscription *messages;
    struct collection found;
};

__attribute__((format(printf, 3, 4))) static void find(struct collector *collector,
                                                       uint64_t *counter, const char *format, ...)
{
    ++*counter;
    if (collector->found.first[0] != '\0')
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(collector->found.first, COLLECTOR_COMPLAINT, format, args);
    va_end(args);
}

/* ---- what is read ---- */

static void note_outcome(struct collector *collector, size_t number, unsigned outcome,
                         const char *subject)
{
    struct expectation expected = traffic_expectation(number);
    uint8_t *seen = &collector->seen[number];
    if (((expected.must | expected.may) & outcome) == 0)
        find(collector, &collector->found.invented,
             "sequence %" PRIu64 ": input %zu (%s) has a message on %s", collector->last, number,
             traffic_kind(number), subject);
    else if ((*seen & outcome) != 0)
        find(collector, &collector->found.duplicated,
             "sequence %" PRIu64 ": input %zu (%s) has a second message on %s", collector->last,
             number, traffic_kind(number), subject);
    bool complete_before = (*seen & expected.must) == expected.must;
    *seen |= (uint8_t)outcome;
    if (!complete_before && (*seen & expected.must) == expected.must)
        atomic_fetch_add(&collector->complete, 1);
}

static void note_message(struct collector *collector, natsMsg *msg)
{
    const char *subject = natsMsg_GetSubject(msg);
    unsigned outcome = traffic_outcome(subject);
    collector->found.outputs++;
    if (outcome == 0)
        return; /* of windows and timers */
    int64_t number = traffic_number(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
    if (number < 0 || (size_t)number >= collector->inputs_max)
        find(collector, &collector->found.invented,
             "sequence %" PRIu64 " on %s is from no input: %.60s", collector->last, subject,
             natsMsg_GetData(msg));
    else
        note_outcome(collector, (size_t)number, outcome, subject);
}

/* The sequence in $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>...; 0: there is none. */
static uint64_t sequence_of(natsMsg *msg)
{
    const char *at = natsMsg_GetReply(msg);
    for (int dots = 0; at != NULL && dots < 5; dots++) {
        at = strchr(at, '.');
        at = at != NULL ? at + 1 : NULL;
    }
    return at != NULL ? strtoull(at, NULL, 10) : 0;
}

/* Sequences come without a gap, or else the stream has dropped them before they were read. */
static void take(struct collector *collector, natsMsg *msg)
{
    uint64_t sequence = sequence_of(msg);
    if (sequence <= collector->last)
        return;
    if (sequence > collector->last + 1) {
        find(collector, &collector->found.unread, "sequences %" PRIu64 " to %" PRIu64 " are gone",
             collector->last + 1, sequence - 1);
        collector->found.unread += sequence - collector->last - 2;
    }
    collector->last = sequence;
    note_message(collector, msg);
}

/* ---- the connection ---- */

static void disconnect(struct collector *collector)
{
    natsSubscription_Destroy(collector->messages);
    natsConnection_Destroy(collector->nats);
    collector->messages = NULL;
    collector->nats = NULL;
}

/* libnats prints what nobody handles. */
static void ignore_fault(natsConnection *nats, natsSubscription *subscription, natsStatus status,
                         void *context)
{
    (void)nats, (void)subscription, (void)status, (void)context;
}

/* A consumer that begins behind what has been read, and lives as long as this connection. */
static natsStatus subscribe(struct collector *collector)
{
    natsInbox *inbox = NULL;
    jsCtx *js = NULL;
    jsConsumerConfig config;
    jsConsumerConfig_Init(&config);
    natsStatus s = natsInbox_Create(&inbox);
    if (s == NATS_OK)
        s = natsConnection_SubscribeSync(&collector->messages, collector->nats, inbox);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(collector->messages, -1, -1);
    if (s == NATS_OK)
        s = natsConnection_JetStream(&js, collector->nats, NULL);
    if (s == NATS_OK) {
        config.DeliverSubject = inbox;
        config.AckPolicy = js_AckNone;
        config.DeliverPolicy = js_DeliverByStartSequence;
        config.OptStartSeq = collector->last + 1;
        s = js_AddConsumer(NULL, js, "out", &config, NULL, NULL);
    }
    jsCtx_Destroy(js);
    natsInbox_Destroy(inbox);
    return s;
}

static natsStatus connect(struct collector *collector)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(options, collector->url);
    if (s == NATS_OK)
        s = natsOptions_SetName(options, "collector");
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(options, CONNECT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(options, false);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, ignore_fault, NULL);
    if (s == NATS_OK)
        s = natsConnection_Connect(&collector->nats, options);
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        s = subscribe(collector);
    collector->heard_ns = clock_monotonic_ns();
    return s;
}

static natsStatus read_some(struct collector *collector)
{
    natsMsg *msg = NULL;
    natsStatus s = natsSubscription_NextMsg(&msg, collector->messages, STEP_MS);
    while (s == NATS_OK) {
        take(collector, msg);
        natsMsg_Destroy(msg);
        collector->heard_ns = clock_monotonic_ns();
        s = natsSubscription_NextMsg(&msg, collector->messages, 0);
    }
    if (s != NATS_TIMEOUT)
        return s;
    return clock_monotonic_ns() - collector->heard_ns > SILENCE_NS ? NATS_TIMEOUT : NATS_OK;
}

static void *collect(void *argument)
{
    struct collector *collector = argument;
    while (!atomic_load(&collector->ending)) {
        natsStatus s = collector->nats == NULL ? connect(collector) : NATS_OK;
        if (s == NATS_OK)
            s = read_some(collector);
        if (s != NATS_OK) {
            disconnect(collector);
            poll(NULL, 0, RETRY_MS);
        }
    }
    disconnect(collector);
    return NULL;
}

/* ---- from outside ---- */

struct collector *collector_start(const char *url, size_t inputs_max)
{
    struct collector *collector = calloc(1, sizeof(*collector));
    if (collector == NULL)
        return NULL;
    snprintf(collector->url, sizeof(collector->url), "%s", url);
    collector->inputs_max = inputs_max;
    collector->seen = calloc(inputs_max, sizeof(*collector->seen)); /* pages as they are needed */
    if (collector->seen == NULL ||
        pthread_create(&collector->thread, NULL, collect, collector) != 0) {
        free(collector->seen);
        free(collector);
        return NULL;
    }
    collector->running = true;
    return collector;
}

size_t collector_complete(struct collector *collector)
{
    return atomic_load(&collector->complete);
}

uint64_t collector_sequence(struct collector *collector)
{
    return atomic_load(&collector->last);
}

static void stop(struct collector *collector)
{
    if (!collector->running)
        return;
    atomic_store(&collector->ending, true);
    pthread_join(collector->thread, NULL);
    collector->running = false;
}

void collector_finish(struct collector *collector, size_t inputs, struct collection *collection)
{
    stop(collector);
    for (size_t number = 0; number < inputs; number++) {
        struct expectation expected = traffic_expectation(number);
        if ((collector->seen[number] & expected.must) != expected.must)
            find(collector, &collector->found.lost, "input %zu (%s) lacks outcomes: has %u of %u",
                 number, traffic_kind(number), collector->seen[number] & expected.must,
                 expected.must);
    }
    for (size_t number = inputs; number < collector->inputs_max; number++) {
        if (collector->seen[number] != 0)
            find(collector, &collector->found.invented, "input %zu was never fed", number);
    }
    *collection = collector->found;
}

void collector_end(struct collector *collector)
{
    if (collector == NULL)
        return;
    stop(collector);
    free(collector->seen);
    free(collector);
}
