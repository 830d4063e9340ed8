#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "round.h"

/*
 * chaos [--seed N] [--inputs N] [--seconds N] [--rounds N] [--ack each|cumulative]: rounds of
 * chaos, a line for each. Stops at the first round that finds something, and keeps its folder:
 * stores, logs and rules. A seed is that of the first round; the next rounds count up from it.
 */

struct settings {
    struct chaos chaos;
    uint64_t rounds;
};

static int usage(void)
{
    fprintf(stderr, "usage: chaos [--seed N] [--inputs N] [--seconds N] [--rounds N] "
                    "[--ack each|cumulative]\n");
    return 2;
}

static int read_settings(struct settings *settings, int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        char *end = NULL;
        if (strcmp(argv[i], "--ack") == 0 && i + 1 < argc) {
            settings->chaos.cumulative = strcmp(argv[i + 1], "cumulative") == 0;
            if (!settings->chaos.cumulative && strcmp(argv[i + 1], "each") != 0)
                return -1;
            continue;
        }
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], &end, 10) : 0;
        if (end == NULL || end == argv[i + 1] || *end != '\0')
            return -1;
        if (strcmp(argv[i], "--seed") == 0)
            settings->chaos.seed = value;
        else if (strcmp(argv[i], "--inputs") == 0 && value > 0 && value <= 10000000)
            settings->chaos.inputs = (size_t)value;
        else if (strcmp(argv[i], "--seconds") == 0 && value > 0 && value <= 86400)
            settings->chaos.fault_seconds = (int)value;
        else if (strcmp(argv[i], "--rounds") == 0 && value > 0)
            settings->rounds = value;
        else
            return -1;
    }
    return 0;
}

/* Whether the round found nothing; else its folder stays. */
static bool run_round(const struct chaos *chaos)
{
    void *state = NULL;
    struct chaos_result result;
    if (harness_setup(&state) != 0)
        return false;
    setenv("HARNESS_KEEP", "1", 1); /* also when the harness ends the program */
    printf("seed %" PRIu64 " in %s\n", chaos->seed, harness_path(state, "."));
    fflush(stdout);
    chaos_round(state, chaos, &result);
    chaos_print(chaos, &result);
    if (chaos_passed(&result))
        unsetenv("HARNESS_KEEP");
    return harness_teardown(&state) == 0 && chaos_passed(&result);
}

int main(int argc, char **argv)
{
    struct settings settings = {.chaos = {.inputs = 100000, .fault_seconds = 60}, .rounds = 1};
    settings.chaos.seed = chaos_new_seed();
    if (read_settings(&settings, argc, argv) != 0)
        return usage();
    for (uint64_t round = 0; round < settings.rounds; round++, settings.chaos.seed++) {
        if (!run_round(&settings.chaos)) {
            printf("again: make chaos SEED=%" PRIu64 " INPUTS=%zu SECONDS_OF_FAULTS=%d%s\n",
                   settings.chaos.seed, settings.chaos.inputs, settings.chaos.fault_seconds,
                   settings.chaos.cumulative ? " ACK=cumulative" : "");
            return 1;
        }
    }
    return 0;
}
