/* tidemill health: asks a running tidemill's /readyz, for container health checks and people. */

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "ops/address.h"

enum { ANSWER_MAX = 64 * 1024 };

static const int64_t patience_ns = 3 * NS_PER_S;
static const char *const standard_address = "127.0.0.1:9180";

/* Waits until the socket has something to read (or its end). */
static bool wait_readable(int fd, int64_t deadline_ns)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int64_t left = (deadline_ns - clock_monotonic_ns()) / NS_PER_MS;
    return left > 0 && poll(&wait, 1, (int)left) > 0;
}

/* Sends the request and reads to the end of the answer, or as much as there is room for. */
static int exchange(int fd, char *answer, size_t room, int64_t deadline_ns, struct error *err)
{
    static const char request[] = "GET /readyz HTTP/1.0\r\nHost: tidemill\r\n\r\n";
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != sizeof(request) - 1)
        return error_set(err, "cannot send the request");
    size_t size = 0;
    for (ssize_t got = 1; got > 0 && size < room - 1; size += (size_t)got) {
        if (!wait_readable(fd, deadline_ns))
            return error_set(err, "no answer within 3 s");
        got = recv(fd, answer + size, room - 1 - size, 0);
        if (got < 0)
            return error_set(err, "the connection broke before the answer");
    }
    answer[size] = '\0';
    return 0;
}

/*
 * The status of /readyz there, the body in `*body` (a place in `answer`); -1 when there is no
 * answer.
 */
static int ask(const struct address *address, char *answer, size_t room, const char **body,
               struct error *err)
{
    int64_t deadline = clock_monotonic_ns() + patience_ns;
    int status = 0;
    int fd = address_connect(address, deadline, err);
    if (fd < 0)
        return -1;
    int result = exchange(fd, answer, room, deadline, err);
    close(fd);
    if (result != 0)
        return -1;
    const char *blank = strstr(answer, "\r\n\r\n");
    if (sscanf(answer, "HTTP/%*s %d", &status) != 1 || blank == NULL)
        return error_set(err, "what answers is not tidemill");
    *body = blank + 4;
    return status;
}

static int run_health(int argc, char **argv)
{
    const char *text = getenv("TIDEMILL_HTTP"), *body = NULL;
    const struct flag flags[] = {{.name = "--http", .value = &text}};
    struct address address;
    struct error err;
    if (text == NULL)
        text = standard_address;
    int left = flags_read(&command_health, flags, 1, argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (left > 1)
        return flags_wrong_usage(&command_health, "unexpected argument %s", argv[1]);
    if (text[0] == '\0') {
        fputs("tidemill health: TIDEMILL_HTTP is empty, which switches HTTP off; "
              "there is nobody to ask\n",
              stderr);
        return EXIT_FAILED;
    }
    if (address_parse(&address, text, &err) != 0)
        return flags_wrong_usage(&command_health, "%s", err.text);

    static char answer[ANSWER_MAX];
    int status = ask(&address, answer, sizeof(answer), &body, &err);
    if (status == 200) {
        fputs(body, stdout);
        return EXIT_DONE;
    }
    if (status < 0)
        fprintf(stderr, "tidemill health: %s: %s\n", text, err.text);
    else if (status == 503)
        fputs(body, stderr);
    else
        fprintf(stderr, "tidemill health: %s: /readyz answers %d; is that tidemill?\n", text,
                status);
    return EXIT_FAILED;
}

const struct command command_health = {
    .name = "health",
    .usage = "health [--http ADDRESS]",
    .summary = "ask whether a running tidemill is ready: exit status 0 or 1",
    .run = run_health,
    .details =
        "Asks /readyz at ADDRESS, else at TIDEMILL_HTTP, else at 127.0.0.1:9180, for at most\n"
        "3 s, and prints what is not ready. For container health checks.\n",
};
