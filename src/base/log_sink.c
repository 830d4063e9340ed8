#include "base/log_sink.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void sink_open(struct log_sink *sink, FILE *stream)
{
    struct stat status;
    pthread_mutex_lock(&sink->lock);
    sink->stream = stream;
    sink->kept = 0;
    sink->lost = 0;
    int fd = fileno(stream != NULL ? stream : stderr);
    /* A pipe that can be written takes PIPE_BUF bytes at least; a file takes what it is given, and
     * whole lines, which other processes may add to, stay whole in one write. */
    bool is_file = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    sink->piece = is_file ? SINK_BUFFER : PIPE_BUF;
    pthread_mutex_unlock(&sink->lock);
}

/* Whether a write would not wait; waits for that up to `wait_ns`. */
static bool is_ready(int fd, int64_t wait_ns)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    /* An error counts as ready: the write will say what it is. */
    return poll(&poll_fd, 1, (int)(wait_ns / NS_PER_MS)) > 0;
}

/* Writes as much as goes without waiting longer than until `deadline_ns`: how much. What can never
 * be written (a closed descriptor, a full disk) counts as written. */
static size_t write_ready(struct log_sink *sink, const char *text, size_t size, int64_t deadline_ns)
{
    FILE *stream = sink->stream != NULL ? sink->stream : stderr;
    int fd = fileno(stream);
    size_t done = 0;
    if (fd < 0) { /* memory */
        fwrite(text, 1, size, stream);
        fflush(stream);
        return size;
    }
    while (done < size) {
        int64_t wait_ns = deadline_ns > 0 ? deadline_ns - clock_monotonic_ns() : 0;
        if (!is_ready(fd, wait_ns > 0 ? wait_ns : 0))
            return done;
        size_t piece = size - done < sink->piece ? size - done : sink->piece;
        ssize_t written = write(fd, text + done, piece);
        if (written > 0)
            done += (size_t)written;
        else if (written < 0 && errno == EAGAIN)
            return done;
        else if (written < 0 && errno != EINTR)
            return size;
    }
    return done;
}

static void write_kept(struct log_sink *sink, int64_t deadline_ns)
{
    if (sink->kept == 0)
        return;
    size_t done = write_ready(sink, sink->buffer, sink->kept, deadline_ns);
    sink->kept -= done;
    memmove(sink->buffer, sink->buffer + done, sink->kept);
}

void sink_write(struct log_sink *sink, const char *line, size_t size)
{
    pthread_mutex_lock(&sink->lock);
    write_kept(sink, 0);
    size_t done = sink->kept == 0 ? write_ready(sink, line, size, 0) : 0;
    if (size - done > SINK_BUFFER - sink->kept) {
        atomic_fetch_add(&sink->lost, 1);
    } else {
        memcpy(sink->buffer + sink->kept, line + done, size - done);
        sink->kept += size - done;
    }
    pthread_mutex_unlock(&sink->lock);
}

void sink_flush(struct log_sink *sink, int64_t wait_ns)
{
    pthread_mutex_lock(&sink->lock);
    write_kept(sink, wait_ns > 0 ? clock_monotonic_ns() + wait_ns : 0);
    pthread_mutex_unlock(&sink->lock);
}

unsigned long long sink_take_lost(struct log_sink *sink)
{
    unsigned long long lost = 0;
    if (atomic_load_explicit(&sink->lost, memory_order_relaxed) == 0)
        return 0;
    pthread_mutex_lock(&sink->lock);
    write_kept(sink, 0);
    if (sink->kept <= SINK_BUFFER / 2)
        lost = atomic_exchange(&sink->lost, 0);
    pthread_mutex_unlock(&sink->lock);
    return lost;
}
