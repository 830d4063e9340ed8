#include "bus/library.h"

#include <nats/nats.h>
#include <openssl/crypto.h>
#include <sched.h>

enum { CLOSE_WAIT_MS = 2000 };

int library_open(struct error *err)
{
    struct sched_param none = {.sched_priority = 0};
    sched_setscheduler(0, SCHED_BATCH, &none); /* an optimisation: a refusal changes nothing else */
    natsStatus s = nats_Open(-1);
    sched_setscheduler(0, SCHED_OTHER, &none);
    if (s != NATS_OK)
        return error_set(err, "cannot open the NATS library: %s", natsStatus_GetText(s));
    return 0;
}

void library_close(void)
{
    nats_CloseAndWait(CLOSE_WAIT_MS);
}

void library_leave_thread(void)
{
    nats_ReleaseThreadMemory();
    OPENSSL_thread_stop();
}
