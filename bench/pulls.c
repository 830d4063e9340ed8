#include "pulls.h"

#include <stdio.h>
#include <string.h>

/* Longer than any run: a request that ends by itself would have to be understood. */
static const char expires[] = "600000000000";

void pulls_open(struct pulls *pulls, struct socket *socket, const struct options *options)
{
    char body[128];
    const char *inbox = socket_inbox(socket);
    snprintf(body, sizeof(body), "{\"batch\":%d,\"expires\":%s}", options->batch, expires);
    int size = snprintf(pulls->request, sizeof(pulls->request),
                        "PUB $JS.API.CONSUMER.MSG.NEXT.%s.%s %s.P %zu\r\n%s\r\n", options->stream,
                        options->durable, inbox, strlen(body), body);
    pulls->socket = socket;
    pulls->request_size = (size_t)size;
    pulls->batch = (uint64_t)options->batch;
    pulls->received = 0;
    pulls->used = 0;
    socket_printf(socket, "SUB %s.P %d\r\n", inbox, PULLS_SID);
    for (int i = 0; i < options->open; i++)
        socket_printf(socket, "%s", pulls->request);
}
