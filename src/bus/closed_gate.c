#include "bus/closed_gate.h"

#include "base/clock.h"

static const int64_t PATIENCE_NS = 5 * NS_PER_S;

void closed_gate_init(struct closed_gate *gate)
{
    clock_condition_init(&gate->changed);
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
    int64_t deadline_ns = clock_monotonic_ns() + PATIENCE_NS;
    pthread_mutex_lock(&gate->lock);
    bool in_time = true;
    while (gate->open > 0 && in_time)
        in_time = clock_condition_wait(&gate->changed, &gate->lock, deadline_ns);
    pthread_mutex_unlock(&gate->lock);
    if (!in_time)
        return false;
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->lock);
    return true;
}
