#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "ops/address.h"
#include "ops/http.h"
#include "ops/metrics.h"

struct fixture {
    struct health *health;
    struct http *http;
    char answer[65536]; /* of the last request */
    const char *body;
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    struct error err = {""};
    if (f == NULL || health_open(&f->health, "0.1.0", &err) != 0 ||
        http_open(&f->http, "127.0.0.1:0", f->health, &err) != 0) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    http_close(f->http);
    health_close(f->health);
    metrics_close();
    free(f);
    return 0;
}

/* Sends text as it is and reads until the server closes. Returns the status, 0 for none. */
static int send_raw(struct fixture *f, int fd, const char *request)
{
    size_t size = strlen(request), used = 0;
    struct timeval limit = {.tv_sec = 10};
    int status = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(send(fd, request, size, MSG_NOSIGNAL), size);
    ssize_t got;
    while ((got = recv(fd, f->answer + used, sizeof(f->answer) - 1 - used, 0)) > 0)
        used += (size_t)got;
    f->answer[used] = '\0';
    close(fd);
    f->body = strstr(f->answer, "\r\n\r\n");
    f->body = f->body != NULL ? f->body + 4 : "";
    return sscanf(f->answer, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static int dial(const struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_port(f->http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int ask(struct fixture *f, const char *method, const char *path)
{
    char request[256];
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             method, path);
    return send_raw(f, dial(f), request);
}

static void assert_has_header(const struct fixture *f, const char *line)
{
    char wanted[256];
    snprintf(wanted, sizeof(wanted), "\r\n%s\r\n", line);
    if (strstr(f->answer, wanted) == NULL)
        fail_msg("no header %s in %s", line, f->answer);
}

static void test_metrics_are_prometheus_text(void **state)
{
    struct fixture *f = *state;
    metric_gauge_set(metric_gauge(metrics_gauge("depth", "D.", NULL, NULL), NULL), 3);
    assert_int_equal(ask(f, "GET", "/metrics"), 200);
    assert_has_header(f, "Content-Type: text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(f->body, "# HELP depth D.\n# TYPE depth gauge\ndepth 3\n");
}

static void test_healthz_is_ok_even_when_not_ready(void **state)
{
    struct fixture *f = *state;
    health_failed(f->health, "connected", "no");
    assert_int_equal(ask(f, "GET", "/healthz"), 200);
    assert_string_equal(f->body, "ok\n");
}

static void test_readyz_is_200_when_ready(void **state)
{
    struct fixture *f = *state;
    health_ok(f->health, "connected");
    assert_int_equal(ask(f, "GET", "/readyz"), 200);
    assert_has_header(f, "Content-Type: text/plain; charset=utf-8");
    assert_has_header(f, "Cache-Control: no-store");
    assert_string_equal(f->body, "ready\n");
}

static void test_readyz_is_503_with_the_reasons(void **state)
{
    struct fixture *f = *state;
    health_failed(f->health, "connected", "connecting");
    health_failed(f->health, "rules", "none");
    assert_int_equal(ask(f, "GET", "/readyz"), 503);
    assert_string_equal(f->body, "connected: connecting\nrules: none\n");
}

static void test_status_is_json(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET", "/status"), 200);
    assert_has_header(f, "Content-Type: application/json");
    assert_ptr_equal(strstr(f->body, "{\"version\":\"0.1.0\""), f->body);
}

static void test_head_has_the_size_and_no_body(void **state)
{
    struct fixture *f = *state;
    health_ok(f->health, "connected");
    assert_int_equal(ask(f, "HEAD", "/readyz"), 200);
    assert_has_header(f, "Content-Length: 6");
    assert_string_equal(f->body, "");
}

static void test_a_query_changes_nothing(void **state)
{
    assert_int_equal(ask(*state, "GET", "/healthz?verbose=1"), 200);
}

static void test_another_path_is_404(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET", "/"), 404);
    assert_non_null(strstr(f->body, "/metrics"));
    assert_int_equal(ask(f, "GET", "/metrics/"), 404);
    assert_int_equal(ask(f, "GET", "/metricsx"), 404);
    assert_int_equal(ask(f, "POST", "/nothing"), 404);
}

static void test_another_method_is_405(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "POST", "/metrics"), 405);
    assert_has_header(f, "Allow: GET, HEAD");
    assert_int_equal(ask(f, "DELETE", "/healthz"), 405);
}

static void test_a_body_that_nobody_wants_is_405(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(send_raw(f, dial(f),
                              "POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                              "Connection: close\r\n\r\nhello"),
                     405);
}

static void test_nonsense_does_not_stop_the_server(void **state)
{
    struct fixture *f = *state;
    int status = send_raw(f, dial(f), "\x01\x02 nonsense\r\n\r\n");
    assert_true(status == 0 || status >= 400);
    assert_int_equal(ask(f, "GET", "/healthz"), 200);
}

static void test_an_idle_connection_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    int idle = dial(f);
    assert_int_equal(ask(f, "GET", "/healthz"), 200);
    close(idle);
}

static void test_a_port_in_use_is_said(void **state)
{
    struct fixture *f = *state;
    struct http *second = NULL;
    struct error err;
    char listen[32];
    snprintf(listen, sizeof(listen), "127.0.0.1:%d", http_port(f->http));
    assert_int_equal(http_open(&second, listen, f->health, &err), -1);
    assert_non_null(strstr(err.text, listen));
    assert_non_null(strstr(err.text, "in use"));
}

static void test_a_bad_address_is_said(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "",         "9180",      "127.0.0.1",  "127.0.0.1:",   "host:http", "127.0.0.1:65536",
        "::1:9180", "[::1:9180", "1.2.3.4:-1", "1.2.3.4:9180 "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http *http = NULL;
        struct error err = {""};
        assert_int_equal(http_open(&http, bad[i], f->health, &err), -1);
        if (strstr(err.text, bad[i]) == NULL || strstr(err.text, "http.listen: ") != err.text)
            fail_msg("\"%s\" gives: %s", bad[i], err.text);
    }
}

static void test_addresses_are_read(void **state)
{
    (void)state;
    struct address address;
    assert_int_equal(address_parse(&address, "[::1]:9180", NULL), 0);
    assert_string_equal(address.host, "::1");
    assert_int_equal(address.port, 9180);
    assert_int_equal(address_parse(&address, ":0", NULL), 0);
    assert_string_equal(address.host, "");
    assert_int_equal(address_parse(&address, "localhost:65535", NULL), 0);
    assert_string_equal(address.host, "localhost");
    assert_int_equal(address.port, 65535);
}

static void test_no_host_is_every_interface(void **state)
{
    struct fixture *f = *state;
    http_close(f->http);
    f->http = NULL;
    assert_int_equal(http_open(&f->http, ":0", f->health, NULL), 0);
    assert_int_not_equal(http_port(f->http), 0);
    assert_int_equal(ask(f, "GET", "/healthz"), 200); /* over IPv4 */
}

static void test_a_client_reaches_it_by_the_same_address(void **state)
{
    struct fixture *f = *state;
    struct address address;
    char text[32];
    snprintf(text, sizeof(text), ":%d", http_port(f->http));
    assert_int_equal(address_parse(&address, text, NULL), 0);
    int fd = address_connect(&address, clock_monotonic_ns() + 5 * NS_PER_S, NULL);
    assert_true(fd >= 0);
    close(fd);
}

static void test_nobody_listening_is_said(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct address address = {.host = "127.0.0.1", .port = http_port(f->http)};
    http_close(f->http);
    f->http = NULL;
    int64_t deadline = clock_monotonic_ns() + 5 * NS_PER_S;
    assert_int_equal(address_connect(&address, deadline, &err), -1);
    assert_non_null(strstr(err.text, "cannot connect to 127.0.0.1:"));
    assert_non_null(strstr(err.text, "refused"));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(test_metrics_are_prometheus_text),
        TEST(test_healthz_is_ok_even_when_not_ready),
        TEST(test_readyz_is_200_when_ready),
        TEST(test_readyz_is_503_with_the_reasons),
        TEST(test_status_is_json),
        TEST(test_head_has_the_size_and_no_body),
        TEST(test_a_query_changes_nothing),
        TEST(test_another_path_is_404),
        TEST(test_another_method_is_405),
        TEST(test_a_body_that_nobody_wants_is_405),
        TEST(test_nonsense_does_not_stop_the_server),
        TEST(test_an_idle_connection_holds_up_nobody),
        TEST(test_a_port_in_use_is_said),
        TEST(test_a_bad_address_is_said),
        TEST(test_addresses_are_read),
        TEST(test_no_host_is_every_interface),
        TEST(test_a_client_reaches_it_by_the_same_address),
        TEST(test_nobody_listening_is_said),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
