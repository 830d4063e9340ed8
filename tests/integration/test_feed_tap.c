#include "harness.h"

#include <stdio.h>
#include <string.h>

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
    expect_output(tap, "Permissions Violation");
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
