#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* The two commands that make the program testable without another NATS client. */

static struct process *start_tap(struct harness *h, const char *const *arguments)
{
    struct process *tap = harness_start_tidemill(h, arguments);
    harness_wait_log(tap, "listening on", 5000);
    return tap;
}

#define TAP(h, ...) start_tap(h, (const char *const[]){"tap", __VA_ARGS__, NULL})

static void expect_output(struct process *process, const char *text)
{
    if (strstr(harness_log(process), text) == NULL)
        fail_msg("\"%s\" is not in:\n%s", text, harness_log(process));
}

/* Runs a shell command in the test's folder, with the program in $MILL. Returns its exit status. */
static int run_shell(struct harness *h, const char *command)
{
    char text[4096], program[1024];
    const char *named = getenv("TIDEMILL");
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(program, '/');
    assert_non_null(slash);
    snprintf(slash, sizeof(program) - (size_t)(slash - program), "/../tidemill");
    snprintf(text, sizeof(text), "MILL='%s'; export NATS_URL='%s'; cd '%s' && %s",
             named != NULL ? named : program, harness_url(h), harness_path(h, ""), command);
    int status = system(text);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_lines_of_a_file_are_stored_and_counted(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "one\n\ntwo\r\nthree");
    struct process *feed = harness_tidemill(h, "feed", "sensors.value", "lines");
    assert_int_equal(harness_wait_exit(feed, 5000), 0);
    expect_output(feed, "3 published, 3 acked in ");
    harness_wait_count(h, "sensors", 3, 1000);
}

static void test_a_file_is_read_again_until_count_is_reached(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "one\ntwo\nthree\n");
    struct process *feed = harness_tidemill(h, "feed", "sensors.value", "lines", "--count", "5000");
    assert_int_equal(harness_wait_exit(feed, 10000), 0);
    expect_output(feed, "5000 published, 5000 acked in ");
    harness_wait_count(h, "sensors", 5000, 1000);
}

static void test_lines_may_bring_their_own_subject(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "sensors.a first one\nsensors.b\t{\"x\": 1}\nsensors.c\n");
    struct process *tap = TAP(h, "sensors.>", "--count", "3", "--timeout", "5");
    struct process *feed = harness_tidemill(h, "feed", "-", "lines");
    assert_int_equal(harness_wait_exit(feed, 5000), 0);
    assert_int_equal(harness_wait_exit(tap, 6000), 0);
    expect_output(tap, "\nsensors.a first one\nsensors.b {\"x\": 1}\nsensors.c \n");
}

static void test_no_file_or_a_dash_is_standard_input(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "sensors.a one\nsensors.b two\n");
    assert_int_equal(run_shell(h, "\"$MILL\" feed sensors.value <lines 2>feed.log"), 0);
    harness_wait_count(h, "sensors", 2, 1000);
    assert_int_equal(run_shell(h, "cat lines | \"$MILL\" feed sensors.value - 2>feed.log"), 0);
    harness_wait_count(h, "sensors", 4, 1000);
    assert_int_equal(run_shell(h, "cat lines | \"$MILL\" feed - --count 1 2>feed.log"), 0);
    harness_wait_count(h, "sensors", 5, 1000);
    const struct harness_messages *messages = harness_read(h, "sensors");
    assert_string_equal(messages->items[0].payload, "sensors.a one");
    assert_string_equal(messages->items[4].subject, "sensors.a");
    assert_string_equal(messages->items[4].payload, "one");
}

static void test_the_rate_is_kept(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "one\n");
    int64_t begin = clock_monotonic_ns();
    struct process *feed =
        harness_tidemill(h, "feed", "sensors.a", "lines", "--count", "51", "--rate", "100");
    assert_int_equal(harness_wait_exit(feed, 10000), 0);
    assert_true(clock_monotonic_ns() - begin > 450 * NS_PER_MS); /* 50 gaps of 10 ms */
    harness_wait_count(h, "sensors", 51, 1000);
}

static void test_nothing_stored_at_all_is_given_up_soon(struct harness *h)
{
    harness_write_file(h, "lines", "one\n");
    struct process *feed = harness_tidemill(h, "feed", "sensors.a", "lines", "--count", "100000");
    assert_int_equal(harness_wait_exit(feed, 10000), 1);
    expect_output(feed, "not stored: no stream stores this subject");
    assert_in_range(harness_log_count(feed, "\n"), 2, 13);
}

static void test_a_header_without_a_colon_is_an_error(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "1\n");
    struct process *feed = harness_tidemill(h, "feed", "sensors.a", "lines", "--header", "north");
    assert_int_equal(harness_wait_exit(feed, 5000), 1);
    expect_output(feed, "--header north: NAME:VALUE is expected");
    assert_int_equal(harness_count(h, "sensors"), 0);
}

static void test_tap_shows_what_its_wildcards_match_and_no_more(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    struct process *tap = TAP(h, "sensors.*.value", "--count", "2", "--timeout", "5");
    harness_publish(h, "sensors.a.value", "1");
    harness_publish(h, "sensors.a.fault", "2");
    harness_publish(h, "sensors.a.b.value", "3");
    harness_publish(h, "sensors.b.value", "4");
    harness_publish(h, "sensors.c.value", "5"); /* one more than it asked for */
    assert_int_equal(harness_wait_exit(tap, 6000), 0);
    expect_output(tap, "\nsensors.a.value 1\nsensors.b.value 4\n");
    assert_int_equal(harness_log_count(tap, "sensors.c"), 0);
}

static void test_a_line_that_no_stream_stores_is_named(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "sensors.a 1\nnowhere 2\nsensors.b 3\n");
    struct process *feed = harness_tidemill(h, "feed", "-", "lines");
    assert_int_equal(harness_wait_exit(feed, 5000), 1);
    expect_output(feed, "line 2: not stored: no stream stores this subject");
    expect_output(feed, "3 published, 2 acked");
    harness_wait_count(h, "sensors", 2, 1000);
}

static void test_a_payload_that_is_too_large_is_an_error(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    char lines[1200];
    snprintf(lines, sizeof(lines), "short\n%1001d\n", 7);
    harness_write_file(h, "lines", lines);
    struct process *feed = harness_tidemill(h, "feed", "sensors.a", "lines");
    assert_int_equal(harness_wait_exit(feed, 5000), 1);
    expect_output(feed, "line 2: a payload of 1001 bytes, and the server takes 1000 at most");
}

static void test_headers_go_along(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "1\n");
    struct process *tap = TAP(h, "sensors.*", "--headers", "--count=1", "--timeout=5");
    struct process *feed =
        harness_tidemill(h, "feed", "sensors.a", "lines", "--header", "Site: north");
    assert_int_equal(harness_wait_exit(feed, 5000), 0);
    assert_int_equal(harness_wait_exit(tap, 6000), 0);
    expect_output(tap, "sensors.a [Site: north] 1\n");
}

static void test_feed_without_a_server_fails_in_one_line(struct harness *h)
{
    harness_write_file(h, "lines", "1\n");
    struct process *feed = harness_tidemill(h, "feed", "sensors.a", "lines");
    assert_int_equal(harness_wait_exit(feed, 10000), 1);
    expect_output(feed, "no server answers there");
    assert_int_equal(harness_log_count(feed, "\n"), 1);
}

static void test_a_password_is_asked_for_and_taken(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    harness_write_file(h, "lines", "1\n");
    struct process *refused =
        harness_tidemill(h, "feed", "sensors.a", "lines", "--user", "bob", "--password", "wrong");
    assert_int_equal(harness_wait_exit(refused, 5000), 1);
    expect_output(refused, "authorization violation");
    struct process *taken =
        harness_tidemill(h, "feed", "sensors.a", "lines", "--user", "bob", "--password", "right");
    assert_int_equal(harness_wait_exit(taken, 5000), 0);
}

static void test_a_message_is_one_line_whatever_is_in_it(struct harness *h)
{
    harness_stream(h, "sensors", "sensors.>");
    struct process *tap = TAP(h, "sensors.>", "--count", "1", "--timeout", "5");
    harness_publish(h, "sensors.a", "two\nlines\x1b[31m");
    assert_int_equal(harness_wait_exit(tap, 6000), 0);
    expect_output(tap, "sensors.a two\\nlines\\x1b[31m\n");
}

static void test_tap_fails_when_the_count_is_not_reached_in_time(struct harness *h)
{
    struct process *tap = TAP(h, "sensors.>", "--count", "1", "--timeout", "200ms");
    assert_int_equal(harness_wait_exit(tap, 5000), 1);
    expect_output(tap, "0 of 1 messages came in time");
}

static void test_a_signal_ends_tap_well(struct harness *h)
{
    harness_stop(TAP(h, "sensors.>"), 5000);
    struct process *tap = TAP(h, "sensors.>", "--count", "9");
    harness_signal(tap, SIGINT);
    assert_int_equal(harness_wait_exit(tap, 5000), 0);
}

static void test_a_subscription_that_is_not_permitted_is_an_error(struct harness *h)
{
    struct process *tap =
        harness_tidemill(h, "tap", "secret", "--user", "bob", "--password", "right");
    assert_int_equal(harness_wait_exit(tap, 5000), 1);
    expect_output(tap, "permission is missing: the server denies this user to subscribe to secret");
}

static void test_wrong_usage_is_one_line_with_the_nearest_word(struct harness *h)
{
    struct process *flag = harness_tidemill(h, "tap", "a", "--cuont", "3");
    assert_int_equal(harness_wait_exit(flag, 5000), 2);
    expect_output(flag, "unknown flag --cuont: did you mean --count?");
    struct process *command = harness_tidemill(h, "fead");
    assert_int_equal(harness_wait_exit(command, 5000), 2);
    expect_output(command, "unknown command fead: did you mean feed?");
    struct process *subject = harness_tidemill(h, "feed", "a..b");
    assert_int_equal(harness_wait_exit(subject, 5000), 2);
}

static void test_help_tells_of_every_command(struct harness *h)
{
    struct process *help = harness_tidemill(h, "help");
    assert_int_equal(harness_wait_exit(help, 5000), 0);
    expect_output(help, "tidemill feed ");
    struct process *one = harness_tidemill(h, "feed", "--help");
    assert_int_equal(harness_wait_exit(one, 5000), 0);
    expect_output(one, "usage: tidemill feed SUBJECT");
}

int main(void)
{
    static const char users[] =
        "authorization { users: ["
        "{ user: bob, password: right, permissions: { subscribe: { deny: secret } } } ] }";
    const struct CMUnitTest tests[] = {
        harness_test(test_lines_of_a_file_are_stored_and_counted),
        harness_test(test_a_file_is_read_again_until_count_is_reached),
        harness_test(test_lines_may_bring_their_own_subject),
        harness_test(test_no_file_or_a_dash_is_standard_input),
        harness_test(test_the_rate_is_kept),
        harness_test(test_nothing_stored_at_all_is_given_up_soon),
        harness_test(test_a_header_without_a_colon_is_an_error),
        harness_test(test_tap_shows_what_its_wildcards_match_and_no_more),
        harness_test(test_a_line_that_no_stream_stores_is_named),
        harness_test_with(test_a_payload_that_is_too_large_is_an_error,
                          .server_config = "max_payload: 1000"),
        harness_test(test_headers_go_along),
        harness_test_with(test_feed_without_a_server_fails_in_one_line, .no_server = true),
        harness_test_with(test_a_password_is_asked_for_and_taken, .server_config = users,
                          .user = "bob", .password = "right"),
        harness_test(test_a_message_is_one_line_whatever_is_in_it),
        harness_test(test_tap_fails_when_the_count_is_not_reached_in_time),
        harness_test(test_a_signal_ends_tap_well),
        harness_test_with(test_a_subscription_that_is_not_permitted_is_an_error,
                          .server_config = users, .user = "bob", .password = "right"),
        harness_test_with(test_wrong_usage_is_one_line_with_the_nearest_word, .no_server = true),
        harness_test_with(test_help_tells_of_every_command, .no_server = true),
    };
    return cmocka_run_group_tests_name("feed_tap", tests, NULL, NULL);
}
