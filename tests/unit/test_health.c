#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ops/escape.h"
#include "ops/health.h"

static int open_health(void **state)
{
    return health_open((struct health **)state, "0.1.0", NULL);
}

static int close_health(void **state)
{
    health_close(*state);
    return 0;
}

static void assert_ready_page(struct health *health, bool expected, const char *page)
{
    bool ready = !expected;
    char *text = health_render_ready(health, &ready);
    assert_non_null(text);
    assert_int_equal(ready, expected);
    assert_int_equal(health_ready(health), expected);
    assert_string_equal(text, page);
    free(text);
}

static void assert_status_has(struct health *health, const char *part)
{
    char *text = health_render_status(health);
    assert_non_null(text);
    if (strstr(text, part) == NULL)
        fail_msg("no %s in %s", part, text);
    free(text);
}

static void test_nothing_checked_is_not_ready(void **state)
{
    assert_ready_page(*state, false, "starting: nothing has been checked yet\n");
}

static void test_all_checks_ok_is_ready(void **state)
{
    health_ok(*state, "connected");
    health_ok(*state, "rules");
    assert_ready_page(*state, true, "ready\n");
}

static void test_each_failed_check_gives_its_reason_on_a_line(void **state)
{
    health_failed(*state, "connected", "no server at %s", "nats://127.0.0.1:4222");
    health_ok(*state, "rules");
    health_failed(*state, "consumer clientA_sensor/rule_executor", "it was deleted");
    assert_ready_page(*state, false,
                      "connected: no server at nats://127.0.0.1:4222\n"
                      "consumer clientA_sensor/rule_executor: it was deleted\n");
}

static void test_a_check_that_recovers_is_ok(void **state)
{
    health_failed(*state, "connected", "connecting");
    health_ok(*state, "connected");
    assert_ready_page(*state, true, "ready\n");
    health_failed(*state, "connected", "connection lost");
    assert_ready_page(*state, false, "connected: connection lost\n");
}

static void test_a_reason_is_one_line(void **state)
{
    health_failed(*state, "rules", "x.lua:3: boom\nstack traceback:\n\tx.lua:3");
    assert_ready_page(*state, false, "rules: x.lua:3: boom stack traceback:  x.lua:3\n");
}

static void test_more_checks_than_there_is_room_for_is_not_ready(void **state)
{
    char name[16];
    for (int i = 0; i <= HEALTH_CHECKS_MAX; i++) {
        snprintf(name, sizeof(name), "check %d", i);
        health_ok(*state, name);
    }
    assert_ready_page(*state, false, "health: a check could not be recorded\n");
}

static void test_a_long_name_is_cut_and_found_again(void **state)
{
    char name[HEALTH_NAME_MAX * 2];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    health_failed(*state, name, "bad");
    health_ok(*state, name);
    assert_ready_page(*state, true, "ready\n");
}

static void test_the_status_has_the_version_and_the_checks(void **state)
{
    health_ok(*state, "rules");
    health_failed(*state, "connected", "said \"no\"");
    assert_status_has(*state, "{\"version\":\"0.1.0\",\"ready\":false,\"started\":\"20");
    assert_status_has(*state, ",\"uptime_seconds\":0.");
    assert_status_has(*state, "\"checks\":[{\"name\":\"rules\",\"ok\":true,\"since\":\"20");
    assert_status_has(*state, "},{\"name\":\"connected\",\"ok\":false,\"since\":\"20");
    assert_status_has(*state, "Z\",\"reason\":\"said \\\"no\\\"\"}]");
}

static void test_before_the_first_load_there_is_no_reload(void **state)
{
    assert_status_has(*state, ",\"reload\":null}\n");
}

static void test_the_status_tells_a_reload(void **state)
{
    health_reloaded(*state, "abc123");
    assert_status_has(*state, ",\"reload\":{\"time\":\"20");
    assert_status_has(*state, "\"ok\":true,\"error\":null,\"rules_version\":\"abc123\","
                              "\"done\":1,\"failed\":0}");
}

static void test_a_failed_reload_keeps_the_version_at_work(void **state)
{
    health_reloaded(*state, "abc123");
    health_reload_failed(*state, "rules/x.lua:3: '=' expected");
    assert_status_has(*state, "\"ok\":false,\"error\":\"rules/x.lua:3: '=' expected\","
                              "\"rules_version\":\"abc123\",\"done\":1,\"failed\":1}");
}

static void test_a_reload_that_works_clears_the_error(void **state)
{
    health_reload_failed(*state, "boom");
    health_reloaded(*state, "def456");
    assert_status_has(*state, "\"ok\":true,\"error\":null,\"rules_version\":\"def456\"");
}

static void test_a_failed_reload_leaves_the_process_ready(void **state)
{
    health_ok(*state, "rules");
    health_reloaded(*state, "abc123");
    health_reload_failed(*state, "boom");
    assert_true(health_ready(*state));
}

/* The page of /readyz is `before`, a time, and `after`. */
static void assert_ready_page_with_time(struct health *health, const char *before,
                                        const char *after)
{
    bool ready;
    char *text = health_render_ready(health, &ready);
    assert_non_null(text);
    size_t time_size = strlen("2026-01-01T00:00:00.000Z");
    if (strlen(text) != strlen(before) + time_size + strlen(after) ||
        strncmp(text, before, strlen(before)) != 0 ||
        strcmp(text + strlen(before) + time_size, after) != 0)
        fail_msg("not %s<time>%s but %s", before, after, text);
    free(text);
}

static void test_the_ready_page_ends_with_the_last_reload(void **state)
{
    health_ok(*state, "connected");
    health_reloaded(*state, "abc123");
    assert_ready_page_with_time(*state, "ready\nrules: version abc123, loaded at ", "\n");
    health_reload_failed(*state, "rules/x.lua:3:\nboom");
    assert_ready_page_with_time(*state,
                                "ready\nrules: version abc123 goes on; the reload failed at ",
                                ": rules/x.lua:3: boom\n");
    health_failed(*state, "connected", "gone");
    assert_ready_page_with_time(
        *state, "connected: gone\nrules: version abc123 goes on; the reload failed at ",
        ": rules/x.lua:3: boom\n");
}

static void write_name(void *context, FILE *out)
{
    escape_json(out, context);
}

static void write_nothing(void *context, FILE *out)
{
    (void)context, (void)out;
}

static void test_sections_are_added_to_the_status(void **state)
{
    assert_int_equal(health_add_section(*state, "first", write_name, "a\nb", NULL), 0);
    assert_int_equal(health_add_section(*state, "second", write_name, "\x01\xff", NULL), 0);
    assert_status_has(*state, ",\"first\":\"a\\nb\",\"second\":\"\\u0001\xef\xbf\xbd\"}\n");
    health_remove_section(*state, "first");
    assert_status_has(*state, ",\"reload\":null,\"second\":");
}

static void test_a_section_that_writes_nothing_is_null(void **state)
{
    assert_int_equal(health_add_section(*state, "workers", write_nothing, NULL, NULL), 0);
    assert_status_has(*state, ",\"workers\":null}\n");
}

static void *report_much(void *health)
{
    for (int i = 0; i < 2000; i++) {
        health_failed(health, "connected", "try %d", i);
        health_ok(health, "connected");
        health_reloaded(health, "v");
    }
    return NULL;
}

static void test_threads_report_while_others_read(void **state)
{
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, report_much, *state), 0);
    for (int i = 0; i < 100; i++) {
        health_ok(*state, "rules");
        free(health_render_status(*state));
    }
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(health_ready(*state));
    assert_status_has(*state, "\"done\":6000,\"failed\":0");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_health, close_health)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_checked_is_not_ready),
        TEST(test_all_checks_ok_is_ready),
        TEST(test_each_failed_check_gives_its_reason_on_a_line),
        TEST(test_a_check_that_recovers_is_ok),
        TEST(test_a_reason_is_one_line),
        TEST(test_more_checks_than_there_is_room_for_is_not_ready),
        TEST(test_a_long_name_is_cut_and_found_again),
        TEST(test_the_status_has_the_version_and_the_checks),
        TEST(test_before_the_first_load_there_is_no_reload),
        TEST(test_the_status_tells_a_reload),
        TEST(test_a_failed_reload_keeps_the_version_at_work),
        TEST(test_a_reload_that_works_clears_the_error),
        TEST(test_a_failed_reload_leaves_the_process_ready),
        TEST(test_the_ready_page_ends_with_the_last_reload),
        TEST(test_sections_are_added_to_the_status),
        TEST(test_a_section_that_writes_nothing_is_null),
        TEST(test_threads_report_while_others_read),
    };
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
