#include "bus/stream_reader.h"

#include "base/clock.h"
#include "base/subject.h"
#include "base/units.h"
#include "bus/inbox.h"
#include "bus/json_scan.h"
#include "bus/json_write.h"
#include "bus/provision_compare.h"
#include "bus/requests_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One pull at a time: a batch comes as fast as the server sends, and where messages vanish
 * meanwhile (removed, too old) a status ends it. Between two batches passes one round trip, and the
 * queue never holds more than one batch.
 *
 * The filter is applied here. nats-server 2.9.10 does not give a consumer with a wildcard filter
 * every message of a stream from which single messages were deleted, which is what removing dead
 * letters does (tried: stored 1 to 5, deleted 4, 5, 1, 2; only an unfiltered consumer gets 3).
 */

enum {
    BATCH = 1000,
    BATCH_BYTES = 16 * 1024 * 1024,
    EXPIRES_S = 3, /* of a pull: a num_pending that was too high costs that */
    PATIENCE_S = 5,
    ABANDONED_AFTER_S = 30
};

struct stream_reader {
    struct requests *requests;
    struct inbox *inbox;
    char stream[256], consumer[128], filter[SUBJECT_SIZE_MAX + 1];
    uint64_t last_sequence;
    int64_t max_bytes;  /* of a pull; larger than any message */
    uint64_t left;      /* messages the consumer has for us at most */
    uint64_t asked;     /* what is still to come of the open pull; 0: none is open */
    uint64_t pulls;     /* so far: the token of the open one */
    bool got_something; /* from the open pull */
};

static char *consumer_body(const struct stream_reader_options *options)
{
    char *body = NULL;
    size_t size;
    FILE *out = open_memstream(&body, &size);
    if (out != NULL) {
        fputs("{\"stream_name\":", out);
        json_write_string(out, options->stream);
        fputs(",\"config\":{", out);
        if (options->first_sequence > 0) {
            fprintf(out, "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%" PRIu64,
                    options->first_sequence);
        } else if (options->first_time_ns > 0) {
            char time[UNITS_TIME_TEXT];
            fprintf(out, "\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"%s\"",
                    units_format_time(options->first_time_ns, 9, time));
        } else {
            fputs("\"deliver_policy\":\"all\"", out);
        }
        fprintf(out,
                ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"mem_storage\":true,"
                "\"num_replicas\":1,\"headers_only\":%s,\"inactive_threshold\":%" PRId64 "}}",
                options->headers_only ? "true" : "false", ABANDONED_AFTER_S * NS_PER_S);
    }
    json_write_close(out, &body);
    return body;
}

static int read_last_sequence(struct stream_reader *reader, struct error *err)
{
    struct api_reply info;
    int64_t last = 0;
    if (requests_call(reader->requests, &info, NULL, err, "STREAM.INFO.%s", reader->stream) != 0)
        return -1;
    int result = 0;
    if (info.code != API_OK)
        result = error_set(err, "%s", info.description);
    else if (!json_scan_integer(info.text, info.size, "state.last_seq", &last))
        result = error_set(err, "the answer tells no last sequence");
    reader->last_sequence = (uint64_t)last;
    api_reply_free(&info);
    return result;
}

static int create_consumer(struct stream_reader *reader,
                           const struct stream_reader_options *options, struct error *err)
{
    struct api_reply reply;
    int64_t pending = 0;
    char *body = consumer_body(options);
    if (body == NULL)
        return error_set(err, "out of memory");
    int result =
        requests_call(reader->requests, &reply, body, err, "CONSUMER.CREATE.%s", reader->stream);
    free(body);
    if (result != 0)
        return -1;
    if (reply.code != API_OK)
        result = error_set(err, "%s", reply.description);
    else if (!json_scan_string(reply.text, reply.size, "name", reader->consumer,
                               sizeof(reader->consumer)) ||
             !json_scan_integer(reply.text, reply.size, "num_pending", &pending))
        result = error_set(err, "the server's answer is not understood");
    reader->left = (uint64_t)pending;
    if (options->first_sequence > 0 && options->last_sequence >= options->first_sequence) {
        uint64_t wanted = options->last_sequence - options->first_sequence + 1;
        if (reader->left > wanted)
            reader->left = wanted;
    }
    api_reply_free(&reply);
    return result;
}

int stream_reader_open(struct stream_reader **reader, struct requests *requests,
                       const struct stream_reader_options *options, struct error *err)
{
    *reader = NULL;
    struct stream_reader *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "out of memory");
    opened->requests = requests;
    opened->last_sequence = options->last_sequence;
    opened->max_bytes =
        BATCH_BYTES + 2 * natsConnection_GetMaxPayload(requests_connection(requests));
    snprintf(opened->stream, sizeof(opened->stream), "%s", options->stream);
    snprintf(opened->filter, sizeof(opened->filter), "%s", options->filter);
    if ((opened->last_sequence == 0 && read_last_sequence(opened, err) != 0) ||
        inbox_open(&opened->inbox, requests_connection(requests), err) != 0 ||
        create_consumer(opened, options, err) != 0) {
        stream_reader_close(opened);
        return error_prefix(err, "reading stream %s", options->stream);
    }
    *reader = opened;
    return 0;
}

void stream_reader_close(struct stream_reader *reader)
{
    if (reader == NULL)
        return;
    struct api_reply reply;
    /* When this fails the server does it by itself: nobody asks the consumer for anything. */
    if (*reader->consumer != '\0' &&
        requests_call(reader->requests, &reply, NULL, NULL, "CONSUMER.DELETE.%s.%s", reader->stream,
                      reader->consumer) == 0)
        api_reply_free(&reply);
    inbox_close(reader->inbox);
    free(reader);
}

static int pull(struct stream_reader *reader, struct error *err)
{
    char subject[512], reply[192], body[160];
    reader->asked = reader->left < BATCH ? reader->left : BATCH;
    reader->got_something = false;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", reader->stream,
             reader->consumer);
    snprintf(reply, sizeof(reply), "%s.%" PRIu64, inbox_subject(reader->inbox), ++reader->pulls);
    snprintf(body, sizeof(body),
             "{\"batch\":%" PRIu64 ",\"no_wait\":true,\"expires\":%" PRId64
             ",\"max_bytes\":%" PRId64 "}",
             reader->asked, EXPIRES_S * NS_PER_S, reader->max_bytes);
    natsStatus s = natsConnection_PublishRequestString(requests_connection(reader->requests),
                                                       subject, reply, body);
    return s == NATS_OK ? 0 : error_set(err, "%s", natsStatus_GetText(s));
}

/*
 * nats-server 2.10 ends a pull with `max_bytes` in a status also when it has sent the last message
 * of the batch, and then the next pull is open already.
 */
static bool of_open_pull(const struct stream_reader *reader, const struct wire_message *status)
{
    const char *token = strrchr(wire_subject(status), '.');
    return token != NULL && strtoull(token + 1, NULL, 10) == reader->pulls;
}

/* What a status of the open pull means. Returns -1 when it is an error. */
static int take_status(struct stream_reader *reader, const struct wire_message *status,
                       struct error *err)
{
    int code;
    const char *description;
    uint64_t pending;
    enum pull_status meaning = wire_pull_status(status, &code, &description, &pending);
    if (meaning == PULL_STATUS_HEARTBEAT)
        return 0;
    reader->asked = 0;
    if (code == 404 || (code == 408 && !reader->got_something))
        reader->left = 0; /* some have vanished meanwhile */
    else if (meaning == PULL_STATUS_DELETED || !reader->got_something)
        return error_set(err, "the server says %d %s", code,
                         description != NULL ? description : "");
    return 0;
}

int stream_reader_next(struct stream_reader *reader, struct wire_message **message,
                       struct ack_subject *ack, struct error *err)
{
    *message = NULL;
    while (reader->left > 0) {
        if (reader->asked == 0 && pull(reader, err) != 0)
            return error_prefix(err, "reading stream %s", reader->stream);
        natsMsg *received = inbox_next(reader->inbox, clock_monotonic_ns() + PATIENCE_S * NS_PER_S);
        if (received == NULL)
            return error_set(err, "reading stream %s: no answer within %d s", reader->stream,
                             PATIENCE_S);
        struct wire_message *wire = (struct wire_message *)received;
        if (ack_subject_parse(wire_reply(wire), ack) != 0) {
            int result = of_open_pull(reader, wire) ? take_status(reader, wire, err) : 0;
            wire_free(wire);
            if (result != 0)
                return error_prefix(err, "reading stream %s", reader->stream);
            continue;
        }
        reader->left--;
        reader->asked -= reader->asked > 0;
        reader->got_something = true;
        if (ack->stream_sequence > reader->last_sequence) {
            reader->left = 0; /* stored since */
        } else if (subject_matches(reader->filter, wire_subject(wire))) {
            *message = wire;
            return 1;
        }
        wire_free(wire);
    }
    return 0;
}

/* Whether the stream takes all of `pattern`: 1, 0, or -1. */
static int takes_all(struct requests *requests, const char *stream, const char *pattern,
                     struct error *err)
{
    struct api_reply info;
    if (requests_call(requests, &info, NULL, err, "STREAM.INFO.%s", stream) != 0)
        return -1;
    int result = info.code == API_OK && stream_takes(info.text, info.size, pattern);
    api_reply_free(&info);
    return result;
}

int stream_reader_find(struct requests *requests, const char *pattern, char *name, size_t size,
                       struct error *err)
{
    struct api_reply names;
    char *body = NULL, path[32];
    size_t body_size;
    FILE *out = open_memstream(&body, &body_size);
    if (out != NULL) {
        fputs("{\"subject\":", out);
        json_write_string(out, pattern);
        fputc('}', out);
    }
    if (json_write_close(out, &body) != 0)
        return error_set(err, "out of memory");
    int result = requests_call(requests, &names, body, err, "STREAM.NAMES");
    free(body);
    if (result != 0)
        return -1;
    result = names.code == API_OK ? 0 : error_set(err, "%s", names.description);
    int count = result == 0 ? json_scan_count(names.text, names.size, "streams") : 0;
    for (int i = 0; i < count && result == 0; i++) {
        snprintf(path, sizeof(path), "streams.%d", i);
        if (json_scan_string(names.text, names.size, path, name, size))
            result = takes_all(requests, name, pattern, err);
    }
    api_reply_free(&names);
    return result;
}
