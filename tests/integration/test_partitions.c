#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Scaling out with order for each sensor, as docs/operations.md has it: the server puts a partition
 * into the subject, and each partition is the source of one process. What the rules see of a sensor
 * is then in order, and always in the same process.
 */

enum { PATIENCE_MS = 20000, PARTITIONS = 3, SENSORS = 16, READINGS = 2000 };

/* The lines of the page, but for the number that the test gives. */
#define MAPPING                                                                                    \
    "mappings = {\n"                                                                               \
    "  \"sensors.value.*\": \"sensors.value.{{partition(3,1)}}.{{wildcard(1)}}\"\n"                \
    "}\n"

static const char config[] =
    "local partition = env('PARTITION', '0')\n"
    "return {\n"
    "  nats = { url = env('NATS_URL') },\n"
    "  streams = { { name = 'clientA_sensor', subjects = { 'sensors.>' } },\n"
    "              { name = 'alerts', subjects = { 'alerts.>' } } },\n"
    "  sources = {\n"
    "    { stream = 'clientA_sensor', durable = 'rule_executor_' .. partition,\n"
    "      filter = { 'sensors.value.' .. partition .. '.>' }, workers = 1 },\n"
    "  },\n"
    "}\n";

static const char rule[] =
    "return { subjects = { 'sensors.value.*.*' }, on_message = function(msg)\n"
    "  mill.publish('alerts.' .. msg.data.sensor, { n = msg.data.n,\n"
    "    consumer = msg.consumer })\n"
    "end }\n";

static void make_reading(void *context, size_t number, struct harness_draft *draft)
{
    unsigned sensor = (unsigned)(number % SENSORS);
    (void)context;
    snprintf(draft->subject, sizeof(draft->subject), "sensors.value.s%u", sensor);
    snprintf(draft->payload, sizeof(draft->payload), "{\"sensor\":\"s%u\",\"n\":%zu}", sensor,
             number);
}

/* The number behind `name` in a payload. */
static long number_of(const char *payload, const char *name)
{
    const char *at = strstr(payload, name);
    assert_non_null(at);
    return strtol(at + strlen(name), NULL, 10);
}

static void test_each_sensor_is_seen_in_order_by_one_process(struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/copy.lua", rule);
    for (int i = 0; i < PARTITIONS; i++) {
        char partition[8];
        snprintf(partition, sizeof(partition), "%d", i);
        harness_setenv(h, "PARTITION", partition);
        struct process *mill = harness_tidemill(h, "run");
        harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    }
    harness_feed_with(h, READINGS, make_reading, NULL);
    harness_wait_count(h, "alerts", READINGS, PATIENCE_MS);

    const struct harness_messages *alerts = harness_read(h, "alerts");
    long last[SENSORS], consumer[SENSORS], seen[PARTITIONS] = {0};
    memset(last, -1, sizeof(last));
    memset(consumer, -1, sizeof(consumer));
    for (size_t i = 0; i < alerts->count; i++) {
        const char *payload = alerts->items[i].payload;
        long sensor = number_of(alerts->items[i].subject, "alerts.s");
        long n = number_of(payload, "\"n\":"), by = number_of(payload, "rule_executor_");
        assert_in_range(sensor, 0, SENSORS - 1);
        assert_in_range(by, 0, PARTITIONS - 1);
        if (n <= last[sensor] || (consumer[sensor] != -1 && consumer[sensor] != by))
            fail_msg("sensor s%ld: reading %ld after %ld, by %ld after %ld", sensor, n,
                     last[sensor], by, consumer[sensor]);
        last[sensor] = n;
        consumer[sensor] = by;
        seen[by]++;
    }
    for (int i = 0; i < PARTITIONS; i++)
        assert_true(seen[i] > 0); /* 16 sensors: each partition has some */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_each_sensor_is_seen_in_order_by_one_process,
                          .server_config = MAPPING),
    };
    return cmocka_run_group_tests_name("partitions", tests, NULL, NULL);
}
