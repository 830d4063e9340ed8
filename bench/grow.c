/* The scenarios that look at tidemill alone, as the work grows: workers, rules, messages. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rounds.h"
#include "samples.h"
#include "scenarios.h"
#include "trial.h"

enum { TEXT_SIZE = 1024, NAME_SIZE = 64, CASES_MAX = 8 };

/* One row of a table. */
struct row {
    char title[NAME_SIZE];
    char rules[NAME_SIZE];  /* the folder */
    char stream[NAME_SIZE]; /* "": bench */
    int workers;
    uint64_t count, alerts;
    struct samples rate, client, server, memory;
};

static int run_row(struct stage *stage, struct row *row, struct measure *measure, struct error *err)
{
    static unsigned trials;
    char name[NAME_SIZE];
    struct trial trial = {
        .program = "tidemill",
        .stream = row->stream[0] != '\0' ? row->stream : NULL,
        .name = name,
        .count = row->count,
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

/* The rows of a table, in turns. */
struct table {
    struct stage *stage;
    struct row *rows;
};

static int run_turn(void *context, size_t index, int round, struct error *err)
{
    struct table *table = context;
    struct measure measure;
    (void)round;
    return run_row(table->stage, &table->rows[index], &measure, err);
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

/* How many turns of a loop take so long here: by the CPU time of two runs, with and without. */
static int calibrate(struct stage *stage, const struct workload *workload, int burn_us,
                     uint64_t *turns, struct error *err)
{
    static const uint64_t TRIED = 5000;
    struct measure without, with;
    struct row row = {.title = "calibrate",
                      .workers = 1,
                      .count = workload->count,
                      .alerts = workload_alerts(workload)};
    snprintf(row.rules, sizeof(row.rules), "still");
    if (write_rule(stage, workload, "still", 0, "sensors.value", 0, err) != 0 ||
        write_rule(stage, workload, "tried", 0, "sensors.value", TRIED, err) != 0 ||
        run_row(stage, &row, &without, err) != 0)
        return -1;
    snprintf(row.rules, sizeof(row.rules), "tried");
    if (run_row(stage, &row, &with, err) != 0)
        return -1;
    if (with.client_us <= without.client_us)
        return error_set(err, "the loop takes no time: this machine can't be measured now");
    *turns = (uint64_t)(burn_us * (double)TRIED / (with.client_us - without.client_us));
    return 0;
}

int scenario_workers(struct stage *stage, const struct plan *plan, struct error *err)
{
    static const int workers[] = {1, 2, 4};
    static struct row rows[CASES_MAX];
    size_t count = sizeof(workers) / sizeof(*workers);
    struct workload workload = plan->workload;
    struct table table = {.stage = stage, .rows = rows};
    uint64_t turns = 0;
    workload.count = workload.count > 0 ? workload.count : 40000;
    if (stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &workload, err) != 0 ||
        calibrate(stage, &workload, plan->burn_us, &turns, err) != 0 ||
        write_rule(stage, &workload, "burn", 0, "sensors.value", turns, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        snprintf(rows[i].title, sizeof(rows[i].title), "%d", workers[i]);
        snprintf(rows[i].rules, sizeof(rows[i].rules), "burn");
        rows[i].workers = workers[i];
        rows[i].count = workload.count;
        rows[i].alerts = workload_alerts(&workload);
    }
    if (rounds_run(plan->rounds, count, run_turn, &table, err) != 0)
        return -1;
    printf("\nA rule that burns %d us (%" PRIu64 " turns of an empty loop), %" PRIu64
           " readings; medians of %d rounds\n\n",
           plan->burn_us, turns, workload.count, plan->rounds);
    print_rows("workers", rows, count);
    return 0;
}

/* --- rules --- */

/*
 * A row with `rules` rules and a stream of its own, so that the rows can take turns. The readings
 * go round over `subjects` subjects, and each rule wants one, the same ones again when there are
 * more rules.
 */
static int make_rules(struct stage *stage, const struct plan *plan, size_t rules, size_t subjects,
                      struct row *row, struct error *err)
{
    struct workload workload = plan->workload;
    char root[NAME_SIZE], all[NAME_SIZE];
    snprintf(root, sizeof(root), "sensors_%zu_%zu", rules, subjects);
    snprintf(all, sizeof(all), "%.40s.>", root);
    workload.root = root;
    workload.subjects = subjects;
    snprintf(row->title, sizeof(row->title), "%zu on %s", rules,
             subjects == rules ? "distinct subjects" : "the same subject");
    snprintf(row->rules, sizeof(row->rules), "rules_%zu_%zu", rules, subjects);
    snprintf(row->stream, sizeof(row->stream), "%s", root);
    row->workers = 1;
    row->count = workload.count;
    row->alerts = rules / subjects * workload_alerts(&workload);
    for (size_t i = 0; i < rules; i++) {
        char subject[NAME_SIZE];
        workload_subject(&workload, i % subjects, subject, sizeof(subject));
        if (write_rule(stage, &workload, row->rules, i, subject, 0, err) != 0)
            return -1;
    }
    if (stage_stream(stage, row->stream, all, "", err) != 0)
        return -1;
    return stage_fill(stage, &workload, err);
}

int scenario_rules(struct stage *stage, const struct plan *plan, struct error *err)
{
    static const struct {
        size_t rules, subjects;
    } cases[] = {{1, 1}, {10, 10}, {100, 100}, {1000, 1000}, {10, 1}};
    static struct row rows[CASES_MAX];
    size_t count = sizeof(cases) / sizeof(*cases);
    struct table table = {.stage = stage, .rows = rows};
    struct plan own = *plan;
    own.workload.count = plan->workload.count > 0 ? plan->workload.count : 100000;
    for (size_t i = 0; i < count; i++)
        if (make_rules(stage, &own, cases[i].rules, cases[i].subjects, &rows[i], err) != 0)
            return -1;
    if (rounds_run(plan->rounds, count, run_turn, &table, err) != 0)
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
    row.count = workload.count;
    row.alerts = workload_alerts(&workload);
    if (write_rule(stage, &workload, "rules", 0, "sensors.value", 0, err) != 0 ||
        stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &workload, err) != 0 || run_row(stage, &row, &measure, err) != 0)
        return -1;
    printf("\n%" PRIu64 " readings in one run\n\n"
           "| msg/s | RSS MB at the first pull | half-way | at the end | peak |\n"
           "| ---: | ---: | ---: | ---: | ---: |\n"
           "| %.0f | %.1f | %.1f | %.1f | %.1f |\n",
           workload.count, measure.rate, measure.start_mb, measure.middle_mb, measure.end_mb,
           measure.memory_mb);
    return 0;
}
