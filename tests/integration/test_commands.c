#include "harness.h"

#include <string.h>

/* The program without a server: versions, help, words it does not know. */

static void expect_end(struct harness *h, struct process *process, int status, const char *text)
{
    int ended = harness_wait_exit(process, 10000);
    if (ended != status || strstr(harness_log(process), text) == NULL)
        harness_fail(h, "ended with %d, wanted %d and \"%s\": %s", ended, status, text,
                     harness_log(process));
}

static void test_the_version_names_the_libraries_too(struct harness *h)
{
    struct process *word = harness_tidemill(h, "version");
    expect_end(h, word, 0, "tidemill ");
    assert_non_null(strstr(harness_log(word), "(libnats 3."));
    assert_non_null(strstr(harness_log(word), ", libuv 1."));
    assert_non_null(strstr(harness_log(word), ", Lua 5.4."));
    assert_int_equal(harness_log_count(word, "\n"), 1);
    struct process *flag = harness_tidemill(h, "--version");
    expect_end(h, flag, 0, harness_log(word));
    expect_end(h, harness_tidemill(h, "version", "now"), 2, "unexpected argument now");
}

static void test_help_is_there_for_one_command_and_for_all(struct harness *h)
{
    expect_end(h, harness_tidemill(h, "--help"), 0, "tidemill replay ");
    expect_end(h, harness_tidemill(h, "help", "replay"), 0, "usage: tidemill replay");
    expect_end(h, harness_tidemill(h, "replay", "--from", "-h"), 0, "usage: tidemill replay");
}

static void test_no_command_at_all_is_wrong_usage(struct harness *h)
{
    struct process *process = harness_start_tidemill(h, (const char *const[]){NULL});
    expect_end(h, process, 2, "tidemill run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_the_version_names_the_libraries_too, .no_server = true),
        harness_test_with(test_help_is_there_for_one_command_and_for_all, .no_server = true),
        harness_test_with(test_no_command_at_all_is_wrong_usage, .no_server = true),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
