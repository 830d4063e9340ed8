#ifndef TIDEMILL_BENCH_DOCUMENT_H
#define TIDEMILL_BENCH_DOCUMENT_H

#include <stddef.h>

/*
 * A reading decoded and an alert encoded with a JSON library (cJSON), as a C programmer would do it
 * first. reading.h is the same with the fields picked by hand.
 */

/*
 * Writes the alert, {"sensor_id":..,"value":..,"limit":..}, and a terminating NUL, when the value
 * of the reading is above `limit`. The two fields are in the document itself or in its "reading".
 * Returns the size of the alert; 0: none is due; -1: the payload is no reading, or `room` is too
 * small.
 */
int document_alert(const char *payload, size_t size, double limit, char *alert, size_t room);

#endif
