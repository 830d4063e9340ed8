#ifndef TIDEMILL_BUS_LINE_H
#define TIDEMILL_BUS_LINE_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "bus/closed_gate.h"

/*
 * A line: one NATS connection on a libuv loop, from its beginning to its end; it does not connect
 * again. A link has two. Private to bus/link.c.
 *
 * A line that was opened ends in one way only, whoever closes it: on_closed is told, and after that
 * the owner frees it. So its address names it as long as anything of it may still be on its way.
 *
 * Threads: the loop's, but for on_closed.
 */

struct line;

/* On a thread of libnats'. `why` is "" when nothing is known. */
typedef void line_closed(void *context, struct line *line, const char *why);

/*
 * Connects (blocks) with these options, whose event loop and closed callback it sets; counts in
 * `gate` until its last callback is over. `loop` is the calling thread's. On failure `*line` is
 * NULL and nothing is called back.
 */
natsStatus line_open(struct line **line, natsOptions *options, uv_loop_t *loop,
                     struct closed_gate *gate, line_closed *on_closed, void *context);

/* Writes what is still unwritten, as far as that goes, and closes. on_closed follows. */
void line_close(struct line *line); /* NULL is fine, in all of these */
void line_free(struct line *line);  /* after on_closed */

/* NULL when there is none. */
natsConnection *line_connection(const struct line *line);

bool line_connected(const struct line *line);
size_t line_buffered(const struct line *line); /* bytes written and not yet taken by the socket */

/* Call before each poll of the loop: reads to its end what the adapter has stopped watching. */
void line_read_rest(struct line *line);

/* A list of lines that have closed, the owner's; a line is in one at most. NULL: empty. */
void line_push(struct line **list, struct line *line);
struct line *line_pop(struct line **list);

#endif
