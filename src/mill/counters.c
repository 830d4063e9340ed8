#include "mill/counters.h"

#include "base/clock.h"

enum { US = 1000 };
#define MS NS_PER_MS
#define S  NS_PER_S

/* A handler mostly takes microseconds; one that waits for a reply, seconds. */
const struct histogram_bounds duration_bounds = {
    {10 * US, 25 * US, 50 * US, 100 * US, 250 * US, 500 * US, 1 * MS, 5 * MS / 2, 5 * MS, 10 * MS,
     25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S, 5 * S / 2, 5 * S, 10 * S}};

/* A PubAck takes a tenth of a millisecond at least; with all tries, a minute. */
const struct histogram_bounds publish_ack_bounds = {
    {100 * US, 250 * US, 500 * US, 1 * MS, 5 * MS / 2, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS,
     250 * MS, 500 * MS, 1 * S, 5 * S / 2, 5 * S, 10 * S, 25 * S, 50 * S, 100 * S}};

/* What has waited in a stream for somebody to come may be hours old. */
const struct histogram_bounds latency_bounds = {
    {500 * US, 1 * MS, 5 * MS / 2, 5 * MS, 10 * MS, 25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS,
     1 * S, 5 * S / 2, 5 * S, 10 * S, 30 * S, 60 * S, 300 * S, 900 * S, 3600 * S}};
