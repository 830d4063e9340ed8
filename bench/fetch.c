/*
 * fetch: what a C programmer would write first. libnats' own natsSubscription_Fetch, alerts by
 * js_PublishMsgAsync, a JSON library, and a reading is acknowledged when its alert is stored. With
 * --bare the fields are picked by hand, so it shows what libnats alone costs.
 *
 * With --batch 1, for latency, what is published is also written at once (SetSendAsap): libnats
 * would otherwise gather writes for a millisecond, and Fetch, which waits until it has all it asked
 * for, would make less than a thousand calls per second.
 *
 * natsSubscription_Fetch before libnats 3.9 writes behind its list when more messages wait than are
 * asked for. They can't here: every call asks for the same number, and one call's request is over
 * before the next is made.
 */
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "document.h"
#include "options.h"
#include "reading.h"

enum { SLOTS = 1 << 16, ALERT_SIZE = 512, FETCH_TIMEOUT_MS = 1000, FLUSH_TIMEOUT_MS = 30000 };

struct fetch {
    struct options options;
    natsConnection *nats;
    jsCtx *js;
    natsSubscription *subscription;
    natsMsg *waiting[SLOTS]; /* readings whose alert is not stored yet, by sequence */
    atomic_ulong settled, failed;
    uint64_t received, alerts;
};

/* On a thread of libnats': the alert is stored, or it is not. The message id tells which it is. */
static void on_puback(jsCtx *js, natsMsg *alert, jsPubAck *stored, jsPubAckErr *fault,
                      void *closure)
{
    struct fetch *fetch = closure;
    const char *id = NULL;
    (void)js;
    if (natsMsgHeader_Get(alert, "Nats-Msg-Id", &id) == NATS_OK && stored != NULL) {
        natsMsg **slot = &fetch->waiting[strtoul(id, NULL, 10) % SLOTS];
        natsMsg_Ack(*slot, NULL);
        natsMsg_Destroy(*slot);
        *slot = NULL;
        atomic_fetch_add(&fetch->settled, 1);
    } else {
        fprintf(stderr, "fetch: alert not stored: %s\n", fault != NULL ? fault->ErrText : "?");
        atomic_fetch_add(&fetch->failed, 1);
    }
    natsMsg_Destroy(alert);
}

/* Publishes the alert of a reading, which waits in its slot from then on. */
static natsStatus publish(struct fetch *fetch, const char *text, int size, natsMsg *message)
{
    char id[24];
    const char *digits;
    size_t digits_size = 0;
    natsMsg *alert = NULL;
    jsPubOptions options;
    uint64_t sequence = reading_sequence(natsMsg_GetReply(message), &digits, &digits_size);
    snprintf(id, sizeof(id), "%lu", (unsigned long)sequence);
    fetch->waiting[sequence % SLOTS] = message;
    natsStatus s = jsPubOptions_Init(&options);
    options.MsgId = id;
    if (s == NATS_OK)
        s = natsMsg_Create(&alert, "alerts.high", NULL, text, size);
    if (s == NATS_OK)
        s = js_PublishMsgAsync(fetch->js, &alert, &options);
    natsMsg_Destroy(alert);
    fetch->alerts++;
    return s;
}

/* document_alert without a JSON library. */
static int bare_alert(const char *payload, size_t size, double limit, char *alert, size_t room)
{
    struct reading reading;
    if (reading_find(&reading, payload, size) != 0)
        return -1;
    return reading.number > limit ? (int)reading_alert(&reading, limit, alert, room) : 0;
}

static natsStatus take(struct fetch *fetch, natsMsg *message)
{
    char alert[ALERT_SIZE];
    const struct options *options = &fetch->options;
    int size = (options->bare ? bare_alert : document_alert)(natsMsg_GetData(message),
                                                             (size_t)natsMsg_GetDataLength(message),
                                                             options->limit, alert, sizeof(alert));
    if (size < 0)
        return NATS_ERR;
    if (size > 0)
        return publish(fetch, alert, size, message);
    natsStatus s = natsMsg_Ack(message, NULL);
    natsMsg_Destroy(message);
    atomic_fetch_add(&fetch->settled, 1);
    return s;
}

static natsStatus fetch_once(struct fetch *fetch)
{
    natsMsgList list = {NULL, 0};
    natsStatus s = natsSubscription_Fetch(&list, fetch->subscription, fetch->options.batch,
                                          FETCH_TIMEOUT_MS, NULL);
    for (int i = 0; s == NATS_OK && i < list.Count; i++) {
        fetch->received++;
        s = take(fetch, list.Msgs[i]);
        list.Msgs[i] = NULL;
    }
    natsMsgList_Destroy(&list);
    return s == NATS_TIMEOUT || s == NATS_NOT_FOUND ? NATS_OK : s;
}

static natsStatus connect_to_server(struct fetch *fetch)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(options, fetch->options.url);
    if (s == NATS_OK && fetch->options.batch == 1)
        s = natsOptions_SetSendAsap(options, true);
    if (s == NATS_OK)
        s = natsConnection_Connect(&fetch->nats, options);
    natsOptions_Destroy(options);
    return s;
}

static natsStatus connect_and_bind(struct fetch *fetch)
{
    jsOptions options;
    jsSubOptions binding;
    natsStatus s = connect_to_server(fetch);
    if (s == NATS_OK)
        s = jsOptions_Init(&options);
    if (s == NATS_OK) {
        options.PublishAsync.AckHandler = on_puback;
        options.PublishAsync.AckHandlerClosure = fetch;
        s = natsConnection_JetStream(&fetch->js, fetch->nats, &options);
    }
    if (s == NATS_OK)
        s = jsSubOptions_Init(&binding);
    if (s == NATS_OK) {
        binding.Stream = fetch->options.stream;
        binding.Consumer = fetch->options.durable;
        s = js_PullSubscribe(&fetch->subscription, fetch->js, "", fetch->options.durable, NULL,
                             &binding, NULL);
    }
    return s;
}

/* Waits for the alerts that are under way. */
static natsStatus finish(struct fetch *fetch)
{
    jsPubOptions options;
    natsStatus s = jsPubOptions_Init(&options);
    options.MaxWait = FLUSH_TIMEOUT_MS;
    if (s == NATS_OK)
        s = js_PublishAsyncComplete(fetch->js, &options);
    while (s == NATS_OK && fetch->failed == 0 && fetch->settled < fetch->options.count)
        usleep(100); /* the last handler is still acknowledging */
    if (s == NATS_OK)
        s = natsConnection_FlushTimeout(fetch->nats, FLUSH_TIMEOUT_MS);
    return s;
}

int main(int argc, char **argv)
{
    static struct fetch fetch;
    if (options_read(&fetch.options, argc, argv) != 0)
        return 2;
    uint64_t count = fetch.options.count;
    natsStatus s = connect_and_bind(&fetch);
    int64_t began_ns = clock_monotonic_ns();
    while (s == NATS_OK && fetch.failed == 0 && (count == 0 || fetch.received < count))
        s = fetch_once(&fetch);
    if (s == NATS_OK && fetch.failed == 0)
        s = finish(&fetch);
    if (s == NATS_OK && fetch.failed == 0)
        options_report(&fetch.options, "fetch", fetch.settled, fetch.alerts,
                       clock_monotonic_ns() - began_ns);
    natsSubscription_Destroy(fetch.subscription);
    jsCtx_Destroy(fetch.js);
    natsConnection_Destroy(fetch.nats);
    if (s == NATS_OK && fetch.failed == 0)
        return 0;
    return options_fail("fetch", s == NATS_OK ? "an alert was not stored" : natsStatus_GetText(s));
}
