#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The main job at its full size: 100,000 messages of the kinds that sensors send, through the
 * sample configuration and the sample rules of the source tree as they are. What the alerts stream
 * must hold is worked out here from what was fed, in C and apart from the rules, and compared
 * alert by alert: every field, how often, and in which order.
 */

enum {
    MESSAGES = 100000,
    SENSORS = 40,
    ALERTS_MAX = 2 * MESSAGES, /* one reading can raise two */
    LINE_SIZE = 240
};

/* The limits of rules/value_limits.lua and rules/rate_of_change.lua. */
static const double HIGH = 90, LOW = 10, HYSTERESIS = 5, MAX_PER_SECOND = 6;

/* Each rule sees its messages in order, so each rule's alerts are in order too. */
enum sample_rule { RULE_LIMITS, RULE_RATE, RULE_FAULTY, RULE_SOS, RULE_COUNT };
static const char *const rule_names[RULE_COUNT] = {"value_limits", "rate_of_change",
                                                   "faulty_sensor", "sos"};

struct alerts {
    char (*lines)[LINE_SIZE];
    size_t count;
};

struct sensor {
    const char *level;
    bool read; /* it has sent a reading */
    double last_value;
    long long last_time, clock;
    double value;
    char name[32], location[32]; /* as far as told; "-": not */
};

struct plant {
    uint64_t random;
    struct sensor sensors[SENSORS];
    struct alerts expected[RULE_COUNT];
    size_t rejected; /* messages that must become dead letters */
};

/* ---- the plant ---- */

/* 0 <= result < bound, the same sequence in every run. */
static unsigned draw(struct plant *plant, unsigned bound)
{
    plant->random = plant->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((plant->random >> 33) % bound);
}

__attribute__((format(printf, 2, 3))) static void add(struct alerts *alerts, const char *format,
                                                      ...)
{
    assert_true(alerts->count < ALERTS_MAX);
    va_list args;
    va_start(args, format);
    int size = vsnprintf(alerts->lines[alerts->count++], LINE_SIZE, format, args);
    va_end(args);
    assert_in_range(size, 1, LINE_SIZE - 1);
}

static void expect_limits(struct plant *plant, int id, long long time)
{
    struct sensor *sensor = &plant->sensors[id];
    bool was_high = strcmp(sensor->level, "high") == 0, was_low = strcmp(sensor->level, "low") == 0;
    double value = sensor->value;
    const char *level = "normal";
    if (value > HIGH || (was_high && value > HIGH - HYSTERESIS))
        level = "high";
    else if (value < LOW || (was_low && value < LOW + HYSTERESIS))
        level = "low";
    if (strcmp(level, sensor->level) == 0)
        return;
    sensor->level = level;
    char limit[16] = "-";
    if (strcmp(level, "normal") != 0)
        snprintf(limit, sizeof(limit), "%g", strcmp(level, "high") == 0 ? HIGH : LOW);
    add(&plant->expected[RULE_LIMITS], "alerts.%s s%d %.17g %lld limit %s °C %s %s", level, id,
        value, time, limit, sensor->name, sensor->location);
}

static void expect_rate(struct plant *plant, int id, long long time)
{
    struct sensor *sensor = &plant->sensors[id];
    if (sensor->read && time > sensor->last_time) {
        double seconds = (double)(time - sensor->last_time) / 1000;
        double rate = (sensor->value - sensor->last_value) / seconds;
        if (fabs(rate) > MAX_PER_SECOND)
            add(&plant->expected[RULE_RATE], "alerts.rate s%d %.17g %lld from %.17g by %.17g", id,
                sensor->value, time, sensor->last_value, rate);
    }
    sensor->read = true;
    sensor->last_value = sensor->value;
    sensor->last_time = time;
}

/* A reading: mostly a small step, at times a jump, at times with a clock that goes backwards. */
static void make_reading(struct plant *plant, int id, struct harness_draft *draft)
{
    struct sensor *sensor = &plant->sensors[id];
    int tenths = (int)lround(sensor->value * 10);
    tenths += (int)draw(plant, 61) - 30;
    if (draw(plant, 50) == 0)
        tenths = (int)draw(plant, 1100) - 50;
    sensor->value = tenths < -100 || tenths > 1200 ? 50 : tenths / 10.0;
    sensor->clock += 400 + draw(plant, 1200);
    long long time = draw(plant, 200) == 0 ? sensor->clock - 5000 : sensor->clock;

    strcpy(draft->subject, "sensors.value");
    snprintf(draft->payload, sizeof(draft->payload),
             "{\"sensor_id\":\"s%d\",\"value\":%.1f,\"unit\":\"°C\",\"time\":%lld}", id,
             sensor->value, time);
    sensor->value = strtod(strstr(draft->payload, "\"value\":") + 8, NULL);
    expect_limits(plant, id, time);
    expect_rate(plant, id, time);
}

static void make_metadata(struct plant *plant, int id, struct harness_draft *draft)
{
    struct sensor *sensor = &plant->sensors[id];
    char location[40] = "null";
    snprintf(sensor->name, sizeof(sensor->name), "pump %u", draw(plant, 1000));
    snprintf(sensor->location, sizeof(sensor->location), "hall %u", draw(plant, 9));
    if (draw(plant, 4) == 0)
        strcpy(sensor->location, "-");
    else
        snprintf(location, sizeof(location), "\"%s\"", sensor->location);
    strcpy(draft->subject, "sensors.metadata");
    snprintf(draft->payload, sizeof(draft->payload),
             "{\"sensor_id\":\"s%d\",\"name\":\"%s\",\"location\":%s}", id, sensor->name, location);
}

static void make_fault(struct plant *plant, int id, struct harness_draft *draft)
{
    struct sensor *sensor = &plant->sensors[id];
    const char *fault = draw(plant, 2) == 0 ? "stuck" : "out of range";
    strcpy(draft->subject, "sensors.faulty");
    snprintf(draft->payload, sizeof(draft->payload),
             "{\"sensor_id\":\"s%d\",\"fault\":\"%s\",\"time\":%lld}", id, fault, sensor->clock);
    add(&plant->expected[RULE_FAULTY], "alerts.faulty s%d %s %lld %s %s", id, fault, sensor->clock,
        sensor->name, sensor->location);
}

static void make_message(void *context, size_t number, struct harness_draft *draft)
{
    struct plant *plant = context;
    int id = (int)draw(plant, SENSORS);
    unsigned kind = draw(plant, 1000);
    if (number < SENSORS / 2) /* some sensors are never described */
        make_metadata(plant, (int)number, draft);
    else if (kind < 5 && id < SENSORS / 2)
        make_metadata(plant, id, draft);
    else if (kind < 15)
        make_fault(plant, id, draft);
    else if (kind < 20) {
        strcpy(draft->subject, "sensors.sos");
        /* Passed on byte for byte, so blanks and the order of the keys count. */
        snprintf(draft->payload, sizeof(draft->payload),
                 "{ \"time\" : %zu,\"sensor_id\":\"s%d\", \"message\":\"Hilfe! \\u00e9\" }", number,
                 id);
        add(&plant->expected[RULE_SOS], "%s", draft->payload);
    } else if (kind == 20) {
        strcpy(draft->subject, "sensors.value");
        snprintf(draft->payload, sizeof(draft->payload),
                 "{\"sensor_id\":\"s%d\",\"value\":\"n/a\",\"number\":%zu}", id, number);
        plant->rejected++;
    } else
        make_reading(plant, id, draft);
}

/* ---- what the stream holds ---- */

/* The value of a key as it stands in the payload, without quotes; "-" when there is none. */
static const char *field(const char *payload, const char *key, char out[static 64])
{
    char quoted[40];
    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    const char *found = strstr(payload, quoted);
    if (found == NULL)
        return strcpy(out, "-");
    found += strlen(quoted);
    bool text = *found == '"';
    size_t size = text ? strcspn(++found, "\"") : strcspn(found, ",}");
    snprintf(out, 64, "%.*s", (int)size, found);
    return out;
}

static double number(const char *payload, const char *key)
{
    char text[64];
    return strtod(field(payload, key, text), NULL);
}

/* Writes an alert in the words of the expectations, under the rule it must come from. */
static void note_alert(struct alerts found[RULE_COUNT], const struct harness_message *message)
{
    const char *p = message->payload, *subject = message->subject;
    char id[64], time[64], name[64], location[64], other[64], unit[64];
    field(p, "sensor_id", id);
    field(p, "time", time);
    field(p, "name", name);
    field(p, "location", location);
    if (strcmp(subject, "alerts.sos") == 0)
        add(&found[RULE_SOS], "%s", p);
    else if (strcmp(subject, "alerts.rate") == 0)
        add(&found[RULE_RATE], "%s %s %.17g %s from %.17g by %.17g", subject, id,
            number(p, "value"), time, number(p, "from"), number(p, "per_second"));
    else if (strcmp(subject, "alerts.faulty") == 0)
        add(&found[RULE_FAULTY], "%s %s %s %s %s %s", subject, id, field(p, "fault", other), time,
            name, location);
    else
        add(&found[RULE_LIMITS], "%s %s %.17g %s limit %s %s %s %s", subject, id,
            number(p, "value"), time, field(p, "limit", other), field(p, "unit", unit), name,
            location);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(a, b);
}

static char (*sorted(struct harness *h, const struct alerts *alerts))[LINE_SIZE]
{
    char(*lines)[LINE_SIZE] = calloc(alerts->count + 1, LINE_SIZE);
    assert_non_null(lines);
    harness_defer(h, free, lines);
    memcpy(lines, alerts->lines, alerts->count * LINE_SIZE);
    qsort(lines, alerts->count, LINE_SIZE, compare_lines);
    return lines;
}

/* As sets first, so that a failure tells what is lost or too much; then in order. */
static void compare(struct harness *h, const char *rule, const struct alerts *expected,
                    const struct alerts *found)
{
    char(*want)[LINE_SIZE] = sorted(h, expected), (*have)[LINE_SIZE] = sorted(h, found);
    size_t lost = 0, extra = 0, w = 0, f = 0;
    const char *first_lost = "", *first_extra = "";
    while (w < expected->count || f < found->count) {
        int order = w == expected->count ? 1 : f == found->count ? -1 : strcmp(want[w], have[f]);
        if (order < 0 && lost++ == 0)
            first_lost = want[w];
        if (order > 0 && extra++ == 0)
            first_extra = have[f];
        w += order <= 0;
        f += order >= 0;
    }
    if (lost + extra > 0)
        harness_fail(h, "%s: %zu alerts lost (\"%s\"), %zu doubled or uncalled for (\"%s\")", rule,
                     lost, first_lost, extra, first_extra);
    for (size_t i = 0; i < found->count; i++) {
        if (strcmp(expected->lines[i], found->lines[i]) != 0)
            harness_fail(h, "%s: alert %zu is out of order: \"%s\" stands where \"%s\" belongs",
                         rule, i + 1, found->lines[i], expected->lines[i]);
    }
}

static void open_alerts(struct harness *h, struct alerts alerts[RULE_COUNT])
{
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        alerts[rule].lines = calloc(ALERTS_MAX, LINE_SIZE); /* pages that nobody touches */
        assert_non_null(alerts[rule].lines);
        harness_defer(h, free, alerts[rule].lines);
    }
}

static struct process *run_the_samples(struct harness *h)
{
    struct process *mill = harness_tidemill(h, "run", "-c", harness_source_path(h, "tidemill.lua"),
                                            "--rules", harness_source_path(h, "rules"));
    harness_wait_log(mill, " running: ", 15000);
    return mill;
}

static void test_100000_messages_raise_every_alert_once_and_in_order(struct harness *h)
{
    struct plant plant = {.random = 20260101};
    struct alerts found[RULE_COUNT] = {{NULL, 0}};
    open_alerts(h, plant.expected);
    open_alerts(h, found);
    for (int i = 0; i < SENSORS; i++)
        plant.sensors[i] = (struct sensor){.level = "normal",
                                           .value = 50,
                                           .clock = 1767225600000 + i,
                                           .name = "-",
                                           .location = "-"};
    struct process *mill = run_the_samples(h);

    harness_feed_with(h, MESSAGES, make_message, &plant);
    harness_wait_drained(h, "clientA_sensor", "rule_executor", 30000);

    const struct harness_messages *alerts = harness_read(h, "alerts");
    for (size_t i = 0; i < alerts->count; i++)
        note_alert(found, &alerts->items[i]);
    for (int rule = 0; rule < RULE_COUNT; rule++) {
        assert_in_range(plant.expected[rule].count, 100, ALERTS_MAX); /* the feed was worth it */
        compare(h, rule_names[rule], &plant.expected[rule], &found[rule]);
    }
    assert_int_equal(harness_duplicate_ids(alerts), 0);
    assert_in_range(plant.rejected, 10, MESSAGES);
    assert_int_equal(harness_count(h, "dead"), plant.rejected);
    harness_stop(mill, 10000);
}

/* ---- several workers ---- */

static void test_three_workers_share_the_messages_and_each_does_some(struct harness *h)
{
    enum { COUNT = 20000, WORKERS = 3 };
    harness_write_file(
        h, "tidemill.lua",
        "return { streams = { { name = 'in', subjects = { 'in.>' } },\n"
        "                     { name = 'out', subjects = { 'out' } } },\n"
        "  sources = { { stream = 'in', durable = 'd', workers = 3, batch = 100 } },\n"
        "}");
    harness_write_file(h, "rules/copy.lua",
                       "return { subjects = { 'in.>' }, on_message = function(msg)\n"
                       "  mill.publish('out', { worker = mill.worker.id, of = mill.worker.count,\n"
                       "                        n = msg.data.n })\n"
                       "end }");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", 15000);

    harness_feed(h, "in.a", 0, COUNT, "{\"n\":#}");
    harness_wait_drained(h, "in", "d", 20000);

    const struct harness_messages *out = harness_read(h, "out");
    assert_int_equal(out->count, COUNT);
    bool *seen = calloc(COUNT, sizeof(*seen));
    assert_non_null(seen);
    harness_defer(h, free, seen);
    size_t done[WORKERS + 1] = {0};
    for (size_t i = 0; i < out->count; i++) {
        size_t n = (size_t)number(out->items[i].payload, "n");
        size_t worker = (size_t)number(out->items[i].payload, "worker");
        assert_in_range(n, 0, COUNT - 1);
        assert_in_range(worker, 1, WORKERS);
        assert_int_equal((int)number(out->items[i].payload, "of"), WORKERS);
        assert_false(seen[n]);
        seen[n] = true;
        done[worker]++;
    }
    for (size_t worker = 1; worker <= WORKERS; worker++)
        assert_in_range(done[worker], 1, COUNT);
    harness_stop(mill, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_100000_messages_raise_every_alert_once_and_in_order),
        harness_test(test_three_workers_share_the_messages_and_each_does_some),
    };
    return cmocka_run_group_tests_name("main_job", tests, NULL, NULL);
}
