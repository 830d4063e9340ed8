#ifndef TIDEMILL_BUS_PROVISION_COMPARE_H
#define TIDEMILL_BUS_PROVISION_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"

/*
 * The configuration against what the server has: request bodies for creating and updating, and what
 * differs, field by field. Pure functions on texts; provision.h does the talking. The texts they
 * return are malloc'ed, NULL when memory ran out. Any thread.
 */

/* Enough for the differences of any stream or consumer; a longer text is cut. */
enum { DIFFERENCES_SIZE = 400 };

/* The body of STREAM.CREATE. */
char *stream_create_body(const struct stream_config *stream);

/*
 * Writes what differs between the file and the STREAM.INFO reply ("max_age is 7d here and 1d in the
 * server, ..."); "" when nothing does. Returns how many fields differ.
 */
int stream_differences(const struct stream_config *stream, const char *info, size_t size,
                       char differences[DIFFERENCES_SIZE]);

/* Whether the stream of a STREAM.INFO reply takes every subject that `pattern` matches. */
bool stream_takes(const char *info, size_t size, const char *pattern);

/* For tests: whether `outer` matches all that `inner` matches. Both are valid patterns. */
bool pattern_covers(const char *outer, const char *inner);

/* The body of CONSUMER.DURABLE.CREATE. */
char *consumer_create_body(const struct source_config *source);

/*
 * The same for a consumer that starts behind a sequence instead of where the file says. Its
 * description marks it, and consumer_check_fixed takes its start as it is.
 */
char *consumer_continue_body(const struct source_config *source, uint64_t settled);

/*
 * The body that updates the consumer of a CONSUMER.INFO reply: its own configuration, with what the
 * server lets one change replaced by the file's. All else (description, limits) stays as it is.
 */
char *consumer_update_body(const struct source_config *source, const char *info, size_t size);

/*
 * Whether the stream of a STREAM.INFO reply can have cumulative acks. The server takes a pending
 * message that leaves the stream for an ack of it, and with that of all below: where single
 * messages leave before older ones, some would be lost. Returns 0, or -1 with the reason and what
 * to do.
 */
int stream_check_cumulative(const char *info, size_t size, struct error *err);

/*
 * Checks what no update can change: the consumer is a pull consumer, its deliver policy, start and
 * ack policy are the file's. Returns 0, or -1 with the field, both values, and what to do.
 */
int consumer_check_fixed(const struct source_config *source, const char *info, size_t size,
                         struct error *err);

/* Writes what differs of the fields that an update can change; as stream_differences. */
int consumer_differences(const struct source_config *source, const char *info, size_t size,
                         char differences[DIFFERENCES_SIZE]);

#endif
