#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/metrics.h"

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int forget(void **state)
{
    (void)state;
    metrics_close();
    return 0;
}

static void assert_page(const char *expected)
{
    size_t size = 0;
    char *page = metrics_render(&size);
    assert_non_null(page);
    assert_int_equal(size, strlen(page));
    assert_string_equal(page, expected);
    free(page);
}

static void assert_line(const char *line)
{
    size_t size = 0;
    char *page = metrics_render(&size);
    assert_non_null(page);
    char *wanted = NULL;
    assert_true(asprintf(&wanted, "\n%s\n", line) > 0);
    if (strstr(page, wanted) == NULL)
        fail_msg("no line %s in\n%s", line, page);
    free(wanted);
    free(page);
}

static void test_a_registry_without_metrics_is_an_empty_page(void **state)
{
    (void)state;
    assert_page("");
}

static void test_a_metric_without_series_is_not_shown(void **state)
{
    (void)state;
    metrics_counter("tidemill_calls_total", "Calls.", LABELS("rule"), NULL);
    assert_page("");
}

static void test_a_counter_has_help_type_and_its_series(void **state)
{
    (void)state;
    struct metric *calls = metrics_counter("tidemill_calls_total", "Calls of handlers.",
                                           LABELS("rule", "outcome"), NULL);
    metric_counter_add(metric_counter(calls, LABELS("sos", "done")), 2);
    metric_counter_add(metric_counter(calls, LABELS("sos", "error")), 1);
    metric_counter_add(metric_counter(calls, LABELS("sos", "done")), 1);
    assert_page("# HELP tidemill_calls_total Calls of handlers.\n"
                "# TYPE tidemill_calls_total counter\n"
                "tidemill_calls_total{rule=\"sos\",outcome=\"done\"} 3\n"
                "tidemill_calls_total{rule=\"sos\",outcome=\"error\"} 1\n");
}

static void test_metrics_are_sorted_by_name(void **state)
{
    (void)state;
    metric_gauge_set(metric_gauge(metrics_gauge("b", "B.", NULL, NULL), NULL), 1);
    metric_gauge_set(metric_gauge(metrics_gauge("c", "C.", NULL, NULL), NULL), 2);
    metric_gauge_set(metric_gauge(metrics_gauge("a", "A.", NULL, NULL), NULL), 3);
    assert_page("# HELP a A.\n# TYPE a gauge\na 3\n"
                "# HELP b B.\n# TYPE b gauge\nb 1\n"
                "# HELP c C.\n# TYPE c gauge\nc 2\n");
}

static void test_a_counter_gets_the_ending_total(void **state)
{
    (void)state;
    metric_counter(metrics_counter("alerts", "Alerts.", NULL, NULL), NULL);
    assert_page("# HELP alerts_total Alerts.\n# TYPE alerts_total counter\nalerts_total 0\n");
}

static void test_a_counter_never_goes_back(void **state)
{
    (void)state;
    struct metric_counter *counter =
        metric_counter(metrics_counter("a_total", "A.", NULL, NULL), NULL);
    metric_counter_add(counter, 5);
    metric_counter_add(counter, -3);
    metric_counter_add(counter, NAN);
    metric_counter_set(counter, 4);
    assert_true(metric_counter_value(counter) == 5);
    metric_counter_set(counter, 7);
    assert_true(metric_counter_value(counter) == 7);
}

static void test_a_gauge_goes_both_ways(void **state)
{
    (void)state;
    struct metric_gauge *gauge = metric_gauge(metrics_gauge("depth", "D.", NULL, NULL), NULL);
    metric_gauge_set(gauge, 1.5);
    metric_gauge_set(gauge, -2.5);
    assert_line("depth -2.5");
}

static void test_an_info_has_the_last_values_alone_and_is_1(void **state)
{
    (void)state;
    struct metric *info = metrics_gauge("rules_info", "Rules.", LABELS("version"), NULL);
    metric_info(info, LABELS("abc"));
    metric_info(info, LABELS("def"));
    assert_page("# HELP rules_info Rules.\n"
                "# TYPE rules_info gauge\n"
                "rules_info{version=\"def\"} 1\n");
}

static void test_numbers_keep_their_value(void **state)
{
    (void)state;
    struct metric *metric = metrics_gauge("n", "N.", LABELS("of"), NULL);
    metric_gauge_set(metric_gauge(metric, LABELS("tenth")), 0.1);
    metric_gauge_set(metric_gauge(metric, LABELS("third")), 1.0 / 3);
    metric_gauge_set(metric_gauge(metric, LABELS("large")), 9007199254740991.0);
    metric_gauge_set(metric_gauge(metric, LABELS("inf")), -INFINITY);
    metric_gauge_set(metric_gauge(metric, LABELS("nan")), NAN);
    assert_line("n{of=\"tenth\"} 0.1");
    assert_line("n{of=\"third\"} 0.3333333333333333");
    assert_line("n{of=\"large\"} 9007199254740991");
    assert_line("n{of=\"inf\"} -Inf");
    assert_line("n{of=\"nan\"} NaN");
}

static void test_a_histogram_counts_upwards_to_infinity(void **state)
{
    (void)state;
    struct metric *metric =
        metrics_histogram("wait_seconds", "Wait.", LABELS("rule"), (double[]){0.1, 1, 10}, 3, NULL);
    struct metric_histogram *wait = metric_histogram(metric, LABELS("sos"));
    metric_histogram_observe(wait, 0.1); /* a bound belongs to its bucket */
    metric_histogram_observe(wait, 0.5);
    metric_histogram_observe(wait, 0.25);
    metric_histogram_observe(wait, 100);
    metric_histogram_observe(wait, NAN);
    assert_page("# HELP wait_seconds Wait.\n"
                "# TYPE wait_seconds histogram\n"
                "wait_seconds_bucket{rule=\"sos\",le=\"0.1\"} 1\n"
                "wait_seconds_bucket{rule=\"sos\",le=\"1\"} 3\n"
                "wait_seconds_bucket{rule=\"sos\",le=\"10\"} 3\n"
                "wait_seconds_bucket{rule=\"sos\",le=\"+Inf\"} 4\n"
                "wait_seconds_sum{rule=\"sos\"} 100.85\n"
                "wait_seconds_count{rule=\"sos\"} 4\n");
}

static void test_a_histogram_that_was_counted_elsewhere_is_set(void **state)
{
    (void)state;
    const double bounds[] = {1, 10};
    const uint64_t buckets[] = {3, 2, 1};
    struct metric *metric = metrics_histogram("wait_seconds", "W.", NULL, bounds, 2, NULL);
    metric_histogram_observe(metric_histogram(metric, NULL), 5);
    metric_histogram_set(metric_histogram(metric, NULL), buckets, 45.5);
    metric_histogram_set(metric_histogram(NULL, NULL), buckets, 1); /* nothing */
    assert_page("# HELP wait_seconds W.\n"
                "# TYPE wait_seconds histogram\n"
                "wait_seconds_bucket{le=\"1\"} 3\n"
                "wait_seconds_bucket{le=\"10\"} 5\n"
                "wait_seconds_bucket{le=\"+Inf\"} 6\n"
                "wait_seconds_sum 45.5\n"
                "wait_seconds_count 6\n");
}

static void test_a_histogram_has_standard_bounds(void **state)
{
    (void)state;
    struct metric *metric = metrics_histogram("t_seconds", "T.", NULL, NULL, 0, NULL);
    metric_histogram_observe(metric_histogram(metric, NULL), 11);
    assert_line("t_seconds_bucket{le=\"0.0001\"} 0");
    assert_line("t_seconds_bucket{le=\"10\"} 0");
    assert_line("t_seconds_bucket{le=\"+Inf\"} 1");
}

static void test_help_and_label_values_are_escaped(void **state)
{
    (void)state;
    struct metric *metric = metrics_gauge("a", "one\ntwo \\ \"three\"", LABELS("path"), NULL);
    metric_gauge_set(metric_gauge(metric, LABELS("C:\\x \"q\"\nend")), 1);
    assert_page("# HELP a one\\ntwo \\\\ \"three\"\n# TYPE a gauge\n"
                "a{path=\"C:\\\\x \\\"q\\\"\\nend\"} 1\n");
}

static void test_bytes_that_are_not_utf8_do_not_spoil_the_page(void **state)
{
    (void)state;
    struct metric *metric = metrics_gauge("a", "A.", LABELS("v"), NULL);
    metric_gauge_set(metric_gauge(metric, LABELS("\xc3\xa9 \xff \xc0\x80 \xed\xa0\x80|")), 1);
    assert_line("a{v=\"\xc3\xa9 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd "
                "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\"} 1");
}

static void test_the_same_values_are_the_same_handle(void **state)
{
    (void)state;
    struct metric *metric = metrics_counter("a_total", "A.", LABELS("x", "y"), NULL);
    assert_ptr_equal(metrics_counter("a_total", "A.", LABELS("x", "y"), NULL), metric);
    assert_ptr_equal(metric_counter(metric, LABELS("1", "2")),
                     metric_counter(metric, LABELS("1", "2")));
    assert_ptr_not_equal(metric_counter(metric, LABELS("1", "2")),
                         metric_counter(metric, LABELS("12", "")));
}

static void test_a_missing_label_value_is_empty(void **state)
{
    (void)state;
    struct metric *metric = metrics_counter("a_total", "A.", LABELS("x", "y"), NULL);
    metric_counter_add(metric_counter(metric, LABELS("1")), 1);
    assert_line("a_total{x=\"1\",y=\"\"} 1");
}

static void test_series_beyond_the_cap_share_the_overflow(void **state)
{
    (void)state;
    struct metric *metric = metrics_counter("a_total", "A.", LABELS("sensor"), NULL);
    metrics_set_cap(metric, 2);
    for (int i = 0; i < 100; i++) {
        char sensor[16];
        snprintf(sensor, sizeof(sensor), "s%d", i);
        metric_counter_add(metric_counter(metric, LABELS(sensor)), 1);
    }
    metric_counter_add(metric_counter(metric, LABELS("s1")), 1);
    assert_page("# HELP a_total A.\n# TYPE a_total counter\n"
                "a_total{sensor=\"s0\"} 1\n"
                "a_total{sensor=\"s1\"} 2\n"
                "a_total{sensor=\"overflow\"} 98\n");
}

static void test_a_histogram_overflows_too(void **state)
{
    (void)state;
    struct metric *metric = metrics_histogram("h", "H.", LABELS("v"), (double[]){1}, 1, NULL);
    metrics_set_cap(metric, 0);
    metric_histogram_observe(metric_histogram(metric, LABELS("x")), 2);
    assert_line("h_bucket{v=\"overflow\",le=\"+Inf\"} 1");
}

static void test_a_long_label_value_is_cut(void **state)
{
    (void)state;
    char value[METRICS_TEXT_MAX + 100], line[METRICS_TEXT_MAX + 100];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    struct metric *metric = metrics_gauge("a", "A.", LABELS("v"), NULL);
    struct metric_gauge *gauge = metric_gauge(metric, LABELS(value));
    metric_gauge_set(gauge, 1);
    assert_ptr_equal(metric_gauge(metric, LABELS(value)), gauge);
    snprintf(line, sizeof(line), "a{v=\"%.*s\"} 1", METRICS_TEXT_MAX, value);
    assert_line(line);
}

static void test_names_that_prometheus_refuses_are_refused(void **state)
{
    (void)state;
    struct error err;
    assert_null(metrics_gauge("2high", "H.", NULL, &err));
    assert_non_null(strstr(err.text, "\"2high\""));
    assert_null(metrics_gauge("", "H.", NULL, &err));
    assert_null(metrics_gauge("a-b", "H.", NULL, &err));
    assert_null(metrics_gauge("caf\xc3\xa9", "H.", NULL, &err));
    assert_null(metrics_gauge("a", "H.", LABELS("a-b"), &err));
    assert_non_null(strstr(err.text, "\"a-b\""));
    assert_null(metrics_gauge("a", "H.", LABELS("__name__"), &err));
    assert_null(metrics_gauge("a", "H.", LABELS("x", "x"), &err));
    assert_null(metrics_histogram("a", "H.", LABELS("le"), NULL, 0, &err));
    assert_null(
        metrics_gauge("a", "H.", LABELS("1", "2", "3", "4", "5", "6", "7", "8", "9"), &err));
    assert_non_null(metrics_gauge("ns:a_1", "H.", LABELS("_x1"), &err));
}

static void test_bounds_must_rise(void **state)
{
    (void)state;
    struct error err;
    assert_null(metrics_histogram("h", "H.", NULL, (double[]){1, 1}, 2, &err));
    assert_non_null(strstr(err.text, "rise"));
    assert_null(metrics_histogram("h", "H.", NULL, (double[]){1, INFINITY}, 2, &err));
}

static void test_a_name_is_one_metric(void **state)
{
    (void)state;
    struct error err;
    assert_non_null(metrics_gauge("a", "A.", LABELS("x"), &err));
    assert_null(metrics_gauge("a", "A.", LABELS("y"), &err));
    assert_non_null(strstr(err.text, "exists already, as a gauge"));
    assert_null(metrics_gauge("a", "A.", LABELS("x", "y"), &err));
    assert_null(metrics_gauge("a", "A.", NULL, &err));
    assert_null(metrics_histogram("a", "A.", LABELS("x"), NULL, 0, &err));
}

static void test_the_lines_of_a_histogram_are_taken(void **state)
{
    (void)state;
    struct error err;
    assert_non_null(metrics_histogram("wait", "W.", NULL, NULL, 0, &err));
    assert_null(metrics_gauge("wait_count", "W.", NULL, &err));
    assert_null(metrics_gauge("wait_bucket", "W.", NULL, &err));
    assert_non_null(metrics_gauge("wait_counts", "W.", NULL, &err));
    assert_non_null(metrics_gauge("size_sum", "S.", NULL, &err));
    assert_null(metrics_histogram("size", "S.", NULL, NULL, 0, &err));
}

static void test_the_number_of_metrics_is_bounded(void **state)
{
    (void)state;
    struct error err;
    char name[32];
    for (int i = 0; i < METRICS_MAX; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_non_null(metrics_gauge(name, "M.", NULL, &err));
    }
    assert_null(metrics_gauge("one_more", "M.", NULL, &err));
    assert_non_null(metrics_gauge("m7", "M.", NULL, &err));
}

static void test_no_metric_counts_into_the_void(void **state)
{
    (void)state;
    struct metric *gauge = metrics_gauge("a", "A.", NULL, NULL);
    metric_counter_add(metric_counter(NULL, LABELS("x")), 1);
    metric_counter_add(metric_counter(gauge, NULL), 1); /* another kind */
    metric_gauge_set(metric_gauge(NULL, NULL), 1);
    metric_histogram_observe(metric_histogram(NULL, NULL), 1);
    metrics_set_cap(NULL, 1);
    assert_page("");
}

static void count_scrape(void *context)
{
    struct metric *metric = metrics_counter("scrapes_total", "S.", NULL, NULL);
    metric_counter_add(metric_counter(metric, NULL), *(double *)context);
}

static void test_gathers_run_before_each_rendering_until_removed(void **state)
{
    (void)state;
    double one = 1, ten = 10;
    assert_int_equal(metrics_add_gather(count_scrape, &one, NULL), 0);
    assert_int_equal(metrics_add_gather(count_scrape, &ten, NULL), 0);
    assert_line("scrapes_total 11");
    metrics_remove_gather(count_scrape, &one);
    assert_line("scrapes_total 21");
    metrics_remove_gather(count_scrape, &ten);
    assert_line("scrapes_total 21");
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count_much(void *context)
{
    (void)context;
    struct metric *total = metrics_counter("a_total", "A.", LABELS("x"), NULL);
    struct metric_counter *counter = metric_counter(total, LABELS("1"));
    struct metric_histogram *histogram =
        metric_histogram(metrics_histogram("h", "H.", NULL, (double[]){1}, 1, NULL), NULL);
    for (int i = 0; i < ROUNDS; i++) {
        metric_counter_add(counter, 1);
        metric_histogram_observe(histogram, i % 2 * 2);
    }
    return NULL;
}

static void test_threads_count_together(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, NULL), 0);
    for (int i = 0; i < 20; i++) {
        size_t size;
        free(metrics_render(&size)); /* a scrape in the middle disturbs nobody */
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_page("# HELP a_total A.\n# TYPE a_total counter\n"
                "a_total{x=\"1\"} 80000\n"
                "# HELP h H.\n# TYPE h histogram\n"
                "h_bucket{le=\"1\"} 40000\n"
                "h_bucket{le=\"+Inf\"} 80000\n"
                "h_sum 80000\n"
                "h_count 80000\n");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_teardown(function, forget)
    const struct CMUnitTest tests[] = {
        TEST(test_a_registry_without_metrics_is_an_empty_page),
        TEST(test_a_metric_without_series_is_not_shown),
        TEST(test_a_counter_has_help_type_and_its_series),
        TEST(test_metrics_are_sorted_by_name),
        TEST(test_a_counter_gets_the_ending_total),
        TEST(test_a_counter_never_goes_back),
        TEST(test_a_gauge_goes_both_ways),
        TEST(test_an_info_has_the_last_values_alone_and_is_1),
        TEST(test_numbers_keep_their_value),
        TEST(test_a_histogram_counts_upwards_to_infinity),
        TEST(test_a_histogram_that_was_counted_elsewhere_is_set),
        TEST(test_a_histogram_has_standard_bounds),
        TEST(test_help_and_label_values_are_escaped),
        TEST(test_bytes_that_are_not_utf8_do_not_spoil_the_page),
        TEST(test_the_same_values_are_the_same_handle),
        TEST(test_a_missing_label_value_is_empty),
        TEST(test_series_beyond_the_cap_share_the_overflow),
        TEST(test_a_histogram_overflows_too),
        TEST(test_a_long_label_value_is_cut),
        TEST(test_names_that_prometheus_refuses_are_refused),
        TEST(test_bounds_must_rise),
        TEST(test_a_name_is_one_metric),
        TEST(test_the_lines_of_a_histogram_are_taken),
        TEST(test_the_number_of_metrics_is_bounded),
        TEST(test_no_metric_counts_into_the_void),
        TEST(test_gathers_run_before_each_rendering_until_removed),
        TEST(test_threads_count_together),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
