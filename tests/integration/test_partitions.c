#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "faults.h"
#include "process.h"

/*
 * Scaling out with order for each sensor, as deploy/partitions has it: the server puts a partition
 * into the subject, each of three processes takes a third of the partitions, and of each partition
 * one reading at a time. While there is work for all of them they are killed in turn and started
 * again. Then each sensor's alerts must be in the order of its readings, each there once: what came
 * again after a kill is recognised by its message id.
 *
 * Without partitions, or with many readings of a partition at a time, one kill must break the
 * order: that shows that the check sees what it looks for, and why the sample is as it is.
 */

enum {
    PATIENCE_MS = 60000,
    STEP_MS = 5,
    PROCESSES = 3,
    SENSORS = 1000,
    READINGS = 15 * SENSORS,
    NAME_SIZE = 32,
    TEXT_SIZE = 1024
};

/* The lines of deploy/partitions/nats-server.conf. */
#define MAPPING                                                                                    \
    "mappings = {\n"                                                                               \
    "  \"sensors.value.*\": \"sensors.value.{{partition(12,1)}}.{{wildcard(1)}}\"\n"               \
    "}\n"

/* One alert for each reading, after what `before` does; `concurrency` of them at a time. */
static void write_rule(struct harness *h, int concurrency, const char *before)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text),
             "return { subjects = { 'sensors.value.>' }, concurrency = %d,\n"
             "  on_message = function(msg)\n"
             "  %s\n"
             "  mill.publish('alerts.' .. msg.data.sensor,\n"
             "    { n = msg.data.n, from = msg.stream })\n"
             "end }\n",
             concurrency, before);
    harness_write_file(h, "rules/copy.lua", text);
}

static const char *sample(struct harness *h, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "deploy/partitions/%s", name);
    return harness_read_file(h, harness_source_path(h, path));
}

static void make_reading(void *context, size_t number, struct harness_draft *draft)
{
    size_t sensor = number % SENSORS;
    (void)context;
    snprintf(draft->subject, sizeof(draft->subject), "sensors.value.s%zu", sensor);
    snprintf(draft->payload, sizeof(draft->payload), "{\"sensor\":\"s%zu\",\"n\":%zu}", sensor,
             number);
}

/* --- the course --- */

struct course {
    struct harness *h;
    struct process *mills[PROCESSES];
    uint64_t redelivered;
};

static struct process *start(struct harness *h, int number)
{
    char text[NAME_SIZE];
    snprintf(text, sizeof(text), "%d", number);
    harness_setenv(h, "PROCESS", text);
    return harness_tidemill(h, "run");
}

/* All readings are there from the start. (The streams for them are made by a process before.) */
static void begin(struct course *course, struct harness *h, int ack_wait_s)
{
    char ack_wait[NAME_SIZE];
    course->h = h;
    course->redelivered = 0;
    harness_setenv(h, "PROCESSES", "3");
    snprintf(ack_wait, sizeof(ack_wait), "%ds", ack_wait_s);
    harness_setenv(h, "ACK_WAIT", ack_wait);
    struct process *before = start(h, 0);
    harness_wait_log(before, " running: ", PATIENCE_MS);
    harness_stop(before, PATIENCE_MS);
    harness_feed_with(h, READINGS, make_reading, NULL);
    for (int i = 0; i < PROCESSES; i++)
        course->mills[i] = start(h, i);
    for (int i = 0; i < PROCESSES; i++)
        harness_wait_log(course->mills[i], " running: ", PATIENCE_MS);
}

static uint64_t redeliveries(struct process *mill)
{
    return faults_metric(mill, "tidemill_messages_redelivered_total", "");
}

/* Kills a process and starts it again at once. */
static void replace(struct course *course, int victim)
{
    course->redelivered += redeliveries(course->mills[victim]);
    harness_signal(course->mills[victim], SIGKILL);
    harness_wait_exit(course->mills[victim], PATIENCE_MS);
    course->mills[victim] = start(course->h, victim);
}

static void finish(struct course *course)
{
    harness_wait_count(course->h, "alerts", READINGS, PATIENCE_MS);
    for (int i = 0; i < PROCESSES; i++) {
        course->redelivered += redeliveries(course->mills[i]);
        harness_stop(course->mills[i], PATIENCE_MS);
    }
    assert_true(course->redelivered > 0); /* the kills have met work */
}

static void wait_for_alerts(struct harness *h, uint64_t count)
{
    int64_t deadline_ns = harness_deadline(PATIENCE_MS);
    while (harness_count(h, "alerts") < count) {
        if (clock_monotonic_ns() > deadline_ns)
            harness_fail(h, "%d alerts, waiting for %d", (int)harness_count(h, "alerts"),
                         (int)count);
        faults_pause(STEP_MS);
    }
}

/* The process that has said so. */
static int find_who_says(struct course *course, const char *text)
{
    int64_t deadline_ns = harness_deadline(PATIENCE_MS);
    for (int i = 0; harness_log_count(course->mills[i], text) == 0; i = (i + 1) % PROCESSES) {
        if (clock_monotonic_ns() > deadline_ns)
            harness_fail(course->h, "no process says \"%s\"", text);
        faults_pause(STEP_MS);
    }
    for (int i = 0; i < PROCESSES; i++)
        if (harness_log_count(course->mills[i], text) > 0)
            return i;
    return 0;
}

/*
 * The processes are killed in turn, each twice, evenly over the alerts. Handlers take a little
 * while, so that each partition has a reading under way whenever that is.
 */
static void work_through_kills(struct harness *h)
{
    enum { KILLS = 2 * PROCESSES };
    struct course course;
    write_rule(h, 4, "mill.sleep(0.001)");
    begin(&course, h, 1);
    for (int i = 0; i < KILLS; i++) {
        wait_for_alerts(h, (uint64_t)(READINGS / (KILLS + 2) * (i + 1)));
        replace(&course, i % PROCESSES);
    }
    finish(&course);
}

/*
 * The process that comes to a certain reading stops at it, and is killed: what it held, it and
 * those behind it, comes again after ack_wait. That is long enough for the next reading of that
 * sensor, which the process started in its place must come to first.
 */
static void work_through_a_kill_with_held_readings(struct harness *h)
{
    struct course course;
    write_rule(h, 1,
               "if msg.data.n == 3000 and msg.delivered == 1 then\n"
               "  mill.log.info('holding it')\n"
               "  mill.sleep(100)\n"
               "end");
    begin(&course, h, harness_seconds(4));
    replace(&course, find_who_says(&course, "holding it"));
    finish(&course);
}

/* --- the check --- */

/* What is wrong with the alerts. */
struct disorder {
    size_t late;    /* behind the alert of a later reading of the sensor */
    size_t moved;   /* of another partition than the sensor's one before */
    size_t missing; /* readings without one */
    size_t again;   /* of readings that had one */
};

/* The number behind `name` in a text. */
static long number_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    assert_non_null(at);
    return strtol(at + strlen(name), NULL, 10);
}

/* Goes through the stream of alerts, those of `readings` readings. */
static struct disorder check_alerts(struct harness *h, size_t readings)
{
    static long last[SENSORS], by[SENSORS];
    static bool seen[READINGS];
    struct disorder found = {.missing = readings};
    const struct harness_messages *alerts = harness_read(h, "alerts");
    memset(last, -1, sizeof(last));
    memset(by, -1, sizeof(by));
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < alerts->count; i++) {
        const char *payload = alerts->items[i].payload;
        long sensor = number_of(alerts->items[i].subject, "alerts.s");
        long n = number_of(payload, "\"n\":"), partition = number_of(payload, "clientA_sensor_");
        assert_in_range(n, 0, readings - 1);
        assert_int_equal(n % SENSORS, sensor);
        found.late += n < last[sensor];
        found.moved += by[sensor] != -1 && by[sensor] != partition;
        found.again += seen[n];
        found.missing -= !seen[n];
        seen[n] = true;
        last[sensor] = n > last[sensor] ? n : last[sensor];
        by[sensor] = partition;
    }
    print_message("%zu alerts: %zu late, %zu moved, %zu missing, %zu again\n", alerts->count,
                  found.late, found.moved, found.missing, found.again);
    return found;
}

static void expect_order(struct harness *h, size_t readings)
{
    struct disorder found = check_alerts(h, readings);
    assert_int_equal(found.late, 0);
    assert_int_equal(found.moved, 0);
    assert_int_equal(found.missing, 0);
    assert_int_equal(found.again, 0);
}

/* Nothing is lost or doubled, but there is no order. */
static void expect_no_order(struct harness *h)
{
    struct disorder found = check_alerts(h, READINGS);
    assert_true(found.late > 0);
    assert_int_equal(found.missing, 0);
    assert_int_equal(found.again, 0);
}

/* --- the tests --- */

static void test_each_sensors_alerts_are_in_order_whichever_process_is_killed(struct harness *h)
{
    assert_non_null(strstr(sample(h, "nats-server.conf"), MAPPING));
    harness_write_file(h, "tidemill.lua", sample(h, "tidemill.lua"));
    work_through_kills(h);
    expect_order(h, READINGS);
}

/* The others of its partition wait behind it, for as long as it takes. */
static void test_a_reading_that_is_tried_again_keeps_its_place(struct harness *h)
{
    enum { FEW = 5 * SENSORS };
    harness_write_file(h, "tidemill.lua", sample(h, "tidemill.lua"));
    write_rule(h, 1, "if msg.data.n % 1000 == 7 and msg.delivered < 2 then error('not yet') end");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_feed_with(h, FEW, make_reading, NULL);
    harness_wait_count(h, "alerts", FEW, PATIENCE_MS);
    assert_int_equal(redeliveries(mill), FEW / 1000);
    harness_stop(mill, PATIENCE_MS);
    expect_order(h, FEW);
}

static void test_three_processes_on_one_durable_have_no_order(struct harness *h)
{
    harness_write_file(h, "tidemill.lua",
                       "return { nats = { url = env('NATS_URL') },\n"
                       "  streams = { { name = 'clientA_sensor_0', subjects = { 'sensors.>' } },\n"
                       "              { name = 'alerts' } },\n"
                       "  sources = { { stream = 'clientA_sensor_0', durable = 'rule_executor',\n"
                       "                ack_wait = env('ACK_WAIT'), max_deliver = 1000 } } }\n");
    work_through_a_kill_with_held_readings(h);
    expect_no_order(h);
}

/* The sample with one line changed. */
static void write_sample_with(struct harness *h, const char *line, const char *instead)
{
    const char *text = sample(h, "tidemill.lua");
    const char *at = strstr(text, line);
    assert_non_null(at);
    size_t size = strlen(text) + strlen(instead) + 1;
    char *changed = malloc(size);
    assert_non_null(changed);
    snprintf(changed, size, "%.*s%s%s", (int)(at - text), text, instead, at + strlen(line));
    harness_write_file(h, "tidemill.lua", changed);
    free(changed);
}

static void test_partitions_with_many_readings_at_a_time_lose_their_order_with_a_process(
    struct harness *h)
{
    write_sample_with(h, "max_ack_pending = 1,", "batch = 25,");
    work_through_a_kill_with_held_readings(h);
    expect_no_order(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_each_sensors_alerts_are_in_order_whichever_process_is_killed,
                          .server_config = MAPPING),
        harness_test_with(test_a_reading_that_is_tried_again_keeps_its_place,
                          .server_config = MAPPING),
        harness_test(test_three_processes_on_one_durable_have_no_order),
        harness_test_with(
            test_partitions_with_many_readings_at_a_time_lose_their_order_with_a_process,
            .server_config = MAPPING),
    };
    return cmocka_run_group_tests_name("partitions", tests, NULL, NULL);
}
