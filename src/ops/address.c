#include "ops/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { BACKLOG = 32, PORT_MAX = 65535 };

/* The part before the port's colon, and its size; NULL when the text has no such form. */
static const char *split_host(const char *text, size_t *size, const char **port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return NULL;
    *port = colon + 1;
    *size = (size_t)(colon - text);
    bool bracketed = text[0] == '[' && *size >= 2 && colon[-1] == ']';
    if (bracketed) {
        *size -= 2;
        return text + 1;
    }
    /* Without brackets the last colon of an IPv6 address would look like the port's. */
    return memchr(text, ':', *size) == NULL && memchr(text, '[', *size) == NULL ? text : NULL;
}

int address_parse(struct address *address, const char *text, struct error *err)
{
    size_t size = 0;
    const char *port = NULL, *host = split_host(text, &size, &port);
    if (host == NULL || size >= sizeof(address->host))
        return error_set(err,
                         "\"%s\" is no address; one looks like \"127.0.0.1:9180\", "
                         "\"[::1]:9180\" or \":9180\"",
                         text);
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits > 5 || port[digits] != '\0' || atoi(port) > PORT_MAX)
        return error_set(err, "\"%s\": the port must be a number from 0 to %d", text, PORT_MAX);
    memcpy(address->host, host, size);
    address->host[size] = '\0';
    address->port = atoi(port);
    return 0;
}

/* How the address is written in messages. */
static const char *show(const struct address *address, char text[ADDRESS_HOST_MAX + 16])
{
    bool brackets = strchr(address->host, ':') != NULL;
    snprintf(text, ADDRESS_HOST_MAX + 16, brackets ? "[%s]:%d" : "%s:%d", address->host,
             address->port);
    return text;
}

static struct addrinfo *resolve(const struct address *address, int family, int flags,
                                struct error *err)
{
    char port[8], text[ADDRESS_HOST_MAX + 16];
    struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    snprintf(port, sizeof(port), "%d", address->port);
    int fault = getaddrinfo(address->host[0] != '\0' ? address->host : NULL, port, &hints, &found);
    if (fault == 0)
        return found;
    error_set(err, "%s: %s", show(address, text), gai_strerror(fault));
    return NULL;
}

/* One try; -1 with errno. */
static int listen_on(const struct addrinfo *where)
{
    int on = 1, off = 0;
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (where->ai_family == AF_INET6) /* "every interface" means IPv4 too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int fault = errno;
    close(fd);
    errno = fault;
    return -1;
}

static int bound_port(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    char port[8] = "";
    if (getsockname(fd, (struct sockaddr *)&name, &size) == 0)
        getnameinfo((struct sockaddr *)&name, size, NULL, 0, port, sizeof(port), NI_NUMERICSERV);
    return atoi(port);
}

int address_listen(struct address *address, struct error *err)
{
    char text[ADDRESS_HOST_MAX + 16];
    bool everywhere = address->host[0] == '\0';
    struct addrinfo *found = resolve(address, everywhere ? AF_INET6 : AF_UNSPEC, AI_PASSIVE, err);
    int fd = found != NULL ? listen_on(found) : -1;
    int fault = errno;
    if (everywhere && fd < 0 && (found == NULL || fault != EADDRINUSE)) {
        /* A machine without IPv6. */
        if (found != NULL)
            freeaddrinfo(found);
        found = resolve(address, AF_INET, AI_PASSIVE, err);
        fd = found != NULL ? listen_on(found) : -1;
        fault = errno;
    }
    if (found == NULL)
        return -1;
    freeaddrinfo(found);
    if (fd < 0 && fault == EADDRINUSE)
        return error_set(err, "%s: the port is in use by another process; choose another one",
                         show(address, text));
    if (fd < 0)
        return error_set(err, "cannot listen on %s: %s", show(address, text), strerror(fault));
    address->port = bound_port(fd);
    return fd;
}

/* One try; -1 with errno. */
static int connect_to(const struct addrinfo *where, int64_t deadline_ns)
{
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int fault = connect(fd, where->ai_addr, where->ai_addrlen) == 0 ? 0 : errno;
    if (fault == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        int64_t left = (deadline_ns - clock_monotonic_ns()) / NS_PER_MS;
        socklen_t size = sizeof(fault);
        if (poll(&wait, 1, left > 0 ? (int)left : 0) <= 0)
            fault = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size);
    }
    if (fault == 0)
        return fd;
    close(fd);
    errno = fault;
    return -1;
}

int address_connect(const struct address *address, int64_t deadline_ns, struct error *err)
{
    char text[ADDRESS_HOST_MAX + 16];
    struct addrinfo *found = resolve(address, AF_UNSPEC, 0, err);
    if (found == NULL)
        return -1;
    int fd = -1;
    for (struct addrinfo *where = found; fd < 0 && where != NULL; where = where->ai_next)
        fd = connect_to(where, deadline_ns);
    int fault = errno;
    freeaddrinfo(found);
    if (fd < 0)
        return error_set(err, "cannot connect to %s: %s", show(address, text), strerror(fault));
    return fd;
}
