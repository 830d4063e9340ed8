#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BURST_MS = 700,     /* inputs come in bursts, so that there is a backlog for faults to hit */
    GAP_LEAST_MS = 50,  /* between the starts of two faults */
    GAP_MOST_MS = 1250, /* 650 on average: 9 kinds in 6 s */
    CALM_END_MS = 200,  /* no fault begins in the last moments */
    SHARES = 1000
};

static const struct kind_facts kinds[KIND_COUNT] = {
    [KIND_COPY] = {"copy", "in.copy", 440, {{"out.copy", CONTENT_INPUT}}, NULL},
    [KIND_TWO] = {"two outputs",
                  "in.two",
                  120,
                  {{"out.two", CONTENT_INPUT}, {"other.two", CONTENT_ID}},
                  NULL},
    [KIND_FLAKY] = {"fails twice", "in.flaky", 60, {{"out.flaky", CONTENT_ID}}, NULL},
    [KIND_LATER] = {"retry", "in.later", 40, {{"out.later", CONTENT_INPUT}}, NULL},
    [KIND_SLOW] = {"slow", "in.slow", 80, {{"out.slow", CONTENT_ID}}, NULL},
    [KIND_PAIR] = {"two rules",
                   "in.pair",
                   80,
                   {{"out.first", CONTENT_ID}, {"other.second", CONTENT_INPUT}},
                   NULL},
    [KIND_HALF] = {"one rule of two fails", "in.half", 20, {{"out.first", CONTENT_ID}}, "error"},
    [KIND_FAILING] = {"always fails", "in.failing", 20, {{NULL, CONTENT_ID}}, "error"},
    [KIND_REJECTED] = {"rejected", "in.rejected", 40, {{NULL, CONTENT_ID}}, "rejected"},
    [KIND_BROKEN] = {"broken JSON", "in.copy", 40, {{NULL, CONTENT_ID}}, "payload"},
    [KIND_UNMATCHED] = {"unmatched", "in.nobody", 60, {{NULL, CONTENT_ID}}, NULL},
};

static const char *const fault_names[FAULT_COUNT] = {
    [FAULT_KILL_MILL] = "kill tidemill",      [FAULT_STOP_MILL] = "stop tidemill",
    [FAULT_PAUSE_MILL] = "pause tidemill",    [FAULT_SECOND_MILL] = "second tidemill",
    [FAULT_KILL_SERVER] = "kill nats-server", [FAULT_PAUSE_SERVER] = "pause nats-server",
    [FAULT_REFUSE] = "refuse outputs",        [FAULT_RELOAD] = "reload",
    [FAULT_BROKEN_RELOAD] = "broken reload",
};

const struct kind_facts *kind_facts(enum kind kind)
{
    return &kinds[kind];
}

const char *fault_name(enum fault_kind kind)
{
    return fault_names[kind];
}

/* ---- the generator (splitmix64) ---- */

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* least <= result <= most */
static int between(uint64_t *state, int least, int most)
{
    return least + (int)(next(state) % (uint64_t)(most - least + 1));
}

/* ---- inputs ---- */

static enum kind draw_kind(uint64_t *state)
{
    unsigned at = (unsigned)(next(state) % SHARES);
    enum kind kind = KIND_COPY;
    while (at >= kinds[kind].share)
        at -= kinds[kind++].share;
    return kind;
}

/* What is no JSON, with all that a careless program would alter. */
static void break_payload(struct input *input, uint64_t *state)
{
    static const char tail[] = "\"\xff\xfe\r\n\0\t}{";
    input->size = strlen(input->payload) - 1; /* without the bracket */
    memcpy(input->payload + input->size, tail, sizeof(tail));
    input->size += sizeof(tail); /* its NUL included */
    for (int more = between(state, 0, 40); more > 0; more--)
        input->payload[input->size++] = (char)next(state);
}

void plan_input(const struct plan *plan, size_t number, struct input *input)
{
    uint64_t state = plan->seed ^ (number + 1) * UINT64_C(0xd1342543de82ef95);
    input->kind = draw_kind(&state);
    input->subject = kinds[input->kind].subject;
    snprintf(input->id, sizeof(input->id), "i%07zu", number);
    int64_t big = (int64_t)next(&state);
    int size = snprintf(input->payload, sizeof(input->payload),
                        "{ \"id\":\"%s\", \"big\":%" PRId64 ",\"text\":\"\\u00fc %.*s\"}",
                        input->id, big, between(&state, 0, 200),
                        "................................................................"
                        "................................................................"
                        "................................................................"
                        "................................................................");
    input->size = (size_t)size;
    if (input->kind == KIND_BROKEN)
        break_payload(input, &state);
}

size_t plan_due(const struct plan *plan, int64_t ms)
{
    int64_t bursts = plan->fault_ms / BURST_MS + 1, burst = ms / BURST_MS + 1;
    if (burst >= bursts)
        return plan->inputs;
    return plan->inputs * (size_t)burst / (size_t)bursts;
}

/* ---- faults ---- */

/* Who is busy with a fault until when: a dead process can't be paused. */
struct busy {
    int mill, second, server, rules;
};

static int *busy_with(struct busy *busy, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_SECOND_MILL:
        return &busy->second;
    case FAULT_KILL_SERVER:
    case FAULT_PAUSE_SERVER:
    case FAULT_REFUSE: /* it takes a server that answers to begin and to end it */
        return &busy->server;
    case FAULT_RELOAD:
    case FAULT_BROKEN_RELOAD:
        return &busy->rules;
    default:
        return &busy->mill;
    }
}

static int draw_duration(const struct plan *plan, enum fault_kind kind, uint64_t *state)
{
    bool extreme = next(state) % 3 == 0;
    switch (kind) {
    case FAULT_KILL_MILL:
        return extreme ? between(state, 1, 20) : between(state, 20, 1500);
    case FAULT_STOP_MILL:
        return between(state, 300, 2000);
    case FAULT_PAUSE_MILL:
        return extreme ? plan->ack_wait_ms + between(state, 100, 1500) : between(state, 20, 1500);
    case FAULT_SECOND_MILL:
        return between(state, 500, 5000);
    case FAULT_KILL_SERVER:
        return extreme ? between(state, 1, 20) : between(state, 20, 2500);
    case FAULT_REFUSE: /* longer than the tries of one output, or shorter */
        return extreme ? between(state, 2000, 3000) : between(state, 20, 1000);
    case FAULT_PAUSE_SERVER:
        return extreme ? between(state, 1500, 4000) : between(state, 20, 1500);
    default:
        return 0;
    }
}

/* Each kind once, in an order of its own, then all again: also a short plan has one of each. */
static enum fault_kind draw_fault(enum fault_kind bag[FAULT_COUNT], size_t *left, uint64_t *state)
{
    if (*left == 0) {
        for (int i = 0; i < FAULT_COUNT; i++)
            bag[i] = (enum fault_kind)i;
        *left = FAULT_COUNT;
    }
    size_t at = (size_t)(next(state) % *left);
    enum fault_kind kind = bag[at];
    bag[at] = bag[--*left];
    return kind;
}

static int compare_faults(const void *a, const void *b)
{
    const struct fault *left = a, *right = b;
    return (left->at_ms > right->at_ms) - (left->at_ms < right->at_ms);
}

int plan_open(struct plan *plan)
{
    uint64_t state = plan->seed;
    enum fault_kind bag[FAULT_COUNT];
    size_t left = 0;
    struct busy busy = {0, 0, 0, 0};
    plan->faults = calloc((size_t)plan->fault_ms / GAP_LEAST_MS + 1, sizeof(*plan->faults));
    if (plan->faults == NULL)
        return -1;
    plan->fault_count = 0;
    int end_ms = plan->fault_ms - CALM_END_MS;
    for (int at_ms = between(&state, 100, 1000); at_ms < end_ms;
         at_ms += between(&state, GAP_LEAST_MS, GAP_MOST_MS)) {
        struct fault fault = {.kind = draw_fault(bag, &left, &state), .at_ms = at_ms};
        fault.for_ms = draw_duration(plan, fault.kind, &state);
        fault.pick = (unsigned)(next(&state) % 1000);
        int *until_ms = busy_with(&busy, fault.kind);
        if (fault.at_ms < *until_ms)
            fault.at_ms = *until_ms;
        /* After a fault its victim has a moment in which it works, longer or shorter. */
        *until_ms = fault.at_ms + fault.for_ms + between(&state, 20, 800);
        if (fault.at_ms < end_ms)
            plan->faults[plan->fault_count++] = fault;
    }
    qsort(plan->faults, plan->fault_count, sizeof(*plan->faults), compare_faults);
    return 0;
}

void plan_close(struct plan *plan)
{
    free(plan->faults);
    plan->faults = NULL;
}

bool plan_has_all_faults(const struct plan *plan)
{
    unsigned counts[FAULT_COUNT] = {0}, kinds_there = 0;
    for (size_t i = 0; i < plan->fault_count; i++)
        kinds_there += counts[plan->faults[i].kind]++ == 0;
    return kinds_there == FAULT_COUNT;
}
