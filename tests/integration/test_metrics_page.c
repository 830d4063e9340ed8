#include "faults.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/*
 * The page of /metrics as a whole: what promtool says of it, and whether it shows just the metrics
 * that the table in docs/operations.md has.
 */

enum { PATIENCE_MS = 20000, INPUTS = 5000, NAMES_MAX = 200, NAME_SIZE = 160 };

/* ---- a process under load whose every metric is on the page ---- */

static const char config[] = //
    "return {\n"
    "  nats = { url = env('NATS_URL') },\n"
    "  streams = { { name = 'in', subjects = { 'in.>' } },\n"
    "              { name = 'out', subjects = { 'out.>' } } },\n"
    "  sources = { { stream = 'in', durable = 'd', workers = 2, max_deliver = 2,\n"
    "                backoff = { '50ms' } } },\n"
    "}\n";

static const char rule[] = //
    "local seen = mill.counter('plant_readings', { site = 'north \"1\"\\\\\\n' })\n"
    "local last = mill.gauge('plant_last_reading_celsius')\n"
    "local spread = mill.histogram('plant_reading_age_seconds', { site = 'north' })\n"
    "return { subjects = { 'in.>' }, on_message = function(msg)\n"
    "  local n = msg.data.n\n"
    "  seen:inc() last:set(n) spread:observe(n / 1000)\n"
    "  if n == 17 then error('no') end\n"
    "  mill.publish('out.a', { n = n })\n"
    "end }\n";

static struct process *start(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/reading.lua", rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_signal(mill, SIGHUP); /* what only a reload shows */
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    return mill;
}

static const char *scrape(struct process *mill)
{
    const char *page = NULL;
    assert_int_equal(harness_http(mill, "/metrics", &page), 200);
    return page;
}

/* ---- promtool ---- */

/* PROMTOOL, or where scripts/promtool puts it, or the one in PATH. */
static const char *promtool(void)
{
    static char path[4096];
    const char *given = getenv("PROMTOOL");
    if (given != NULL)
        return given;
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 32);
    assert_true(size > 0);
    path[size] = '\0';
    for (int up = 0; up < 2; up++) /* from build/tests/integration_metrics_page */
        *strrchr(path, '/') = '\0';
    strcat(path, "/tools/promtool");
    return access(path, X_OK) == 0 ? path : "promtool";
}

/*
 * Runs `promtool check metrics` on a page: its exit status, -1 when there is none; what it says in
 * a file.
 */
static int check_metrics(struct harness *h, const char *page, const char *answer)
{
    harness_write_file(h, "page", page);
    harness_write_file(h, answer, "");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen(harness_path(h, "page"), "r", stdin) != NULL &&
            freopen(harness_path(h, answer), "w", stdout) != NULL && dup2(1, 2) == 2)
            execlp(promtool(), "promtool", "check", "metrics", (char *)NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

static void test_promtool_has_nothing_to_say_about_the_page(struct harness *h)
{
    struct process *mill = start(h);
    harness_feed(h, "in.a", 0, INPUTS, "{\"n\":#}");

    for (int scrapes = 0; scrapes < 3; scrapes++) { /* the load is on in the first ones */
        const char *page = scrape(mill);
        int status = check_metrics(h, page, "answer");
        if (status == -1) {
            print_message("skipped: no promtool (scripts/promtool FOLDER brings it)\n");
            skip();
        }
        const char *answer = harness_read_file(h, "answer");
        if (status != 0 || answer[0] != '\0')
            harness_fail(h, "promtool check metrics: %d\n%s", status, answer);
        if (scrapes == 1)
            harness_wait_count(h, "out", INPUTS - 1, PATIENCE_MS);
    }
    const char *page = scrape(mill);
    assert_non_null(strstr(page, "\nplant_readings_total{site=\"north \\\"1\\\"\\\\\\n\"} "));
    assert_non_null(strstr(page, "\nplant_last_reading_celsius "));
    assert_non_null(
        strstr(page, "\nplant_reading_age_seconds_bucket{site=\"north\",le=\"+Inf\"} "));
    harness_stop(mill, PATIENCE_MS);
}

/* So that the test above can fail: promtool does find what is wrong with a name. */
static void test_promtool_is_asked_in_earnest(struct harness *h)
{
    int status = check_metrics(h,
                               "# HELP milliseconds_total X.\n# TYPE milliseconds_total gauge\n"
                               "milliseconds_total 1\n",
                               "answer");
    if (status == -1)
        skip();
    assert_int_not_equal(status, 0);
    assert_non_null(strstr(harness_read_file(h, "answer"), "milliseconds_total"));
}

/* ---- the documentation ---- */

/* Names with their labels: "tidemill_outputs_total{worker,outcome}". */
struct names {
    char items[NAMES_MAX][NAME_SIZE];
    size_t count;
};

static void add_name(struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0)
            return;
    }
    assert_true(names->count < NAMES_MAX);
    snprintf(names->items[names->count++], NAME_SIZE, "%s", name);
}

static bool has_name(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0)
            return true;
    }
    return false;
}

/* The label names of a series, le left out: `{a="x",b="y",le="1"} 5` gives "{a,b}". */
static void append_labels(char *name, const char *series)
{
    size_t size = strlen(name);
    const char *separator = "{";
    const char *at = series;
    while (*at == '{' || *at == ',') {
        size_t length = strcspn(++at, "=");
        if (strncmp(at, "le=", 3) != 0) {
            size += (size_t)snprintf(name + size, NAME_SIZE - size, "%s%.*s", separator,
                                     (int)length, at);
            separator = ",";
        }
        for (at += length + 2; *at != '"'; at++)
            at += *at == '\\';
        at++;
    }
    if (*separator == ',')
        snprintf(name + size, NAME_SIZE - size, "}");
}

/* What the page shows, but for what rules have made. */
static void read_page(const char *page, struct names *names)
{
    char name[NAME_SIZE] = "";
    for (const char *line = page; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "# TYPE %100s", name) == 1 || *line == '#')
            continue;
        if (strncmp(name, "tidemill_", 9) != 0 && strncmp(name, "process_", 8) != 0)
            continue;
        char with_labels[NAME_SIZE];
        snprintf(with_labels, sizeof(with_labels), "%s", name);
        append_labels(with_labels, line + strcspn(line, "{ "));
        add_name(names, with_labels);
    }
}

/* The first cells of the tables in the section "Metrics". */
static void read_documentation(const char *text, struct names *names)
{
    const char *line = strstr(text, "\n## Metrics\n");
    assert_non_null(line);
    const char *end = strstr(line + 1, "\n## ");
    for (; line != NULL && line < end; line = strchr(line + 1, '\n')) {
        char name[NAME_SIZE];
        if (sscanf(line, "\n| `%150[^`]`", name) == 1)
            add_name(names, name);
    }
}

static void test_the_page_shows_what_the_documentation_says(struct harness *h)
{
    static struct names shown, told;
    struct process *mill = start(h);
    harness_feed(h, "in.a", 0, 20, "{\"n\":#}");
    harness_wait_count(h, "out", 19, PATIENCE_MS);
    int64_t deadline = harness_deadline(PATIENCE_MS);
    const char *page;
    while (strstr(page = scrape(mill), "\ntidemill_consumer_pending{") == NULL)
        assert_true(clock_monotonic_ns() < deadline);

    read_page(page, &shown);
    read_documentation(harness_read_file(h, harness_source_path(h, "docs/operations.md")), &told);
    for (size_t i = 0; i < shown.count; i++) {
        if (!has_name(&told, shown.items[i]))
            print_error("docs/operations.md, Metrics: no row for `%s`\n", shown.items[i]);
    }
    for (size_t i = 0; i < told.count; i++) {
        if (!has_name(&shown, told.items[i]))
            print_error("docs/operations.md, Metrics: `%s` is not on the page\n", told.items[i]);
    }
    for (size_t i = 0; i < told.count; i++)
        assert_true(has_name(&shown, told.items[i]));
    assert_int_equal(shown.count, told.count);
    assert_true(told.count > 20);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_promtool_has_nothing_to_say_about_the_page),
        harness_test_with(test_promtool_is_asked_in_earnest, .no_server = true),
        harness_test(test_the_page_shows_what_the_documentation_says),
    };
    return cmocka_run_group_tests_name("metrics_page", tests, NULL, NULL);
}
