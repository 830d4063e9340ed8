#include "round.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "integration/feeder.h"
#include "stage.h"

enum {
    STEP_MS = 3,
    LOOK_MS = 50,     /* between two looks at the consumer */
    STALL_MS = 60000, /* without any progress of the consumer: it stands still */
    HEAL_MS = 600000, /* all in all */
    WATCHDOG_STATUS = 70
};

static struct plan plan_of(const struct chaos *chaos)
{
    return (struct plan){.seed = chaos->seed,
                         .inputs = chaos->inputs,
                         .fault_ms = chaos->fault_seconds * 1000,
                         .ack_wait_ms = ACK_WAIT_MS};
}

uint64_t chaos_new_seed(void)
{
    uint32_t seed = 0; /* short, so that it is easily typed */
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = (uint32_t)clock_wall_ns();
    return seed;
}

bool chaos_has_all_faults(const struct chaos *chaos)
{
    struct plan plan = plan_of(chaos);
    bool all = plan_open(&plan) == 0 && plan_has_all_faults(&plan);
    plan_close(&plan);
    return all;
}

/* ---- the feed ---- */

static void make_input(void *plan, size_t number, struct feed_input *made)
{
    struct input input;
    plan_input(plan, number, &input);
    made->subject = input.subject;
    made->size = input.size;
    memcpy(made->id, input.id, sizeof(made->id));
    memcpy(made->payload, input.payload, input.size);
}

static size_t inputs_due(void *plan, int64_t ms)
{
    return plan_due(plan, ms);
}

/* ---- the faults' time ---- */

/* A fault that has begun and not ended. */
static bool is_open(const struct fault *fault, int64_t now_ms)
{
    return fault->for_ms > 0 && fault->at_ms <= now_ms;
}

static void run_faults(struct stage *stage, const struct plan *plan, struct chaos_result *result)
{
    int64_t started_ns = clock_monotonic_ns(), now_ms;
    bool *ended = calloc(plan->fault_count + 1, sizeof(*ended));
    size_t begun = 0;
    if (ended == NULL)
        fail_msg("out of memory");
    do {
        now_ms = (clock_monotonic_ns() - started_ns) / NS_PER_MS;
        for (size_t i = 0; i < begun; i++) {
            const struct fault *fault = &plan->faults[i];
            if (ended[i] || !is_open(fault, now_ms) || now_ms < fault->at_ms + fault->for_ms)
                continue;
            stage_end_fault(stage, fault);
            ended[i] = true;
        }
        if (begun < plan->fault_count && plan->faults[begun].at_ms <= now_ms) {
            stage_begin_fault(stage, &plan->faults[begun]);
            result->faults[plan->faults[begun++].kind]++;
        }
        stage_watch(stage);
        poll(NULL, 0, STEP_MS);
    } while (now_ms < plan->fault_ms || begun < plan->fault_count);
    free(ended);
    stage_heal(stage);
}

/* ---- until everything is settled ---- */

struct progress {
    size_t stored;
    uint64_t delivered, acked_floor;
    int64_t pending, unacked;
};

static void look(struct harness *h, struct feeder *feeder, struct progress *progress)
{
    jsConsumerInfo *info = NULL;
    *progress = (struct progress){.stored = feeder_stored(feeder), .pending = -1, .unacked = -1};
    if (js_GetConsumerInfo(&info, harness_js(h), "in", "chaos", NULL, NULL) != NATS_OK)
        return;
    progress->delivered = info->Delivered.Consumer;
    progress->acked_floor = info->AckFloor.Stream;
    progress->pending = (int64_t)info->NumPending;
    progress->unacked = (int64_t)info->NumAckPending;
    jsConsumerInfo_Destroy(info);
}

static bool is_settled(const struct plan *plan, const struct progress *progress)
{
    return progress->stored == plan->inputs && progress->pending == 0 && progress->unacked == 0;
}

/* Waits as long as something moves. Returns how often a message was delivered. */
static uint64_t await_settled(struct harness *h, struct stage *stage, const struct plan *plan,
                              struct feeder *feeder)
{
    int64_t deadline_ns = harness_deadline(HEAL_MS), stall_ns = harness_deadline(STALL_MS);
    struct progress before, now;
    look(h, feeder, &before);
    for (now = before; !is_settled(plan, &now); look(h, feeder, &now)) {
        if (memcmp(&now, &before, sizeof(now)) != 0)
            stall_ns = harness_deadline(STALL_MS);
        before = now;
        if (clock_monotonic_ns() > stall_ns || clock_monotonic_ns() > deadline_ns)
            harness_fail(h,
                         "%s: %zu of %zu inputs stored, %" PRId64 " pending, %" PRId64
                         " not acknowledged, acknowledged up to %" PRIu64,
                         clock_monotonic_ns() > deadline_ns ? "the round comes to no end"
                                                            : "the consumer stands still",
                         now.stored, plan->inputs, now.pending, now.unacked, now.acked_floor);
        stage_watch(stage);
        poll(NULL, 0, LOOK_MS);
    }
    return now.delivered;
}

/* ---- the round ---- */

static void close_plan(void *plan)
{
    plan_close(plan);
}

static void close_stage(void *stage)
{
    stage_close(stage);
}

static void end_feeder(void *feeder)
{
    feeder_end(feeder);
}

void chaos_round(struct harness *h, const struct chaos *chaos, struct chaos_result *result)
{
    int64_t started_ns = clock_monotonic_ns();
    *result = (struct chaos_result){.complaint = ""};
    struct plan *plan = calloc(1, sizeof(*plan));
    assert_non_null(plan);
    harness_defer(h, free, plan);
    *plan = plan_of(chaos);
    if (plan_open(plan) != 0)
        harness_fail(h, "out of memory");
    harness_defer(h, close_plan, plan);

    struct stage *stage = stage_open(h, chaos->cumulative);
    harness_defer(h, close_stage, stage);
    struct feed_source source = {
        .input = make_input, .due = inputs_due, .context = plan, .count = plan->inputs};
    struct feeder *feeder = feeder_start(&source, harness_url(h));
    if (feeder == NULL)
        harness_fail(h, "cannot start the feeder");
    harness_defer(h, end_feeder, feeder);

    run_faults(stage, plan, result);
    uint64_t delivered = await_settled(h, stage, plan, feeder);
    stage_finish(stage);
    oracle_compare(h, plan, &result->findings);

    result->redeliveries = delivered > plan->inputs ? delivered - plan->inputs : 0;
    result->watchdog_ends = stage_ends(stage, WATCHDOG_STATUS);
    if (stage_complaint(stage) != NULL)
        snprintf(result->complaint, sizeof(result->complaint), "%s", stage_complaint(stage));
    result->seconds = (double)(clock_monotonic_ns() - started_ns) / (double)NS_PER_S;
}

bool chaos_passed(const struct chaos_result *result)
{
    return findings_total(&result->findings) == 0 && result->complaint[0] == '\0';
}

void chaos_print(const struct chaos *chaos, const struct chaos_result *result)
{
    const struct findings *findings = &result->findings;
    printf("seed %" PRIu64 ": %zu inputs%s; faults:", chaos->seed, chaos->inputs,
           chaos->cumulative ? ", cumulative acks" : "");
    for (int i = 0; i < FAULT_COUNT; i++)
        printf("%s %u %s", i > 0 ? "," : "", result->faults[i], fault_name((enum fault_kind)i));
    printf("; %" PRIu64
           " redeliveries; lost %zu, duplicated %zu, invented %zu, wrong %zu; %.1f s\n",
           result->redeliveries, findings->lost, findings->duplicated, findings->invented,
           findings->wrong, result->seconds);
    if (findings->fed_wrong > 0)
        printf("  the input stream itself is wrong in %zu places\n", findings->fed_wrong);
    for (size_t i = 0; i < findings->first_count; i++)
        printf("  %s\n", findings->first[i]);
    if (findings_total(findings) > findings->first_count)
        printf("  and %zu more\n", findings_total(findings) - findings->first_count);
    if (result->complaint[0] != '\0')
        printf("  %s\n", result->complaint);
    if (result->watchdog_ends > 0)
        printf("  tidemill's watchdog ended it %u times\n", result->watchdog_ends);
    fflush(stdout);
}
