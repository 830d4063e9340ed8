/*
 * The scenario of a downstream that takes nothing: every reading raises an alert, and no alert can
 * be stored. Pulling must stop, memory stay flat, and nothing be settled.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "scenarios.h"
#include "trial.h"
#include "usage.h"

enum { PULL_SID = 30, RULE_SIZE = 1024 };

static const int64_t READY_NS = 30 * NS_PER_S;

/* The second half of the time, against the first. */
struct standstill {
    unsigned first_pulls, second_pulls;
    double middle_mb, end_mb;
    struct stage_consumer_state state;
};

/* How many pull requests come until `deadline_ns`; -1 on a fault. */
static int count_pulls(struct stage *stage, int64_t deadline_ns, unsigned *pulls, struct error *err)
{
    int status;
    while ((status = trial_wait(stage, deadline_ns, err)) > 0)
        ++*pulls;
    return status;
}

static int observe(struct stage *stage, const struct plan *plan, pid_t pid, const char *durable,
                   struct standstill *seen, struct error *err)
{
    int64_t half_ns = plan->seconds * NS_PER_S / 2;
    int status = trial_wait(stage, clock_monotonic_ns() + READY_NS, err);
    if (status <= 0)
        return status < 0 ? -1 : error_set(err, "it did not begin to pull");
    seen->first_pulls = 1;
    int64_t began_ns = clock_monotonic_ns();
    if (count_pulls(stage, began_ns + half_ns, &seen->first_pulls, err) < 0)
        return -1;
    seen->middle_mb = (double)usage_memory(pid, "VmRSS") / 1024;
    if (count_pulls(stage, began_ns + 2 * half_ns, &seen->second_pulls, err) < 0)
        return -1;
    seen->end_mb = (double)usage_memory(pid, "VmRSS") / 1024;
    return stage_consumer_state(stage, "bench", durable, &seen->state, err);
}

static int run_case(struct stage *stage, const struct plan *plan, const char *title,
                    const char *durable, struct error *err)
{
    struct process *process = NULL;
    struct standstill seen = {.first_pulls = 0};
    struct error ignored;
    char pull[128];
    struct trial trial = {.program = "tidemill", .name = durable, .workers = 1, .rules = "rules"};
    snprintf(pull, sizeof(pull), "$JS.API.CONSUMER.MSG.NEXT.bench.%s", durable);
    if (trial_watch(stage, pull, PULL_SID, 0, err) != 0 ||
        trial_start(stage, &trial, "bench", &process, err) != 0)
        return -1;
    int status = observe(stage, plan, process_id(process), durable, &seen, err);
    if (trial_stop(process, status == 0 ? err : &ignored) != 0 || status != 0)
        return error_prefix(err, "%s", title);
    fprintf(stderr, "%s: done\n", title);
    printf("| %s | %u | %u | %.1f | %.1f | %" PRIu64 " | %" PRIu64 " | %" PRIu64 " |\n", title,
           seen.first_pulls, seen.second_pulls, seen.middle_mb, seen.end_mb, seen.state.delivered,
           seen.state.ack_pending, seen.state.pending);
    return 0;
}

int scenario_downstream(struct stage *stage, const struct plan *plan, struct error *err)
{
    struct workload workload = plan->workload;
    char rule[RULE_SIZE];
    workload.count = workload.count > 0 ? workload.count : 200000;
    workload.alerts = 100;
    workload_rule(&workload, "sensors.value", 0, rule, sizeof(rule));
    if (stage_write(stage, "rules/high.lua", rule, err) != 0 ||
        stage_stream(stage, "bench", "sensors.>", "", err) != 0 ||
        stage_fill(stage, &workload, err) != 0 ||
        stage_stream(stage, "alerts", "alerts.>", ",\"max_msgs\":1000,\"discard\":\"new\"", err) !=
            0)
        return -1;
    printf(
        "\n%" PRIu64 " readings that all raise an alert, a downstream that takes none, watched for "
        "%d s\n\n"
        "| alerts stream | pulls in the first half | in the second | RSS MB half-way | at the end "
        "| delivered | not settled | pending |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        workload.count, plan->seconds);
    if (run_case(stage, plan, "full after 1000", "refused", err) != 0)
        return -1;
    stage_delete_stream(stage, "alerts");
    return run_case(stage, plan, "does not exist", "absent", err);
}
