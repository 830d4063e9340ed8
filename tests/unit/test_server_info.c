#include "base/clock.h"
#include "bus/server_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_the_version_and_jetstream_are_read_from_info(void **state)
{
    (void)state;
    static const char line[] =
        "INFO {\"server_id\":\"N\",\"version\":\"2.10.27-RC.1\",\"jetstream\":true}\r";
    struct server_info info;
    struct error err;
    assert_int_equal(server_info_parse(&info, line, strlen(line), &err), 0);
    assert_int_equal(info.major, 2);
    assert_int_equal(info.minor, 10);
    assert_int_equal(info.patch, 27);
    assert_true(info.jetstream);
}

static void test_a_server_that_does_not_tell_of_jetstream_has_none(void **state)
{
    (void)state;
    static const char line[] = "INFO {\"version\":\"2.9.10\"}";
    struct server_info info;
    assert_int_equal(server_info_parse(&info, line, strlen(line), NULL), 0);
    assert_false(info.jetstream);
}

static void test_what_is_no_info_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"",
                                        "INFO",
                                        "HTTP/1.1 400 Bad Request",
                                        "INFO {}",
                                        "INFO {\"version\":\"new\"}",
                                        "INFO {\"version\":\"2.9.10\""};
    struct server_info info;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_int_equal(server_info_parse(&info, lines[i], strlen(lines[i]), NULL), -1);
}

/* A server that says `text` in two pieces to the first who connects, and hangs up. */
struct speaker {
    pthread_t thread;
    int listener;
    int port;
    const char *text;
};

static void *speak(void *context)
{
    struct speaker *speaker = context;
    int fd = accept(speaker->listener, NULL, NULL);
    size_t half = strlen(speaker->text) / 2;
    if (fd >= 0 && send(fd, speaker->text, half, MSG_NOSIGNAL) >= 0)
        send(fd, speaker->text + half, strlen(speaker->text) - half, MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void start(struct speaker *speaker, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    speaker->text = text;
    speaker->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(speaker->listener >= 0);
    assert_int_equal(bind(speaker->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(speaker->listener, 1), 0);
    assert_int_equal(getsockname(speaker->listener, (struct sockaddr *)&address, &size), 0);
    speaker->port = ntohs(address.sin_port);
}

static void stop(struct speaker *speaker)
{
    pthread_join(speaker->thread, NULL);
    close(speaker->listener);
}

static int read_from(const char *text, const char *url_format, struct server_info *info,
                     struct error *err)
{
    struct speaker speaker;
    char url[128];
    start(&speaker, text);
    assert_int_equal(pthread_create(&speaker.thread, NULL, speak, &speaker), 0);
    snprintf(url, sizeof(url), "%s:%d", url_format, speaker.port);
    int result = server_info_read(info, url, 5 * NS_PER_S, err);
    stop(&speaker);
    return result;
}

static void test_info_is_read_from_a_server(void **state)
{
    (void)state;
    static const char text[] = "INFO {\"version\":\"2.9.10\"}\r\nPING\r\n";
    struct server_info info;
    struct error err;
    assert_int_equal(read_from(text, "nats://127.0.0.1", &info, &err), 0);
    assert_int_equal(info.minor, 9);
}

static void test_a_user_and_password_in_the_url_do_not_matter(void **state)
{
    (void)state;
    static const char text[] = "INFO {\"version\":\"2.9.10\"}\r\n";
    struct server_info info;
    struct error err;
    assert_int_equal(read_from(text, "tls://bob:p@ss@127.0.0.1", &info, &err), 0);
}

static void test_a_server_that_hangs_up_is_an_error(void **state)
{
    (void)state;
    struct server_info info;
    struct error err;
    assert_int_equal(read_from("INFO {\"version\"", "nats://127.0.0.1", &info, &err), -1);
    assert_non_null(strstr(err.text, "no INFO came"));
}

static void test_a_silent_server_is_given_up_in_time(void **state)
{
    (void)state;
    struct speaker speaker;
    struct server_info info;
    struct error err;
    char url[64];
    start(&speaker, ""); /* it listens, and nobody accepts */
    snprintf(url, sizeof(url), "127.0.0.1:%d", speaker.port);
    int64_t started_ns = clock_monotonic_ns();
    assert_int_equal(server_info_read(&info, url, 50 * NS_PER_MS, &err), -1);
    assert_true(clock_monotonic_ns() - started_ns >= 50 * NS_PER_MS);
    assert_non_null(strstr(err.text, "no INFO came"));
    close(speaker.listener);
}

static void test_no_server_is_an_error(void **state)
{
    (void)state;
    struct speaker speaker;
    struct server_info info;
    struct error err;
    char url[64];
    start(&speaker, "");
    close(speaker.listener); /* the port is free, as far as anybody knows */
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", speaker.port);
    assert_int_equal(server_info_read(&info, url, NS_PER_S, &err), -1);
    assert_non_null(strstr(err.text, "cannot connect"));
}

static void test_what_is_no_url_is_an_error(void **state)
{
    (void)state;
    struct server_info info;
    struct error err;
    assert_int_equal(server_info_read(&info, "nats://:4222", NS_PER_S, &err), -1);
    assert_int_equal(server_info_read(&info, "", NS_PER_S, &err), -1);
    assert_int_equal(server_info_read(&info, "nats://a:99999999999999999999", NS_PER_S, &err), -1);
    assert_string_equal(err.text, "not a server's url");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_version_and_jetstream_are_read_from_info),
        cmocka_unit_test(test_a_server_that_does_not_tell_of_jetstream_has_none),
        cmocka_unit_test(test_what_is_no_info_is_refused),
        cmocka_unit_test(test_info_is_read_from_a_server),
        cmocka_unit_test(test_a_user_and_password_in_the_url_do_not_matter),
        cmocka_unit_test(test_a_server_that_hangs_up_is_an_error),
        cmocka_unit_test(test_a_silent_server_is_given_up_in_time),
        cmocka_unit_test(test_no_server_is_an_error),
        cmocka_unit_test(test_what_is_no_url_is_an_error),
    };
    return cmocka_run_group_tests_name("server_info", tests, NULL, NULL);
}
