/*
 * bench-run: the benchmark. Starts a private nats-server, runs one scenario, prints a table in
 * Markdown. `make bench` calls it; the environment's TIDEMILL names the program that is measured.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "samples.h"
#include "scenarios.h"
#include "trial.h"

enum { LINE_SIZE = 256 };

static const double QUIET_LOAD = 0.5;

const struct scenario scenarios[] = {
    {"throughput", "all programs on the same stream, in turn", scenario_throughput},
    {"latency", "from publishing to the alert, at 1,000 readings per second", scenario_latency},
    {"workers", "1, 2 and 4 workers with a rule that burns 50 us (--burn)", scenario_workers},
    {"rules", "1 to 1,000 rules on distinct subjects, 10 on the same", scenario_rules},
    {"million", "a million readings: is memory flat?", scenario_million},
    {"downstream", "an alerts stream that takes nothing, or is slow", scenario_downstream},
    {NULL, NULL, NULL},
};

static int usage(void)
{
    fprintf(stderr,
            "usage: run [--scenario NAME] [--count N] [--bytes 140|1k|10k] [--alerts PERCENT]\n"
            "           [--rounds N] [--seconds N] [--batch N] [--burn US] [--programs \"tidemill "
            "...\"]\n"
            "scenarios:\n");
    for (const struct scenario *scenario = scenarios; scenario->name != NULL; scenario++)
        fprintf(stderr, "  %-11s %s\n", scenario->name, scenario->what);
    fprintf(stderr, "programs: tidemill tidemill-cumulative tidemill-cjson floor fetch[-bare] "
                    "drain[-cumulative]\n"
                    "          tidemill-other[-cumulative]: the one that TIDEMILL_OTHER names\n"
                    "          each may be followed by @BATCH: tidemill@2000\n");
    return -1;
}

/* --- settings --- */

struct settings {
    const struct scenario *scenario;
    struct plan plan;
};

/* PROGRAM or PROGRAM@BATCH */
static int add_contestant(struct plan *plan, const char *label)
{
    struct contestant *contestant = &plan->contestants[plan->contestant_count];
    const char *at = strchr(label, '@');
    char *end = NULL;
    if (plan->contestant_count == CONTESTANTS_MAX || strlen(label) >= LABEL_SIZE)
        return usage();
    snprintf(contestant->label, LABEL_SIZE, "%s", label);
    snprintf(contestant->program, LABEL_SIZE, "%.*s", (int)strcspn(label, "@"), label);
    contestant->batch = at != NULL ? (int)strtol(at + 1, &end, 10) : 0;
    if (!trial_knows(contestant->program) ||
        (at != NULL && (contestant->batch < 1 || *end != '\0')))
        return usage();
    plan->contestant_count++;
    return 0;
}

static int read_programs(struct plan *plan, const char *labels)
{
    char text[LINE_SIZE], *rest = NULL;
    int status = 0;
    snprintf(text, sizeof(text), "%s", labels);
    plan->contestant_count = 0;
    for (char *label = strtok_r(text, " ,", &rest); status == 0 && label != NULL;
         label = strtok_r(NULL, " ,", &rest))
        status = add_contestant(plan, label);
    return status;
}

static int read_scenario(struct settings *settings, const char *name)
{
    for (settings->scenario = scenarios; settings->scenario->name != NULL; settings->scenario++)
        if (strcmp(settings->scenario->name, name) == 0)
            return 0;
    return usage();
}

static size_t read_bytes(const char *text)
{
    char *end = NULL;
    size_t bytes = strtoul(text, &end, 10);
    return strcmp(end, "k") == 0 ? bytes << 10 : bytes;
}

/* What was not said. Large payloads are fewer: 200,000 of 10 kB would be a disk's work. */
static void set_defaults(struct settings *settings)
{
    struct plan *plan = &settings->plan;
    bool compares = settings->scenario->run == scenario_throughput;
    if (plan->workload.count == 0 && compares)
        plan->workload.count = plan->workload.bytes <= WORKLOAD_SMALL ? 200000
                               : plan->workload.bytes <= 2048         ? 100000
                                                                      : 20000;
    if (plan->rounds == 0)
        plan->rounds = compares ? 5 : 3;
}

static int read_settings(struct settings *settings, int argc, char **argv)
{
    static const struct option known[] = {
        {"scenario", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'n'},
        {"bytes", required_argument, NULL, 'b'},    {"alerts", required_argument, NULL, 'a'},
        {"rounds", required_argument, NULL, 'r'},   {"seconds", required_argument, NULL, 't'},
        {"programs", required_argument, NULL, 'p'}, {"batch", required_argument, NULL, 'q'},
        {"burn", required_argument, NULL, 'u'},     {NULL, 0, NULL, 0},
    };
    struct plan *plan = &settings->plan;
    int letter, status = 0;
    while (status == 0 && (letter = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (letter) {
        case 's':
            status = read_scenario(settings, optarg);
            break;
        case 'n':
            plan->workload.count = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            plan->workload.bytes = read_bytes(optarg);
            break;
        case 'a':
            plan->workload.alerts = (int)strtol(optarg, NULL, 10);
            break;
        case 'r':
            plan->rounds = (int)strtol(optarg, NULL, 10);
            break;
        case 't':
            plan->seconds = (int)strtol(optarg, NULL, 10);
            break;
        case 'q':
            plan->batch = (int)strtol(optarg, NULL, 10);
            break;
        case 'u':
            plan->burn_us = (int)strtol(optarg, NULL, 10);
            break;
        case 'p':
            status = read_programs(plan, optarg);
            break;
        default:
            return usage();
        }
    if (status == 0 && plan->contestant_count == 0)
        status = read_programs(plan, "tidemill floor fetch drain");
    if (status != 0)
        return -1;
    set_defaults(settings);
    if (optind != argc || plan->workload.bytes < WORKLOAD_SMALL ||
        plan->workload.bytes > WORKLOAD_PAYLOAD_MAX / 2 || plan->workload.alerts < 0 ||
        plan->workload.alerts > 100 || plan->rounds < 1 || plan->rounds > SAMPLES_MAX ||
        plan->seconds < 1 || plan->burn_us < 1)
        return usage();
    return 0;
}

/* --- the machine --- */

/* The text behind `key` and a separator in the first line of a file that has it. */
static void find_in_file(const char *path, const char *key, char *text, size_t size)
{
    char line[LINE_SIZE];
    FILE *file = fopen(path, "re");
    snprintf(text, size, "unknown");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        char *value = line + strlen(key);
        snprintf(text, size, "%s", value + strspn(value, " \t:=\""));
        text[strcspn(text, "\"")] = '\0';
        break;
    }
    if (file != NULL)
        fclose(file);
}

/* The first line that a program prints. */
static void first_line(const char *command, char *text, size_t size)
{
    FILE *output = popen(command, "re"); /* NOLINT(cert-env33-c): the command is ours */
    if (output == NULL || fgets(text, (int)size, output) == NULL)
        snprintf(text, size, "unknown");
    text[strcspn(text, "\n")] = '\0';
    if (output != NULL)
        pclose(output);
}

static void print_machine(const struct stage *stage)
{
    char processor[LINE_SIZE], system[LINE_SIZE], mill[LINE_SIZE], server[16];
    struct utsname kernel;
    double load = 0;
    uname(&kernel);
    find_in_file("/proc/cpuinfo", "model name", processor, sizeof(processor));
    find_in_file("/etc/os-release", "PRETTY_NAME", system, sizeof(system));
    first_line("\"${TIDEMILL:-tidemill}\" version", mill, sizeof(mill));
    stage_server_version(stage, server, sizeof(server));
    getloadavg(&load, 1);
    printf("%s, %ld cores; %s, Linux %s; nats-server %s; %s\n", processor,
           sysconf(_SC_NPROCESSORS_ONLN), system, kernel.release, server, mill);
    if (load > QUIET_LOAD)
        printf("\n**The machine was not quiet when this began: its load was %.2f.**\n", load);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct stage stage;
    static struct settings settings = {
        .scenario = &scenarios[0],
        .plan = {.workload = {.bytes = WORKLOAD_SMALL, .alerts = 10, .subjects = 1},
                 .seconds = 10,
                 .burn_us = 50},
    };
    struct error err;
    if (read_settings(&settings, argc, argv) != 0)
        return 2;
    int status = stage_open(&stage, &err);
    if (status == 0) {
        print_machine(&stage);
        status = settings.scenario->run(&stage, &settings.plan, &err);
    }
    if (status != 0)
        fprintf(stderr, "bench: %s\n", err.text);
    stage_close(&stage);
    return status == 0 ? 0 : 1;
}
