#include "base/log_sink.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The sink writes into a pipe that the test reads, or does not. */

enum { LINE = 128 }; /* a whole number of them in a page, which is how a pipe counts */

static struct log_sink sink = LOG_SINK_INITIALIZER;
static int reader;
static FILE *writer;

static int open_pipe(void **state)
{
    int ends[2];
    (void)state;
    if (pipe(ends) != 0)
        return -1;
    reader = ends[0];
    writer = fdopen(ends[1], "w");
    sink_open(&sink, writer);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    if (writer != NULL)
        fclose(writer);
    close(reader);
    return 0;
}

/* Line `number`, LINE bytes long. */
static void write_line(unsigned number)
{
    char line[LINE + 1];
    snprintf(line, sizeof(line), "%0*u\n", LINE - 1, number);
    sink_write(&sink, line, LINE);
}

/* Reads `count` lines; they must be whole and numbered from `first` on. */
static void read_lines(unsigned first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char line[LINE];
        for (size_t got = 0; got < LINE;) {
            ssize_t size = read(reader, line + got, LINE - got);
            assert_true(size > 0);
            got += (size_t)size;
        }
        assert_int_equal(line[LINE - 1], '\n');
        assert_int_equal(strtoul(line, NULL, 10), first + i);
    }
}

static void test_a_line_is_written_at_once(void **state)
{
    (void)state;
    write_line(1);
    read_lines(1, 1);
}

static void test_what_is_not_read_is_kept_and_written_later(void **state)
{
    (void)state;
    enum { LINES = 2000 }; /* 256 kB: more than a pipe holds, less than pipe and buffer */
    for (unsigned i = 0; i < LINES; i++)
        write_line(i);
    assert_int_equal(sink_take_lost(&sink), 0);
    for (unsigned i = 0; i < LINES; i += 100) {
        read_lines(i, 100);
        sink_flush(&sink, 0);
    }
}

static void test_a_reader_that_has_stopped_costs_lines_which_are_counted(void **state)
{
    (void)state;
    enum { LINES = 10000 };
    for (unsigned i = 0; i < LINES; i++)
        write_line(i);                          /* would wait here for ever */
    assert_int_equal(sink_take_lost(&sink), 0); /* no room to say it */
    for (unsigned i = 0; i < 2400; i += 100) {  /* the kept ones */
        read_lines(i, 100);
        sink_flush(&sink, 0);
    }
    unsigned long long lost = sink_take_lost(&sink);
    size_t kept = (65536 + SINK_BUFFER) / LINE;
    assert_in_range(lost, LINES - kept, LINES - kept + 4096 / LINE);
    assert_int_equal(sink_take_lost(&sink), 0);
}

static void test_a_wait_for_a_reader_is_bounded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2000; i++)
        write_line(i);
    int64_t began_ns = clock_monotonic_ns();
    sink_flush(&sink, 50 * NS_PER_MS);
    assert_in_range(clock_monotonic_ns() - began_ns, 40 * NS_PER_MS, 5 * NS_PER_S);
}

static void test_a_reader_that_is_gone_costs_nothing(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    close(reader);
    for (unsigned i = 0; i < 10000; i++)
        write_line(i);
    assert_int_equal(sink.kept, 0);
    assert_int_equal(sink_take_lost(&sink), 0);
    reader = -1;
}

static void test_a_closed_stream_costs_nothing(void **state)
{
    (void)state;
    close(fileno(writer));
    for (unsigned i = 0; i < 10000; i++)
        write_line(i);
    assert_int_equal(sink.kept, 0);
    fclose(writer);
    writer = NULL;
}

static void test_a_sink_that_nobody_opened_writes_to_standard_error(void **state)
{
    static struct log_sink unopened = LOG_SINK_INITIALIZER;
    char got[2] = "";
    (void)state;
    int standard_error = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(writer), STDERR_FILENO), STDERR_FILENO);
    sink_write(&unopened, "x", 1);
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    assert_int_equal(read(reader, got, 1), 1);
    assert_string_equal(got, "x");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_pipe)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_line_is_written_at_once),
        TEST(test_what_is_not_read_is_kept_and_written_later),
        TEST(test_a_reader_that_has_stopped_costs_lines_which_are_counted),
        TEST(test_a_wait_for_a_reader_is_bounded),
        TEST(test_a_reader_that_is_gone_costs_nothing),
        TEST(test_a_closed_stream_costs_nothing),
        TEST(test_a_sink_that_nobody_opened_writes_to_standard_error),
    };
    return cmocka_run_group_tests_name("log_sink", tests, NULL, NULL);
}
