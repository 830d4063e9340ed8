/*
 * The scenario of a downstream that is in trouble: every reading raises an alert, and for some
 * seconds no alert can be stored, or only few can. Pulling must stop, or keep step, and memory stay
 * flat. Then the trouble ends, and every alert must arrive, once.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "scenarios.h"
#include "trial.h"
#include "usage.h"

enum { PULL_SID = 30, RULE_SIZE = 1024, PATH_SIZE = 512, SUBJECT_SIZE = 256, SLOW_RATE = 1000 };

static const int64_t READY_NS = 30 * NS_PER_S;
static const int64_t ARRIVE_NS = 180 * NS_PER_S; /* in which all must arrive, once it can */
static const int64_t STEP_NS = 20 * NS_PER_MS;

/* A kind of trouble. */
struct trouble {
    const char *title;
    const char *durable;
    int (*begin)(struct stage *stage, struct process **helper, struct error *err);
    int (*end)(struct stage *stage, struct process *helper, struct error *err);
};

/* --- an alerts stream that is full --- */

static int begin_full(struct stage *stage, struct process **helper, struct error *err)
{
    (void)helper;
    return stage_stream(stage, "alerts", "alerts.>", ",\"max_msgs\":1000,\"discard\":\"new\"", err);
}

static int end_full(struct stage *stage, struct process *helper, struct error *err)
{
    (void)helper;
    return stage_update_stream(stage, "alerts", "alerts.>", ",\"discard\":\"new\"", err);
}

/* --- one that is not there --- */

static int begin_absent(struct stage *stage, struct process **helper, struct error *err)
{
    (void)helper, (void)err;
    stage_delete_stream(stage, "alerts");
    return 0;
}

static int end_absent(struct stage *stage, struct process *helper, struct error *err)
{
    (void)helper;
    return stage_stream(stage, "alerts", "alerts.>", "", err);
}

/* --- one that stores slowly --- */

static int begin_slow(struct stage *stage, struct process **helper, struct error *err)
{
    char path[PATH_SIZE], log[PATH_SIZE], rate[16];
    const char *const argv[] = {path, stage_url(stage), rate, NULL};
    struct process_options options = {.argv = argv, .folder = stage->folder, .log = log};
    trial_beside("throttle", path, sizeof(path));
    snprintf(log, sizeof(log), "%s/throttle.log", stage->folder);
    snprintf(rate, sizeof(rate), "%d", SLOW_RATE);
    if (stage_stream(stage, "alerts", "stored.>", "", err) != 0 ||
        process_open(helper, &options, err) != 0)
        return -1;
    if (!process_wait_text(*helper, "ready", clock_monotonic_ns() + READY_NS))
        return error_set(err, "throttle does not begin: %s", process_text(*helper));
    return 0;
}

static int end_slow(struct stage *stage, struct process *helper, struct error *err)
{
    (void)stage, (void)err;
    process_signal(helper, SIGUSR1);
    return 0;
}

static const struct trouble troubles[] = {
    {"full after 1,000", "full", begin_full, end_full},
    {"does not exist", "absent", begin_absent, end_absent},
    {"stores 1,000 per second", "slow", begin_slow, end_slow},
};

/* --- what is seen --- */

/* The second half of the time, against the first; then the end. */
struct course {
    unsigned first_pulls, second_pulls;
    double middle_mb, late_mb, most_mb;
    struct stage_consumer_state state; /* when the trouble ends */
    double arrived_s;                  /* how long the rest took then */
};

static double megabytes(const struct process *process, const char *what)
{
    return (double)usage_memory(process_id(process), what) / 1024;
}

/* How many pull requests come until `deadline_ns`; -1 on a fault. */
static int count_pulls(struct stage *stage, int64_t deadline_ns, unsigned *pulls, struct error *err)
{
    int status;
    while ((status = trial_wait(stage, deadline_ns, err)) > 0)
        ++*pulls;
    return status;
}

static int watch_trouble(struct stage *stage, const struct plan *plan, struct process *process,
                         const char *durable, struct course *course, struct error *err)
{
    int64_t half_ns = plan->seconds * NS_PER_S / 2;
    int status = trial_wait(stage, clock_monotonic_ns() + READY_NS, err);
    if (status <= 0)
        return status < 0 ? -1 : error_set(err, "it did not begin to pull");
    course->first_pulls = 1;
    int64_t began_ns = clock_monotonic_ns();
    if (count_pulls(stage, began_ns + half_ns, &course->first_pulls, err) < 0)
        return -1;
    course->middle_mb = megabytes(process, "VmRSS");
    if (count_pulls(stage, began_ns + 2 * half_ns, &course->second_pulls, err) < 0)
        return -1;
    course->late_mb = megabytes(process, "VmRSS");
    return stage_consumer_state(stage, "bench", durable, &course->state, err);
}

/* Until all is settled; then the stream must hold each alert once. */
static int watch_arrivals(struct stage *stage, uint64_t count, struct process *process,
                          const char *durable, struct course *course, struct error *err)
{
    int64_t began_ns = clock_monotonic_ns();
    struct stage_consumer_state state;
    uint64_t alerts = 0;
    unsigned pulls = 0;
    do {
        if (count_pulls(stage, clock_monotonic_ns() + STEP_NS, &pulls, err) < 0 ||
            stage_consumer_state(stage, "bench", durable, &state, err) != 0)
            return -1;
        if (clock_monotonic_ns() - began_ns > ARRIVE_NS)
            return error_set(err, "%" PRIu64 " pending and %" PRIu64 " not settled, long after",
                             state.pending, state.ack_pending);
    } while (state.pending > 0 || state.ack_pending > 0);
    course->arrived_s = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    course->most_mb = megabytes(process, "VmHWM");
    if (stage_count(stage, "alerts", &alerts, err) != 0)
        return -1;
    return alerts == count
               ? 0
               : error_set(err, "%" PRIu64 " alerts of %" PRIu64 " readings", alerts, count);
}

static int run_course(struct stage *stage, const struct plan *plan, const struct trouble *trouble,
                      uint64_t count, struct process *helper, struct course *course,
                      struct error *err)
{
    struct process *process = NULL;
    struct error ignored;
    char pull[SUBJECT_SIZE];
    struct trial trial = {.program = "tidemill",
                          .name = trouble->durable,
                          .source = ", max_deliver = 1000, backoff = { \"1s\" }",
                          .workers = 1,
                          .rules = "rules",
                          .batch = plan->batch};
    trial_pull_subject(&trial, pull, sizeof(pull));
    if (trial_watch(stage, pull, PULL_SID, 0, err) != 0 ||
        trial_start(stage, &trial, &process, err) != 0)
        return -1;
    int status = watch_trouble(stage, plan, process, trial.name, course, err);
    if (status == 0)
        status = trouble->end(stage, helper, err);
    if (status == 0)
        status = watch_arrivals(stage, count, process, trial.name, course, err);
    if (trial_stop(process, status == 0 ? err : &ignored) != 0)
        status = -1;
    return status;
}

static int run_trouble(struct stage *stage, const struct plan *plan, const struct trouble *trouble,
                       uint64_t count, struct error *err)
{
    struct process *helper = NULL;
    struct course course = {.first_pulls = 0};
    int status = trouble->begin(stage, &helper, err);
    if (status == 0)
        status = run_course(stage, plan, trouble, count, helper, &course, err);
    process_close(helper);
    if (status != 0)
        return error_prefix(err, "%s", trouble->title);
    fprintf(stderr, "%s: all arrived after %.1f s\n", trouble->title, course.arrived_s);
    printf("| %s | %u | %u | %.1f | %.1f | %" PRIu64 " | %" PRIu64 " | %.1f | %.1f |\n",
           trouble->title, course.first_pulls, course.second_pulls, course.middle_mb,
           course.late_mb, course.state.ack_pending, course.state.pending, course.arrived_s,
           course.most_mb);
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
        stage_fill(stage, &workload, err) != 0)
        return -1;
    printf(
        "\n%" PRIu64 " readings that all raise an alert; trouble with the alerts stream for %d s, "
        "then none, and every alert arrived once\n\n"
        "| alerts stream | pulls in the first half | in the second | RSS MB half-way | at the end "
        "| not settled | pending | then s until all was settled | peak RSS MB |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        workload.count, plan->seconds);
    for (size_t i = 0; i < sizeof(troubles) / sizeof(*troubles); i++)
        if (run_trouble(stage, plan, &troubles[i], workload.count, err) != 0)
            return -1;
    return 0;
}
