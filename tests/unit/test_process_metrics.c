#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/metrics.h"
#include "ops/process_metrics.h"
#include "sanitizer.h"

static int watch(void **state)
{
    (void)state;
    return process_metrics_open("0.1.0", NULL);
}

static int forget(void **state)
{
    (void)state;
    metrics_close();
    return 0;
}

/* The value of the line that starts so; fails when there is none. */
static double value_of(const char *start)
{
    size_t size;
    char *page = metrics_render(&size), line[128];
    assert_non_null(page);
    snprintf(line, sizeof(line), "\n%s ", start);
    const char *found = strstr(page, line);
    if (found == NULL)
        print_error("no %s in\n%s", start, page);
    double value = found != NULL ? strtod(found + strlen(line), NULL) : 0;
    assert_non_null(found);
    free(page);
    return value;
}

static void test_the_version_is_a_label(void **state)
{
    (void)state;
    assert_true(value_of("tidemill_build_info{version=\"0.1.0\"}") == 1);
}

static void test_an_open_file_counts(void **state)
{
    (void)state;
    double before = value_of("process_open_fds");
    int fd = dup(STDERR_FILENO);
    assert_true(value_of("process_open_fds") == before + 1);
    close(fd);
    assert_true(value_of("process_open_fds") == before);
    assert_true(value_of("process_max_fds") > before);
}

static void test_memory_is_in_bytes(void **state)
{
    (void)state;
    size_t size = (size_t)64 << 20;
    double before = value_of("process_resident_memory_bytes");
    char *block = malloc(size);
    assert_non_null(block);
    memset(block, 1, size);
    assert_int_equal(block[size / 2], 1);
    double grown = value_of("process_resident_memory_bytes") - before;
    free(block);
    assert_true(grown > 60e6 && (grown < 100e6 || !MEMORY_TELLS));
}

static void test_time_is_in_seconds(void **state)
{
    (void)state;
    assert_true(value_of("process_start_time_seconds") > 1.7e9);
    assert_true(value_of("process_start_time_seconds") < 1e10);
    double before = value_of("process_cpu_seconds_total");
    for (int i = 0; value_of("process_cpu_seconds_total") < before + 0.01; i++)
        assert_true(i < 1000000);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, watch, forget)
    const struct CMUnitTest tests[] = {
        TEST(test_the_version_is_a_label),
        TEST(test_an_open_file_counts),
        TEST(test_memory_is_in_bytes),
        TEST(test_time_is_in_seconds),
    };
    return cmocka_run_group_tests_name("process metrics", tests, NULL, NULL);
}
