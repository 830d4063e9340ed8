#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chaos/round.h"

/*
 * The short form of `make chaos`: some thousand inputs and a few seconds in which every kind of
 * fault strikes at least once. CHAOS_SEED in the environment repeats a plan.
 */

enum { INPUTS = 5000, FAULT_SECONDS = 8 };

static uint64_t choose_seed(void)
{
    const char *given = getenv("CHAOS_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : chaos_new_seed();
}

static void test_no_fault_loses_doubles_or_misplaces_a_message(struct harness *h)
{
    struct chaos chaos = {.seed = choose_seed(), .inputs = INPUTS, .fault_seconds = FAULT_SECONDS};
    struct chaos_result result;
    printf("CHAOS_SEED=%" PRIu64 " repeats this plan\n", chaos.seed);
    fflush(stdout);

    chaos_round(h, &chaos, &result);

    chaos_print(&chaos, &result);
    assert_true(chaos_passed(&result));
    for (int kind = 0; kind < FAULT_COUNT; kind++)
        assert_in_range(result.faults[kind], 1, INPUTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_no_fault_loses_doubles_or_misplaces_a_message),
    };
    return cmocka_run_group_tests_name("chaos", tests, NULL, NULL);
}
