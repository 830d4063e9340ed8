#include "faults.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { CONFIG_SIZE = 2048, STEP_MS = 20 };

/* ---- the job ---- */

void faults_job_with_streams(struct harness *h, const char *streams, const char *source,
                             const char *before)
{
    char text[CONFIG_SIZE];
    snprintf(text, sizeof(text),
             "return {\n"
             "  nats = { url = env('NATS_URL') },\n"
             "  streams = { %s },\n"
             "  sources = { { stream = 'in', durable = 'd', ack_wait = '2s', max_deliver = 1000,\n"
             "                backoff = { '100ms' }, %s } },\n"
             "}\n",
             streams, source);
    harness_write_file(h, "tidemill.lua", text);
    snprintf(text, sizeof(text),
             "return { subjects = { 'in.>' }, on_message = function(msg)\n"
             "  %s\n"
             "  mill.publish('out.' .. msg.data.n %% 10, { n = msg.data.n })\n"
             "end }\n",
             before);
    harness_write_file(h, "rules/relay.lua", text);
}

void faults_job(struct harness *h, const char *source, const char *before)
{
    faults_job_with_streams(h,
                            "{ name = 'in', subjects = { 'in.>' } }, "
                            "{ name = 'out', subjects = { 'out.>' } }",
                            source, before);
}

struct process *faults_start(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", FAULTS_PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, FAULTS_PATIENCE_MS);
    return mill;
}

void faults_feed(struct harness *h, size_t first, size_t count)
{
    harness_feed(h, "in.a", first, count, "{\"n\":#}");
}

void faults_wait_outputs(struct harness *h, uint64_t count)
{
    int64_t deadline = harness_deadline(FAULTS_PATIENCE_MS);
    while (harness_count(h, "out") < count) {
        if (clock_monotonic_ns() > deadline)
            harness_fail(h, "%llu outputs instead of %llu",
                         (unsigned long long)harness_count(h, "out"), (unsigned long long)count);
        faults_pause(STEP_MS);
    }
}

void faults_check_outputs(struct harness *h, size_t first, size_t end)
{
    const struct harness_messages *out = harness_read(h, "out");
    unsigned char *times = calloc(end + 1, 1);
    assert_non_null(times);
    harness_defer(h, free, times);
    size_t lost = 0, repeated = 0, invented = 0;
    for (size_t i = 0; i < out->count; i++) {
        char *rest;
        const char *number = strstr(out->items[i].payload, "\"n\":");
        size_t n = number != NULL ? strtoull(number + 4, &rest, 10) : SIZE_MAX;
        if (n < first || n >= end)
            invented++;
        else if (times[n]++ > 0)
            repeated++;
    }
    for (size_t n = first; n < end; n++)
        lost += times[n] == 0;
    size_t same_ids = harness_duplicate_ids(out);
    if (lost + repeated + invented + same_ids > 0)
        harness_fail(h, "of %zu inputs %zu lost, %zu repeated; %zu invented, %zu ids twice",
                     end - first, lost, repeated, invented, same_ids);
}

void faults_check_all(struct harness *h, size_t count)
{
    /* A new leader says for a while that nothing is pending. */
    int64_t deadline = harness_deadline(2 * FAULTS_PATIENCE_MS);
    while (harness_count(h, "out") < count && clock_monotonic_ns() < deadline)
        faults_pause(STEP_MS);
    harness_wait_drained(h, "in", "d", 2 * FAULTS_PATIENCE_MS);
    faults_check_outputs(h, 0, count);
}

/* ---- what the process tells ---- */

double faults_sum(const char *page, const char *name, const char *label)
{
    double sum = 0;
    size_t size = strlen(name);
    for (const char *line = page; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *found = strstr(line, label);
        if (strncmp(line, name, size) == 0 && (line[size] == '{' || line[size] == ' ') &&
            found != NULL && (end == NULL || found < end)) {
            const char *value = end != NULL ? end : line + strlen(line);
            while (value > line && value[-1] != ' ')
                value--;
            sum += strtod(value, NULL);
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return sum;
}

uint64_t faults_metric(struct process *mill, const char *name, const char *label)
{
    const char *body = NULL;
    if (harness_http(mill, "/metrics", &body) != 200 || body == NULL)
        return 0;
    return (uint64_t)faults_sum(body, name, label);
}

uint64_t faults_delivered(struct process *mill)
{
    return faults_metric(mill, "tidemill_messages_delivered_total", "");
}

int faults_wait_delivery(struct process *mill, uint64_t before, int limit_ms)
{
    int64_t start_ns = clock_monotonic_ns();
    int64_t deadline = harness_deadline(limit_ms);
    while (faults_delivered(mill) <= before) {
        assert_true(clock_monotonic_ns() < deadline); /* the pull has not resumed in time */
        faults_pause(STEP_MS);
    }
    int took_ms = (int)((clock_monotonic_ns() - start_ns) / NS_PER_MS);
    print_message("the pull resumed after %d ms\n", took_ms);
    return took_ms;
}

void faults_wait_unready(struct process *mill, const char *reason, int timeout_ms)
{
    int64_t deadline = harness_deadline(timeout_ms);
    const char *body = NULL;
    for (;;) {
        int status = harness_http(mill, "/readyz", &body);
        if (status == 503 && body != NULL && strstr(body, reason) != NULL)
            return;
        if (clock_monotonic_ns() > deadline) {
            print_error("/readyz says %d: %s\n", status, body != NULL ? body : "");
            fail_msg("/readyz does not say 503 and \"%s\"", reason);
        }
        faults_pause(STEP_MS);
    }
}

size_t faults_complaints(struct process *mill)
{
    return harness_log_count(mill, " warn ") + harness_log_count(mill, " error ");
}

/* ---- chance and time ---- */

uint64_t faults_seed(void)
{
    const char *given = getenv("FAULTS_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10)
                                  : (uint64_t)clock_monotonic_ns() / (uint64_t)NS_PER_MS;
    print_message("FAULTS_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

unsigned faults_draw(uint64_t *random, unsigned bound)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((*random >> 33) % bound);
}

bool faults_long(void)
{
    const char *faults = getenv("FAULTS");
    return faults != NULL && strcmp(faults, "long") == 0;
}

void faults_pause(int ms)
{
    poll(NULL, 0, ms);
}
