#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/*
 * The HTTP port of a running tidemill, as somebody meets it who means no good: it only answers, it
 * changes nothing, and whatever is done to it, messages flow on.
 */

enum {
    PATIENCE_MS = 15000,
    ANSWER_SIZE = 64 * 1024,
    MEGABYTE = 1024 * 1024,
    SLOW_CLIENTS = 150,
    MESSAGES = 2000
};

static const char *const paths[] = {"/metrics", "/healthz", "/readyz", "/status"};
enum { PATHS = sizeof(paths) / sizeof(paths[0]) };

static char answer[ANSWER_SIZE];

static struct process *start(struct harness *h)
{
    harness_write_file(h, "tidemill.lua",
                       "return { streams = { { name = 'in', subjects = { 'in.>' } },\n"
                       "                     { name = 'out', subjects = { 'out' } } },\n"
                       "  sources = { { stream = 'in', durable = 'd' } } }");
    harness_write_file(h, "rules/a.lua",
                       "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                       "  mill.publish('out', msg.raw)\n"
                       "end }");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static int port_of(struct harness *h, struct process *mill)
{
    int port = 0;
    const char *at = strstr(harness_log(mill), " at 127.0.0.1:");
    if (at == NULL || sscanf(at, " at 127.0.0.1:%d", &port) != 1)
        harness_fail(h, "no HTTP address in: %s", harness_log(mill));
    return port;
}

/* A connection from one address of this machine to another; -1 when there is none. */
static int dial(const char *from, const char *to, int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
    inet_pton(AF_INET, from, &here.sin_addr);
    inet_pton(AF_INET, to, &there.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (fd >= 0 && bind(fd, (struct sockaddr *)&here, sizeof(here)) == 0 &&
        connect(fd, (struct sockaddr *)&there, sizeof(there)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends as much as is taken, then reads up to the end: the status, 0 for none. */
static int exchange(int port, const char *request, size_t size)
{
    int status = 0;
    size_t used = 0;
    int fd = dial("127.0.0.1", "127.0.0.1", port);
    assert_true(fd >= 0);
    for (ssize_t sent; size > 0; request += sent, size -= (size_t)sent) {
        sent = send(fd, request, size, MSG_NOSIGNAL);
        if (sent <= 0)
            break; /* it has heard enough */
    }
    for (ssize_t got; used < sizeof(answer) - 1; used += (size_t)got) {
        got = recv(fd, answer + used, sizeof(answer) - 1 - used, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("no end of the answer within %d s", PATIENCE_MS / 1000);
        if (got <= 0)
            break;
    }
    answer[used] = '\0';
    close(fd);
    return sscanf(answer, "HTTP/1.%*d %d", &status) == 1 ? status : 0;
}

static int ask(int port, const char *method, const char *path)
{
    char request[512];
    int size =
        snprintf(request, sizeof(request),
                 "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
                 method, path);
    return exchange(port, request, (size_t)size);
}

static void see_messages_through(struct harness *h)
{
    uint64_t before = harness_count(h, "out");
    harness_feed(h, "in.a", before, MESSAGES, "#");
    harness_wait_count(h, "out", before + MESSAGES, PATIENCE_MS);
}

static void test_no_method_changes_anything(struct harness *h)
{
    static const char *const methods[] = {"POST",    "PUT",   "DELETE", "PATCH",
                                          "OPTIONS", "TRACE", "PURGE",  "get"};
    struct process *mill = start(h);
    int port = port_of(h, mill);
    for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]); m++) {
        for (size_t p = 0; p < PATHS; p++) {
            int status = ask(port, methods[m], paths[p]);
            if (status != 405 || strstr(answer, "\r\nAllow: GET, HEAD\r\n") == NULL)
                harness_fail(h, "%s %s gives %d: %s", methods[m], paths[p], status, answer);
        }
    }
    assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
    see_messages_through(h);
    harness_stop(mill, PATIENCE_MS);
}

static void test_there_are_four_paths_and_no_other(struct harness *h)
{
    static const char *const others[] = {
        "/",         "/reload",        "/stop",    "/rules",        "/../etc/passwd", "/metrics/",
        "//metrics", "/%2e%2e/status", "/METRICS", "/quitquitquit", "/debug/pprof/",  "*"};
    struct process *mill = start(h);
    int port = port_of(h, mill);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(ask(port, "GET", others[i]), 404);
        assert_int_equal(ask(port, "POST", others[i]), 404);
    }
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_browser_is_answered(struct harness *h)
{
    static const char request[] =
        "GET /status HTTP/1.1\r\nHost: 127.0.0.1:9180\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br\r\n"
        "Cookie: session=0123456789abcdef; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\n"
        "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nConnection: close\r\n\r\n";
    struct process *mill = start(h);
    assert_int_equal(exchange(port_of(h, mill), request, strlen(request)), 200);
    assert_non_null(strstr(answer, "\r\nContent-Type: application/json\r\n"));
    assert_null(strstr(answer, "Set-Cookie"));
    assert_null(
        strstr(answer, "Access-Control-Allow-Origin")); /* pages of others may not read it */
    harness_stop(mill, PATIENCE_MS);
}

/* Either an error of the client's, or no answer at all. */
static void expect_refused(struct harness *h, int port, const char *what, const char *request,
                           size_t size)
{
    int status = exchange(port, request, size);
    if (status != 0 && (status < 400 || status >= 500) && status != 501 && status != 505)
        harness_fail(h, "%s gives %d", what, status);
}

static void test_garbage_is_refused(struct harness *h)
{
    static const char *const requests[] = {
        "\r\n\r\n\r\n\r\n GET\r\n\r\n",
        "GET\r\n\r\n",
        "GET /status\r\n\r\n",
        "GET /status HTTP/9.9\r\n\r\n",
        "PUT /status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "PUT /status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "PUT /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        "GET /\x01\x02\xff HTTP/1.1\r\n: \r\n\r\n",
    };
    struct process *mill = start(h);
    int port = port_of(h, mill);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        int fd = dial("127.0.0.1", "127.0.0.1", port);
        assert_true(fd >= 0);
        send(fd, requests[i], strlen(requests[i]), MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        char text[1024] = "";
        recv(fd, text, sizeof(text) - 1, 0);
        close(fd);
        if (strstr(text, " 200 ") != NULL)
            harness_fail(h, "request %zu gives %s", i + 1, text);
    }
    assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
    see_messages_through(h);
    harness_stop(mill, PATIENCE_MS);
}

/* 0: not told. */
static long resident_kb(struct process *mill)
{
    const char *body;
    assert_int_equal(harness_http(mill, "/metrics", &body), 200);
    const char *at = strstr(body, "\nprocess_resident_memory_bytes ");
    return at != NULL ? (long)(strtod(at + strlen("\nprocess_resident_memory_bytes "), NULL) / 1024)
                      : 0;
}

static void test_a_request_of_a_megabyte_is_not_kept(struct harness *h)
{
    struct process *mill = start(h);
    int port = port_of(h, mill);
    char *request = malloc(MEGABYTE);
    assert_non_null(request);
    long before_kb = resident_kb(mill);
    assert_true(before_kb > 0);
    memset(request, 'a', MEGABYTE);
    memcpy(request, "GET /", 5);
    expect_refused(h, port, "a request line of a megabyte", request, MEGABYTE);
    static const char header[] = "GET /status HTTP/1.1\r\nHost: x\r\nX: ";
    memcpy(request, header, strlen(header));
    expect_refused(h, port, "a header of a megabyte", request, MEGABYTE);
    static const char body[] = "POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
                               "Connection: close\r\n\r\n";
    memcpy(request, body, strlen(body));
    expect_refused(h, port, "a body of a megabyte", request, strlen(body) + 1000000);
    free(request);
    if (resident_kb(mill) > before_kb + 4096)
        harness_fail(h, "memory has grown from %ld to %ld KiB", before_kb, resident_kb(mill));
    harness_stop(mill, PATIENCE_MS);
}

/* Clients from an address of their own that send a byte now and then, and never come to an end. */
static void test_slow_clients_hold_up_neither_messages_nor_the_others(struct harness *h)
{
    static const char beginning[] = "GET /status HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    struct process *mill = start(h);
    int port = port_of(h, mill), slow[SLOW_CLIENTS];
    for (size_t i = 0; i < SLOW_CLIENTS; i++) {
        slow[i] = dial("127.0.0.2", "127.0.0.1", port);
        if (slow[i] >= 0)
            send(slow[i], beginning, strlen(beginning), MSG_NOSIGNAL);
    }
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < SLOW_CLIENTS; i++) {
            if (slow[i] >= 0)
                send(slow[i], "a", 1, MSG_NOSIGNAL);
        }
        int64_t began_ns = clock_monotonic_ns();
        assert_int_equal(harness_http(mill, "/readyz", NULL), 200);
        assert_true(clock_monotonic_ns() - began_ns < 3 * NS_PER_S);
        see_messages_through(h);
    }
    for (size_t i = 0; i < SLOW_CLIENTS; i++)
        close(slow[i]);
    harness_stop(mill, PATIENCE_MS);
}

static void test_it_ends_though_clients_hang_on(struct harness *h)
{
    struct process *mill = start(h);
    int port = port_of(h, mill), held[8];
    for (size_t i = 0; i < 8; i++) {
        held[i] = dial("127.0.0.1", "127.0.0.1", port);
        assert_true(held[i] >= 0);
        send(held[i], "GET /sta", 8, MSG_NOSIGNAL);
    }
    int64_t began_ns = clock_monotonic_ns();
    harness_stop(mill, PATIENCE_MS);
    assert_true(clock_monotonic_ns() - began_ns < 5 * NS_PER_S);
    for (size_t i = 0; i < 8; i++)
        close(held[i]);
}

static void test_a_loopback_address_is_reached_by_no_other(struct harness *h)
{
    struct process *mill = start(h);
    int port = port_of(h, mill);
    int fd = dial("127.0.0.1", "127.0.0.2", port); /* as another interface would be */
    assert_int_equal(fd, -1);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_no_method_changes_anything),
        harness_test(test_there_are_four_paths_and_no_other),
        harness_test(test_a_browser_is_answered),
        harness_test(test_garbage_is_refused),
        harness_test(test_a_request_of_a_megabyte_is_not_kept),
        harness_test(test_slow_clients_hold_up_neither_messages_nor_the_others),
        harness_test(test_it_ends_though_clients_hang_on),
        harness_test(test_a_loopback_address_is_reached_by_no_other),
    };
    return cmocka_run_group_tests_name("http_port", tests, NULL, NULL);
}
