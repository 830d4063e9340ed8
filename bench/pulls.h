#ifndef TIDEMILL_BENCH_PULLS_H
#define TIDEMILL_BENCH_PULLS_H

#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "socket.h"

/*
 * Pull requests that overlap: several are open, and the server answers them one after the other, so
 * that with each batch received one is used up and the next is sent. What is sent is made once.
 */

enum { PULLS_SID = 1 };

struct pulls {
    struct socket *socket;
    char request[512]; /* a whole PUB */
    size_t request_size;
    uint64_t batch;
    uint64_t received;
    uint64_t used; /* requests used up */
};

/* Subscribes and sends the first requests; the messages come with PULLS_SID. */
void pulls_open(struct pulls *pulls, struct socket *socket, const struct options *options);

/* Counts a message; sends the next request when one is used up. */
static inline void pulls_count(struct pulls *pulls)
{
    if (++pulls->received < (pulls->used + 1) * pulls->batch)
        return;
    pulls->used++;
    char *room = socket_room(pulls->socket, pulls->request_size);
    __builtin_memcpy(room, pulls->request, pulls->request_size);
    socket_put(pulls->socket, pulls->request_size);
}

#endif
