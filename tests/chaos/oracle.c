#include "oracle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What has been seen of one input: how often it was stored, and each of its outcomes. */
struct seen {
    unsigned fed, dead;
    unsigned outputs[OUTPUTS_MAX];
    uint64_t sequence;
};

struct oracle {
    struct harness *h;
    const struct plan *plan;
    struct findings *findings;
    struct seen *seen;       /* by number */
    uint64_t *numbers;       /* by sequence: 1 + the number, 0: none */
    uint64_t sequence_count; /* of `numbers` */
};

size_t findings_total(const struct findings *findings)
{
    return findings->lost + findings->duplicated + findings->invented + findings->wrong +
           findings->fed_wrong;
}

__attribute__((format(printf, 3, 4))) static void find(struct oracle *oracle, size_t *counter,
                                                       const char *format, ...)
{
    struct findings *findings = oracle->findings;
    ++*counter;
    if (findings->first_count == FINDINGS_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(findings->first[findings->first_count++], FINDING_SIZE, format, args);
    va_end(args);
}

static const char *or_none(const char *text)
{
    return text != NULL ? text : "none";
}

/* ---- the inputs as they are stored ---- */

static bool same_bytes(const struct harness_message *message, const char *payload, size_t size)
{
    return message->size == size && memcmp(message->payload, payload, size) == 0;
}

static void read_inputs(struct oracle *oracle)
{
    const struct harness_messages *stored = harness_read(oracle->h, "in");
    struct findings *findings = oracle->findings;
    for (size_t i = 0; i < stored->count; i++) {
        const struct harness_message *message = &stored->items[i];
        struct input input = {.id = ""};
        size_t number = message->id != NULL ? strtoull(message->id + 1, NULL, 10) : SIZE_MAX;
        if (number < oracle->plan->inputs)
            plan_input(oracle->plan, number, &input);
        if (strcmp(input.id, or_none(message->id)) != 0 ||
            !same_bytes(message, input.payload, input.size)) {
            find(oracle, &findings->fed_wrong, "in sequence %" PRIu64 ": no input of the plan",
                 message->sequence);
            continue;
        }
        if (oracle->seen[number].fed++ > 0)
            find(oracle, &findings->fed_wrong,
                 "in sequence %" PRIu64 ": %s is there a second time (first at %" PRIu64
                 "), its Nats-Msg-Id did not prevent it",
                 message->sequence, input.id, oracle->seen[number].sequence);
        else
            oracle->seen[number].sequence = message->sequence;
        if (message->sequence < oracle->sequence_count)
            oracle->numbers[message->sequence] = number + 1;
    }
}

/* Which input a message of `stream` is from, by the sequence in its id "in:<sequence>:..." */
static bool find_input(struct oracle *oracle, const char *stream,
                       const struct harness_message *message, size_t *number, struct input *input)
{
    uint64_t sequence = 0;
    if (message->id != NULL && strncmp(message->id, "in:", 3) == 0)
        sequence = strtoull(message->id + 3, NULL, 10);
    if (sequence == 0 || sequence >= oracle->sequence_count || oracle->numbers[sequence] == 0) {
        find(oracle, &oracle->findings->invented,
             "%s sequence %" PRIu64 " on %s with id %s is from no input", stream, message->sequence,
             message->subject, or_none(message->id));
        return false;
    }
    *number = oracle->numbers[sequence] - 1;
    plan_input(oracle->plan, *number, input);
    return true;
}

/* ---- outputs ---- */

static bool has_content(const struct harness_message *message, const struct input *input,
                        enum content content)
{
    char text[64];
    if (content == CONTENT_INPUT)
        return same_bytes(message, input->payload, input->size);
    int size = snprintf(text, sizeof(text), "{\"id\":\"%s\"}", input->id);
    return same_bytes(message, text, (size_t)size);
}

/* Where the output stands among those of its kind; -1: it has no such output. */
static int place_of(const struct kind_facts *facts, const char *subject)
{
    for (int i = 0; i < OUTPUTS_MAX; i++) {
        if (facts->outputs[i].subject != NULL && strcmp(facts->outputs[i].subject, subject) == 0)
            return i;
    }
    return -1;
}

static void judge_output(struct oracle *oracle, const char *stream,
                         const struct harness_message *message)
{
    struct findings *findings = oracle->findings;
    struct input input;
    size_t number;
    if (!find_input(oracle, stream, message, &number, &input))
        return;
    struct seen *seen = &oracle->seen[number];
    const struct kind_facts *facts = kind_facts(input.kind);
    int place = place_of(facts, message->subject);
    if (place < 0)
        find(oracle, facts->reason != NULL ? &findings->wrong : &findings->invented,
             "%s sequence %" PRIu64 ": %s (%s, in sequence %" PRIu64 ") has an output on %s",
             stream, message->sequence, input.id, facts->name, seen->sequence, message->subject);
    else if (!has_content(message, &input, facts->outputs[place].content))
        find(oracle, &findings->wrong,
             "%s sequence %" PRIu64 ": the output of %s (%s, in sequence %" PRIu64
             ") is altered: %.60s",
             stream, message->sequence, input.id, facts->name, seen->sequence, message->payload);
    else if (seen->outputs[place]++ > 0)
        find(oracle, &findings->duplicated,
             "%s sequence %" PRIu64 ": the output of %s (%s, in sequence %" PRIu64
             ") on %s is there again, with id %s",
             stream, message->sequence, input.id, facts->name, seen->sequence, message->subject,
             or_none(message->id));
}

static void judge_outputs(struct oracle *oracle, const char *stream)
{
    const struct harness_messages *stored = harness_read(oracle->h, stream);
    for (size_t i = 0; i < stored->count; i++)
        judge_output(oracle, stream, &stored->items[i]);
}

/* ---- dead letters ---- */

static bool has_header(const struct harness_message *message, const char *name, const char *value)
{
    return strcmp(or_none(harness_header(message, name)), value) == 0;
}

/* A message whose last try was cut short comes back once more, and no rule sees it then. */
static bool is_reason(const char *expected, const char *found)
{
    return strcmp(expected, found) == 0 ||
           (strcmp(expected, "error") == 0 && strcmp(found, "max_deliver") == 0);
}

static bool is_untouched(const struct harness_message *message, const struct input *input,
                         const struct seen *seen)
{
    char sequence[24];
    snprintf(sequence, sizeof(sequence), "%" PRIu64, seen->sequence);
    return same_bytes(message, input->payload, input->size) &&
           has_header(message, "Input-Id", input->id) &&
           has_header(message, "Tidemill-Original-Nats-Msg-Id", input->id) &&
           has_header(message, "Tidemill-Subject", input->subject) &&
           has_header(message, "Tidemill-Stream", "in") &&
           has_header(message, "Tidemill-Sequence", sequence) &&
           strcmp(message->subject, "dead.in.chaos") == 0;
}

static void judge_dead_letter(struct oracle *oracle, const struct harness_message *message)
{
    struct findings *findings = oracle->findings;
    struct input input;
    size_t number;
    if (!find_input(oracle, "dead", message, &number, &input))
        return;
    struct seen *seen = &oracle->seen[number];
    const struct kind_facts *facts = kind_facts(input.kind);
    const char *reason = or_none(harness_header(message, "Tidemill-Reason"));
    if (facts->reason == NULL || !is_reason(facts->reason, reason))
        find(oracle, &findings->wrong,
             "dead sequence %" PRIu64 ": %s (%s, in sequence %" PRIu64
             ") is a dead letter for reason %s, delivered %s, error %.100s",
             message->sequence, input.id, facts->name, seen->sequence, reason,
             or_none(harness_header(message, "Tidemill-Delivered")),
             or_none(harness_header(message, "Tidemill-Error")));
    else if (!is_untouched(message, &input, seen))
        find(oracle, &findings->wrong,
             "dead sequence %" PRIu64 ": the dead letter of %s (%s, in sequence %" PRIu64
             ") is altered: %.60s",
             message->sequence, input.id, facts->name, seen->sequence, message->payload);
    else if (seen->dead++ > 0)
        find(oracle, &findings->duplicated,
             "dead sequence %" PRIu64 ": the dead letter of %s (%s, in sequence %" PRIu64
             ") is there again, with id %s",
             message->sequence, input.id, facts->name, seen->sequence, or_none(message->id));
}

/* ---- what is not there ---- */

static void look_for_lost(struct oracle *oracle, size_t number)
{
    struct findings *findings = oracle->findings;
    const struct seen *seen = &oracle->seen[number];
    struct input input;
    plan_input(oracle->plan, number, &input);
    const struct kind_facts *facts = kind_facts(input.kind);
    if (seen->fed == 0) {
        find(oracle, &findings->fed_wrong, "%s (%s) is not in the stream, though it had a PubAck",
             input.id, facts->name);
        return;
    }
    for (int i = 0; i < OUTPUTS_MAX; i++) {
        if (facts->outputs[i].subject != NULL && seen->outputs[i] == 0)
            find(oracle, &findings->lost,
                 "the output of %s (%s, in sequence %" PRIu64 ") on %s is lost", input.id,
                 facts->name, seen->sequence, facts->outputs[i].subject);
    }
    if (facts->reason != NULL && seen->dead == 0)
        find(oracle, &findings->lost, "the dead letter of %s (%s, in sequence %" PRIu64 ") is lost",
             input.id, facts->name, seen->sequence);
}

void oracle_compare(struct harness *h, const struct plan *plan, struct findings *findings)
{
    struct oracle oracle = {.h = h, .plan = plan, .findings = findings};
    oracle.sequence_count = 2 * plan->inputs + 1; /* room for a server that doubles all */
    oracle.seen = calloc(plan->inputs + 1, sizeof(*oracle.seen));
    oracle.numbers = calloc(oracle.sequence_count, sizeof(*oracle.numbers));
    if (oracle.seen == NULL || oracle.numbers == NULL)
        harness_fail(h, "out of memory");
    harness_defer(h, free, oracle.seen);
    harness_defer(h, free, oracle.numbers);
    *findings = (struct findings){.lost = 0};

    read_inputs(&oracle);
    judge_outputs(&oracle, "out");
    judge_outputs(&oracle, "other");
    const struct harness_messages *dead = harness_read(h, "dead");
    for (size_t i = 0; i < dead->count; i++)
        judge_dead_letter(&oracle, &dead->items[i]);
    for (size_t number = 0; number < plan->inputs; number++)
        look_for_lost(&oracle, number);
}
