#include "bus/line.h"

#include <nats/adapters/libuv.h>
#include <stdlib.h>

enum {
    READS_MAX = 10000, /* of what is left in a socket */
    IO_SIZE = 64 << 10 /* of one read; the server writes up to so much at once (its maxBufSize) */
};

struct line {
    natsConnection *connection;
    natsLibuvEvents *events; /* the adapter's, as long as it is connected */
    uv_loop_t *loop;
    struct closed_gate *gate;
    line_closed *on_closed;
    void *context;
    struct line *next; /* in the owner's list */
};

/* libnats calls this on the loop's thread, as it connects there. */
static natsStatus attach(void **events, void *context, natsConnection *connection, natsSock socket)
{
    struct line *line = context;
    natsStatus s = natsLibuv_Attach(events, line->loop, connection, socket);
    line->events = s == NATS_OK ? *events : NULL;
    return s;
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct line *line = closure;
    struct closed_gate *gate = line->gate; /* the line may be freed once it has been told */
    const char *text = NULL;
    bool known = natsConnection_GetLastError(connection, &text) != NATS_OK && text != NULL;
    line->on_closed(line->context, line, known ? text : "");
    closed_gate_on_closed(connection, gate);
}

static natsStatus set_options(struct line *line, natsOptions *options)
{
    natsStatus s = natsOptions_SetEventLoop(options, line, attach, natsLibuv_Read, natsLibuv_Write,
                                            natsLibuv_Detach);
    if (s == NATS_OK)
        s = natsOptions_SetIOBufSize(options, IO_SIZE);
    if (s == NATS_OK) /* in loop mode: no flusher thread */
        s = natsOptions_SetSendAsap(options, true);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(options, false);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(options, on_closed, line);
    return s;
}

natsStatus line_open(struct line **out, natsOptions *options, uv_loop_t *loop,
                     struct closed_gate *gate, line_closed *closed, void *context)
{
    struct line *line = calloc(1, sizeof(*line));
    *out = NULL;
    if (line == NULL)
        return NATS_NO_MEMORY;
    line->loop = loop;
    line->gate = gate;
    line->on_closed = closed;
    line->context = context;
    natsLibuv_Init();
    natsLibuv_SetThreadLocalLoop(loop);
    natsStatus s = set_options(line, options);
    if (s == NATS_OK) {
        closed_gate_opened(gate); /* before the first callback, which may be the last */
        s = natsConnection_Connect(&line->connection, options);
        if (s != NATS_OK)
            closed_gate_on_complete(gate); /* one that failed calls nothing */
    }
    if (s != NATS_OK) {
        free(line);
        return s;
    }
    *out = line;
    return NATS_OK;
}

/*
 * On the loop's thread alone: libnats closes the socket here and now, and on another thread it
 * could do so between libuv's being told to watch it and libuv's doing so, which aborts. What is
 * still unwritten goes first, since for that the close would wait half a second, for a PONG that
 * only this loop can read.
 */
void line_close(struct line *line)
{
    if (line == NULL)
        return;
    if (line_buffered(line) > 0)
        natsConnection_ProcessWriteEvent(line->connection);
    natsConnection_Close(line->connection);
    line->events = NULL;
}

void line_free(struct line *line)
{
    if (line == NULL)
        return;
    natsConnection_Destroy(line->connection);
    free(line);
}

natsConnection *line_connection(const struct line *line)
{
    return line != NULL ? line->connection : NULL;
}

bool line_connected(const struct line *line)
{
    return line != NULL && natsConnection_Status(line->connection) == NATS_CONN_STATUS_CONNECTED;
}

size_t line_buffered(const struct line *line)
{
    int buffered = line != NULL ? natsConnection_Buffered(line->connection) : 0;
    return buffered > 0 ? (size_t)buffered : 0;
}

/*
 * When a socket reports an error, libuv stops watching it, and libnats' adapter reads once more and
 * leaves it at that: what is still to be read, the end included, would never be met.
 */
void line_read_rest(struct line *line)
{
    for (int i = 0; i < READS_MAX && line_connected(line) && line->events != NULL &&
                    !uv_is_active((uv_handle_t *)line->events->handle);
         i++)
        natsConnection_ProcessReadEvent(line->connection);
}

void line_push(struct line **list, struct line *line)
{
    line->next = *list;
    *list = line;
}

struct line *line_pop(struct line **list)
{
    struct line *line = *list;
    if (line != NULL)
        *list = line->next;
    return line;
}
