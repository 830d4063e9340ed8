#include "reading.h"

#include <stdio.h>
#include <string.h>

enum { ALERT_FIELDS = 40 }; /* what an alert holds beside the two fields, at most */

/* Behind the key, which is written with its quotes and colon; NULL when it is not there. */
static const char *behind(const char *key, size_t key_size, const char *payload, size_t size)
{
    const char *found = memmem(payload, size, key, key_size);
    return found == NULL ? NULL : found + key_size;
}

/* A number without an exponent. The payload has something else behind it. */
static double number_at(const char *at, size_t *size)
{
    const char *digit = at;
    double number = 0, unit = 1;
    int negative = *digit == '-';
    digit += negative;
    while (*digit >= '0' && *digit <= '9')
        number = number * 10 + (*digit++ - '0');
    if (*digit == '.')
        digit++;
    while (*digit >= '0' && *digit <= '9') {
        number = number * 10 + (*digit++ - '0');
        unit *= 10;
    }
    *size = (size_t)(digit - at);
    return (negative ? -number : number) / unit;
}

int reading_find(struct reading *reading, const char *payload, size_t size)
{
    static const char id[] = "\"sensor_id\":\"", value[] = "\"value\":";
    const char *end;
    reading->sensor_id = behind(id, sizeof(id) - 1, payload, size);
    reading->value = behind(value, sizeof(value) - 1, payload, size);
    if (reading->sensor_id == NULL || reading->value == NULL)
        return -1;
    end = memchr(reading->sensor_id, '"', (size_t)(payload + size - reading->sensor_id));
    if (end == NULL)
        return -1;
    reading->sensor_id_size = (size_t)(end - reading->sensor_id);
    reading->number = number_at(reading->value, &reading->value_size);
    return 0;
}

size_t reading_alert(const struct reading *reading, double limit, char *alert, size_t size)
{
    static const char id[] = "{\"sensor_id\":\"", value[] = "\",\"value\":";
    char *at = alert;
    if (reading->sensor_id_size + reading->value_size + ALERT_FIELDS + 32 > size)
        return 0;
    memcpy(at, id, sizeof(id) - 1);
    at += sizeof(id) - 1;
    memcpy(at, reading->sensor_id, reading->sensor_id_size);
    at += reading->sensor_id_size;
    memcpy(at, value, sizeof(value) - 1);
    at += sizeof(value) - 1;
    memcpy(at, reading->value, reading->value_size);
    at += reading->value_size;
    at += snprintf(at, 32, ",\"limit\":%d}", (int)limit);
    return (size_t)(at - alert);
}

uint64_t reading_sequence(const char *reply, const char **digits, size_t *digits_size)
{
    uint64_t sequence = 0;
    const char *at = reply;
    for (int dots = 0; dots < 5; dots++) {
        at = strchr(at, '.');
        if (at == NULL)
            return 0;
        at++;
    }
    *digits = at;
    while (*at >= '0' && *at <= '9')
        sequence = sequence * 10 + (uint64_t)(*at++ - '0');
    *digits_size = (size_t)(at - *digits);
    return sequence;
}
