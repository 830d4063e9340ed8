#include "bus/closed_gate.h"

#include <time.h>

enum { PATIENCE_S = 5 };

void closed_gate_init(struct closed_gate *gate)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&gate->lock, NULL);
    gate->open = 0;
}

void closed_gate_opened(struct closed_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open++;
    pthread_mutex_unlock(&gate->lock);
}

void closed_gate_on_complete(void *context)
{
    struct closed_gate *gate = context;
    pthread_mutex_lock(&gate->lock);
    if (gate->open > 0)
        gate->open--;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void closed_gate_on_closed(natsConnection *connection, void *gate)
{
    (void)connection;
    closed_gate_on_complete(gate);
}

bool closed_gate_wait(struct closed_gate *gate)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&gate->lock);
    int waited = 0;
    while (gate->open > 0 && waited == 0)
        waited = pthread_cond_timedwait(&gate->changed, &gate->lock, &end);
    pthread_mutex_unlock(&gate->lock);
    if (waited != 0)
        return false;
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
    return true;
}
