#include "bus/inbox.h"

#include "base/clock.h"
#include "bus/closed_gate.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct inbox {
    char subject[128];
    natsSubscription *subscription;
    struct closed_gate gate;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t arrived;
    natsMsg **ring;
    size_t size, first, count;
};

/* With the lock. Doubles the ring; false when there is no memory. */
static bool grow(struct inbox *inbox)
{
    size_t size = inbox->size > 0 ? inbox->size * 2 : 256;
    natsMsg **ring = calloc(size, sizeof(natsMsg *));
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < inbox->count; i++)
        ring[i] = inbox->ring[(inbox->first + i) % inbox->size];
    free((void *)inbox->ring);
    inbox->ring = ring;
    inbox->size = size;
    inbox->first = 0;
    return true;
}

/* On libnats' thread. A message for which there is no memory is lost, and its request late. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *context)
{
    struct inbox *inbox = context;
    (void)connection;
    (void)subscription;
    pthread_mutex_lock(&inbox->lock);
    if (inbox->count < inbox->size || grow(inbox)) {
        inbox->ring[(inbox->first + inbox->count++) % inbox->size] = message;
        message = NULL;
        pthread_cond_signal(&inbox->arrived);
    }
    pthread_mutex_unlock(&inbox->lock);
    natsMsg_Destroy(message);
}

static natsStatus subscribe(struct inbox *inbox, natsConnection *connection)
{
    natsInbox *subject = NULL;
    char pattern[sizeof(inbox->subject) + 2];
    natsStatus s = natsInbox_Create(&subject);
    if (s == NATS_OK) {
        snprintf(inbox->subject, sizeof(inbox->subject), "%s", subject);
        snprintf(pattern, sizeof(pattern), "%s.*", inbox->subject);
        s = natsConnection_Subscribe(&inbox->subscription, connection, pattern, on_message, inbox);
    }
    natsInbox_Destroy(subject);
    if (s != NATS_OK)
        return s;
    closed_gate_opened(&inbox->gate);
    s = natsSubscription_SetOnCompleteCB(inbox->subscription, closed_gate_on_complete,
                                         &inbox->gate);
    if (s != NATS_OK)
        closed_gate_on_complete(&inbox->gate);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(inbox->subscription, -1, -1);
    return s;
}

int inbox_open(struct inbox **inbox, natsConnection *connection, struct error *err)
{
    *inbox = NULL;
    struct inbox *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "out of memory");
    closed_gate_init(&opened->gate);
    pthread_mutex_init(&opened->lock, NULL);
    clock_condition_init(&opened->arrived);
    natsStatus s = subscribe(opened, connection);
    if (s != NATS_OK) {
        inbox_close(opened);
        return error_set(err, "cannot subscribe: %s", natsStatus_GetText(s));
    }
    *inbox = opened;
    return 0;
}

void inbox_close(struct inbox *inbox)
{
    if (inbox == NULL)
        return;
    natsSubscription_Destroy(inbox->subscription);
    if (!closed_gate_wait(&inbox->gate))
        return; /* rather a leak than a callback into freed memory */
    for (size_t i = 0; i < inbox->count; i++)
        natsMsg_Destroy(inbox->ring[(inbox->first + i) % inbox->size]);
    free((void *)inbox->ring);
    pthread_cond_destroy(&inbox->arrived);
    pthread_mutex_destroy(&inbox->lock);
    free(inbox);
}

const char *inbox_subject(const struct inbox *inbox)
{
    return inbox->subject;
}

natsMsg *inbox_next(struct inbox *inbox, int64_t deadline_ns)
{
    natsMsg *message = NULL;
    pthread_mutex_lock(&inbox->lock);
    while (inbox->count == 0 && deadline_ns > 0)
        if (!clock_condition_wait(&inbox->arrived, &inbox->lock, deadline_ns))
            break;
    if (inbox->count > 0) {
        message = inbox->ring[inbox->first];
        inbox->first = (inbox->first + 1) % inbox->size;
        inbox->count--;
    }
    pthread_mutex_unlock(&inbox->lock);
    return message;
}
