#ifndef TIDEMILL_BUS_CLOSED_GATE_H
#define TIDEMILL_BUS_CLOSED_GATE_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>

/*
 * libnats runs callbacks on threads of its own and, after a connection or subscription was
 * destroyed, may still be in one. Its last callback for each tells that nothing more comes; the
 * gate counts those, so that an owner can wait for them before it frees what the callbacks use.
 * Private to bus/. Any thread.
 */

struct closed_gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned open;
};

void closed_gate_init(struct closed_gate *gate);

/* One more connection or subscription is there that will call one of the two below at its end. */
void closed_gate_opened(struct closed_gate *gate);

/* For natsOptions_SetClosedCB; the closure is the gate. */
void closed_gate_on_closed(natsConnection *connection, void *gate);

/* For natsSubscription_SetOnCompleteCB; the closure is the gate. */
void closed_gate_on_complete(void *gate);

/*
 * Waits until all that were opened are at their end (some seconds at most), and ends the gate.
 * False: they are not, and a callback may yet come: leave alone what it uses, the gate included.
 */
bool closed_gate_wait(struct closed_gate *gate);

#endif
