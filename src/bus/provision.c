#include "bus/provision.h"

#include "base/log.h"
#include "base/subject.h"
#include "base/units.h"
#include "bus/api.h"
#include "bus/json_scan.h"
#include "bus/json_write.h"
#include "bus/provision_compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char COMPONENT[] = "provision";

/* A name becomes a token of API subjects. */
static int check_name(const char *kind, const char *name, struct error *err)
{
    if (*name == '\0' || strpbrk(name, ".*>/\\ \t\r\n") != NULL || strlen(name) > 255)
        return error_set(err,
                         "%s \"%s\": not a name that NATS takes (no dots, blanks, wildcards or "
                         "slashes; at most 255 bytes)",
                         kind, name);
    return 0;
}

static int no_memory(struct error *err)
{
    return error_set(err, "out of memory");
}

/* Calls the API with a body that it frees; NULL stands for one that found no memory. */
static int call_with(struct control *control, struct api_reply *reply, char *body,
                     struct error *err, const char *operation)
{
    if (body == NULL)
        return no_memory(err);
    int result = api_call(control, reply, body, err, "%s", operation);
    free(body);
    return result;
}

/* The streams whose subjects overlap with `subject`: the reply of STREAM.NAMES. */
static int streams_of(struct control *control, const char *subject, struct api_reply *reply,
                      struct error *err)
{
    char *body = NULL;
    size_t size;
    FILE *out = open_memstream(&body, &size);
    if (out != NULL) {
        fputs("{\"subject\":", out);
        json_write_string(out, subject);
        fputc('}', out);
    }
    if (json_write_close(out, &body) != 0)
        return no_memory(err);
    return call_with(control, reply, body, err, "STREAM.NAMES");
}

/* Says which stream has which of the subjects already. */
static int overlap_error(struct control *control, const struct stream_config *stream,
                         struct error *err)
{
    for (size_t i = 0; i < stream->subjects.count; i++) {
        struct api_reply names = {.text = NULL};
        char other[256] = "";
        if (streams_of(control, stream->subjects.items[i], &names, NULL) == 0)
            json_scan_string(names.text, names.size, "streams.0", other, sizeof(other));
        api_reply_free(&names);
        if (*other != '\0')
            return error_set(err,
                             "its subject %s overlaps with those of stream %s: one subject belongs "
                             "to one stream only, so change one of the two",
                             stream->subjects.items[i], other);
    }
    return error_set(err,
                     "its subjects overlap with those of another stream: change one of the two");
}

static void report_stream_differences(const struct stream_config *stream,
                                      const struct api_reply *info)
{
    char text[DIFFERENCES_SIZE];
    if (stream_differences(stream, info->text, info->size, text) > 0)
        log_warn(COMPONENT, "stream %s exists and is left as it is, though %s", stream->name, text);
    else
        log_debug(COMPONENT, "stream %s exists", stream->name);
}

/* Creates the stream. Returns 1 when somebody else was faster, with another configuration. */
static int create_stream(struct control *control, const struct stream_config *stream,
                         struct error *err)
{
    char operation[512];
    struct api_reply reply = {.text = NULL};
    snprintf(operation, sizeof(operation), "STREAM.CREATE.%s", stream->name);
    if (call_with(control, &reply, stream_create_body(stream), err, operation) != 0)
        return -1;
    int result = 0;
    if (reply.code == API_OK)
        log_info(COMPONENT, "stream %s created", stream->name);
    else if (reply.code == API_NAME_IN_USE)
        result = 1;
    else if (reply.code == API_SUBJECTS_OVERLAP)
        result = overlap_error(control, stream, err);
    else
        result = error_set(err, "the server refuses to create it: %s", reply.description);
    api_reply_free(&reply);
    return result;
}

/* One look and, when it is not there, one try to create it. Returns 1 to be called again. */
static int make_stream(struct control *control, const struct stream_config *stream,
                       struct error *err)
{
    struct api_reply info;
    if (api_call(control, &info, NULL, err, "STREAM.INFO.%s", stream->name) != 0)
        return -1;
    int result = 0;
    if (info.code == API_OK)
        report_stream_differences(stream, &info);
    else if (info.code == API_STREAM_MISSING)
        result = create_stream(control, stream, err);
    else
        result = error_set(err, "%s", info.description);
    api_reply_free(&info);
    return result;
}

int provision_stream(struct control *control, const struct stream_config *stream, struct error *err)
{
    if (check_name("stream", stream->name, err) != 0)
        return -1;
    int result = make_stream(control, stream, err);
    if (result == 1)
        result = make_stream(control, stream, err);
    if (result == 1)
        error_set(err, "it is being created and deleted by somebody else");
    return result == 0 ? 0 : error_prefix(err, "stream %s", stream->name);
}

/*
 * Whether one of the streams that overlap with `pattern` takes all of it. Returns 1 or 0, or -1.
 * With 0, `other` is one that takes a part, "" when there is none.
 */
static int stored_somewhere(struct control *control, const char *pattern, char *other,
                            size_t other_size, struct error *err)
{
    struct api_reply names;
    other[0] = '\0';
    if (streams_of(control, pattern, &names, err) != 0)
        return -1;
    int result = names.code == API_OK ? 0 : error_set(err, "%s", names.description);
    int count = result == 0 ? json_scan_count(names.text, names.size, "streams") : 0;
    for (int i = 0; i < count && result == 0; i++) {
        struct api_reply info;
        char path[32];
        snprintf(path, sizeof(path), "streams.%d", i);
        if (!json_scan_string(names.text, names.size, path, other, other_size))
            continue;
        result = api_call(control, &info, NULL, err, "STREAM.INFO.%s", other);
        if (result == 0) {
            result = info.code == API_OK && stream_takes(info.text, info.size, pattern);
            api_reply_free(&info);
        }
    }
    api_reply_free(&names);
    return result;
}

int provision_dead_letter(struct control *control, const char *subject_root, struct error *err)
{
    char name[256], all[SUBJECT_SIZE_MAX + 1], needed[SUBJECT_SIZE_MAX + 1], other[256];
    if (strlen(subject_root) >= sizeof(name) || subject_check(subject_root, err) != 0)
        return error_prefix(err, "dead_letter.subject");
    snprintf(all, sizeof(all), "%s.>", subject_root);
    snprintf(needed, sizeof(needed), "%s.*.*", subject_root); /* .<stream>.<durable> */
    snprintf(name, sizeof(name), "%s", subject_root);
    for (char *dot; (dot = strchr(name, '.')) != NULL;)
        *dot = '_';

    int stored = stored_somewhere(control, needed, other, sizeof(other), err);
    if (stored != 0)
        return stored > 0 ? 0 : error_prefix(err, "dead letters on %s", all);
    if (*other != '\0')
        return error_set(
            err,
            "dead letters on %s: stream %s takes a part of these subjects only: let it "
            "take all of them, or choose another dead_letter.subject",
            all, other);
    char *subjects[] = {all};
    struct stream_config stream = {
        .name = name,
        .subjects = {.items = subjects, .count = 1},
        .max_bytes = -1,
        .max_msgs = -1,
        .replicas = 1,
    };
    int result = create_stream(control, &stream, err);
    if (result == 1) {
        /* Another process may have made it in this moment; else it is somebody's own stream. */
        result = stored_somewhere(control, needed, other, sizeof(other), err);
        if (result == 0)
            error_set(err,
                      "stream %s exists and takes other subjects: add %s to it, or choose another "
                      "dead_letter.subject",
                      name, all);
        result = result == 1 ? 0 : -1;
    }
    return result == 0 ? 0 : error_prefix(err, "dead letters on %s", all);
}

/* What the server answered to a create or update, as an error. */
static int consumer_refused(const struct source_config *source, const struct api_reply *reply,
                            const char *what, struct error *err)
{
    if (reply->code == API_STREAM_MISSING)
        return error_set(err,
                         "stream %s does not exist: add it to `streams` in the configuration, or "
                         "create it",
                         source->stream);
    if (reply->code == API_CONSUMER_BAD_FILTER)
        return error_set(err, "filter: the stream has no subject that matches it (%s)",
                         reply->description);
    return error_set(err, "the server refuses to %s: %s", what, reply->description);
}

/* The server may cap or not know what it was asked for: what came out is compared once more. */
static int check_outcome(const struct source_config *source, const struct api_reply *reply,
                         struct error *err)
{
    char text[DIFFERENCES_SIZE];
    if (consumer_check_fixed(source, reply->text, reply->size, err) != 0)
        return -1;
    if (consumer_differences(source, reply->text, reply->size, text) > 0)
        log_warn(COMPONENT, "consumer %s of stream %s: the server keeps its own value: %s",
                 source->durable, source->stream, text);
    return 0;
}

static int put_consumer(struct control *control, const struct source_config *source, char *body,
                        const char *what, struct error *err)
{
    char operation[600];
    struct api_reply reply = {.text = NULL};
    snprintf(operation, sizeof(operation), "CONSUMER.DURABLE.CREATE.%s.%s", source->stream,
             source->durable);
    if (call_with(control, &reply, body, err, operation) != 0)
        return -1;
    int result = reply.code == API_OK ? check_outcome(source, &reply, err)
                                      : consumer_refused(source, &reply, what, err);
    api_reply_free(&reply);
    return result;
}

/* `settled`: NULL for one that starts where the file says. */
static int create_consumer(struct control *control, const struct source_config *source,
                           const uint64_t *settled, struct error *err)
{
    char *body =
        settled != NULL ? consumer_continue_body(source, *settled) : consumer_create_body(source);
    if (put_consumer(control, source, body, "create it", err) != 0)
        return -1;
    log_info(COMPONENT, "consumer %s of stream %s created", source->durable, source->stream);
    return 0;
}

static int bind_consumer(struct control *control, const struct source_config *source,
                         const struct api_reply *info, struct error *err)
{
    char text[DIFFERENCES_SIZE];
    bool headers_only = false;
    if (consumer_check_fixed(source, info->text, info->size, err) != 0)
        return -1;
    if (json_scan_bool(info->text, info->size, "config.headers_only", &headers_only) &&
        headers_only)
        log_warn(COMPONENT, "consumer %s of stream %s delivers headers without payloads",
                 source->durable, source->stream);
    if (consumer_differences(source, info->text, info->size, text) == 0) {
        log_debug(COMPONENT, "consumer %s of stream %s exists", source->durable, source->stream);
        return 0;
    }
    char *body = consumer_update_body(source, info->text, info->size);
    if (put_consumer(control, source, body, "update it", err) != 0) {
        struct error server = *err;
        return error_set(err, "%s (%s)", server.text, text);
    }
    log_info(COMPONENT, "consumer %s of stream %s updated: %s", source->durable, source->stream,
             text);
    return 0;
}

static int make_consumer(struct control *control, const struct source_config *source,
                         const uint64_t *settled, struct error *err)
{
    struct server_version version = control_server(control);
    if (source->filter.count > 1 && version.major > 0 &&
        !control_server_at_least(control, 2, 10, 0))
        return error_set(
            err,
            "several filters need nats-server 2.10 or newer, and this one is %d.%d.%d: "
            "use one filter, or one source for each",
            version.major, version.minor, version.patch);
    struct api_reply info;
    if (api_call(control, &info, NULL, err, "CONSUMER.INFO.%s.%s", source->stream,
                 source->durable) != 0)
        return -1;
    int result;
    if (info.code == API_OK)
        result = bind_consumer(control, source, &info, err);
    else if (info.code == API_CONSUMER_MISSING)
        result = create_consumer(control, source, settled, err);
    else
        result = consumer_refused(source, &info, "tell about it", err);
    api_reply_free(&info);
    return result;
}

/* A stream that is missing is for make_consumer to tell. */
static int check_cumulative(struct control *control, const struct source_config *source,
                            struct error *err)
{
    struct api_reply info;
    if (source->ack != ACK_CUMULATIVE)
        return 0;
    if (api_call(control, &info, NULL, err, "STREAM.INFO.%s", source->stream) != 0)
        return -1;
    int result = info.code == API_OK ? stream_check_cumulative(info.text, info.size, err) : 0;
    api_reply_free(&info);
    return result;
}

static int provide_consumer(struct control *control, const struct source_config *source,
                            const uint64_t *settled, struct error *err)
{
    if (check_name("stream", source->stream, err) != 0 ||
        check_name("durable", source->durable, err) != 0)
        return -1;
    if (check_cumulative(control, source, err) != 0 ||
        make_consumer(control, source, settled, err) != 0)
        return error_prefix(err, "consumer %s of stream %s", source->durable, source->stream);
    return 0;
}

int provision_consumer(struct control *control, const struct source_config *source,
                       struct error *err)
{
    return provide_consumer(control, source, NULL, err);
}

int provision_consumer_again(struct control *control, const struct source_config *source,
                             uint64_t settled, struct error *err)
{
    return provide_consumer(control, source, &settled, err);
}

/* The time at which the reply's stream or consumer was created; 0: not told. */
static int64_t created_ns_of(const struct api_reply *info)
{
    char text[64];
    int64_t created_ns;
    bool told = json_scan_string(info->text, info->size, "created", text, sizeof(text)) &&
                units_parse_time(text, &created_ns, NULL) == 0;
    return told ? created_ns : 0;
}

int provision_stream_created(struct control *control, const char *stream, int64_t *created_ns,
                             struct error *err)
{
    struct api_reply info;
    *created_ns = 0;
    if (api_call(control, &info, NULL, err, "STREAM.INFO.%s", stream) != 0)
        return -1;
    int result = 0;
    if (info.code == API_OK)
        *created_ns = created_ns_of(&info);
    else if (info.code != API_STREAM_MISSING)
        result = error_set(err, "stream %s: %s", stream, info.description);
    api_reply_free(&info);
    return result;
}

/* A count of the reply; what is left out there is zero. */
static int64_t count_of(const struct api_reply *info, const char *path)
{
    int64_t value;
    return json_scan_integer(info->text, info->size, path, &value) ? value : 0;
}

enum consumer_state provision_consumer_state(struct control *control, const char *stream,
                                             const char *durable, struct consumer_counts *counts,
                                             struct error *err)
{
    struct api_reply info;
    if (api_call(control, &info, NULL, err, "CONSUMER.INFO.%s.%s", stream, durable) != 0)
        return CONSUMER_UNKNOWN;
    enum consumer_state state = CONSUMER_PRESENT;
    if (info.code == API_CONSUMER_MISSING || info.code == API_STREAM_MISSING)
        state = CONSUMER_MISSING;
    else if (info.code != API_OK)
        state = CONSUMER_UNKNOWN;
    if (state != CONSUMER_PRESENT)
        error_set(err, "consumer %s of stream %s: %s", durable, stream, info.description);
    else if (counts != NULL)
        *counts = (struct consumer_counts){
            .created_ns = created_ns_of(&info),
            .num_pending = count_of(&info, "num_pending"),
            .num_ack_pending = count_of(&info, "num_ack_pending"),
            .delivered_sequence = count_of(&info, "delivered.stream_seq"),
            .acknowledged_sequence = count_of(&info, "ack_floor.stream_seq"),
        };
    api_reply_free(&info);
    return state;
}
