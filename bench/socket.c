#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { IN_SIZE = 1 << 20, OUT_SIZE = 256 << 10, REQUEST_SID = 1000000 };

static const int64_t PATIENCE_NS = 30 * NS_PER_S; /* of barriers and requests */

struct socket {
    int fd;
    char inbox[32];
    char *in; /* what was read: [parsed, read) is still to be parsed */
    size_t in_room, parsed, read;
    char *out;
    size_t out_room, out_size;
    uint64_t pongs;
    uint64_t requests;
    bool answers; /* subscribed to the answers of requests */
    bool stamps;  /* the kernel says when something arrived */
    int64_t arrived_ns;
};

/* --- what goes out --- */

char *socket_room(struct socket *socket, size_t size)
{
    while (socket->out_room - socket->out_size < size) {
        socket->out_room *= 2;
        socket->out = realloc(socket->out, socket->out_room);
        if (socket->out == NULL)
            abort();
    }
    return socket->out + socket->out_size;
}

void socket_put(struct socket *socket, size_t size)
{
    socket->out_size += size;
}

void socket_printf(struct socket *socket, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    va_start(arguments, format);
    vsnprintf(socket_room(socket, (size_t)size + 1), (size_t)size + 1, format, arguments);
    va_end(arguments);
    socket_put(socket, (size_t)size);
}

void socket_publish(struct socket *socket, const char *subject, const char *reply,
                    const void *payload, size_t size)
{
    socket_printf(socket, "PUB %s%s%s %zu\r\n", subject, reply != NULL ? " " : "",
                  reply != NULL ? reply : "", size);
    memcpy(socket_room(socket, size + 2), payload, size);
    socket_put(socket, size);
    socket_printf(socket, "\r\n");
}

int socket_flush(struct socket *socket, struct error *err)
{
    size_t sent = 0;
    while (sent < socket->out_size) {
        ssize_t size = send(socket->fd, socket->out + sent, socket->out_size - sent, MSG_NOSIGNAL);
        if (size < 0 && errno != EINTR)
            return error_set(err, "writing to the server: %s", strerror(errno));
        sent += size > 0 ? (size_t)size : 0;
    }
    socket->out_size = 0;
    return 0;
}

/* --- what comes in --- */

/* Moves the rest to the front, and makes room when it fills the buffer. */
static void make_room(struct socket *socket)
{
    size_t rest = socket->read - socket->parsed;
    if (rest > 0 && socket->parsed > 0)
        memmove(socket->in, socket->in + socket->parsed, rest);
    socket->parsed = 0;
    socket->read = rest;
    if (socket->in_room - rest < IN_SIZE / 2) {
        socket->in_room *= 2;
        socket->in = realloc(socket->in, socket->in_room);
        if (socket->in == NULL)
            abort();
    }
}

/* 1 when there is something to read, 0 at the deadline. */
static int wait_readable(const struct socket *socket, int64_t deadline_ns)
{
    struct pollfd readable = {.fd = socket->fd, .events = POLLIN};
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    if (left_ns < 0)
        left_ns = 0;
    struct timespec left = {.tv_sec = left_ns / NS_PER_S, .tv_nsec = left_ns % NS_PER_S};
    return ppoll(&readable, 1, &left, NULL) > 0;
}

int socket_stamp(struct socket *socket, struct error *err)
{
    int on = 1;
    socket->stamps = true;
    if (setsockopt(socket->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0)
        return error_set(err, "SO_TIMESTAMPNS: %s", strerror(errno));
    return 0;
}

int64_t socket_arrived_ns(const struct socket *socket)
{
    return socket->arrived_ns;
}

/* Of several segments read at once the kernel gives the time of the last one. */
static ssize_t receive_stamped(struct socket *socket)
{
    char control[128];
    struct timespec stamp;
    struct iovec room = {.iov_base = socket->in + socket->read,
                         .iov_len = socket->in_room - socket->read};
    struct msghdr head = {.msg_iov = &room,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof(control)};
    ssize_t size = recvmsg(socket->fd, &head, 0);
    socket->arrived_ns = clock_wall_ns();
    for (struct cmsghdr *part = size > 0 ? CMSG_FIRSTHDR(&head) : NULL; part != NULL;
         part = CMSG_NXTHDR(&head, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            memcpy(&stamp, CMSG_DATA(part), sizeof(stamp));
            socket->arrived_ns = stamp.tv_sec * NS_PER_S + stamp.tv_nsec;
        }
    return size;
}

static ssize_t receive(struct socket *socket)
{
    if (socket->stamps)
        return receive_stamped(socket);
    return recv(socket->fd, socket->in + socket->read, socket->in_room - socket->read, 0);
}

int socket_read(struct socket *socket, int64_t deadline_ns, struct error *err)
{
    make_room(socket);
    for (;;) {
        if (deadline_ns >= 0 && !wait_readable(socket, deadline_ns))
            return 0;
        ssize_t size = receive(socket);
        if (size > 0) {
            socket->read += (size_t)size;
            return 1;
        }
        if (size == 0)
            return error_set(err, "the server has closed the connection");
        if (errno != EINTR)
            return error_set(err, "reading from the server: %s", strerror(errno));
    }
}

/* The word that begins at `*at`, which moves behind it; NUL-terminates it. `end` is the CR. */
static char *take_word(char **at, char *end, size_t *size)
{
    char *word = *at;
    char *stop = memchr(word, ' ', (size_t)(end - word));
    if (stop == NULL)
        stop = end;
    *size = (size_t)(stop - word);
    *at = stop < end ? stop + 1 : end;
    *stop = '\0';
    return word;
}

static size_t to_number(const char *digits)
{
    size_t number = 0;
    while (*digits >= '0' && *digits <= '9')
        number = number * 10 + (size_t)(*digits++ - '0');
    return number;
}

/*
 * "MSG subject sid [reply] size" and "HMSG subject sid [reply] headers size", from behind the verb
 * to the CR. `line_size` is that of the whole line. Changes nothing unless the payload is there.
 */
static int parse_message(struct socket *socket, char *at, char *end, size_t line_size,
                         struct socket_message *message)
{
    size_t size = 0;
    char *last = end;
    while (last[-1] != ' ')
        last--;
    message->payload_size = to_number(last);
    size = line_size + message->payload_size + 2;
    if (socket->read - socket->parsed < size)
        return 0;
    message->payload = end + 2;
    message->subject = take_word(&at, end, &message->subject_size);
    message->sid = (int)to_number(take_word(&at, end, &size));
    if (message->headers) { /* the size of the headers is a word more */
        last--;
        while (last[-1] != ' ' && last[-1] != '\0')
            last--;
    }
    message->reply = "";
    message->reply_size = 0;
    if (at < last)
        message->reply = take_word(&at, end, &message->reply_size);
    socket->parsed += line_size + message->payload_size + 2;
    return 1;
}

int socket_next(struct socket *socket, struct socket_message *message, struct error *err)
{
    while (socket->parsed < socket->read) {
        char *line = socket->in + socket->parsed;
        char *line_end = memchr(line, '\n', socket->read - socket->parsed);
        if (line_end == NULL)
            return 0;
        size_t line_size = (size_t)(line_end - line) + 1;
        message->headers = line[0] == 'H';
        if (line[0] == 'M' || line[0] == 'H')
            return parse_message(socket, line + (message->headers ? 5 : 4), line_end - 1, line_size,
                                 message);
        socket->parsed += line_size;
        if (memcmp(line, "PI", 2) == 0)
            socket_printf(socket, "PONG\r\n");
        else if (memcmp(line, "PO", 2) == 0)
            socket->pongs++;
        else if (line[0] == '-')
            return error_set(err, "the server says: %.*s", (int)line_size - 2, line);
    }
    return 0;
}

/* --- questions --- */

int socket_barrier(struct socket *socket, struct error *err)
{
    uint64_t before = socket->pongs;
    int64_t deadline_ns = clock_monotonic_ns() + PATIENCE_NS;
    socket_printf(socket, "PING\r\n");
    if (socket_flush(socket, err) != 0)
        return -1;
    while (socket->pongs == before) {
        struct socket_message message;
        int status = socket_read(socket, deadline_ns, err);
        if (status == 0)
            return error_set(err, "the server does not answer a PING");
        while (status > 0)
            status = socket_next(socket, &message, err);
        if (status < 0)
            return -1;
    }
    return 0;
}

int socket_request(struct socket *socket, const char *subject, const char *payload, char *answer,
                   size_t size, struct error *err)
{
    char reply[64];
    int64_t deadline_ns = clock_monotonic_ns() + PATIENCE_NS;
    if (!socket->answers)
        socket_printf(socket, "SUB %s.R.* %d\r\n", socket->inbox, REQUEST_SID);
    socket->answers = true;
    snprintf(reply, sizeof(reply), "%s.R.%" PRIu64, socket->inbox, ++socket->requests);
    socket_publish(socket, subject, reply, payload, strlen(payload));
    if (socket_flush(socket, err) != 0)
        return -1;
    for (;;) {
        struct socket_message message;
        int status = socket_read(socket, deadline_ns, err);
        if (status == 0)
            return error_set(err, "no answer to %s", subject);
        while (status > 0 && (status = socket_next(socket, &message, err)) > 0)
            if (message.sid == REQUEST_SID && strcmp(message.subject, reply) == 0) {
                size_t copied = message.payload_size < size ? message.payload_size : size - 1;
                memcpy(answer, message.payload, copied);
                answer[copied] = '\0';
                return 0;
            }
        if (status < 0)
            return -1;
    }
}

/* --- opening and closing --- */

static int connect_to(struct socket *socket_, const char *url, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    unsigned port = 0;
    if (sscanf(url, "nats://%63[0-9.]:%u", host, &port) != 2 || port > UINT16_MAX ||
        inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return error_set(err, "%s: not nats://ADDRESS:PORT", url);
    address.sin_port = htons((uint16_t)port);
    socket_->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (socket_->fd < 0 ||
        connect(socket_->fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return error_set(err, "%s: %s", url, strerror(errno));
    int on = 1;
    if (setsockopt(socket_->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return error_set(err, "TCP_NODELAY: %s", strerror(errno));
    return 0;
}

int socket_open(struct socket **out, const char *url, struct error *err)
{
    struct socket *socket = calloc(1, sizeof(*socket));
    *out = NULL;
    if (socket == NULL)
        return error_set(err, "out of memory");
    socket->fd = -1;
    socket->in_room = IN_SIZE;
    socket->out_room = OUT_SIZE;
    socket->in = malloc(socket->in_room);
    socket->out = malloc(socket->out_room);
    snprintf(socket->inbox, sizeof(socket->inbox), "_INBOX.%08x%08x", (unsigned)getpid(),
             (unsigned)(clock_wall_ns() / NS_PER_US));
    if (socket->in == NULL || socket->out == NULL) {
        socket_close(socket);
        return error_set(err, "out of memory");
    }
    if (connect_to(socket, url, err) != 0) {
        socket_close(socket);
        return -1;
    }
    socket_printf(socket, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
                          "\"no_responders\":true,\"name\":\"bench\",\"lang\":\"c\"}\r\n");
    if (socket_barrier(socket, err) != 0) {
        socket_close(socket);
        return -1;
    }
    *out = socket;
    return 0;
}

void socket_close(struct socket *socket)
{
    if (socket == NULL)
        return;
    if (socket->fd >= 0)
        close(socket->fd);
    free(socket->in);
    free(socket->out);
    free(socket);
}

int socket_descriptor(const struct socket *socket)
{
    return socket->fd;
}

const char *socket_inbox(const struct socket *socket)
{
    return socket->inbox;
}
