#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/command.h"
#include "ops/address.h"
#include "ops/http.h"

struct fixture {
    struct health *health;
    struct http *http;
    char address[64];
    char out[4096], err[4096]; /* what the command has printed */
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    if (f == NULL || health_open(&f->health, "0.1.0", NULL) != 0 ||
        http_open(&f->http, "127.0.0.1:0", f->health, NULL) != 0)
        return -1;
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", http_port(f->http));
    unsetenv("TIDEMILL_HTTP");
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    http_close(f->http);
    health_close(f->health);
    free(f);
    return 0;
}

/* Sends a stream to a file; returns where it went before. */
static int divert(FILE *stream, FILE *file)
{
    fflush(stream);
    int before = dup(fileno(stream));
    assert_true(before >= 0 && dup2(fileno(file), fileno(stream)) >= 0);
    return before;
}

static void bring_back(FILE *stream, int before, FILE *file, char *text, size_t size)
{
    fflush(stream);
    dup2(before, fileno(stream));
    close(before);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* Runs `tidemill health` with at most two arguments. */
static int run(struct fixture *f, const char *first, const char *second)
{
    char *argv[] = {"health", (char *)first, (char *)second, NULL};
    int argc = first == NULL ? 1 : second == NULL ? 2 : 3;
    FILE *out = tmpfile(), *err = tmpfile();
    assert_true(out != NULL && err != NULL);
    int out_before = divert(stdout, out), err_before = divert(stderr, err);
    int status = command_health.run(argc, argv);
    bring_back(stdout, out_before, out, f->out, sizeof(f->out));
    bring_back(stderr, err_before, err, f->err, sizeof(f->err));
    return status;
}

static void test_ready_is_exit_status_0(void **state)
{
    struct fixture *f = *state;
    health_ok(f->health, "connected");
    assert_int_equal(run(f, "--http", f->address), 0);
    assert_string_equal(f->out, "ready\n");
    assert_string_equal(f->err, "");
}

static void test_not_ready_is_exit_status_1_with_the_reasons(void **state)
{
    struct fixture *f = *state;
    health_failed(f->health, "connected", "no server");
    health_failed(f->health, "rules", "none");
    assert_int_equal(run(f, "--http", f->address), 1);
    assert_string_equal(f->out, "");
    assert_string_equal(f->err, "connected: no server\nrules: none\n");
}

static void test_the_environment_names_the_address(void **state)
{
    struct fixture *f = *state;
    health_ok(f->health, "connected");
    setenv("TIDEMILL_HTTP", f->address, 1);
    assert_int_equal(run(f, NULL, NULL), 0);
}

static void test_the_flag_wins_over_the_environment(void **state)
{
    struct fixture *f = *state;
    char flag[80];
    health_ok(f->health, "connected");
    setenv("TIDEMILL_HTTP", "nonsense", 1);
    snprintf(flag, sizeof(flag), "--http=%s", f->address);
    assert_int_equal(run(f, flag, NULL), 0);
}

static void test_nobody_there_is_exit_status_1(void **state)
{
    struct fixture *f = *state;
    http_close(f->http);
    f->http = NULL;
    assert_int_equal(run(f, "--http", f->address), 1);
    assert_non_null(strstr(f->err, f->address));
    assert_non_null(strstr(f->err, "refused"));
}

static void test_silence_is_exit_status_1_after_three_seconds(void **state)
{
    struct fixture *f = *state;
    struct address silent = {.host = "127.0.0.1"};
    int fd = address_listen(&silent, NULL); /* the kernel accepts, nobody answers */
    assert_true(fd >= 0);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", silent.port);
    assert_int_equal(run(f, "--http", f->address), 1);
    assert_non_null(strstr(f->err, "no answer within 3 s"));
    close(fd);
}

static void test_http_switched_off_is_exit_status_1(void **state)
{
    struct fixture *f = *state;
    setenv("TIDEMILL_HTTP", "", 1);
    assert_int_equal(run(f, NULL, NULL), 1);
    assert_non_null(strstr(f->err, "switches HTTP off"));
}

static void test_wrong_usage_is_exit_status_2(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, "--htp", f->address), 2);
    assert_non_null(strstr(f->err, "did you mean --http?"));
    assert_int_equal(run(f, f->address, NULL), 2);
    assert_non_null(strstr(f->err, "unexpected argument 127.0.0.1:"));
    assert_int_equal(run(f, "--http", NULL), 2);
    assert_int_equal(run(f, "--http", "nonsense"), 2);
    assert_non_null(strstr(f->err, "\"nonsense\" is no address"));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        TEST(test_ready_is_exit_status_0),
        TEST(test_not_ready_is_exit_status_1_with_the_reasons),
        TEST(test_the_environment_names_the_address),
        TEST(test_the_flag_wins_over_the_environment),
        TEST(test_nobody_there_is_exit_status_1),
        TEST(test_silence_is_exit_status_1_after_three_seconds),
        TEST(test_http_switched_off_is_exit_status_1),
        TEST(test_wrong_usage_is_exit_status_2),
    };
    return cmocka_run_group_tests_name("command health", tests, NULL, NULL);
}
