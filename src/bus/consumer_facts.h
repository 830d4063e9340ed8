#ifndef TIDEMILL_BUS_CONSUMER_FACTS_H
#define TIDEMILL_BUS_CONSUMER_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What an answer to CONSUMER.INFO or STREAM.INFO says about deliveries (nats-server, ConsumerInfo
 * and StreamInfo). Pure; any thread.
 */

struct consumer_facts {
    int64_t created_ns;                            /* since 1970 */
    uint64_t acked_sequence, acked_number;         /* ack_floor, in the stream and the consumer */
    uint64_t delivered_sequence, delivered_number; /* likewise, of the last delivery */
    uint64_t ack_pending;
    bool replicated; /* other servers have it, too */
};

/* False: an error, or no such answer. */
bool consumer_facts_read(const char *text, size_t size, struct consumer_facts *facts);

/* The sequence of the stream's first message; 0 in a stream that never had any. */
bool stream_first_sequence_read(const char *text, size_t size, uint64_t *sequence);

#endif
