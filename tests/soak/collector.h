#ifndef TIDEMILL_TESTS_SOAK_COLLECTOR_H
#define TIDEMILL_TESTS_SOAK_COLLECTOR_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads the stream "out" as it grows, on a thread and a connection of its own, and notes for each
 * input which of its outcomes are there: so the stream need not hold them all in the end. It reads
 * each message once, whatever happens to the server, because it goes on behind the last sequence it
 * has had.
 */

struct collector;

enum { COLLECTOR_COMPLAINT = 256 };

/* What has come out, compared with what went in. */
struct collection {
    uint64_t outputs;                /* messages read */
    uint64_t lost;                   /* outcomes that must be there, and are not */
    uint64_t duplicated;             /* outcomes that are there again */
    uint64_t invented;               /* messages that no input asks for */
    uint64_t unread;                 /* sequences that were gone before they were read */
    char first[COLLECTOR_COMPLAINT]; /* the first of these in words; "": nothing */
};

/* Begins, for at most `inputs_max` inputs. NULL: no thread, no memory. */
struct collector *collector_start(const char *url, size_t inputs_max);

/* How many inputs have all outcomes that they must have. Any thread. */
size_t collector_complete(struct collector *collector);

/* The sequence of the last message it has read. Any thread. */
uint64_t collector_sequence(struct collector *collector);

/* Ends it, and compares for the first `inputs` inputs. */
void collector_finish(struct collector *collector, size_t inputs, struct collection *collection);

/* Ends and frees it. NULL is fine. */
void collector_end(struct collector *collector);

#endif
