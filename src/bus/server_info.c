#include "bus/server_info.h"

#include "base/clock.h"
#include "bus/json_scan.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_SIZE = 64 * 1024 };

int server_info_parse(struct server_info *info, const char *line, size_t size, struct error *err)
{
    char version[64];
    *info = (struct server_info){.major = 0};
    if (size < 5 || memcmp(line, "INFO ", 5) != 0)
        return error_set(err, "no NATS server: it does not begin with INFO");
    if (!json_scan_string(line + 5, size - 5, "version", version, sizeof(version)) ||
        sscanf(version, "%d.%d.%d", &info->major, &info->minor, &info->patch) != 3)
        return error_set(err, "the server's INFO holds no version");
    if (!json_scan_bool(line + 5, size - 5, "jetstream", &info->jetstream))
        info->jetstream = false;
    return 0;
}

/* Splits "scheme://user:password@host:port/" into host and port. */
static int split_url(const char *url, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *first = strstr(url, "://");
    first = first != NULL ? first + 3 : url;
    size_t size = strcspn(first, "/?#");
    for (const char *at; (at = memchr(first, '@', size)) != NULL;) {
        size -= (size_t)(at + 1 - first);
        first = at + 1;
    }
    const char *colon = memrchr(first, ':', size);
    const char *bracket = memrchr(first, ']', size);
    if (colon != NULL && bracket != NULL && colon < bracket)
        colon = NULL; /* a colon of an IPv6 address without a port */
    size_t name_size = colon != NULL ? (size_t)(colon - first) : size;
    int port_written = colon != NULL ? snprintf(port, port_size, "%.*s",
                                                (int)(first + size - colon - 1), colon + 1)
                                     : snprintf(port, port_size, "4222");
    if (name_size >= 2 && first[0] == '[' && first[name_size - 1] == ']') {
        first++;
        name_size -= 2;
    }
    if (name_size == 0 || name_size >= host_size || (size_t)port_written >= port_size)
        return -1;
    memcpy(host, first, name_size);
    host[name_size] = '\0';
    return 0;
}

/* Waits until the socket is ready for `events`. Returns false when the deadline has passed. */
static bool wait_for(int fd, short events, int64_t deadline_ns)
{
    for (;;) {
        int64_t left = deadline_ns - clock_monotonic_ns();
        if (left <= 0)
            return false;
        struct pollfd poller = {.fd = fd, .events = events};
        int ready = poll(&poller, 1, (int)(left / NS_PER_MS) + 1);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

static int connect_one(const struct addrinfo *address, int64_t deadline_ns)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    address->ai_protocol);
    if (fd < 0)
        return -1;
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, deadline_ns) &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_any(const char *host, const char *port, int64_t deadline_ns)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    if (getaddrinfo(host, port, &hints, &addresses) != 0)
        return -1;
    int fd = -1;
    for (struct addrinfo *at = addresses; at != NULL && fd < 0; at = at->ai_next)
        fd = connect_one(at, deadline_ns);
    freeaddrinfo(addresses);
    return fd;
}

/* Reads up to the first newline. Returns the line's size, or -1. */
static ssize_t read_line(int fd, char *line, size_t size, int64_t deadline_ns)
{
    size_t used = 0;
    while (used < size && wait_for(fd, POLLIN, deadline_ns)) {
        ssize_t got = recv(fd, line + used, size - used, 0);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            return -1;
        char *end = got > 0 ? memchr(line + used, '\n', (size_t)got) : NULL;
        if (end != NULL)
            return end - line;
        used += got > 0 ? (size_t)got : 0;
    }
    return -1;
}

int server_info_read(struct server_info *info, const char *url, int64_t timeout_ns,
                     struct error *err)
{
    char host[256], port[16], line[LINE_MAX_SIZE];
    int64_t deadline_ns = clock_monotonic_ns() + timeout_ns;
    *info = (struct server_info){.major = 0};
    if (split_url(url, host, sizeof(host), port, sizeof(port)) != 0)
        return error_set(err, "not a server's url");
    int fd = connect_any(host, port, deadline_ns);
    if (fd < 0)
        return error_set(err, "%s:%s: cannot connect", host, port);
    ssize_t size = read_line(fd, line, sizeof(line), deadline_ns);
    close(fd);
    if (size < 0)
        return error_set(err, "%s:%s: no INFO came", host, port);
    if (server_info_parse(info, line, (size_t)size, err) != 0)
        return error_prefix(err, "%s:%s", host, port);
    return 0;
}
