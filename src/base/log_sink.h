#ifndef TIDEMILL_BASE_LOG_SINK_H
#define TIDEMILL_BASE_LOG_SINK_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Where the logger's lines go: whole and in order, without waiting. What a pipe, socket or terminal
 * does not take at once, because nobody reads at its other end, is kept in a buffer and written
 * with a later line or by sink_flush. When the buffer is full, lines are left out and counted. So a
 * reader that has stopped costs lines, never a worker's time.
 *
 * The lock is held for copying and for writes that poll(2) has said do not wait. Private to the
 * logger. Any thread; before sink_open it is standard error.
 */

enum { SINK_BUFFER = 256 * 1024 };

struct log_sink {
    pthread_mutex_t lock;
    FILE *stream; /* NULL: standard error */
    size_t piece; /* what one write may have without waiting when poll says "yes" */
    atomic_ullong lost;
    size_t kept;
    char buffer[SINK_BUFFER];
};

#define LOG_SINK_INITIALIZER                                                                       \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .piece = PIPE_BUF                                       \
    }

/* Forgets what is kept. */
void sink_open(struct log_sink *sink, FILE *stream);

void sink_write(struct log_sink *sink, const char *line, size_t size);

/* Writes what is kept, waiting for a reader up to `wait_ns` in all (0: not at all). */
void sink_flush(struct log_sink *sink, int64_t wait_ns);

/* How many lines were left out, once there is room again; they are told then. Else 0. */
unsigned long long sink_take_lost(struct log_sink *sink);

#endif
