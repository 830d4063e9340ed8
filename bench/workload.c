#include "workload.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const sites[] = {"north", "south", "harbour", "mill"};
static const char *const names[] = {"boiler", "pump", "press", "fan", "belt"};

int workload_limit(const struct workload *workload)
{
    return 100 - workload->alerts;
}

/* 37 and 100 have no common divisor: each hundred readings have each of the hundred values once. */
static unsigned value_of(uint64_t number)
{
    return (unsigned)(number * 37 % 100);
}

uint64_t workload_alerts(const struct workload *workload)
{
    uint64_t alerts = workload->count / 100 * (uint64_t)workload->alerts;
    for (uint64_t i = workload->count / 100 * 100; i < workload->count; i++)
        alerts += value_of(i) >= (unsigned)workload_limit(workload);
    return alerts;
}

static size_t flat_payload(uint64_t number, char *payload, size_t size)
{
    return (size_t)snprintf(
        payload, size,
        "{\"sensor_id\":\"%s-%02u\",\"value\":%u.5,\"unit\":\"C\",\"time\":%" PRIu64
        ",\"seq\":%" PRIu64 ",\"battery\":%u,\"rssi\":-%u,\"ok\":true,\"site\":\"%s\","
        "\"firmware\":\"2.4.1\"}",
        names[number % 5], (unsigned)(number % 24), value_of(number),
        UINT64_C(1732300000123) + number, number, (unsigned)(number % 100),
        (unsigned)(40 + number % 50), sites[number % 4]);
}

/* One object of the lists before and behind the reading: about 170 bytes. */
static size_t sample(uint64_t number, size_t index, char *payload, size_t size)
{
    return (size_t)snprintf(
        payload, size,
        "%s{\"t\":%" PRIu64 ",\"channel\":\"ch-%02zu\",\"axis\":{\"x\":%u.25,\"y\":-%u.5,\"z\":0."
        "%u},\"flags\":[true,false,null],\"quality\":\"good\",\"raw\":[%u,%u,%u,%u]}",
        index > 0 ? "," : "", UINT64_C(1732300000000) + number * 10 + index, index,
        (unsigned)(number % 90), (unsigned)(index % 90), (unsigned)(number % 1000),
        (unsigned)(number % 4096), (unsigned)((number + index) % 4096),
        (unsigned)(number * 7 % 4096), (unsigned)(index * 11));
}

/* A list under `name` until the payload has `until` bytes. */
static size_t samples(const char *name, uint64_t number, char *payload, size_t at, size_t until)
{
    at += (size_t)snprintf(payload + at, WORKLOAD_PAYLOAD_MAX - at, "\"%s\":[", name);
    for (size_t index = 0; at + 100 < until; index++)
        at += sample(number, index, payload + at, WORKLOAD_PAYLOAD_MAX - at);
    at += (size_t)snprintf(payload + at, WORKLOAD_PAYLOAD_MAX - at, "],");
    return at;
}

static size_t nested_payload(size_t bytes, uint64_t number, char *payload)
{
    size_t at = (size_t)snprintf(
        payload, WORKLOAD_PAYLOAD_MAX,
        "{\"device\":{\"model\":\"TM-200\",\"site\":\"%s\",\"tags\":[\"%s\",\"line 2\",\"indoor\"],"
        "\"position\":{\"lat\":59.32,\"lon\":18.06,\"floor\":%u}},",
        sites[number % 4], names[number % 5], (unsigned)(number % 9));
    at = samples("before", number, payload, at, bytes / 2);
    at += (size_t)snprintf(payload + at, WORKLOAD_PAYLOAD_MAX - at,
                           "\"reading\":{\"sensor_id\":\"%s-%02u\",\"value\":%u.5,\"unit\":\"C\"},",
                           names[number % 5], (unsigned)(number % 24), value_of(number));
    at = samples("after", number, payload, at, bytes);
    at += (size_t)snprintf(payload + at, WORKLOAD_PAYLOAD_MAX - at, "\"seq\":%" PRIu64 "}", number);
    return at;
}

size_t workload_payload(const struct workload *workload, uint64_t number, char *payload)
{
    if (workload->bytes <= WORKLOAD_SMALL)
        return flat_payload(number, payload, WORKLOAD_PAYLOAD_MAX);
    return nested_payload(workload->bytes, number, payload);
}

void workload_subject(const struct workload *workload, uint64_t number, char *subject, size_t size)
{
    const char *root = workload->root != NULL ? workload->root : "sensors";
    if (workload->subjects <= 1)
        snprintf(subject, size, "%s.value", root);
    else
        snprintf(subject, size, "%s.%" PRIu64 ".value", root, number % workload->subjects);
}

void workload_rule(const struct workload *workload, const char *subject, uint64_t turns, char *text,
                   size_t size)
{
    char burn[64] = "";
    if (turns > 0)
        snprintf(burn, sizeof(burn), "    for _ = 1, %" PRIu64 " do end\n", turns);
    snprintf(text, size,
             "local LIMIT = %d\n"
             "\n"
             "return {\n"
             "  subjects = { \"%s\" },\n"
             "  on_message = function(msg)\n"
             "%s"
             "    local reading = %s%s\n"
             "    if reading.value > LIMIT then\n"
             "      mill.publish(\"alerts.high\", {\n"
             "        sensor_id = reading.sensor_id, value = reading.value, limit = LIMIT,\n"
             "      })\n"
             "    end\n"
             "  end,\n"
             "}\n",
             workload_limit(workload), subject, burn,
             workload->cjson ? "require(\"cjson\").decode(msg.raw)" : "msg.data",
             workload->bytes <= WORKLOAD_SMALL ? "" : ".reading");
}
