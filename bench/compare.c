/* The scenarios that compare programs, in turn within each round: throughput and latency. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "latency.h"
#include "rounds.h"
#include "samples.h"
#include "scenarios.h"
#include "trial.h"

enum { READY_SID = 20, NAME_SIZE = 64, RULE_SIZE = 1024, PULL_SIZE = 256 };

static const char ECHO[] = "(the server alone)";

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

/* A turn of a program: what all of them are given. `name` is room for the durable's. */
static struct trial prepare(const struct plan *plan, const struct workload *workload, size_t index,
                            int round, char name[NAME_SIZE])
{
    const struct contestant *contestant = &plan->contestants[index];
    snprintf(name, NAME_SIZE, "%s_%zu_%d", contestant->program, index + 1, round + 1);
    return (struct trial){
        .program = contestant->program,
        .name = name,
        .count = workload->count,
        .alerts = trial_raises_alerts(contestant->program) ? workload_alerts(workload) : 0,
        .limit = workload_limit(workload),
        .workers = 1,
        .rules = rules_of(contestant->program),
        .batch = contestant->batch > 0 ? contestant->batch : plan->batch,
    };
}

/* --- throughput --- */

struct throughput {
    struct stage *stage;
    const struct plan *plan;
    struct column columns[CONTESTANTS_MAX];
};

/* The column of a program; NULL when it does not take part. */
static const struct column *column_of(const struct throughput *all, const char *label)
{
    for (size_t i = 0; i < all->plan->contestant_count; i++)
        if (strcmp(all->plan->contestants[i].label, label) == 0)
            return &all->columns[i];
    return NULL;
}

/* What a program is compared with, where it takes part. */
static const char *const bases[] = {"drain",      "floor",          "fetch",
                                    "fetch-bare", "tidemill-cjson", "tidemill-other"};
enum { BASES = sizeof(bases) / sizeof(*bases) };

static void print_head(const struct throughput *all)
{
    const struct plan *plan = all->plan;
    printf("\n%" PRIu64
           " readings of about %zu bytes, %d %% raise an alert; medians of %d rounds\n\n",
           plan->workload.count, plan->workload.bytes, plan->workload.alerts, plan->rounds);
    printf("| program | msg/s | min to max |");
    for (size_t i = 0; i < BASES; i++)
        if (column_of(all, bases[i]) != NULL)
            printf(" of %s |", bases[i]);
    printf(" client CPU us/msg | server CPU us/msg | switches per msg | peak RSS MB |\n"
           "| --- | ---: | ---: |");
    for (size_t i = 0; i < BASES; i++)
        if (column_of(all, bases[i]) != NULL)
            printf(" ---: |");
    printf(" ---: | ---: | ---: | ---: |\n");
}

static void print_throughput(const struct throughput *all)
{
    print_head(all);
    for (size_t i = 0; i < all->plan->contestant_count; i++) {
        const struct column *column = &all->columns[i];
        printf("| %s | %.0f | %.0f to %.0f |", all->plan->contestants[i].label,
               samples_median(&column->rate), samples_min(&column->rate),
               samples_max(&column->rate));
        for (size_t base = 0; base < BASES; base++) {
            const struct column *to = column_of(all, bases[base]);
            if (to != NULL)
                printf(" %.2f |", samples_ratio(&column->rate, &to->rate));
        }
        printf(" %.2f | %.2f | %.3f | %.1f |\n", samples_median(&column->client),
               samples_median(&column->server), samples_median(&column->switches),
               samples_median(&column->memory));
    }
}

static int run_once(void *context, size_t index, int round, struct error *err)
{
    struct throughput *all = context;
    char name[NAME_SIZE];
    struct measure measure;
    struct trial trial = prepare(all->plan, &all->plan->workload, index, round, name);
    if (trial_run(all->stage, &trial, &measure, err) != 0)
        return -1;
    fprintf(stderr, "round %d: %-24s %8.0f msg/s\n", round + 1, all->plan->contestants[index].label,
            measure.rate);
    add(&all->columns[index], &measure);
    return 0;
}

int scenario_throughput(struct stage *stage, const struct plan *plan, struct error *err)
{
    static struct throughput all;
    all.stage = stage;
    all.plan = plan;
    if (write_rules(stage, &plan->workload, err) != 0 ||
        stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &plan->workload, err) != 0 ||
        rounds_run(plan->rounds, plan->contestant_count, run_once, &all, err) != 0)
        return -1;
    print_throughput(&all);
    return 0;
}

/* --- latency --- */

/* Has the programs that raise alerts, and behind the last contestant the server's echo. */
struct delays {
    struct samples p50, p99, max;
};

struct response {
    struct stage *stage;
    const struct plan *plan;
    struct workload workload;
    struct delays delays[CONTESTANTS_MAX + 1];
};

static int measure_program(struct response *all, const struct trial *trial, struct latency *latency,
                           struct error *err)
{
    struct stage *stage = all->stage;
    struct process *process = NULL;
    struct error ignored;
    char pull[PULL_SIZE];
    trial_pull_subject(trial, pull, sizeof(pull));
    if (stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_stream(stage, "alerts", "alerts.>", "", err) != 0 ||
        trial_watch(stage, pull, READY_SID, 1, err) != 0 ||
        trial_start(stage, trial, &process, err) != 0)
        return -1;
    int status = trial_wait(stage, clock_monotonic_ns() + READY_NS, err);
    if (status == 0)
        error_set(err, "it did not begin to pull");
    if (status == READY_SID && latency_measure(stage, all->plan->seconds, latency, err) != 0)
        status = -1;
    if (trial_stop(process, status == READY_SID ? err : &ignored) != 0)
        status = -1;
    return status == READY_SID ? 0 : -1;
}

static int respond_once(void *context, size_t index, int round, struct error *err)
{
    struct response *all = context;
    bool echo = index == all->plan->contestant_count;
    const char *label = echo ? ECHO : all->plan->contestants[index].label;
    char name[NAME_SIZE];
    struct latency latency;
    int status;
    if (echo) {
        status = latency_measure_echo(all->stage, all->plan->seconds, &latency, err);
    } else {
        struct trial trial = prepare(all->plan, &all->workload, index, round, name);
        if (!trial_raises_alerts(trial.program))
            return 0;
        if (strncmp(trial.program, "fetch", 5) == 0)
            trial.batch =
                1; /* its Fetch waits until it has all it asked for: 500 is half a second */
        status = measure_program(all, &trial, &latency, err);
    }
    if (status != 0)
        return error_prefix(err, "%s", label);
    fprintf(stderr, "round %d: %-24s %6.2f ms\n", round + 1, label, latency.p50_ms);
    samples_add(&all->delays[index].p50, latency.p50_ms);
    samples_add(&all->delays[index].p99, latency.p99_ms);
    samples_add(&all->delays[index].max, latency.max_ms);
    return 0;
}

static void print_delays(const char *label, const struct delays *delays)
{
    if (delays->p50.count > 0)
        printf("| %s | %.2f | %.2f to %.2f | %.2f | %.2f to %.2f | %.2f | %.2f |\n", label,
               samples_median(&delays->p50), samples_min(&delays->p50), samples_max(&delays->p50),
               samples_median(&delays->p99), samples_min(&delays->p99), samples_max(&delays->p99),
               samples_median(&delays->max), samples_max(&delays->max));
}

int scenario_latency(struct stage *stage, const struct plan *plan, struct error *err)
{
    static struct response all;
    all.stage = stage;
    all.plan = plan;
    all.workload = (struct workload){.bytes = WORKLOAD_SMALL, .alerts = 101}; /* above -1: all */
    if (write_rules(stage, &all.workload, err) != 0 ||
        rounds_run(plan->rounds, plan->contestant_count + 1, respond_once, &all, err) != 0)
        return -1;
    printf("\nFrom publishing a reading to its alert at %d readings per second; medians of %d "
           "rounds of %d s\n\n"
           "| program | p50 ms | min to max | p99 ms | min to max | max ms | worst max |\n"
           "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
           LATENCY_RATE, plan->rounds, plan->seconds);
    for (size_t i = 0; i < plan->contestant_count; i++)
        print_delays(plan->contestants[i].label, &all.delays[i]);
    print_delays(ECHO, &all.delays[plan->contestant_count]);
    return 0;
}
