#include "harness.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The alerts and the dashboard of deploy/ ask for what the program has: every metric, label and
 * label value in their queries is looked up in the /metrics of a process to which everything has
 * happened that they watch for. A query for what is not there never fails in Prometheus; it is
 * silent for ever.
 */

enum { PATIENCE_MS = 20000, FILE_MAX = 1 << 18, NAME_SIZE = 128, LINE_SIZE = 512 };

static const char config[] =
    "return {\n"
    "  nats = { url = env('NATS_URL') },\n"
    "  streams = { { name = 'in', subjects = { 'in.>' } },\n"
    "              { name = 'out', subjects = { 'out.>' } } },\n"
    "  sources = { { stream = 'in', durable = 'd', max_deliver = 2, backoff = { '50ms' } } },\n"
    "}\n";

static const char rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                           "  if msg.data.n == 2 then error('no') end\n"
                           "  if msg.data.n == 3 then msg:reject('never') end\n"
                           "  mill.publish('out.a', msg.data)\n"
                           "end }\n";

/* The page of a process with outputs, errors, dead letters, and reloads of both kinds behind it. */
static const char *scrape(struct harness *h)
{
    const char *page = NULL;
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/a.lua", rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_feed(h, "in.a", 1, 3, "{\"n\":#}");
    harness_publish(h, "in.b", "1"); /* no rule wants it */
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_wait_count(h, "dead", 2, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    harness_write_file(h, "rules/a.lua", "return {");
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    assert_int_equal(harness_http(mill, "/metrics", &page), 200);
    return page;
}

/* ---- the page ---- */

/* Whether the page has the metric; a histogram has three names more. */
static bool has_metric(const char *page, const char *name)
{
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    char line[LINE_SIZE];
    for (size_t i = 0; i < 4; i++) {
        size_t size = strlen(name), cut = strlen(suffixes[i]);
        if (size <= cut || strcmp(name + size - cut, suffixes[i]) != 0)
            continue;
        snprintf(line, sizeof(line), "\n# TYPE %.*s %s", (int)(size - cut), name,
                 i > 0 ? "histogram\n" : "");
        if (strstr(page, line) != NULL)
            return true;
    }
    return false;
}

/* Whether a line of the page that starts with `name{` has `text` behind a brace or a comma. */
static bool has_label(const char *page, const char *name, const char *text)
{
    char start[LINE_SIZE];
    snprintf(start, sizeof(start), "\n%s{", name);
    for (const char *line = strstr(page, start); line != NULL; line = strstr(line + 1, start)) {
        size_t size = strcspn(line + 1, "\n") + 1;
        for (const char *at = strstr(line, text); at != NULL && at < line + size;
             at = strstr(at + 1, text)) {
            if (at[-1] == '{' || at[-1] == ',')
                return true;
        }
    }
    return false;
}

/* ---- the queries ---- */

struct queries {
    const char *file, *page;
    char *text;
    size_t metrics, labels, values; /* how many were looked up */
};

static void read_queries(struct harness *h, struct queries *queries)
{
    FILE *file = fopen(harness_source_path(h, queries->file), "re");
    assert_non_null(file);
    queries->text = calloc(1, FILE_MAX);
    assert_non_null(queries->text);
    size_t size = fread(queries->text, 1, FILE_MAX - 1, file);
    fclose(file);
    assert_in_range(size, 1, FILE_MAX - 2);
    char *out = queries->text; /* JSON's \" is a quote */
    for (const char *in = queries->text; *in != '\0'; in++) {
        if (in[0] != '\\' || in[1] != '"')
            *out++ = *in;
    }
    *out = '\0';
}

static size_t word_size(const char *text)
{
    size_t size = 0;
    while (isalnum((unsigned char)text[size]) || text[size] == '_')
        size++;
    return size;
}

/* Prometheus adds them to all that it scrapes from one process; the last one in Kubernetes. */
static bool is_of_the_target(const char *label)
{
    return strcmp(label, "job") == 0 || strcmp(label, "instance") == 0 ||
           strcmp(label, "namespace") == 0;
}

/* The values of one matcher, `a|b`: each must be on the page. Grafana's variables are not known. */
static void check_values(struct queries *queries, const char *name, const char *label,
                         const char *values, size_t size)
{
    char text[LINE_SIZE];
    if (memchr(values, '$', size) != NULL)
        return;
    for (size_t start = 0; start <= size;) {
        size_t length = strcspn(values + start, "|\"");
        snprintf(text, sizeof(text), "%s=\"%.*s\"", label, (int)length, values + start);
        if (!has_label(queries->page, name, text))
            fail_msg("%s asks for %s{%s}, which /metrics has not", queries->file, name, text);
        queries->values++;
        start += length + 1;
    }
}

/* `{label="value", ...}` behind a metric's name, `=~` and the like included. Returns its end. */
static const char *check_selector(struct queries *queries, const char *name, const char *at)
{
    char label[NAME_SIZE], text[NAME_SIZE + 2];
    while (*at != '}') {
        at += strcspn(at, "abcdefghijklmnopqrstuvwxyz_");
        size_t size = word_size(at);
        snprintf(label, sizeof(label), "%.*s", (int)size, at);
        at += size;
        bool equal = *at == '=';
        at += strspn(at, "=!~");
        assert_true(*at == '"');
        size_t length = strcspn(++at, "\"");
        if (!is_of_the_target(label)) {
            snprintf(text, sizeof(text), "%s=\"", label);
            if (!has_label(queries->page, name, text))
                fail_msg("%s asks for the label %s of %s, which it has not", queries->file, label,
                         name);
            queries->labels++;
            if (equal) /* what is excluded need not be there */
                check_values(queries, name, label, at, length);
        }
        at += length + 1;
    }
    return at;
}

static void check_file(struct harness *h, struct queries *queries)
{
    read_queries(h, queries);
    for (const char *at = queries->text; *at != '\0';) {
        size_t size = word_size(at);
        if (size == 0) {
            at++;
            continue;
        }
        char name[NAME_SIZE];
        snprintf(name, sizeof(name), "%.*s", (int)size, at);
        at += size;
        if (strncmp(name, "tidemill_", 9) != 0 && strncmp(name, "process_", 8) != 0)
            continue;
        if (!has_metric(queries->page, name))
            fail_msg("%s names %s, which /metrics has not", queries->file, name);
        queries->metrics++;
        if (*at == '{')
            at = check_selector(queries, name, at + 1);
    }
    free(queries->text);
}

static void test_every_alert_asks_for_what_the_program_has(struct harness *h)
{
    struct queries queries = {.file = "deploy/prometheus/alerts.yml", .page = scrape(h)};
    check_file(h, &queries);
    assert_true(queries.metrics >= 15 && queries.labels >= 2 && queries.values >= 4);
}

static void test_every_panel_asks_for_what_the_program_has(struct harness *h)
{
    struct queries queries = {.file = "deploy/grafana/dashboards/tidemill.json", .page = scrape(h)};
    check_file(h, &queries);
    assert_true(queries.metrics >= 40 && queries.labels >= 10 && queries.values >= 1);
}

static void test_the_autoscaler_asks_for_what_the_program_has(struct harness *h)
{
    struct queries queries = {.file = "deploy/kubernetes/scaling/hpa.yaml", .page = scrape(h)};
    check_file(h, &queries);
    assert_true(queries.metrics >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_every_alert_asks_for_what_the_program_has),
        harness_test(test_every_panel_asks_for_what_the_program_has),
        harness_test(test_the_autoscaler_asks_for_what_the_program_has),
    };
    return cmocka_run_group_tests_name("monitoring", tests, NULL, NULL);
}
