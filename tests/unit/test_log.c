#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "bus/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Everything is logged into memory; `text` holds it after read_log. */

static FILE *stream;
static char *text;
static size_t size;

static int open_log(void **state)
{
    (void)state;
    stream = open_memstream(&text, &size);
    return stream != NULL ? 0 : -1;
}

static int close_log(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL);
    fclose(stream);
    free(text);
    text = NULL;
    return 0;
}

/* What has been logged, which is one line: without its end. */
static const char *read_line(void)
{
    fflush(stream);
    assert_true(size > 0);
    assert_ptr_equal(memchr(text, '\n', size), text + size - 1);
    text[size - 1] = '\0';
    return text;
}

/* The part of a line in text format behind its time. */
static const char *behind_time(const char *line)
{
    int end = 0, number;
    sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &number, &number, &number, &number, &number,
           &number, &number, &end);
    assert_int_equal(end, 25);
    return line + end;
}

/* The field of a line in JSON format, decoded. */
static const char *field(const char *line, const char *name)
{
    static char value[4 * 4096];
    assert_true(json_scan_valid(line, strlen(line)));
    assert_true(json_scan_string(line, strlen(line), name, value, sizeof(value)));
    return value;
}

static void assert_utf8(const char *line)
{
    while (*line != '\0') {
        size_t step = utf8_size(line, UTF8_SIZE_MAX);
        assert_true(step > 0);
        line += step;
    }
}

/* --- text --- */

static void test_a_line_has_time_level_component_and_message(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_info("worker 1", "%d of %s", 7, "nine");
    assert_string_equal(behind_time(read_line()), "info  worker 1: 7 of nine");
}

static void test_one_event_is_one_line_whatever_it_says(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_info("a\nb", "one\r\ntwo\tthree\033[31m\x7f\xc2\x9b");
    assert_string_equal(behind_time(read_line()),
                        "info  a\\nb: one\\x0d\\ntwo\\tthree\\x1b[31m\\x7f\\x9b");
}

static void test_other_languages_are_left_alone(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_info("worker 1", "K\xc3\xbchlung \xe6\xb8\xa9\xe5\xba\xa6 \xf0\x9f\x98\x80");
    assert_string_equal(behind_time(read_line()),
                        "info  worker 1: K\xc3\xbchlung \xe6\xb8\xa9\xe5\xba\xa6 \xf0\x9f\x98\x80");
}

static void test_bytes_that_are_no_text_are_escaped(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_info("worker 1", "a\xff\xc3(");
    assert_string_equal(behind_time(read_line()), "info  worker 1: a\\xff\\xc3(");
}

/* --- JSON --- */

static void test_a_json_line_is_an_object_of_four_strings(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
    log_warn("rule high", "%s", "too high");
    const char *line = read_line();
    assert_int_equal(json_scan_count(line, strlen(line), ""), 4);
    assert_string_equal(field(line, "level"), "warn");
    assert_string_equal(field(line, "component"), "rule high");
    assert_string_equal(field(line, "message"), "too high");
    assert_int_equal(strlen(field(line, "time")), strlen("2026-01-01T00:00:00.000Z"));
}

static void test_json_gives_back_every_text(void **state)
{
    (void)state;
    static const char hard[] = "\"quoted\" \\ back\n\r\t\b\f\x01\x1f\x7f \xc2\x85 \xe2\x80\xa8 {}";
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
    log_info(hard, "%s", hard);
    const char *line = read_line();
    assert_string_equal(field(line, "message"), hard);
    assert_string_equal(field(line, "component"), hard);
}

static void test_every_byte_makes_valid_json(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        char message[] = {'a', (char)byte, 'b', '\0'};
        log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
        rewind(stream);
        log_info("x", "%s", message);
        const char *line = read_line();
        assert_utf8(line);
        assert_string_equal(field(line, "message"), byte < 0x80 ? message
                                                                : "a\xef\xbf\xbd"
                                                                  "b");
    }
}

/* --- cuts --- */

enum { MESSAGE_MAX = 4096 };

static char *repeat(const char *unit, size_t bytes)
{
    char *long_text = malloc(bytes + 1);
    assert_non_null(long_text);
    for (size_t i = 0; i < bytes; i++)
        long_text[i] = unit[i % strlen(unit)];
    long_text[bytes] = '\0';
    return long_text;
}

static void test_a_message_is_cut_at_4_kib(void **state)
{
    (void)state;
    char *message = repeat("x", 10000);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_info("w", "%s", message);
    free(message);
    assert_int_equal(strlen(behind_time(read_line())), strlen("info  w: ") + MESSAGE_MAX);
}

static void test_a_message_that_just_fits_is_whole(void **state)
{
    (void)state;
    char *message = repeat("\xe2\x82\xac"
                           "a",
                           MESSAGE_MAX);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
    log_info("w", "%s", message);
    assert_string_equal(field(read_line(), "message"), message);
    free(message);
}

static void test_a_cut_leaves_json_and_characters_whole(void **state)
{
    (void)state;
    static const char *const units[] = {
        "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\"", "\\", "\n", "\x01", "\xff"};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char *message = repeat(units[i], 10000);
            rewind(stream);
            log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
            log_info("w", "%.*s%s", (int)shift, "aaa", message);
            free(message);
            const char *line = read_line();
            assert_utf8(line);
            const char *kept = field(line, "message");
            if (units[i][0] != '\xff')
                assert_in_range(strlen(kept), MESSAGE_MAX - 3, MESSAGE_MAX);
        }
    }
}

static void test_a_huge_component_leaves_the_message_alone(void **state)
{
    (void)state;
    char *component = repeat("\x01\xff", 100000);
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
    char *message = repeat("\x02", MESSAGE_MAX);
    log_info(component, "%s", message);
    assert_string_equal(field(read_line(), "message"), message);
    free(message);
    free(component);
}

/* --- folding --- */

static const struct log_limits three = {.fold = 3, .flood = 3, .interval_ns = 600 * NS_PER_S};

static void fail_often(int times)
{
    for (int i = 1; i <= times; i++)
        log_error("worker 1", "fault %d", i);
}

/* The last of the lines logged. */
static const char *read_last_line(void)
{
    fflush(stream);
    assert_true(size > 0);
    text[size - 1] = '\0';
    const char *end = strrchr(text, '\n');
    return end != NULL ? end + 1 : text;
}

static void test_many_lines_of_a_kind_become_one_with_their_number_and_the_last(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_limit(&three);
    fail_often(1000);
    log_tick(); /* the interval is not over */
    log_flush();
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 4);
    assert_string_equal(behind_time(read_last_line()),
                        "error worker 1: 997 more like this in 0.0 s; the last: fault 1000");
}

static void test_a_folded_line_in_json_has_its_number_in_fields(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_JSON, stream);
    log_limit(&three);
    fail_often(5);
    log_flush();
    const char *line = read_last_line();
    int64_t repeated = 0;
    assert_int_equal(json_scan_count(line, strlen(line), ""), 6);
    assert_string_equal(field(line, "message"), "fault 5");
    assert_true(json_scan_integer(line, strlen(line), "repeated", &repeated));
    assert_int_equal(repeated, 2);
    assert_non_null(strstr(line, "\"seconds\":0.0}"));
}

static void test_a_tick_tells_what_an_interval_owes(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_limit(&(struct log_limits){.fold = 1, .interval_ns = NS_PER_MS});
    int64_t deadline_ns = clock_monotonic_ns() + 10 * NS_PER_S;
    while (strstr(text != NULL ? text : "", "more like this") == NULL) {
        assert_true(clock_monotonic_ns() < deadline_ns);
        fail_often(3);
        log_tick();
        fflush(stream);
    }
}

/* --- secrets and colours --- */

static void test_a_password_in_a_url_is_not_shown(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_info("nats", "cannot reach %s", "nats://ann:s3cret@host:4222");
    assert_string_equal(behind_time(read_line()), "info  nats: cannot reach nats://***@host:4222");
}

/* What a line looks like on a terminal. */
static const char *line_on_terminal(enum log_format format)
{
    static char line[512];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    FILE *file = fopen(ptsname(terminal), "w");
    assert_non_null(file);
    log_open(LOG_LEVEL_INFO, format, file);
    log_warn("w", "x");
    ssize_t got = read(terminal, line, sizeof(line) - 1);
    assert_true(got > 0);
    line[got] = '\0';
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, NULL);
    fclose(file);
    close(terminal);
    return line;
}

static void test_text_has_colours_on_a_terminal_only(void **state)
{
    (void)state;
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_non_null(strstr(line_on_terminal(LOG_FORMAT_TEXT), "\033[33mwarn \033[0m w: x"));
    assert_null(strchr(line_on_terminal(LOG_FORMAT_JSON), '\033'));
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    log_warn("w", "x");
    assert_null(strchr(read_line(), '\033'));
}

static void test_no_color_and_a_dumb_terminal_are_heeded(void **state)
{
    (void)state;
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "1", 1);
    assert_null(strchr(line_on_terminal(LOG_FORMAT_TEXT), '\033'));
    setenv("NO_COLOR", "", 1); /* set to nothing counts as not set */
    assert_non_null(strchr(line_on_terminal(LOG_FORMAT_TEXT), '\033'));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    assert_null(strchr(line_on_terminal(LOG_FORMAT_TEXT), '\033'));
}

/* --- levels --- */

static void test_what_is_below_the_level_is_not_logged(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_WARN, LOG_FORMAT_TEXT, stream);
    log_debug("w", "no");
    log_info("w", "no");
    log_warn("w", "yes");
    assert_string_equal(behind_time(read_line()), "warn  w: yes");
}

static void test_the_level_may_change_while_running(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, stream);
    log_debug("w", "no");
    log_set_level(LOG_LEVEL_DEBUG);
    assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
    log_debug("w", "yes");
    assert_string_equal(behind_time(read_line()), "debug w: yes");
}

static void test_levels_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++)
        assert_string_equal(log_level_name((enum log_level)i), names[i]);
}

/* --- the rest --- */

static void test_errno_is_left_alone(void **state)
{
    (void)state;
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    errno = ENOENT;
    log_info("w", "x");
    assert_int_equal(errno, ENOENT);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *argument)
{
    for (int i = 0; i < LINES; i++)
        log_info("thread", "%s", (const char *)argument);
    return NULL;
}

static void test_lines_of_several_threads_never_mix(void **state)
{
    (void)state;
    static char messages[THREADS][64];
    pthread_t threads[THREADS];
    log_open(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, stream);
    for (int i = 0; i < THREADS; i++) {
        memset(messages[i], 'a' + i, sizeof(messages[i]) - 1);
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, messages[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    fflush(stream);
    size_t lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *message = behind_time(line) + strlen("info  thread: ");
        assert_string_equal(message, messages[message[0] - 'a']);
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_log, close_log)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_line_has_time_level_component_and_message),
        TEST(test_one_event_is_one_line_whatever_it_says),
        TEST(test_other_languages_are_left_alone),
        TEST(test_bytes_that_are_no_text_are_escaped),
        TEST(test_a_json_line_is_an_object_of_four_strings),
        TEST(test_json_gives_back_every_text),
        TEST(test_every_byte_makes_valid_json),
        TEST(test_a_message_is_cut_at_4_kib),
        TEST(test_a_message_that_just_fits_is_whole),
        TEST(test_a_cut_leaves_json_and_characters_whole),
        TEST(test_a_huge_component_leaves_the_message_alone),
        TEST(test_many_lines_of_a_kind_become_one_with_their_number_and_the_last),
        TEST(test_a_folded_line_in_json_has_its_number_in_fields),
        TEST(test_a_tick_tells_what_an_interval_owes),
        TEST(test_a_password_in_a_url_is_not_shown),
        TEST(test_text_has_colours_on_a_terminal_only),
        TEST(test_no_color_and_a_dumb_terminal_are_heeded),
        TEST(test_what_is_below_the_level_is_not_logged),
        TEST(test_the_level_may_change_while_running),
        TEST(test_levels_have_names),
        TEST(test_errno_is_left_alone),
        TEST(test_lines_of_several_threads_never_mix),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
