#ifndef TIDEMILL_BENCH_OPTIONS_H
#define TIDEMILL_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the reference programs are told. All of them pull from one durable of one stream and may
 * raise alerts: {"sensor_id":..,"value":..,"limit":..} on alerts.high for each reading above the
 * limit. Only `fetch` parses JSON, unless told not to: the others look for the two keys.
 */

struct options {
    const char *url;
    const char *stream;
    const char *durable;
    uint64_t count;  /* ends when so many messages are settled; 0: never */
    double limit;    /* readings above it raise an alert */
    int batch;       /* messages per pull request */
    int open;        /* pull requests kept open */
    bool cumulative; /* the consumer has AckPolicy all: one ack covers all before it */
    bool bare;       /* no JSON library, where there is one */
    bool hold;       /* stay when done, until a signal comes, so that one can look at the process */
};

/* Fills `options` from the command line. Returns 0, or -1 with a line on standard error. */
int options_read(struct options *options, int argc, char **argv);

/* The line of figures: how many messages and alerts in which time. Then holds, if it is to. */
void options_report(const struct options *options, const char *program, uint64_t messages,
                    uint64_t alerts, int64_t duration_ns);

/* Prints "PROGRAM: TEXT" on standard error; returns 1, the exit status. */
int options_fail(const char *program, const char *text);

#endif
