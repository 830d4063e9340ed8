#include "harness.h"

#include <errno.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* What commands do otherwise when somebody sits there: they ask, and fit the window. */

enum { PATIENCE_MS = 15000, COLUMNS = 60, TEXT_MAX = 16384 };

struct terminal {
    struct harness *h;
    int fd;
    pid_t pid;
    char text[TEXT_MAX]; /* what has come, with \n for a line's end */
    size_t size;
};

/* Starts `tidemill dead ...` in a window that is COLUMNS wide. */
static void start(struct terminal *terminal, struct harness *h, const char *const *arguments)
{
    struct winsize window = {.ws_row = 24, .ws_col = COLUMNS};
    const char *argv[8] = {harness_program(h)}, *url = harness_url(h);
    for (int i = 0; i < 6 && arguments[i] != NULL; i++)
        argv[i + 1] = arguments[i];
    *terminal = (struct terminal){.h = h};
    terminal->pid = forkpty(&terminal->fd, NULL, NULL, &window);
    assert_true(terminal->pid >= 0);
    if (terminal->pid > 0)
        return;
    setenv("NATS_URL", url, 1);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

#define START(terminal, h, ...) start(terminal, h, (const char *const[]){"dead", __VA_ARGS__, NULL})

/* Whether something more has come; false at the end. */
static bool read_more(struct terminal *terminal)
{
    char piece[512];
    ssize_t size = read(terminal->fd, piece, sizeof(piece));
    for (ssize_t i = 0; i < size; i++) {
        if (piece[i] != '\r' && terminal->size + 1 < TEXT_MAX)
            terminal->text[terminal->size++] = piece[i];
    }
    terminal->text[terminal->size] = '\0';
    return size > 0;
}

static void wait_text(struct terminal *terminal, const char *text)
{
    while (strstr(terminal->text, text) == NULL) {
        if (!read_more(terminal))
            harness_fail(terminal->h, "\"%s\" is not in: %s", text, terminal->text);
    }
}

static void type(struct terminal *terminal, const char *keys)
{
    assert_int_equal(write(terminal->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* Its exit status. */
static int end(struct terminal *terminal)
{
    int status = 0;
    while (read_more(terminal))
        ;
    assert_int_equal(waitpid(terminal->pid, &status, 0), terminal->pid);
    close(terminal->fd);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void put_letter(struct harness *h, const char *error)
{
    static const char *const headers[][2] = {
        {"Tidemill-Subject", "sensors.value"}, {"Tidemill-Reason", "error"},
        {"Tidemill-Rule", "limits"},           {"Tidemill-Stream", "sensors"},
        {"Tidemill-Sequence", "42"},           {"Tidemill-Delivered", "5"},
    };
    natsMsg *message = NULL;
    assert_int_equal(natsMsg_Create(&message, "dead.sensors.mill", NULL, "{}", 2), NATS_OK);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        assert_int_equal(natsMsgHeader_Add(message, headers[i][0], headers[i][1]), NATS_OK);
    assert_int_equal(natsMsgHeader_Add(message, "Tidemill-Error", error), NATS_OK);
    natsStatus s = js_PublishMsg(NULL, harness_js(h), message, NULL, NULL);
    natsMsg_Destroy(message);
    assert_int_equal(s, NATS_OK);
}

static void test_purge_asks_and_a_no_removes_nothing(struct harness *h)
{
    struct terminal terminal;
    harness_stream(h, "dead", "dead.>");
    put_letter(h, "first");
    put_letter(h, "second");
    START(&terminal, h, "purge", "--all");
    wait_text(&terminal, "remove 2 dead letters from stream dead for good? [y/N] ");
    type(&terminal, "\n");
    assert_int_equal(end(&terminal), 1);
    assert_non_null(strstr(terminal.text, "0 purged\n"));
    harness_wait_count(h, "dead", 2, PATIENCE_MS);
}

static void test_purge_removes_after_a_yes(struct harness *h)
{
    struct terminal terminal;
    harness_stream(h, "dead", "dead.>");
    put_letter(h, "first");
    put_letter(h, "second");
    START(&terminal, h, "purge", "2");
    wait_text(&terminal, "remove 1 dead letter from stream dead for good? [y/N] ");
    type(&terminal, "Yes\n");
    assert_int_equal(end(&terminal), 0);
    assert_non_null(strstr(terminal.text, "1 purged\n"));
    harness_wait_count(h, "dead", 1, PATIENCE_MS);
    assert_int_equal(harness_read(h, "dead")->items[0].sequence, 1);
}

/* How many characters a line has, in UTF-8. */
static size_t characters(const char *line, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)line[i] & 0xC0) != 0x80;
    return count;
}

static void test_a_list_is_as_wide_as_the_window_and_tells_ages(struct harness *h)
{
    struct terminal terminal;
    harness_stream(h, "dead", "dead.>");
    put_letter(h, "short");
    put_letter(h, "\u00fcber all this the \u00fc is one character, and none is cut in two "
                  "\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc");
    START(&terminal, h, "list");
    assert_int_equal(end(&terminal), 0);

    const char *line = terminal.text;
    assert_int_equal(strncmp(line, "SEQUENCE  AGE", 13), 0);
    int cut = 0;
    for (const char *next; (next = strchr(line, '\n')) != NULL; line = next + 1) {
        size_t count = characters(line, (size_t)(next - line));
        assert_true(count <= COLUMNS);
        if (strncmp(next - 3, "\u2026", 3) == 0) { /* more follows */
            cut++;
            assert_int_equal(count, COLUMNS);
        }
    }
    assert_int_equal(cut, 1);
    assert_non_null(strstr(terminal.text, "\u00fcber"));
}

static void test_what_is_shown_ends_with_the_line(struct harness *h)
{
    struct terminal terminal;
    harness_stream(h, "dead", "dead.>");
    put_letter(h, "rules/limits.lua:7: no");
    START(&terminal, h, "show", "1");
    assert_int_equal(end(&terminal), 0);
    assert_non_null(strstr(terminal.text, "rules/limits.lua:7: no\n"));
    assert_int_equal(terminal.text[terminal.size - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_purge_asks_and_a_no_removes_nothing),
        harness_test(test_purge_removes_after_a_yes),
        harness_test(test_a_list_is_as_wide_as_the_window_and_tells_ages),
        harness_test(test_what_is_shown_ends_with_the_line),
    };
    return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
