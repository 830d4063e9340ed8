#ifndef TIDEMILL_BENCH_READING_H
#define TIDEMILL_BENCH_READING_H

#include <stddef.h>
#include <stdint.h>

/*
 * The two fields of a reading that a rule wants, picked by hand: where "sensor_id" and "value"
 * stand, wherever that is. No JSON is parsed, so this is as cheap as it can be and right only for
 * the benchmark's own readings. Pure.
 */

struct reading {
    const char *sensor_id;
    size_t sensor_id_size;
    const char *value; /* its digits, as they stand there */
    size_t value_size;
    double number;
};

/* Returns 0, or -1 when a field is missing. */
int reading_find(struct reading *reading, const char *payload, size_t size);

/* Writes the alert, {"sensor_id":..,"value":..,"limit":..}; returns its size. */
size_t reading_alert(const struct reading *reading, double limit, char *alert, size_t size);

/*
 * The stream sequence in the reply subject of a message (the fifth token, the sixth of nine:
 * $JS.ACK.stream.consumer.delivered.SEQUENCE...); 0 when it is none. `*digits` and `*digits_size`
 * say where it stands.
 */
uint64_t reading_sequence(const char *reply, const char **digits, size_t *digits_size);

#endif
