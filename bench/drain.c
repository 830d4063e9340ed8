/*
 * drain: pulls messages and acknowledges each, nothing else. As much as the server can do: with
 * explicit acks, or, with --cumulative, one ack for all that came in one read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "options.h"
#include "pulls.h"
#include "socket.h"

/* An empty payload is an ack too, and the shortest. */
static void ack(struct socket *socket, const char *reply, size_t size)
{
    static const char tail[] = " 0\r\n\r\n";
    char *room = socket_room(socket, size + 16);
    memcpy(room, "PUB ", 4);
    memcpy(room + 4, reply, size);
    memcpy(room + 4 + size, tail, sizeof(tail) - 1);
    socket_put(socket, size + 4 + sizeof(tail) - 1);
}

/* One round: all that is there is acknowledged with one write. */
static int drain_once(struct socket *socket, struct pulls *pulls, bool cumulative,
                      struct error *err)
{
    struct socket_message message;
    struct socket_message last = {.reply_size = 0};
    int status;
    if (socket_read(socket, -1, err) < 0)
        return -1;
    while ((status = socket_next(socket, &message, err)) > 0) {
        if (message.headers)
            return error_set(err, "the server ends a pull: %.*s", (int)message.payload_size,
                             message.payload);
        if (cumulative)
            last = message;
        else
            ack(socket, message.reply, message.reply_size);
        pulls_count(pulls);
    }
    if (status == 0 && last.reply_size > 0)
        ack(socket, last.reply, last.reply_size);
    return status < 0 ? -1 : socket_flush(socket, err);
}

int main(int argc, char **argv)
{
    struct options options;
    struct socket *socket = NULL;
    struct pulls pulls;
    struct error err;
    if (options_read(&options, argc, argv) != 0)
        return 2;
    if (socket_open(&socket, options.url, &err) != 0)
        return options_fail("drain", err.text);
    int64_t began_ns = clock_monotonic_ns();
    pulls_open(&pulls, socket, &options);
    int status = socket_flush(socket, &err);
    while (status == 0 && (options.count == 0 || pulls.received < options.count))
        status = drain_once(socket, &pulls, options.cumulative, &err);
    if (status == 0)
        status = socket_barrier(socket, &err);
    if (status == 0)
        options_report(&options, "drain", pulls.received, 0, clock_monotonic_ns() - began_ns);
    socket_close(socket);
    return status == 0 ? 0 : options_fail("drain", err.text);
}
