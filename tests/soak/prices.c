#include "prices.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>

#include "traffic.h"

struct prices {
    natsConnection *nats;
    natsSubscription *questions;
};

static void answer(natsConnection *nats, natsSubscription *subscription, natsMsg *question,
                   void *context)
{
    (void)subscription, (void)context;
    char text[256];
    snprintf(text, sizeof(text), "%.*s", natsMsg_GetDataLength(question),
             natsMsg_GetData(question));
    /* A failure is a missing answer: the rule asks again. */
    if (natsMsg_GetReply(question) != NULL && !traffic_ignored(text))
        natsConnection_PublishString(nats, natsMsg_GetReply(question), "{\"price\":12.5}");
    natsMsg_Destroy(question);
}

/* libnats prints what nobody handles. */
static void ignore_fault(natsConnection *nats, natsSubscription *subscription, natsStatus status,
                         void *context)
{
    (void)nats, (void)subscription, (void)status, (void)context;
}

struct prices *prices_open(const char *url)
{
    natsOptions *options = NULL;
    struct prices *prices = calloc(1, sizeof(*prices));
    if (prices == NULL)
        return NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(options, url);
    if (s == NATS_OK)
        s = natsOptions_SetName(options, "prices");
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(options, -1);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectWait(options, 100);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, ignore_fault, NULL);
    if (s == NATS_OK)
        s = natsConnection_Connect(&prices->nats, options);
    if (s == NATS_OK)
        s = natsConnection_Subscribe(&prices->questions, prices->nats, "prices.get", answer, NULL);
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        return prices;
    prices_close(prices);
    return NULL;
}

void prices_close(struct prices *prices)
{
    if (prices == NULL)
        return;
    natsSubscription_Destroy(prices->questions);
    natsConnection_Destroy(prices->nats);
    free(prices);
}
