/* The streams' part of harness.h. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness.h"
#include "server.h"

enum {
    ACK_PATIENCE_MS = 10000,
    LEADER_PATIENCE_MS = 30000, /* what is asked while a cluster has no leader gets no answer */
    UNACKED_MAX = 2000,         /* messages under way in a feed */
    READ_BATCH = 5000,
    STEP_MS = 5,
    DRAINED_LOOKS = 5
};

static const char *fault_text(natsStatus s)
{
    const char *last = nats_GetLastError(NULL);
    return last != NULL && last[0] != '\0' ? last : natsStatus_GetText(s);
}

void harness_create_stream(struct harness *h, const char *name, const char *const *subjects)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = (const char **)subjects;
    while (subjects[config.SubjectsLen] != NULL)
        config.SubjectsLen++;
    natsStatus s = js_AddStream(NULL, harness_js(h), &config, NULL, NULL);
    if (s != NATS_OK)
        harness_fail(h, "stream %s: %s", name, fault_text(s));
}

/* ---- publishing ---- */

static void destroy_subscription(void *subscription)
{
    natsSubscription_Destroy(subscription);
}

/* A new inbox in `inbox` and what listens to it; freed at teardown at the latest. */
static natsSubscription *listen_to_inbox(struct harness *h, char inbox[static 64])
{
    natsInbox *name = NULL;
    natsSubscription *subscription = NULL;
    natsStatus s = natsInbox_Create(&name);
    if (s == NATS_OK) {
        snprintf(inbox, 64, "%s", name);
        s = natsConnection_SubscribeSync(&subscription, harness_nats(h), inbox);
    }
    natsInbox_Destroy(name);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(subscription, -1, -1);
    if (s != NATS_OK)
        harness_fail(h, "cannot listen to an inbox: %s", fault_text(s));
    harness_defer(h, destroy_subscription, subscription);
    return subscription;
}

static natsStatus send_draft(struct harness *h, const struct harness_draft *draft,
                             const char *inbox)
{
    natsMsg *msg = NULL;
    natsStatus s =
        natsMsg_Create(&msg, draft->subject, inbox, draft->payload, (int)strlen(draft->payload));
    if (s == NATS_OK && draft->id[0] != '\0')
        s = natsMsgHeader_Set(msg, "Nats-Msg-Id", draft->id);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(harness_nats(h), msg);
    natsMsg_Destroy(msg);
    return s;
}

static void take_ack(struct harness *h, natsSubscription *acks)
{
    natsMsg *ack = NULL;
    natsStatus s = natsSubscription_NextMsg(&ack, acks, ACK_PATIENCE_MS);
    if (s == NATS_NO_RESPONDERS)
        harness_fail(h, "published to a subject that no stream stores");
    if (s != NATS_OK)
        harness_fail(h, "no answer to a publish: %s", natsStatus_GetText(s));
    char text[256];
    snprintf(text, sizeof(text), "%.*s", natsMsg_GetDataLength(ack), natsMsg_GetData(ack));
    natsMsg_Destroy(ack);
    if (strstr(text, "\"error\"") != NULL)
        harness_fail(h, "a publish was refused: %s", text);
}

void harness_feed_with(struct harness *h, size_t count,
                       void (*make)(void *context, size_t number, struct harness_draft *draft),
                       void *context)
{
    char inbox[64];
    natsSubscription *acks = listen_to_inbox(h, inbox);
    struct harness_draft draft;
    size_t acked = 0;
    for (size_t i = 0; i < count; i++) {
        draft.subject[0] = draft.payload[0] = draft.id[0] = '\0';
        make(context, i, &draft);
        natsStatus s = send_draft(h, &draft, inbox);
        if (s != NATS_OK)
            harness_fail(h, "publish to %s: %s", draft.subject, fault_text(s));
        for (; i + 1 - acked >= UNACKED_MAX; acked++)
            take_ack(h, acks);
    }
    for (; acked < count; acked++)
        take_ack(h, acks);
    natsSubscription_Unsubscribe(acks);
}

struct feed {
    const char *subject, *payload;
    size_t first;
};

/* Puts the number where `#` stands. */
static void make_numbered(void *context, size_t number, struct harness_draft *draft)
{
    const struct feed *feed = context;
    char text[24];
    size_t size = 0;
    int digits = snprintf(text, sizeof(text), "%zu", feed->first + number);
    snprintf(draft->subject, sizeof(draft->subject), "%s", feed->subject);
    for (const char *c = feed->payload; *c != '\0'; c++) {
        size_t step = *c == '#' ? (size_t)digits : 1;
        if (size + step >= sizeof(draft->payload))
            break;
        memcpy(draft->payload + size, *c == '#' ? text : c, step);
        size += step;
    }
    draft->payload[size] = '\0';
}

void harness_feed(struct harness *h, const char *subject, size_t first, size_t count,
                  const char *payload)
{
    struct feed feed = {.subject = subject, .payload = payload, .first = first};
    harness_feed_with(h, count, make_numbered, &feed);
}

void harness_publish(struct harness *h, const char *subject, const char *payload)
{
    jsErrCode code = 0;
    natsStatus s =
        js_Publish(NULL, harness_js(h), subject, payload, (int)strlen(payload), NULL, &code);
    if (s != NATS_OK)
        harness_fail(h, "publish to %s: %s", subject, fault_text(s));
}

/* ---- counting and waiting ---- */

uint64_t harness_count(struct harness *h, const char *stream)
{
    jsStreamInfo *info = NULL;
    int64_t until_ns = harness_deadline(LEADER_PATIENCE_MS);
    natsStatus s;
    do
        s = js_GetStreamInfo(&info, harness_js(h), stream, NULL, NULL);
    while (s == NATS_TIMEOUT && clock_monotonic_ns() < until_ns);
    if (s != NATS_OK)
        harness_fail(h, "stream %s: %s", stream, fault_text(s));
    uint64_t count = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return count;
}

/* The messages of a stream that may not be there yet; -1 then. */
static int64_t count_if_there(struct harness *h, const char *stream)
{
    jsStreamInfo *info = NULL;
    if (js_GetStreamInfo(&info, harness_js(h), stream, NULL, NULL) != NATS_OK)
        return -1;
    int64_t count = (int64_t)info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return count;
}

void harness_wait_count(struct harness *h, const char *stream, uint64_t count, int timeout_ms)
{
    int64_t deadline = harness_deadline(timeout_ms), found;
    while ((found = count_if_there(h, stream)) < (int64_t)count) {
        if (clock_monotonic_ns() > deadline)
            harness_fail(h, "stream %s holds %lld messages after %d ms instead of %llu", stream,
                         (long long)found, timeout_ms, (unsigned long long)count);
        poll(NULL, 0, STEP_MS);
    }
    if (found > (int64_t)count)
        harness_fail(h, "stream %s holds %lld messages, more than %llu", stream, (long long)found,
                     (unsigned long long)count);
}

uint64_t harness_unacked(struct harness *h, const char *stream, const char *durable)
{
    jsConsumerInfo *info = NULL;
    natsStatus s = js_GetConsumerInfo(&info, harness_js(h), stream, durable, NULL, NULL);
    if (s != NATS_OK)
        harness_fail(h, "no consumer %s on %s: %s", durable, stream, fault_text(s));
    uint64_t count = (uint64_t)info->NumAckPending;
    jsConsumerInfo_Destroy(info);
    return count;
}

/*
 * Servers from 2.10 on count what is pending a moment after they have said that it is stored, and
 * new leaders later still: only what they say for a while counts.
 */
void harness_wait_drained(struct harness *h, const char *stream, const char *durable,
                          int timeout_ms)
{
    int64_t deadline = harness_deadline(timeout_ms);
    int looks = server_at_least(2, 10, 0) ? DRAINED_LOOKS : 1, drained = 0;
    for (;;) {
        jsConsumerInfo *info = NULL;
        natsStatus s = js_GetConsumerInfo(&info, harness_js(h), stream, durable, NULL, NULL);
        long long pending = s == NATS_OK ? (long long)info->NumPending : -1;
        long long unacked = s == NATS_OK ? (long long)info->NumAckPending : -1;
        jsConsumerInfo_Destroy(info);
        drained = pending == 0 && unacked == 0 ? drained + 1 : 0;
        if (drained == looks)
            return;
        if (clock_monotonic_ns() > deadline && s != NATS_OK)
            harness_fail(h, "no consumer %s on %s after %d ms: %s", durable, stream, timeout_ms,
                         fault_text(s));
        if (clock_monotonic_ns() > deadline)
            harness_fail(h, "consumer %s on %s after %d ms: %lld pending, %lld not acknowledged",
                         durable, stream, timeout_ms, pending, unacked);
        poll(NULL, 0, STEP_MS);
    }
}

/* ---- reading ---- */

static void *allocate(struct harness *h, size_t count, size_t size)
{
    void *block = calloc(count, size);
    if (block == NULL)
        harness_fail(h, "out of memory");
    return block;
}

static void free_messages(void *object)
{
    struct harness_messages *messages = object;
    for (size_t i = 0; i < messages->count; i++) {
        free((char *)messages->items[i].payload);
        natsMsg_Destroy(messages->items[i].msg);
    }
    free(messages->items);
    free(messages);
}

/*
 * The stream's sequence in "$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>...", or in its
 * longer form.
 */
static uint64_t sequence_of(const char *reply)
{
    int dots = 0;
    for (const char *c = reply; *c != '\0'; c++)
        dots += *c == '.';
    int skip = dots == 8 ? 5 : 7;
    while (skip > 0 && *reply != '\0')
        skip -= *reply++ == '.';
    return strtoull(reply, NULL, 10);
}

/* Takes the next message; false for a status or silence. */
static bool take_message(natsSubscription *inbox, struct harness_message *message)
{
    natsMsg *msg = NULL;
    if (natsSubscription_NextMsg(&msg, inbox, ACK_PATIENCE_MS) != NATS_OK)
        return false;
    const char *reply = natsMsg_GetReply(msg);
    int size = natsMsg_GetDataLength(msg);
    char *payload = malloc((size_t)size + 1);
    if (payload == NULL || reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) {
        free(payload);
        natsMsg_Destroy(msg);
        return false;
    }
    memcpy(payload, natsMsg_GetData(msg), (size_t)size);
    payload[size] = '\0';
    *message = (struct harness_message){.sequence = sequence_of(reply),
                                        .subject = natsMsg_GetSubject(msg),
                                        .payload = payload,
                                        .size = (size_t)size,
                                        .msg = msg};
    if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &message->id) != NATS_OK)
        message->id = NULL;
    return true;
}

/* Pulls through a consumer, one request after the other, until there are `total` messages. */
static natsStatus pull_all(struct harness *h, const char *stream, const char *consumer,
                           size_t total, struct harness_messages *messages)
{
    char inbox[64], subject[512], request[96];
    natsStatus s = NATS_OK;
    natsSubscription *subscription = listen_to_inbox(h, inbox);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer);
    while (s == NATS_OK && messages->count < total) {
        size_t batch = total - messages->count < READ_BATCH ? total - messages->count : READ_BATCH;
        snprintf(request, sizeof(request), "{\"batch\":%zu,\"expires\":%lld}", batch,
                 ACK_PATIENCE_MS * (long long)NS_PER_MS);
        s = natsConnection_PublishRequestString(harness_nats(h), subject, inbox, request);
        for (size_t i = 0; s == NATS_OK && i < batch; i++) {
            if (take_message(subscription, &messages->items[messages->count]))
                messages->count++;
            else
                s = NATS_TIMEOUT;
        }
    }
    natsSubscription_Unsubscribe(subscription);
    return s;
}

/* Reads what comes after the messages that are there. */
static natsStatus read_on(struct harness *h, const char *stream, struct harness_messages *messages)
{
    jsConsumerConfig config;
    jsConsumerInfo *info = NULL;
    char consumer[128];
    jsConsumerConfig_Init(&config);
    config.AckPolicy = js_AckNone;
    config.InactiveThreshold = 60 * NS_PER_S;
    if (messages->count > 0) {
        config.DeliverPolicy = js_DeliverByStartSequence;
        config.OptStartSeq = messages->items[messages->count - 1].sequence + 1;
    }
    natsStatus s = js_AddConsumer(&info, harness_js(h), stream, &config, NULL, NULL);
    if (s != NATS_OK)
        return s;
    size_t total = messages->count + info->NumPending;
    snprintf(consumer, sizeof(consumer), "%s", info->Name);
    jsConsumerInfo_Destroy(info);
    struct harness_message *items = realloc(messages->items, (total + 1) * sizeof(*items));
    if (items == NULL)
        harness_fail(h, "out of memory");
    messages->items = items;
    s = pull_all(h, stream, consumer, total, messages);
    js_DeleteConsumer(harness_js(h), stream, consumer, NULL, NULL);
    return s;
}

/* In a cluster a consumer may be led by a server that lags behind the stream's leader. */
const struct harness_messages *harness_read(struct harness *h, const char *stream)
{
    struct harness_messages *messages = allocate(h, 1, sizeof(*messages));
    harness_defer(h, free_messages, messages);
    int64_t until_ns = harness_deadline(LEADER_PATIENCE_MS);
    uint64_t there = harness_count(h, stream);
    natsStatus s;
    do
        s = read_on(h, stream, messages);
    while ((s == NATS_TIMEOUT || (s == NATS_OK && messages->count < there)) &&
           clock_monotonic_ns() < until_ns);
    if (s != NATS_OK)
        harness_fail(h, "reading stream %s stopped after %zu messages: %s", stream, messages->count,
                     fault_text(s));
    return messages;
}

const char *harness_header(const struct harness_message *message, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(message->msg, name, &value) == NATS_OK ? value : NULL;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t count_repeated(const char **texts, size_t count)
{
    size_t repeated = 0;
    qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 1; i < count; i++)
        repeated += strcmp(texts[i - 1], texts[i]) == 0;
    free(texts);
    return repeated;
}

static const char **room_for_texts(const struct harness_messages *messages)
{
    const char **texts = calloc(messages->count + 1, sizeof(*texts));
    if (texts == NULL)
        fail_msg("out of memory");
    return texts;
}

size_t harness_duplicate_ids(const struct harness_messages *messages)
{
    const char **texts = room_for_texts(messages);
    size_t count = 0;
    for (size_t i = 0; i < messages->count; i++) {
        if (messages->items[i].id != NULL)
            texts[count++] = messages->items[i].id;
    }
    return count_repeated(texts, count);
}

size_t harness_duplicate_payloads(const struct harness_messages *messages)
{
    const char **texts = room_for_texts(messages);
    for (size_t i = 0; i < messages->count; i++)
        texts[i] = messages->items[i].payload;
    return count_repeated(texts, messages->count);
}
