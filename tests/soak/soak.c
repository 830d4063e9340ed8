#include "soak.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "integration/faults.h"
#include "integration/feeder.h"
#include "integration/holdings.h"
#include "pace.h"
#include "prices.h"
#include "sanitizer.h"
#include "traffic.h"

enum {
    STEP_MS = 50,
    SAMPLES = 180,      /* of a long soak */
    SAMPLE_MS = 250,    /* between two, at least */
    LINES = 30,         /* printed */
    RATE_MOST = 100000, /* inputs per second: room for more than can be */
    SECONDS_TO_TELL = 300,
    WARM_UP_PARTS = 6, /* of half speed one such part is left out: pools and tables fill */
    STALL_MS = 60000,  /* without any progress: it stands still */
    PATIENCE_MS = 20000
};

/* What is told of each figure, and how much it may grow. */
static const struct measure_facts {
    const char *name, *unit;
    double scale;  /* what is looked at, in units */
    double growth; /* in units; from half to half, and as drift over the whole time */
    int digits;
} measures[MEASURE_COUNT] = {
    [MEASURE_MEMORY] = {"memory in RAM", " MB", 1 / 1024.0, 2, 2},
    [MEASURE_LUA] = {"Lua memory", " MB", 1 / 1048576.0, 0.5, 2},
    [MEASURE_DESCRIPTORS] = {"file descriptors", "", 1, 0.5, 0},
    [MEASURE_THREADS] = {"threads", "", 1, 0.5, 0},
};

/* A soak under way. */
struct run {
    struct harness *h;
    const struct soak *soak;
    struct soak_result *result;
    struct site *site;
    struct collector *collector;
    struct pace *pace;
    struct feeder *feeder;
    int64_t start_ns, sample_ns, line_ns; /* the latter two: when next */
    size_t line_complete;                 /* at the line before */
    int64_t line_from_ns;
};

static double seconds_since(int64_t start_ns)
{
    return (double)(clock_monotonic_ns() - start_ns) / (double)NS_PER_S;
}

static int at_least(int value, int least)
{
    return value > least ? value : least;
}

struct soak soak_of(int seconds)
{
    int full = seconds / 30;
    return (struct soak){.seconds = seconds, .full_seconds = full < 3 ? 3 : full > 20 ? 20 : full};
}

/* Rare enough that work gets done between, often enough that a short soak has each. */
static struct disturbances disturbances_of(const struct soak *soak)
{
    int ms = soak->seconds * 1000;
    struct disturbances often = {ms / 12, ms / 2, ms / 4}, rare = {5000, 20000, 15000};
    return (struct disturbances){
        .reload_ms = often.reload_ms < rare.reload_ms ? often.reload_ms : rare.reload_ms,
        .restart_ms = often.restart_ms < rare.restart_ms ? often.restart_ms : rare.restart_ms,
        .second_ms = often.second_ms < rare.second_ms ? often.second_ms : rare.second_ms};
}

/* ---- looking ---- */

/* How many inputs are dealt with. */
static size_t done(struct run *run)
{
    return collector_complete(run->collector) + traffic_silent(feeder_stored(run->feeder));
}

static void print_line(struct run *run, const struct holdings *holdings, double lua)
{
    const struct unrest *unrest = site_unrest(run->site);
    size_t complete = done(run);
    double rate = (double)(complete - run->line_complete) / seconds_since(run->line_from_ns);
    printf("%6.0f s  %7.0f msg/s  %6.2f MB in RAM  %6.2f MB Lua  %3ld descriptors  %2ld threads  "
           "%3u reloads  %2u restarts  %2u visits\n",
           seconds_since(run->start_ns), rate, (double)holdings->memory_kb / 1024, lua / 1048576,
           holdings->descriptors, holdings->threads, unrest->reloads + unrest->broken_reloads,
           unrest->restarts, unrest->second_starts);
    fflush(stdout);
    run->line_complete = complete;
    run->line_from_ns = clock_monotonic_ns();
}

static void sample(struct run *run, bool counts)
{
    struct process *mill = site_mill(run->site);
    struct holdings holdings;
    const char *page = NULL;
    if (holdings_read(mill, &holdings) != 0 || harness_http(mill, "/metrics", &page) != 200)
        harness_fail(run->h, "the tidemill that is measured does not answer");
    double lua = faults_sum(page, "tidemill_lua_memory_bytes", "");
    double values[MEASURE_COUNT] = {[MEASURE_MEMORY] = (double)holdings.memory_kb,
                                    [MEASURE_LUA] = lua,
                                    [MEASURE_DESCRIPTORS] = (double)holdings.descriptors,
                                    [MEASURE_THREADS] = (double)holdings.threads};
    for (int i = 0; counts && i < MEASURE_COUNT; i++)
        trend_add(&run->result->trends[i], seconds_since(run->start_ns), values[i]);
    if (clock_monotonic_ns() >= run->line_ns) {
        print_line(run, &holdings, lua);
        run->line_ns = clock_monotonic_ns() + run->soak->seconds * NS_PER_S / LINES;
    }
}

static void sample_when_due(struct run *run, bool counts)
{
    if (clock_monotonic_ns() < run->sample_ns)
        return;
    run->sample_ns =
        clock_monotonic_ns() + at_least(run->soak->seconds * 1000 / SAMPLES, SAMPLE_MS) * NS_PER_MS;
    sample(run, counts);
}

/* ---- the phases ---- */

/* The first second does not count: connections, pages, caches. */
static void run_full(struct run *run)
{
    int64_t end_ns = clock_monotonic_ns() + (run->soak->full_seconds + 1) * NS_PER_S;
    poll(NULL, 0, 1000);
    size_t before = done(run);
    int64_t from_ns = clock_monotonic_ns();
    while (clock_monotonic_ns() < end_ns) {
        sample_when_due(run, false);
        poll(NULL, 0, STEP_MS);
    }
    run->result->full_rate = (double)(done(run) - before) / seconds_since(from_ns);
    if (run->result->full_rate < 1)
        harness_fail(run->h, "nothing comes out");
}

static void run_half(struct run *run)
{
    int64_t from_ns = clock_monotonic_ns(), length_ns = run->soak->seconds * NS_PER_S;
    size_t before = done(run);
    pace_slow(run->pace, run->result->full_rate / 2);
    printf("full speed: %.0f messages a second; now half of it\n", run->result->full_rate);
    while (clock_monotonic_ns() - from_ns < length_ns) {
        site_disturb(run->site);
        sample_when_due(run, clock_monotonic_ns() - from_ns > length_ns / WARM_UP_PARTS);
        poll(NULL, 0, STEP_MS);
    }
    run->result->rate = (double)(done(run) - before) / seconds_since(from_ns);
}

/* What the consumer has left; -1 and -1 when it cannot be asked. */
static void look(struct run *run)
{
    jsConsumerInfo *info = NULL;
    run->result->pending = run->result->unacked = -1;
    if (js_GetConsumerInfo(&info, harness_js(run->h), "in", "soak", NULL, NULL) != NATS_OK)
        return;
    run->result->pending = (int64_t)info->NumPending;
    run->result->unacked = (int64_t)info->NumAckPending;
    jsConsumerInfo_Destroy(info);
}

/* Until all is stored, settled and read, as long as something moves. */
static void run_out(struct run *run)
{
    struct soak_result *result = run->result;
    size_t complete = 0, stored = 0;
    int64_t stall_ns = harness_deadline(STALL_MS), pending = -1, unacked = -1;
    site_calm(run->site);
    result->inputs = pace_stop(run->pace);
    for (look(run); feeder_stored(run->feeder) < result->inputs || result->pending != 0 ||
                    result->unacked != 0;
         look(run)) {
        if (complete != collector_complete(run->collector) ||
            stored != feeder_stored(run->feeder) || pending != result->pending ||
            unacked != result->unacked)
            stall_ns = harness_deadline(STALL_MS);
        complete = collector_complete(run->collector);
        stored = feeder_stored(run->feeder);
        pending = result->pending;
        unacked = result->unacked;
        if (clock_monotonic_ns() > stall_ns)
            harness_fail(run->h,
                         "it stands still: %zu of %zu inputs stored, %" PRId64 " pending, %" PRId64
                         " not acknowledged",
                         stored, result->inputs, pending, unacked);
        poll(NULL, 0, STEP_MS);
    }
}

/*
 * All that is stored has been read: the last output was stored before its input was acknowledged.
 */
static void run_dry(struct run *run)
{
    int64_t deadline_ns = harness_deadline(PATIENCE_MS);
    jsStreamInfo *info = NULL;
    assert_int_equal(js_GetStreamInfo(&info, harness_js(run->h), "out", NULL, NULL), NATS_OK);
    uint64_t last = info->State.LastSeq;
    jsStreamInfo_Destroy(info);
    while (collector_sequence(run->collector) < last && clock_monotonic_ns() < deadline_ns)
        poll(NULL, 0, STEP_MS);
}

/* What the tidemill that is measured says of itself in the end. */
static void ask(struct run *run)
{
    struct soak_result *result = run->result;
    const char *page = NULL;
    if (harness_http(site_mill(run->site), "/metrics", &page) != 200)
        harness_fail(run->h, "no answer on /metrics");
    result->redelivered = (uint64_t)faults_sum(page, "tidemill_messages_redelivered_total", "");
    result->dead_letters = (uint64_t)faults_sum(page, "tidemill_dead_letters_total", "");
    result->reconnects = (uint64_t)faults_sum(page, "tidemill_reconnects_total", "");
    result->reloads = (uint64_t)faults_sum(page, "tidemill_reloads_total", "result=\"ok\"");
    result->failed_reloads =
        (uint64_t)faults_sum(page, "tidemill_reloads_total", "result=\"failed\"");
}

/* ---- all of it ---- */

static void close_site(void *site)
{
    site_close(site);
}

static void end_collector(void *collector)
{
    collector_end(collector);
}

static void close_pace(void *pace)
{
    pace_close(pace);
}

static void end_feeder(void *feeder)
{
    feeder_end(feeder);
}

static void close_prices(void *prices)
{
    prices_close(prices);
}

/* They are closed in the other order. */
static void open_run(struct run *run, const struct disturbances *disturbances)
{
    struct harness *h = run->h;
    size_t inputs_max = (size_t)(run->soak->seconds + run->soak->full_seconds + 60) * RATE_MOST;
    run->site = site_open(h, disturbances);
    harness_defer(h, close_site, run->site);
    struct prices *prices = prices_open(harness_url(h));
    run->collector = collector_start(harness_url(h), inputs_max);
    if (prices == NULL || run->collector == NULL)
        harness_fail(h, "cannot start what surrounds tidemill");
    harness_defer(h, close_prices, prices);
    harness_defer(h, end_collector, run->collector);
    run->pace = pace_open(run->collector);
    assert_non_null(run->pace);
    harness_defer(h, close_pace, run->pace);
    struct feed_source source = {
        .input = traffic_input, .due = pace_due, .context = run->pace, .count = inputs_max};
    run->start_ns = run->line_from_ns = clock_monotonic_ns();
    run->feeder = feeder_start(&source, harness_url(h));
    if (run->feeder == NULL)
        harness_fail(h, "cannot start the feeder");
    harness_defer(h, end_feeder, run->feeder);
}

void soak_run(struct harness *h, const struct soak *soak, struct soak_result *result)
{
    struct run run = {.h = h, .soak = soak, .result = result};
    struct disturbances disturbances = disturbances_of(soak);
    memset(result, 0, sizeof(*result));
    open_run(&run, &disturbances);
    run_full(&run);
    run_half(&run);
    run_out(&run);
    run_dry(&run);
    ask(&run);
    harness_stop(site_mill(run.site), PATIENCE_MS);
    collector_finish(run.collector, result->inputs, &result->collection);
    result->unrest = *site_unrest(run.site);
    if (site_complaint(run.site) != NULL)
        snprintf(result->complaint, sizeof(result->complaint), "%s", site_complaint(run.site));
    result->seconds = seconds_since(run.start_ns);
}

/* ---- the verdict ---- */

/*
 * Whether the soak can tell: memory fills for a minute or two, until each peak of garbage has been
 * there once; and sanitizers keep for a while what was freed.
 */
static bool can_tell(const struct soak *soak, enum measure measure)
{
    bool is_memory = measure == MEASURE_MEMORY || measure == MEASURE_LUA;
    return !is_memory || (soak->seconds >= SECONDS_TO_TELL && !SANITIZED);
}

/*
 * A leak moves the median and has a slope. A late peak alone moves the median, and is there once:
 * what it took from the system stays, for the next one.
 */
static bool is_flat(const struct soak_result *result, enum measure measure)
{
    struct trend_verdict verdict = trend_judge(&result->trends[measure]);
    double allowed = measures[measure].growth, scale = measures[measure].scale;
    return verdict.most > 0 && ((verdict.second - verdict.first) * scale <= allowed ||
                                verdict.drift * scale <= allowed);
}

/* What must be 0. */
static uint64_t count_faults(const struct soak_result *result)
{
    const struct collection *collection = &result->collection;
    return collection->lost + collection->duplicated + collection->invented + collection->unread +
           (uint64_t)(result->pending != 0) + (uint64_t)(result->unacked != 0);
}

bool soak_passed(const struct soak *soak, const struct soak_result *result)
{
    bool flat = true;
    for (int i = 0; i < MEASURE_COUNT; i++)
        flat = flat && (!can_tell(soak, (enum measure)i) || is_flat(result, (enum measure)i));
    return flat && count_faults(result) == 0 && result->complaint[0] == '\0' &&
           result->reloads > 0 && result->failed_reloads > 0 && result->reconnects > 0;
}

static void print_trend(const struct soak *soak, const struct soak_result *result, enum measure i)
{
    const struct measure_facts *facts = &measures[i];
    struct trend_verdict verdict = trend_judge(&result->trends[i]);
    int digits = facts->digits;
    printf("| %s | %.*f%s | %.*f%s | %+.*f%s | %+.*f%s | %.*f%s | %s |\n", facts->name, digits,
           verdict.first * facts->scale, facts->unit, digits, verdict.second * facts->scale,
           facts->unit, digits, (verdict.second - verdict.first) * facts->scale, facts->unit,
           digits + 1, verdict.slope * 3600 * facts->scale, facts->unit, digits,
           verdict.most * facts->scale, facts->unit,
           !can_tell(soak, i)   ? "too short to tell"
           : is_flat(result, i) ? "flat"
                                : "**grows**");
}

/*
 * The smallest leak that the bound on memory would not let pass, between the middles of the halves.
 */
static void print_sensitivity(const struct soak *soak, const struct soak_result *result)
{
    double bytes = measures[MEASURE_MEMORY].growth * 1048576, half = soak->seconds / 2.0;
    printf("\nA leak would have shown from %.1f bytes a message on, %.0f KB a reload, or %.0f KB a "
           "reconnect.\n",
           bytes / (result->rate * half),
           bytes / 1024 / ((double)result->reloads * half / result->seconds),
           bytes / 1024 / ((double)result->reconnects * half / result->seconds));
}

void soak_print(const struct soak *soak, const struct soak_result *result)
{
    const struct collection *collection = &result->collection;
    printf("\n%zu messages in, %" PRIu64 " out; full speed %.0f a second, then %.0f for %d s; "
           "%.0f s in all\n",
           result->inputs, collection->outputs, result->full_rate, result->rate, soak->seconds,
           result->seconds);
    printf("%" PRIu64 " reloads, %" PRIu64 " of broken rules; %u restarts of the server, %" PRIu64
           " reconnects; a second process came %u times; %" PRIu64 " redeliveries, %" PRIu64
           " dead letters\n",
           result->reloads, result->failed_reloads, result->unrest.restarts, result->reconnects,
           result->unrest.second_starts, result->redelivered, result->dead_letters);
    printf("lost %" PRIu64 ", duplicated %" PRIu64 ", invented %" PRIu64 ", unread %" PRIu64
           "; pending %" PRId64 ", not acknowledged %" PRId64 "\n",
           collection->lost, collection->duplicated, collection->invented, collection->unread,
           result->pending, result->unacked);
    if (collection->first[0] != '\0')
        printf("  first: %s\n", collection->first);
    if (result->complaint[0] != '\0')
        printf("  %s\n", result->complaint);
    printf("\n| median of | first half | second half | change | trend in an hour | most | |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < MEASURE_COUNT; i++)
        print_trend(soak, result, (enum measure)i);
    if (can_tell(soak, MEASURE_MEMORY))
        print_sensitivity(soak, result);
    fflush(stdout);
}
