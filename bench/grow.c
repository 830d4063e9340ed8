/* The scenarios that look at tidemill alone, as the work grows: workers, rules, messages. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "samples.h"
#include "scenarios.h"
#include "trial.h"

enum { TEXT_SIZE = 1024, NAME_SIZE = 64, CASES_MAX = 8, BURN_US = 50 };

/* One row of a table. */
struct row {
    char title[NAME_SIZE];
    char rules[NAME_SIZE]; /* the folder */
    int workers;
    uint64_t alerts;
    struct samples rate, client, server, memory;
};

static int run_row(struct stage *stage, const struct workload *workload, struct row *row,
                   struct measure *measure, struct error *err)
{
    static unsigned trials;
    char name[NAME_SIZE];
    struct trial trial = {
        .program = "tidemill",
        .name = name,
        .count = workload->count,
        .alerts = row->alerts,
        .workers = row->workers,
        .rules = row->rules,
    };
    snprintf(name, sizeof(name), "grow_%u", ++trials);
    if (trial_run(stage, &trial, measure, err) != 0)
        return error_prefix(err, "%s", row->title);
    samples_add(&row->rate, measure->rate);
    samples_add(&row->client, measure->client_us);
    samples_add(&row->server, measure->server_us);
    samples_add(&row->memory, measure->memory_mb);
    fprintf(stderr, "%-24s %8.0f msg/s, %6.2f us of CPU per message\n", row->title, measure->rate,
            measure->client_us);
    return 0;
}

static int run_rounds(struct stage *stage, const struct workload *workload, struct row *rows,
                      size_t count, int rounds, struct error *err)
{
    struct measure measure;
    for (int round = 0; round < rounds; round++)
        for (size_t turn = 0; turn < count; turn++)
            if (run_row(stage, workload, &rows[(turn + (size_t)round) % count], &measure, err) != 0)
                return -1;
    return 0;
}

static void print_rows(const char *head, const struct row *rows, size_t count)
{
    printf("| %s | msg/s | min to max | of the first | client CPU us/msg | server CPU us/msg | "
           "peak RSS MB |\n"
           "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
           head);
    for (size_t i = 0; i < count; i++)
        printf("| %s | %.0f | %.0f to %.0f | %.2f | %.2f | %.2f | %.1f |\n", rows[i].title,
               samples_median(&rows[i].rate), samples_min(&rows[i].rate),
               samples_max(&rows[i].rate), samples_ratio(&rows[i].rate, &rows[0].rate),
               samples_median(&rows[i].client), samples_median(&rows[i].server),
               samples_median(&rows[i].memory));
}

/* A rule in a file of its own. */
static int write_rule(struct stage *stage, const struct workload *workload, const char *folder,
                      size_t number, const char *subject, uint64_t turns, struct error *err)
{
    char path[2 * NAME_SIZE], text[TEXT_SIZE];
    snprintf(path, sizeof(path), "%s/rule_%04zu.lua", folder, number);
    workload_rule(workload, subject, turns, text, sizeof(text));
    return stage_write(stage, path, text, err);
}

/* --- workers --- */

/* How many turns of a loop take BURN_US here: by the CPU time of two runs, with and without. */
static int calibrate(struct stage *stage, const struct workload *workload, uint64_t *turns,
                     struct error *err)
{
    static const uint64_t TRIED = 5000;
    struct measure without, with;
    struct row row = {.title = "calibrate", .workers = 1, .alerts = workload_alerts(workload)};
    snprintf(row.rules, sizeof(row.rules), "still");
    if (write_rule(stage, workload, "still", 0, "sensors.value", 0, err) != 0 ||
        write_rule(stage, workload, "tried", 0, "sensors.value", TRIED, err) != 0 ||
        run_row(stage, workload, &row, &without, err) != 0)
        return -1;
    snprintf(row.rules, sizeof(row.rules), "tried");
    if (run_row(stage, workload, &row, &with, err) != 0)
        return -1;
    if (with.client_us <= without.client_us)
        return error_set(err, "the loop takes no time: this machine can't be measured now");
    *turns = (uint64_t)(BURN_US * (double)TRIED / (with.client_us - without.client_us));
    return 0;
}

int scenario_workers(struct stage *stage, const struct plan *plan, struct error *err)
{
    static const int workers[] = {1, 2, 4};
    static struct row rows[CASES_MAX];
    size_t count = sizeof(workers) / sizeof(*workers);
    struct workload workload = plan->workload;
    uint64_t turns = 0;
    workload.count = workload.count > 0 ? workload.count : 40000;
    if (stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &workload, err) != 0 || calibrate(stage, &workload, &turns, err) != 0 ||
        write_rule(stage, &workload, "burn", 0, "sensors.value", turns, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        snprintf(rows[i].title, sizeof(rows[i].title), "%d", workers[i]);
        snprintf(rows[i].rules, sizeof(rows[i].rules), "burn");
        rows[i].workers = workers[i];
        rows[i].alerts = workload_alerts(&workload);
    }
    if (run_rounds(stage, &workload, rows, count, plan->rounds, err) != 0)
        return -1;
    printf("\nA rule that burns %d us (%" PRIu64 " turns of an empty loop), %" PRIu64
           " readings; medians of %d rounds\n\n",
           BURN_US, turns, workload.count, plan->rounds);
    print_rows("workers", rows, count);
    return 0;
}

/* --- rules --- */

/* `rules` rules, each on a subject of its own; the readings go round over the subjects. */
static int run_distinct(struct stage *stage, const struct plan *plan, size_t rules, struct row *row,
                        struct error *err)
{
    struct workload workload = plan->workload;
    workload.subjects = rules;
    snprintf(row->title, sizeof(row->title), "%zu on distinct subjects", rules);
    snprintf(row->rules, sizeof(row->rules), "rules_%zu", rules);
    row->workers = 1;
    row->alerts = workload_alerts(&workload);
    for (size_t i = 0; i < rules; i++) {
        char subject[NAME_SIZE];
        workload_subject(&workload, i, subject, sizeof(subject));
        if (write_rule(stage, &workload, row->rules, i, subject, 0, err) != 0)
            return -1;
    }
    if (stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &workload, err) != 0)
        return -1;
    return run_rounds(stage, &workload, row, 1, plan->rounds, err);
}

/* Ten rules that all want every reading. */
static int run_same(struct stage *stage, const struct plan *plan, struct row *row,
                    struct error *err)
{
    const size_t rules = 10;
    snprintf(row->title, sizeof(row->title), "%zu on the same subject", rules);
    snprintf(row->rules, sizeof(row->rules), "rules_same");
    row->workers = 1;
    row->alerts = rules * workload_alerts(&plan->workload);
    for (size_t i = 0; i < rules; i++)
        if (write_rule(stage, &plan->workload, row->rules, i, "sensors.value", 0, err) != 0)
            return -1;
    if (stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &plan->workload, err) != 0)
        return -1;
    return run_rounds(stage, &plan->workload, row, 1, plan->rounds, err);
}

int scenario_rules(struct stage *stage, const struct plan *plan, struct error *err)
{
    static const size_t rules[] = {1, 10, 100, 1000};
    static struct row rows[CASES_MAX];
    size_t count = 0;
    struct plan own = *plan;
    own.workload.count = plan->workload.count > 0 ? plan->workload.count : 100000;
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (run_distinct(stage, &own, rules[i], &rows[count++], err) != 0)
            return -1;
    if (run_same(stage, &own, &rows[count++], err) != 0)
        return -1;
    printf("\n%" PRIu64
           " readings, each wanted by one rule of many, and by ten of ten; medians of %d "
           "rounds\n\n",
           own.workload.count, plan->rounds);
    print_rows("rules", rows, count);
    return 0;
}

/* --- messages --- */

int scenario_million(struct stage *stage, const struct plan *plan, struct error *err)
{
    struct workload workload = plan->workload;
    struct row row = {.title = "million", .rules = "rules", .workers = 1};
    struct measure measure;
    workload.count = workload.count > 0 ? workload.count : 1000000;
    row.alerts = workload_alerts(&workload);
    if (write_rule(stage, &workload, "rules", 0, "sensors.value", 0, err) != 0 ||
        stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &workload, err) != 0 ||
        run_row(stage, &workload, &row, &measure, err) != 0)
        return -1;
    printf("\n%" PRIu64 " readings in one run\n\n"
           "| msg/s | RSS MB at the first pull | half-way | at the end | peak |\n"
           "| ---: | ---: | ---: | ---: | ---: |\n"
           "| %.0f | %.1f | %.1f | %.1f | %.1f |\n",
           workload.count, measure.rate, measure.start_mb, measure.middle_mb, measure.end_mb,
           measure.memory_mb);
    return 0;
}
