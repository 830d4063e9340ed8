#include "loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { PORT_FIRST = 12000, PORT_COUNT = 20000, PORT_TRIES = 100, ANSWER_MAX = 8 << 20 };

static struct sockaddr_in address_of(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int loopback_free_port(void)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        uint16_t chance = 0;
        if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance))
            break;
        int port = PORT_FIRST + chance % PORT_COUNT, on = 1;
        struct sockaddr_in address = address_of(port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            break;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        bool available = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
        if (available)
            return port;
    }
    return -1;
}

/* Each send and receive on the socket ends at about the deadline. */
static void bound(int fd, int64_t deadline_ns)
{
    int64_t left = deadline_ns - clock_monotonic_ns();
    if (left < NS_PER_MS)
        left = NS_PER_MS;
    struct timeval limit = {.tv_sec = left / NS_PER_S, .tv_usec = left % NS_PER_S / NS_PER_US};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int dial(int port, int64_t deadline_ns)
{
    struct sockaddr_in address = address_of(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bound(fd, deadline_ns);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

bool loopback_greets(int port, int64_t deadline_ns)
{
    char greeting[5];
    int fd = dial(port, deadline_ns);
    if (fd < 0)
        return false;
    ssize_t got = recv(fd, greeting, sizeof(greeting), MSG_WAITALL);
    close(fd);
    return got == sizeof(greeting) && memcmp(greeting, "INFO ", sizeof(greeting)) == 0;
}

/* Reads up to the end of the stream; false when it does not come in time. */
static bool read_all(int fd, char *text, size_t capacity, int64_t deadline_ns)
{
    size_t size = 0;
    while (size < capacity - 1) {
        bound(fd, deadline_ns);
        ssize_t got = recv(fd, text + size, capacity - 1 - size, 0);
        if (got < 0)
            return false;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    text[size] = '\0';
    return true;
}

int loopback_get(int port, const char *path, char **body, int64_t deadline_ns)
{
    int status = 0;
    char request[512];
    *body = NULL;
    int fd = dial(port, deadline_ns);
    if (fd < 0)
        return 0;
    int size = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
    char *answer = malloc(ANSWER_MAX);
    if (answer != NULL && send(fd, request, (size_t)size, MSG_NOSIGNAL) == size &&
        read_all(fd, answer, ANSWER_MAX, deadline_ns) &&
        sscanf(answer, "HTTP/%*s %d", &status) == 1) {
        const char *blank = strstr(answer, "\r\n\r\n");
        *body = blank != NULL ? strdup(blank + 4) : NULL;
    }
    free(answer);
    close(fd);
    return status;
}
