/* The scenarios that compare programs, in turn within each round: throughput and latency. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "latency.h"
#include "samples.h"
#include "scenarios.h"
#include "trial.h"

enum { READY_SID = 20, NAME_SIZE = 64, RULE_SIZE = 1024 };

static const int64_t READY_NS = 30 * NS_PER_S;

/* What all rounds of one program have given. */
struct column {
    struct samples rate, client, server, switches, memory;
};

static void add(struct column *column, const struct measure *measure)
{
    samples_add(&column->rate, measure->rate);
    samples_add(&column->client, measure->client_us);
    samples_add(&column->server, measure->server_us);
    samples_add(&column->switches, measure->switches);
    samples_add(&column->memory, measure->memory_mb);
}

/* In two folders, as the programs take them. */
static int write_rules(struct stage *stage, const struct workload *workload, struct error *err)
{
    char rule[RULE_SIZE];
    struct workload with_cjson = *workload;
    with_cjson.cjson = true;
    workload_rule(workload, "sensors.value", 0, rule, sizeof(rule));
    if (stage_write(stage, "rules/high.lua", rule, err) != 0)
        return -1;
    workload_rule(&with_cjson, "sensors.value", 0, rule, sizeof(rule));
    return stage_write(stage, "rules_cjson/high.lua", rule, err);
}

static const char *rules_of(const char *program)
{
    return trial_decodes_with_cjson(program) ? "rules_cjson" : "rules";
}

/* --- throughput --- */

/* The column of a program; NULL when it does not take part. */
static const struct column *column_of(const struct plan *plan, const struct column *columns,
                                      const char *program)
{
    for (size_t i = 0; i < plan->program_count; i++)
        if (strcmp(plan->programs[i], program) == 0)
            return &columns[i];
    return NULL;
}

/* What a program is compared with, where it takes part. */
static const char *const bases[] = {"drain", "floor", "fetch", "tidemill-cjson"};
enum { BASES = sizeof(bases) / sizeof(*bases) };

static void print_head(const struct plan *plan, const struct column *columns)
{
    printf("\n%" PRIu64
           " readings of about %zu bytes, %d %% raise an alert; medians of %d rounds\n\n",
           plan->workload.count, plan->workload.bytes, plan->workload.alerts, plan->rounds);
    printf("| program | msg/s | min to max |");
    for (size_t i = 0; i < BASES; i++)
        if (column_of(plan, columns, bases[i]) != NULL)
            printf(" of %s |", bases[i]);
    printf(" client CPU us/msg | server CPU us/msg | switches per msg | peak RSS MB |\n"
           "| --- | ---: | ---: |");
    for (size_t i = 0; i < BASES; i++)
        if (column_of(plan, columns, bases[i]) != NULL)
            printf(" ---: |");
    printf(" ---: | ---: | ---: | ---: |\n");
}

static void print_throughput(const struct plan *plan, const struct column *columns)
{
    print_head(plan, columns);
    for (size_t i = 0; i < plan->program_count; i++) {
        const struct column *column = &columns[i];
        printf("| %s | %.0f | %.0f to %.0f |", plan->programs[i], samples_median(&column->rate),
               samples_min(&column->rate), samples_max(&column->rate));
        for (size_t base = 0; base < BASES; base++) {
            const struct column *to = column_of(plan, columns, bases[base]);
            if (to != NULL)
                printf(" %.2f |", samples_ratio(&column->rate, &to->rate));
        }
        printf(" %.2f | %.2f | %.3f | %.1f |\n", samples_median(&column->client),
               samples_median(&column->server), samples_median(&column->switches),
               samples_median(&column->memory));
    }
}

int scenario_throughput(struct stage *stage, const struct plan *plan, struct error *err)
{
    static struct column columns[PROGRAMS_MAX];
    const struct workload *workload = &plan->workload;
    if (write_rules(stage, workload, err) != 0 ||
        stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, workload, err) != 0)
        return -1;
    for (int round = 0; round < plan->rounds; round++)
        for (size_t turn = 0; turn < plan->program_count; turn++) {
            /* Each round begins with another one: being first or behind another may matter. */
            size_t i = (turn + (size_t)round) % plan->program_count;
            const char *program = plan->programs[i];
            char name[NAME_SIZE];
            struct measure measure;
            struct trial trial = {
                .program = program,
                .name = name,
                .count = workload->count,
                .alerts = trial_raises_alerts(program) ? workload_alerts(workload) : 0,
                .limit = workload_limit(workload),
                .workers = 1,
                .rules = rules_of(program),
                .batch = plan->batch,
            };
            snprintf(name, sizeof(name), "%s_%d", program, round + 1);
            if (trial_run(stage, &trial, &measure, err) != 0)
                return -1;
            fprintf(stderr, "round %d: %-20s %8.0f msg/s\n", round + 1, program, measure.rate);
            add(&columns[i], &measure);
        }
    print_throughput(plan, columns);
    return 0;
}

/* --- latency --- */

struct delays {
    struct samples p50, p99, max;
};

static int measure_latency(struct stage *stage, const struct plan *plan, const struct trial *trial,
                           struct latency *latency, struct error *err)
{
    struct process *process = NULL;
    struct error ignored;
    char pull[128];
    snprintf(pull, sizeof(pull), "$JS.API.CONSUMER.MSG.NEXT.bench.%s", trial->name);
    if (stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_stream(stage, "alerts", "alerts.>", "", err) != 0 ||
        trial_watch(stage, pull, READY_SID, 1, err) != 0 ||
        trial_start(stage, trial, "bench", &process, err) != 0)
        return -1;
    int status = trial_wait(stage, clock_monotonic_ns() + READY_NS, err);
    if (status == 0)
        error_set(err, "it did not begin to pull");
    if (status == READY_SID && latency_measure(stage, plan->seconds, latency, err) != 0)
        status = -1;
    if (trial_stop(process, status == READY_SID ? err : &ignored) != 0)
        status = -1;
    return status == READY_SID ? 0 : -1;
}

static void print_latency(const struct plan *plan, const struct delays *delays)
{
    printf("\nFrom publishing a reading to its alert at %d readings per second; medians of %d "
           "rounds of "
           "%d s\n\n",
           LATENCY_RATE, plan->rounds, plan->seconds);
    printf("| program | p50 ms | min to max | p99 ms | min to max | max ms |\n"
           "| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < plan->program_count; i++)
        if (trial_raises_alerts(plan->programs[i]))
            printf("| %s | %.2f | %.2f to %.2f | %.2f | %.2f to %.2f | %.2f |\n", plan->programs[i],
                   samples_median(&delays[i].p50), samples_min(&delays[i].p50),
                   samples_max(&delays[i].p50), samples_median(&delays[i].p99),
                   samples_min(&delays[i].p99), samples_max(&delays[i].p99),
                   samples_max(&delays[i].max));
}

int scenario_latency(struct stage *stage, const struct plan *plan, struct error *err)
{
    static struct delays delays[PROGRAMS_MAX];
    struct workload workload = {.bytes = WORKLOAD_SMALL, .alerts = 101}; /* above -1: all */
    if (write_rules(stage, &workload, err) != 0)
        return -1;
    for (int round = 0; round < plan->rounds; round++)
        for (size_t turn = 0; turn < plan->program_count; turn++) {
            size_t i = (turn + (size_t)round) % plan->program_count;
            const char *program = plan->programs[i];
            char name[NAME_SIZE];
            struct latency latency;
            struct trial trial = {
                .program = program,
                .name = name,
                .limit = workload_limit(&workload),
                .workers = 1,
                .rules = rules_of(program),
                /* libnats' Fetch waits until it has all it asked for: 500 would be half a second. */
                .batch = strcmp(program, "fetch") == 0 ? 1 : plan->batch,
            };
            if (!trial_raises_alerts(program))
                continue;
            snprintf(name, sizeof(name), "%s_%d", program, round + 1);
            if (measure_latency(stage, plan, &trial, &latency, err) != 0)
                return error_prefix(err, "%s", program);
            fprintf(stderr, "round %d: %-20s %6.2f ms\n", round + 1, program, latency.p50_ms);
            samples_add(&delays[i].p50, latency.p50_ms);
            samples_add(&delays[i].p99, latency.p99_ms);
            samples_add(&delays[i].max, latency.max_ms);
        }
    print_latency(plan, delays);
    return 0;
}
