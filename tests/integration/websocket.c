#include "websocket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    TEXT_MAX = 1 << 16,
    SENT_MAX = 1 << 12,
    HEAD_MAX = 4096,
    FINAL_BINARY = 0x82,
    MASKED = 0x80,
    OPCODE = 0x0f,
    OPCODE_CLOSE = 8,
    MASK_SIZE = 4
};

struct websocket {
    int fd;
    size_t size;
    char text[TEXT_MAX]; /* the payloads that have come in, one after the other */
};

/* The key of the RFC's example and its answer: a server that computes it has understood. */
static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char accepted[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/* Each receive ends at about the deadline. */
static void bound(int fd, int64_t deadline_ns)
{
    int64_t left = deadline_ns - clock_monotonic_ns();
    if (left < NS_PER_MS)
        left = NS_PER_MS;
    struct timeval limit = {.tv_sec = left / NS_PER_S, .tv_usec = left % NS_PER_S / NS_PER_US};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

/* Exactly `size` bytes, or false. */
static bool read_bytes(int fd, void *bytes, size_t size, int64_t deadline_ns)
{
    size_t done = 0;
    while (done < size) {
        bound(fd, deadline_ns);
        ssize_t got = recv(fd, (char *)bytes + done, size - done, 0);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* The answer's head, byte by byte: frames follow it at once. */
static bool read_head(int fd, char *head, int64_t deadline_ns)
{
    size_t size = 0;
    head[0] = '\0';
    while (size < HEAD_MAX - 1 && strstr(head, "\r\n\r\n") == NULL) {
        if (!read_bytes(fd, head + size, 1, deadline_ns))
            return false;
        head[++size] = '\0';
    }
    return true;
}

static int upgrade(int fd, int port, const char *origin, int *status, int64_t deadline_ns,
                   struct error *err)
{
    char request[1024], origin_line[256] = "", head[HEAD_MAX];
    if (origin != NULL)
        snprintf(origin_line, sizeof(origin_line), "Origin: %s\r\n", origin);
    int size = snprintf(request, sizeof(request),
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\n%sSec-WebSocket-Key: %s\r\n"
                        "Sec-WebSocket-Version: 13\r\n\r\n",
                        port, origin_line, key);
    if (send(fd, request, (size_t)size, MSG_NOSIGNAL) != size ||
        !read_head(fd, head, deadline_ns) || sscanf(head, "HTTP/%*s %d", status) != 1)
        return error_set(err, "no answer to the upgrade");
    if (*status != 101 || strstr(head, accepted) == NULL)
        return error_set(err, "no upgrade: %.*s", (int)strcspn(head, "\r"), head);
    return 0;
}

int websocket_open(struct websocket **result, int port, const char *origin, int *status,
                   int64_t deadline_ns, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *status = 0;
    struct websocket *ws = calloc(1, sizeof(*ws));
    if (ws == NULL)
        return error_set(err, "out of memory");
    ws->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (ws->fd < 0 || connect(ws->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        error_set(err, "port %d: %s", port, strerror(errno));
    } else if (upgrade(ws->fd, port, origin, status, deadline_ns, err) == 0) {
        *result = ws;
        return 0;
    }
    websocket_close(ws);
    return -1;
}

void websocket_close(struct websocket *ws)
{
    if (ws == NULL)
        return;
    if (ws->fd >= 0)
        close(ws->fd);
    free(ws);
}

int websocket_send(struct websocket *ws, const char *text, struct error *err)
{
    unsigned char frame[SENT_MAX + 16], mask[MASK_SIZE];
    size_t length = strlen(text), size = 0;
    if (length > SENT_MAX)
        return error_set(err, "a frame of %zu bytes is more than this client makes", length);
    if (getrandom(mask, sizeof(mask), 0) != sizeof(mask))
        return error_set(err, "no random bytes for the mask");
    frame[size++] = FINAL_BINARY;
    if (length < 126) {
        frame[size++] = (unsigned char)(MASKED | length);
    } else {
        frame[size++] = MASKED | 126;
        frame[size++] = (unsigned char)(length >> 8);
        frame[size++] = (unsigned char)length;
    }
    memcpy(frame + size, mask, sizeof(mask));
    size += sizeof(mask);
    for (size_t i = 0; i < length; i++)
        frame[size++] = (unsigned char)text[i] ^ mask[i % MASK_SIZE];
    if (send(ws->fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size)
        return error_set(err, "cannot send: %s", strerror(errno));
    return 0;
}

/* One frame of the server, which does not mask, onto the text; false at its end or the deadline. */
static bool read_frame(struct websocket *ws, int64_t deadline_ns)
{
    unsigned char head[2], length_bytes[8];
    if (!read_bytes(ws->fd, head, sizeof(head), deadline_ns))
        return false;
    uint64_t length = head[1];
    size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (!read_bytes(ws->fd, length_bytes, more, deadline_ns))
        return false;
    if (more > 0)
        length = 0;
    for (size_t i = 0; i < more; i++)
        length = length << 8 | length_bytes[i];
    if (length >= sizeof(ws->text) - ws->size)
        return false;
    if (!read_bytes(ws->fd, ws->text + ws->size, (size_t)length, deadline_ns))
        return false;
    ws->size += (size_t)length;
    ws->text[ws->size] = '\0';
    return (head[0] & OPCODE) != OPCODE_CLOSE;
}

bool websocket_wait(struct websocket *ws, const char *text, int64_t deadline_ns)
{
    while (strstr(ws->text, text) == NULL) {
        if (!read_frame(ws, deadline_ns))
            return strstr(ws->text, text) != NULL;
    }
    return true;
}

const char *websocket_text(const struct websocket *ws)
{
    return ws->text;
}
