#include "cmd/dead_letters.h"

#include "bus/stream_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The same with which mill/dead_letter.c renames. */
static const char original[] = "Tidemill-Original-";

int dead_letters_open(struct dead_letters *letters, const struct nats_config *nats,
                      const char *root, struct error *err)
{
    *letters = (struct dead_letters){.requests = NULL};
    int length = snprintf(letters->pattern, sizeof(letters->pattern), "%s.*.*", root);
    if (length < 0 || (size_t)length >= sizeof(letters->pattern))
        return error_set(err, "the subject of dead letters is too long");
    if (requests_open(&letters->requests, nats, "dead", err) != 0)
        return -1;
    int found = stream_reader_find(letters->requests, letters->pattern, letters->stream,
                                   sizeof(letters->stream), err);
    if (found == 0)
        error_set(err,
                  "no stream stores dead letters (%s): tidemill run creates it; is this the right "
                  "server, and dead_letter.subject what it runs with?",
                  letters->pattern);
    return found == 1 ? 0 : -1;
}

void dead_letters_close(struct dead_letters *letters)
{
    requests_close(letters->requests);
    letters->requests = NULL;
}

/* Where the last token of `<root>.<stream>.<durable>` begins. */
static const char *last_token(const char *subject)
{
    const char *dot = strrchr(subject, '.');
    return dot != NULL ? dot + 1 : subject;
}

static void read_letter(struct dead_letter *letter, const struct wire_message *message,
                        const struct ack_subject *ack, bool headers_only)
{
    *letter = (struct dead_letter){
        .message = message,
        .sequence = ack->stream_sequence,
        .time_ns = ack->time_ns,
        .reason = wire_header(message, "Tidemill-Reason"),
        .rule = wire_header(message, "Tidemill-Rule"),
        .error = wire_header(message, "Tidemill-Error"),
        .rules_version = wire_header(message, "Tidemill-Rules-Version"),
        .subject = wire_header(message, "Tidemill-Subject"),
        .stream = wire_header(message, "Tidemill-Stream"),
        .stream_sequence = wire_header(message, "Tidemill-Sequence"),
        .consumer = last_token(wire_subject(message)),
        .delivered = wire_header(message, "Tidemill-Delivered"),
        .payload = wire_payload(message),
        .size = wire_payload_size(message),
    };
    const char *size = headers_only ? wire_header(message, "Nats-Msg-Size") : NULL;
    if (size != NULL)
        letter->size = strtoull(size, NULL, 10);
}

struct header_visit {
    void (*visit)(void *context, const char *name, const char *value);
    void *context;
};

static void visit_own_header(void *context, const char *name, const char *value)
{
    const struct header_visit *each = context;
    if (strncasecmp(name, original, sizeof(original) - 1) == 0)
        each->visit(each->context, name + sizeof(original) - 1, value);
    else if (strncasecmp(name, "Tidemill-", 9) != 0 && strncasecmp(name, "Nats-", 5) != 0)
        each->visit(each->context, name, value);
}

void dead_letter_each_header(const struct dead_letter *letter,
                             void (*visit)(void *context, const char *name, const char *value),
                             void *context)
{
    struct header_visit each = {.visit = visit, .context = context};
    wire_each_header_value(letter->message, visit_own_header, &each);
}

static bool is(const char *text, const char *wanted)
{
    return wanted == NULL || (text != NULL && strcmp(text, wanted) == 0);
}

/* The times are compared here too: the server starts at the block that holds the first one. */
static bool matches(const struct dead_letter *letter, const struct dead_filter *filter)
{
    return is(letter->rule, filter->rule) && is(letter->reason, filter->reason) &&
           letter->time_ns >= filter->since_ns &&
           (filter->until_ns == 0 || letter->time_ns <= filter->until_ns);
}

static int64_t visit_all(struct stream_reader *reader, const struct dead_filter *filter,
                         bool headers_only, dead_letter_visit *visit, void *context,
                         struct error *err)
{
    int64_t visited = 0;
    int result = 0;
    while (result == 0 && (filter->limit == 0 || visited < filter->limit)) {
        struct wire_message *message;
        struct ack_subject ack;
        struct dead_letter letter;
        int got = stream_reader_next(reader, &message, &ack, err);
        if (got <= 0)
            return got < 0 ? -1 : visited;
        read_letter(&letter, message, &ack, headers_only);
        if (matches(&letter, filter)) {
            result = visit(context, &letter, err);
            visited++;
        }
        wire_free(message);
    }
    return result < 0 ? -1 : visited;
}

int64_t dead_letters_each(struct dead_letters *letters, const struct dead_filter *filter,
                          bool headers_only, dead_letter_visit *visit, void *context,
                          struct error *err)
{
    struct stream_reader *reader;
    struct stream_reader_options options = {
        .stream = letters->stream,
        .filter = letters->pattern,
        .first_time_ns = filter->since_ns,
        .headers_only = headers_only,
    };
    if (stream_reader_open(&reader, letters->requests, &options, err) != 0)
        return -1;
    int64_t visited = visit_all(reader, filter, headers_only, visit, context, err);
    stream_reader_close(reader);
    return visited;
}

int dead_letters_one(struct dead_letters *letters, uint64_t sequence, bool headers_only,
                     dead_letter_visit *visit, void *context, struct error *err)
{
    struct stream_reader *reader;
    struct stream_reader_options options = {
        .stream = letters->stream,
        .filter = letters->pattern,
        .first_sequence = sequence,
        .last_sequence = sequence,
        .headers_only = headers_only,
    };
    if (stream_reader_open(&reader, letters->requests, &options, err) != 0)
        return -1;
    struct dead_filter any = {.limit = 1};
    int64_t visited = visit_all(reader, &any, headers_only, visit, context, err);
    stream_reader_close(reader);
    return (int)visited;
}

int dead_letters_remove(struct dead_letters *letters, uint64_t sequence, request_answered *answered,
                        void *context, struct error *err)
{
    char subject[320], body[64];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.DELETE.%s", letters->stream);
    /* Not no_erase: what is removed is overwritten on the server's disk. */
    int size = snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", sequence);
    struct request request = {.subject = subject,
                              .payload = body,
                              .size = (size_t)size,
                              .answered = answered,
                              .context = context,
                              .number = sequence};
    return requests_send(letters->requests, &request, err);
}

int dead_letters_removed(const struct answer *answer, struct error *err)
{
    struct api_reply reply;
    if (answer->text == NULL)
        return error_set(err, "%s", answer->why);
    if (api_reply_read(&reply, answer->text, answer->size, err) != 0)
        return -1;
    int result = reply.code == API_OK                 ? 1
                 : reply.code == API_SEQUENCE_MISSING ? 0
                                                      : error_set(err, "%s", reply.description);
    api_reply_free(&reply);
    return result;
}
