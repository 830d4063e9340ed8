#include "harness.h"

#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "holdings.h"
#include "process.h"
#include "sanitizer.h"

/*
 * Reloads without end under full load. Two workers; a thread of its own sees to it that they always
 * have messages before them, while the test reloads, each time with another version of rules that
 * decide the same. RELOADS=1000 in the environment makes it that many. It prints what it measures.
 */

enum {
    RELOADS = 120,
    BATCH = 200,     /* messages that the feed may send at a time */
    BACKLOG = 4000,  /* kept before the workers, so that they never run dry */
    SLOW_EACH = 500, /* of so many messages one is for the rule that sleeps */
    WORKERS = 2,
    GROWTH_MAX_KB = 4096,     /* from the first half to the second */
    PAUSE_MS = 50 * SLOWNESS, /* half of the pauses are shorter */
    PAUSE_MAX_MS = 2000,      /* all are: with a busy machine somebody else may have the core */
    PATIENCE_MS = 20000
};

static const char config[] =
    "return {\n"
    "  streams = { { name = 'in', subjects = { 'in.>' }, storage = 'memory' },\n"
    "              { name = 'out', subjects = { 'out.>' }, storage = 'memory' } },\n"
    "  sources = { { stream = 'in', durable = 'd', ack_wait = '20s', backoff = { '100ms' },\n"
    "                workers = 2 } } }";

/*
 * Its outputs have an id of their own each time it runs, so that the server drops no second output
 * of one message.
 */
static const char relay[] =
    "local scale = require 'scale'\n"
    "local runs = mill.state('runs')\n"
    "return { subjects = { 'in.a' }, on_message = function(msg)\n"
    "  runs.count = (runs.count or 0) + 1\n"
    "  mill.publish('out.a',\n"
    "    { n = scale(msg.data.n), run = runs.count, worker = mill.worker.id },\n"
    "    { id = 'worker ' .. mill.worker.id .. ' run ' .. runs.count })\n"
    "end }";

/* Waits across reloads: old engines live on for a while. */
static const char slow[] = "return { subjects = { 'in.slow' }, on_message = function(msg)\n"
                           "  mill.sleep(0.01)\n"
                           "  mill.publish('out.slow', { n = msg.data.n },\n"
                           "    { id = 'slow ' .. msg.data.n .. ' at ' .. mill.now() })\n"
                           "end }";

/* Much state, bounded. */
static const char sensors[] = "local scale = require 'scale'\n"
                              "local sensors = mill.state('sensors')\n"
                              "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                              "  local key = 'sensor ' .. msg.data.n % 500\n"
                              "  local sensor = sensors[key] or { count = 0, readings = {} }\n"
                              "  sensor.count = sensor.count + 1\n"
                              "  sensor.readings[sensor.count % 4 + 1] = scale(msg.data.n) / 7\n"
                              "  sensors[key] = sensor\n"
                              "end }";

static const char clockwork[] =
    "local ticks = mill.state('ticks')\n"
    "mill.after(60, function() ticks.late = true end)\n"
    "mill.every(0.02, function() ticks.fast = (ticks.fast or 0) + 1 end)\n"
    "return { every = { 0.05, function()\n"
    "  ticks.count = (ticks.count or 0) + 1\n"
    "end } }";

/* ---- the load ---- */

struct feed {
    struct harness *h;
    pthread_t thread;
    sem_t batches;      /* those that it may send */
    atomic_bool ended;  /* told with one batch more, which is not sent */
    size_t allowed;     /* messages; the test's own */
    atomic_size_t sent; /* messages */
    const char *fault;  /* NULL: all is stored */
};

static natsStatus publish_batches(struct feed *feed, jsCtx *js)
{
    natsStatus s = NATS_OK;
    for (size_t n = 0; s == NATS_OK; n++) {
        if (n % BATCH == 0) {
            sem_wait(&feed->batches);
            if (atomic_load(&feed->ended))
                break;
        }
        char payload[32];
        int size = snprintf(payload, sizeof(payload), "{\"n\":%zu}", n);
        s = js_PublishAsync(js, n % SLOW_EACH == 0 ? "in.slow" : "in.a", payload, size, NULL);
        atomic_fetch_add(&feed->sent, 1);
    }
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = PATIENCE_MS;
    return s == NATS_OK ? js_PublishAsyncComplete(js, &options) : s;
}

static void *run_feed(void *argument)
{
    struct feed *feed = argument;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    jsOptions options;
    jsOptions_Init(&options);
    options.PublishAsync.MaxPending = 2000;
    options.PublishAsync.StallWait = PATIENCE_MS;
    natsStatus s = natsConnection_ConnectTo(&nc, harness_url(feed->h));
    if (s == NATS_OK)
        s = natsConnection_JetStream(&js, nc, &options);
    if (s == NATS_OK)
        s = publish_batches(feed, js);
    feed->fault = s == NATS_OK ? NULL : natsStatus_GetText(s);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    return NULL;
}

/* Lets it send until the workers have enough to do; whether they had something to do until now. */
static bool keep_ahead(struct feed *feed)
{
    size_t done = harness_count(feed->h, "out");
    bool busy = atomic_load(&feed->sent) > done;
    for (; feed->allowed < done + BACKLOG; feed->allowed += BATCH)
        sem_post(&feed->batches);
    return busy;
}

static void start_feed(struct feed *feed)
{
    assert_int_equal(sem_init(&feed->batches, 0, 0), 0);
    assert_int_equal(pthread_create(&feed->thread, NULL, run_feed, feed), 0);
}

static void finish_feed(struct feed *feed)
{
    atomic_store(&feed->ended, true);
    sem_post(&feed->batches);
    pthread_join(feed->thread, NULL);
    sem_destroy(&feed->batches);
    if (feed->fault != NULL)
        harness_fail(feed->h, "the feed broke off: %s", feed->fault);
}

/* ---- what a process holds ---- */

/* Keeps the most that was seen. */
static void look(struct process *mill, struct holdings *most)
{
    struct holdings now;
    assert_int_equal(holdings_read(mill, &now), 0);
    if (now.memory_kb > most->memory_kb)
        most->memory_kb = now.memory_kb;
    if (now.threads > most->threads)
        most->threads = now.threads;
    if (now.descriptors > most->descriptors)
        most->descriptors = now.descriptors;
}

/* ---- what it tells ---- */

/* The number behind `key` in the line `line`. */
static double number_behind(const char *line, const char *key)
{
    const char *found = strstr(line, key);
    assert_non_null(found);
    return strtod(found + strlen(key), NULL);
}

/* The bound of the histogram's buckets under which all pauses for this step were; counts them. */
static double bound_ms(const char *metrics, const char *step, unsigned long long *count)
{
    char key[96];
    snprintf(key, sizeof(key), "tidemill_reload_pause_seconds_count{step=\"%s\"} ", step);
    *count = (unsigned long long)number_behind(metrics, key);
    snprintf(key, sizeof(key), "tidemill_reload_pause_seconds_bucket{step=\"%s\",le=\"", step);
    for (const char *line = metrics; (line = strstr(line, key)) != NULL; line++) {
        if ((unsigned long long)number_behind(line, "\"} ") == *count)
            return strtod(line + strlen(key), NULL) * 1000;
    }
    fail_msg("no bucket of %s has all", step);
    return 0;
}

struct receipts {
    size_t count;
    double *pauses_ms; /* the longest of each reload; sorted */
    double total_ms;   /* of the reloads, from signal to receipt */
};

static int compare_numbers(const void *a, const void *b)
{
    const double *one = a, *other = b;
    return (*one > *other) - (*one < *other);
}

/* Reads the log's lines on reloads; each version must be another than the one before. */
static struct receipts read_receipts(struct harness *h, struct process *mill)
{
    static const char told[] = "rules reloaded: version ";
    struct receipts receipts = {0};
    size_t expected = harness_log_count(mill, told);
    receipts.pauses_ms = calloc(expected + 1, sizeof(*receipts.pauses_ms));
    assert_non_null(receipts.pauses_ms);
    harness_defer(h, free, receipts.pauses_ms);
    char version[64], before[64] = "";
    const char *line = harness_log(mill);
    for (; receipts.count < expected && (line = strstr(line, told)) != NULL; line++) {
        assert_int_equal(sscanf(line, "rules reloaded: version %63[^,],", version), 1);
        assert_string_not_equal(version, before);
        memcpy(before, version, sizeof(before));
        receipts.total_ms += number_behind(line, " rules, in ");
        receipts.pauses_ms[receipts.count++] = number_behind(line, ", longest pause ");
    }
    qsort(receipts.pauses_ms, receipts.count, sizeof(*receipts.pauses_ms), compare_numbers);
    return receipts;
}

/* ---- the test ---- */

static size_t reloads_wanted(void)
{
    const char *given = getenv("RELOADS");
    size_t reloads = given != NULL ? strtoul(given, NULL, 10) : 0;
    return reloads > 0 ? reloads : RELOADS;
}

static void write_rules(struct harness *h, size_t version)
{
    char text[160];
    snprintf(text, sizeof(text), "local version = %zu\nreturn function(n) return n end",
             version % 2);
    harness_write_file(h, "rules/lib/scale.lua", text);
}

static struct process *start(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/relay.lua", relay);
    harness_write_file(h, "rules/slow.lua", slow);
    harness_write_file(h, "rules/sensors.lua", sensors);
    harness_write_file(h, "rules/clockwork.lua", clockwork);
    write_rules(h, 0);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

static int member(const char *payload, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    return (int)number_behind(payload, quoted);
}

/* Every number once, and the runs of each worker without a gap: its state went along each time. */
static void check_outputs(struct harness *h, size_t count)
{
    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(out->count, count);
    bool *seen = calloc(count, sizeof(*seen));
    assert_non_null(seen);
    harness_defer(h, free, seen);
    int runs[WORKERS + 1] = {0}, most[WORKERS + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        const char *payload = out->items[i].payload;
        int n = member(payload, "n");
        assert_true(n >= 0 && (size_t)n < count);
        assert_false(seen[n]);
        seen[n] = true;
        if (strcmp(out->items[i].subject, "out.a") != 0)
            continue;
        int worker = member(payload, "worker"), run = member(payload, "run");
        assert_in_range(worker, 1, WORKERS);
        runs[worker]++;
        most[worker] = run > most[worker] ? run : most[worker];
    }
    for (int worker = 1; worker <= WORKERS; worker++)
        assert_int_equal(runs[worker], most[worker]);
}

static void check_holdings(const struct holdings *first, const struct holdings *second)
{
    print_message("at most, in the first half and in the second: memory %ld and %ld KB, "
                  "threads %ld and %ld, descriptors %ld and %ld\n",
                  first->memory_kb, second->memory_kb, first->threads, second->threads,
                  first->descriptors, second->descriptors);
    assert_true(second->threads <= first->threads);
    assert_true(second->descriptors <= first->descriptors);
    if (!SANITIZED) /* which keeps freed memory for a while */
        assert_true(second->memory_kb <= first->memory_kb + GROWTH_MAX_KB);
}

/* What the page tells of the last reload, and the metric, are of the same version. */
static void check_status(struct process *mill, size_t reloads)
{
    const char *status = NULL, *metrics = NULL;
    char version[32], line[96];
    assert_int_equal(harness_http(mill, "/status", &status), 200);
    const char *reload = strstr(status, "\"reload\":{\"time\":\"2");
    assert_non_null(reload);
    assert_non_null(strstr(reload, "\"ok\":true,\"error\":null"));
    assert_int_equal(number_behind(reload, "\"done\":"), reloads + 1); /* the first load, too */
    reload = strstr(reload, "\"rules_version\":\"");
    assert_non_null(reload);
    assert_int_equal(sscanf(reload, "\"rules_version\":\"%31[^\"]", version), 1);
    assert_int_equal(harness_http(mill, "/metrics", &metrics), 200);
    snprintf(line, sizeof(line), "\ntidemill_rules_info{version=\"%s\"} 1\n", version);
    assert_non_null(strstr(metrics, line));
    double since = (double)clock_wall_ns() / (double)NS_PER_S -
                   number_behind(metrics, "\ntidemill_reload_last_success_timestamp_seconds ");
    assert_true(since >= 0 && since < 120);
}

static void check_receipts(struct harness *h, struct process *mill, size_t reloads)
{
    struct receipts receipts = read_receipts(h, mill);
    unsigned long long trials, swaps, closes;
    const char *body = NULL;
    assert_int_equal(receipts.count, reloads);
    assert_int_equal(harness_http(mill, "/metrics", &body), 200);
    double trial_ms = bound_ms(body, "trial", &trials), swap_ms = bound_ms(body, "swap", &swaps);
    double close_ms = bound_ms(body, "close", &closes);
    double longest_ms = receipts.pauses_ms[reloads - 1];
    double most_ms = receipts.pauses_ms[reloads * 95 / 100];
    print_message("a reload takes %.1f ms; its longest pause: half of them %.2f ms, 95 of 100 "
                  "%.2f ms, all %.2f ms (trial up to %g, swap up to %g, closing up to %g)\n",
                  receipts.total_ms / (double)reloads, receipts.pauses_ms[reloads / 2], most_ms,
                  longest_ms, trial_ms, swap_ms, close_ms);
    assert_int_equal(number_behind(body, "tidemill_reloads_total{result=\"ok\"} "), reloads);
    assert_int_equal(number_behind(body, "tidemill_reloads_total{result=\"failed\"} "), 0);
    assert_int_equal(trials, reloads * WORKERS);
    assert_int_equal(swaps, reloads * WORKERS);
    assert_true(receipts.pauses_ms[reloads / 2] < PAUSE_MS);
    assert_true(longest_ms < PAUSE_MAX_MS && close_ms <= PAUSE_MAX_MS);
    check_status(mill, reloads);
}

static void test_reloads_without_end_lose_double_and_leak_nothing(struct harness *h)
{
    size_t reloads = reloads_wanted();
    struct feed feed = {.h = h};
    struct holdings first = {0}, second = {0};
    struct process *mill = start(h);
    size_t busy = 0;
    int64_t start_ns = clock_monotonic_ns();
    start_feed(&feed);
    keep_ahead(&feed);
    for (size_t i = 1; i <= reloads; i++) {
        write_rules(h, i);
        harness_signal(mill, SIGHUP);
        harness_wait_log(mill, "rules reloaded: version ", PATIENCE_MS);
        busy += keep_ahead(&feed);
        look(mill, i <= reloads / 2 ? &first : &second);
    }
    double seconds = (double)(clock_monotonic_ns() - start_ns) / (double)NS_PER_S;
    finish_feed(&feed);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    size_t sent = atomic_load(&feed.sent);
    print_message("%zu messages and %zu reloads in %.1f s; the workers were busy at %zu of them\n",
                  sent, reloads, seconds, busy);
    assert_true(busy * 10 > reloads * 9);
    check_holdings(&first, &second);
    check_receipts(h, mill, reloads);
    check_outputs(h, sent);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_reloads_without_end_lose_double_and_leak_nothing),
    };
    return cmocka_run_group_tests_name("reload_soak", tests, NULL, NULL);
}
