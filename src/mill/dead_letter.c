#include "mill/dead_letter.h"

#include "base/clock.h"
#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SUBJECT_SIZE = 512, ERROR_SIZE = 8192, NAME_SIZE = 256 };

/*
 * Appends `text` with CR and LF (which end a header) written as escapes; cut at the end of `out`.
 */
static size_t append_escaped(char *out, size_t used, const char *text)
{
    for (; *text != '\0' && used + 3 < ERROR_SIZE; text++) {
        if (*text == '\n' || *text == '\r') {
            out[used++] = '\\';
            out[used++] = *text == '\n' ? 'n' : 'r';
        } else {
            out[used++] = *text;
        }
    }
    out[used] = '\0';
    return used;
}

static int put(struct outgoing *outgoing, const char *name, const char *value)
{
    return value != NULL ? outgoing_header(outgoing, name, value) : 0;
}

static int put_number(struct outgoing *outgoing, const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, number);
    return outgoing_header(outgoing, name, text);
}

static int put_error(struct outgoing *outgoing, const struct failure *failure)
{
    char text[ERROR_SIZE] = "";
    size_t used = 0;
    if (failure->error != NULL)
        used = append_escaped(text, used, failure->error);
    if (failure->traceback != NULL) {
        used = append_escaped(text, used, "\n");
        append_escaped(text, used, failure->traceback);
    }
    return put(outgoing, "Tidemill-Error", text);
}

static int put_time(struct outgoing *outgoing)
{
    char text[UNITS_TIME_TEXT];
    return put(outgoing, "Tidemill-Time", units_format_time(clock_wall_ns(), 3, text));
}

struct copy {
    struct outgoing *outgoing;
    int failed;
};

static void copy_header(void *context, const char *name, const char *value)
{
    struct copy *copy = context;
    char renamed[NAME_SIZE];
    if (strncasecmp(name, "Nats-", 5) == 0 || strncasecmp(name, "Tidemill-", 9) == 0) {
        snprintf(renamed, sizeof(renamed), "Tidemill-Original-%s", name);
        name = renamed;
    }
    copy->failed |= outgoing_add_header(copy->outgoing, name, value);
}

static int put_headers(struct outgoing *outgoing, const struct delivery *delivery,
                       const char *rules_version)
{
    const struct source_config *config = delivery->source->config;
    struct copy copy = {.outgoing = outgoing};
    wire_each_header_value(delivery->message, copy_header, &copy);

    int failed = copy.failed;
    failed |= put(outgoing, "Tidemill-Reason", delivery->failure.reason);
    failed |= put(outgoing, "Tidemill-Rule", delivery->failure.rule);
    failed |= put_error(outgoing, &delivery->failure);
    failed |= put(outgoing, "Tidemill-Subject", delivery->input.subject);
    failed |= put(outgoing, "Tidemill-Stream", config->stream);
    failed |= put_number(outgoing, "Tidemill-Sequence", delivery->ack.stream_sequence);
    failed |= put_number(outgoing, "Tidemill-Delivered", delivery->ack.delivered);
    failed |= put(outgoing, "Tidemill-Rules-Version", rules_version);
    failed |= put_time(outgoing);
    return failed != 0 ? -1 : 0;
}

int dead_letter_send(struct outbox *outbox, const char *root, const char *rules_version,
                     struct delivery *delivery, int64_t now_ns, struct error *err)
{
    const struct source_config *config = delivery->source->config;
    char subject[SUBJECT_SIZE];
    char name[DELIVERY_NAME_SIZE], id[SUBJECT_SIZE + DELIVERY_NAME_SIZE];
    snprintf(subject, sizeof(subject), "%s.%s.%s", root, config->stream, config->durable);
    delivery_name(delivery, name);
    snprintf(id, sizeof(id), "%s:%s:dead", name, config->durable);

    struct publication publication = {
        .subject = subject,
        .payload = delivery->input.payload,
        .payload_size = delivery->input.payload_size,
        .id = id,
    };
    struct outgoing *outgoing = outbox_prepare(outbox, &publication, &delivery->dead_letter);
    if (outgoing == NULL)
        return error_set(err, "out of memory");
    if (put_headers(outgoing, delivery, rules_version) != 0) {
        outbox_discard(outbox);
        return error_set(err, "out of memory");
    }
    outbox_send(outbox, now_ns);
    return 0;
}
