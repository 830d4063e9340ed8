#include "traffic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CYCLE = 1000,   /* inputs in which each kind has its share */
    STRIDE = 389,   /* without a common divisor with CYCLE: spreads the kinds */
    SENSORS = 500,  /* they stay the same; keys of windows change without end */
    LEVEL_RUN = 30, /* readings of a sensor on one side of the limit */
    IGNORED_ONE_IN = 499
};

struct kind {
    const char *name, *subject;
    unsigned share; /* of CYCLE */
    struct expectation expectation;
    const char *payload; /* %d: the sensor, %.1f: its value, then the time */
};

#define READING "{\"sensor_id\":\"s%d\",\"value\":%.1f,\"unit\":\"C\",\"time\":%" PRId64 "}"
#define ABOUT                                                                                      \
    "{\"sensor_id\":\"s%d\",\"name\":\"sensor\",\"location\":\"Hall\",\"height\":%.1f,"            \
    "\"time\":%" PRId64 "}"
#define REPORT  "{\"sensor_id\":\"s%d\",\"fault\":\"stuck\",\"at\":%.1f,\"time\":%" PRId64 "}"
#define NO_JSON "{\"sensor_id\":\"s%d\",\"value\":%.1f,\"time\":%" PRId64

static const struct kind kinds[] = {
    {"reading", "sensors.value", 760, {OUTCOME_RECEIPT, OUTCOME_LEVEL | OUTCOME_RATE}, READING},
    {"no JSON", "sensors.value", 10, {OUTCOME_DEAD, 0}, NO_JSON},
    {"metadata", "sensors.metadata", 40, {OUTCOME_RECEIPT, 0}, ABOUT},
    {"faulty", "sensors.faulty", 20, {OUTCOME_RECEIPT | OUTCOME_FAULTY, 0}, REPORT},
    {"sos", "sensors.sos", 20, {OUTCOME_RECEIPT | OUTCOME_SOS, 0}, REPORT},
    {"unmatched", "nobody.wants", 40, {0, 0}, READING},
    {"sleeping", "jobs.sleep", 20, {OUTCOME_RECEIPT, 0}, READING},
    {"request", "jobs.request", 20, {OUTCOME_RECEIPT, 0}, READING},
    {"bucket", "jobs.bucket", 20, {OUTCOME_RECEIPT, 0}, READING},
    {"retry", "jobs.retry", 10, {OUTCOME_RECEIPT, 0}, READING},
    {"flaky", "jobs.flaky", 5, {OUTCOME_RECEIPT, 0}, READING},
    {"failing", "jobs.failing", 2, {OUTCOME_DEAD, 0}, READING},
    {"rejected", "jobs.reject", 8, {OUTCOME_DEAD, 0}, READING},
    {"busy", "jobs.busy", 2, {OUTCOME_RECEIPT, 0}, READING},
    {"timers", "jobs.timers", 15, {OUTCOME_RECEIPT, 0}, READING},
    {"log", "jobs.log", 8, {OUTCOME_RECEIPT, 0}, READING},
};

static const struct kind *kind_of(size_t number)
{
    unsigned at = (unsigned)(number % CYCLE * STRIDE % CYCLE);
    const struct kind *kind = kinds;
    while (at >= kind->share)
        at -= kind++->share;
    return kind;
}

void traffic_input(void *context, size_t number, struct feed_input *input)
{
    (void)context;
    const struct kind *kind = kind_of(number);
    size_t round = number / SENSORS;
    double value = (round / LEVEL_RUN % 2 == 0 ? 50.0 : 95.0) + (double)(round % 7) / 10;
    input->subject = kind->subject;
    snprintf(input->id, sizeof(input->id), "i%zu", number);
    /*
     * A prime other than the stride chooses the sensor, or some kinds would not meet some sensors.
     */
    int sensor = (int)((number + number / CYCLE) % SENSORS);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int size = snprintf(input->payload, sizeof(input->payload), kind->payload, sensor, value,
                        TIME_BASE + (int64_t)number);
#pragma GCC diagnostic pop
    input->size = (size_t)size;
}

struct expectation traffic_expectation(size_t number)
{
    return kind_of(number)->expectation;
}

const char *traffic_kind(size_t number)
{
    return kind_of(number)->name;
}

size_t traffic_silent(size_t count)
{
    size_t share = 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        share += kinds[i].expectation.must == 0 ? kinds[i].share : 0;
    return count / CYCLE * share;
}

unsigned traffic_outcome(const char *subject)
{
    static const struct {
        const char *subject;
        enum outcome outcome;
    } outcomes[] = {
        {"alerts.high", OUTCOME_LEVEL},    {"alerts.low", OUTCOME_LEVEL},
        {"alerts.normal", OUTCOME_LEVEL},  {"alerts.rate", OUTCOME_RATE},
        {"alerts.faulty", OUTCOME_FAULTY}, {"alerts.sos", OUTCOME_SOS},
        {"dead.in.soak", OUTCOME_DEAD},
    };
    if (strncmp(subject, "receipts.", 9) == 0)
        return OUTCOME_RECEIPT;
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        if (strcmp(subject, outcomes[i].subject) == 0)
            return outcomes[i].outcome;
    }
    return 0;
}

int64_t traffic_number(const char *payload, size_t size)
{
    static const char key[] = "\"time\":";
    const char *found = memmem(payload, size, key, sizeof(key) - 1);
    if (found == NULL)
        return -1;
    char digits[24];
    found += sizeof(key) - 1;
    snprintf(digits, sizeof(digits), "%.*s", (int)(payload + size - found), found);
    return strtoll(digits, NULL, 10) - TIME_BASE;
}

bool traffic_ignored(const char *payload)
{
    return traffic_number(payload, strlen(payload)) % IGNORED_ONE_IN == 0 &&
           strstr(payload, "\"try\":1") != NULL;
}
