/*
 * throttle: stands before a stream and makes it slow. What is published on alerts.* goes on to
 * stored.*, with its headers and the reply subject it came with, so many messages per second; so
 * whoever has published it gets the stream's own answer, late. Keeps in memory what has to wait.
 * SIGUSR1: from now on nothing has to.
 *
 *   throttle nats://ADDRESS:PORT RATE
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "socket.h"

enum { ALERTS_SID = 1, BURST = 1000 };

/* A message that waits: the whole of its publication. */
struct waiting {
    struct waiting *next;
    size_t size;
    char text[];
};

struct throttle {
    struct socket *socket;
    struct waiting *first, **last;
    int64_t step_ns;
    int64_t due_ns; /* when the first one may go on */
};

static volatile sig_atomic_t lifted;

static void lift(int signal)
{
    (void)signal;
    lifted = 1;
}

static size_t size_of_headers(const struct socket_message *message)
{
    static const char end[] = "\r\n\r\n";
    const char *found = message->headers
                            ? memmem(message->payload, message->payload_size, end, sizeof(end) - 1)
                            : NULL;
    return found == NULL ? 0 : (size_t)(found - message->payload) + sizeof(end) - 1;
}

static int keep(struct throttle *throttle, const struct socket_message *message, struct error *err)
{
    size_t headers = size_of_headers(message);
    size_t room = message->subject_size + message->reply_size + message->payload_size + 128;
    struct waiting *waiting = malloc(sizeof(*waiting) + room);
    const char *rest = strchr(message->subject, '.');
    char sizes[64];
    if (waiting == NULL)
        return error_set(err, "out of memory");
    if (message->headers)
        snprintf(sizes, sizeof(sizes), "%zu %zu", headers, message->payload_size);
    else
        snprintf(sizes, sizeof(sizes), "%zu", message->payload_size);
    size_t at = (size_t)snprintf(waiting->text, room, "%s stored%s %s %s\r\n",
                                 message->headers ? "HPUB" : "PUB", rest, message->reply, sizes);
    memcpy(waiting->text + at, message->payload, message->payload_size);
    memcpy(waiting->text + at + message->payload_size, "\r\n", 2);
    waiting->size = at + message->payload_size + 2;
    waiting->next = NULL;
    *throttle->last = waiting;
    throttle->last = &waiting->next;
    return 0;
}

static void let_first_go(struct throttle *throttle)
{
    struct waiting *first = throttle->first;
    memcpy(socket_room(throttle->socket, first->size), first->text, first->size);
    socket_put(throttle->socket, first->size);
    throttle->first = first->next;
    if (throttle->first == NULL)
        throttle->last = &throttle->first;
    free(first);
}

/* Those whose time has come. A time without any counts for nothing later. */
static int let_go(struct throttle *throttle, struct error *err)
{
    int64_t now_ns = clock_monotonic_ns();
    if (throttle->due_ns < now_ns - 10 * NS_PER_MS)
        throttle->due_ns = now_ns;
    for (int i = 0; i < BURST && throttle->first != NULL; i++) {
        if (!lifted && throttle->due_ns > now_ns)
            break;
        throttle->due_ns += throttle->step_ns;
        let_first_go(throttle);
    }
    return socket_flush(throttle->socket, err);
}

static int go_on(struct throttle *throttle, struct error *err)
{
    struct socket_message message;
    int64_t wait_ns = throttle->first == NULL ? -1 : lifted ? 0 : throttle->due_ns;
    int status = socket_read(throttle->socket, wait_ns, err);
    while (status > 0 && (status = socket_next(throttle->socket, &message, err)) > 0)
        if (keep(throttle, &message, err) != 0)
            return -1;
    return status < 0 ? -1 : let_go(throttle, err);
}

int main(int argc, char **argv)
{
    struct throttle throttle = {.socket = NULL};
    struct error err;
    long rate = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (rate < 1) {
        fputs("usage: throttle nats://ADDRESS:PORT RATE\n", stderr);
        return 2;
    }
    struct sigaction action = {.sa_handler = lift}; /* no SA_RESTART: it must end a wait */
    sigaction(SIGUSR1, &action, NULL);
    throttle.last = &throttle.first;
    throttle.step_ns = NS_PER_S / rate;
    int status = socket_open(&throttle.socket, argv[1], &err);
    if (status == 0) {
        socket_printf(throttle.socket, "SUB alerts.> %d\r\n", ALERTS_SID);
        status = socket_barrier(throttle.socket, &err);
    }
    if (status == 0) {
        puts("ready");
        fflush(stdout);
    }
    while (status == 0)
        status = go_on(&throttle, &err);
    fprintf(stderr, "throttle: %s\n", err.text);
    socket_close(throttle.socket);
    return 1;
}
