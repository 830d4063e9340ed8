#include "bus/kv.h"

#include "bus/api.h"
#include "bus/json_scan.h"
#include "bus/outgoing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    NAME_SIZE = 1024,          /* of a subject: what the rules pass is shorter */
    API_NO_MESSAGE = 10037,    /* "no message found" */
    API_WRONG_SEQUENCE = 10071 /* "wrong last sequence" */
};

static const char OPERATION[] = "KV-Operation";
static const char EXPECTED[] = "Nats-Expected-Last-Subject-Sequence";
static const char MARKER[] = "Nats-Marker-Reason"; /* set by the server, from 2.11 on (ADR-43) */

/* --- questions --- */

/* One call of the JetStream API. The names in it need no escapes in JSON. */
static int ask(struct link *link, uint64_t token, const char *subject, const char *body,
               struct error *err)
{
    if (link_request(link, REPLY_KV, token, subject, body, strlen(body)) != 0)
        return error_set(err, "the request could not be sent");
    return 0;
}

static int ask_store(struct link *link, uint64_t token, const char *bucket, const char *key,
                     const char *value, size_t size, const char *header, const char *header_value,
                     struct error *err)
{
    char subject[NAME_SIZE];
    snprintf(subject, sizeof(subject), "$KV.%s.%s", bucket, key);
    struct outgoing *outgoing = outgoing_new_request(link, REPLY_KV, token, subject, value, size);
    int status = -1;
    if (outgoing == NULL ||
        (header != NULL && outgoing_header(outgoing, header, header_value) != 0))
        error_set(err, "out of memory");
    else
        status = link_send(link, outgoing, err);
    outgoing_free(outgoing);
    return status;
}

int kv_ask_put(struct link *link, uint64_t token, const char *bucket, const char *key,
               const char *value, size_t size, int64_t expected, struct error *err)
{
    char revision[24];
    snprintf(revision, sizeof(revision), "%" PRId64, expected);
    return ask_store(link, token, bucket, key, value, size,
                     expected == KV_ANY_REVISION ? NULL : EXPECTED, revision, err);
}

int kv_ask_delete(struct link *link, uint64_t token, const char *bucket, const char *key,
                  struct error *err)
{
    return ask_store(link, token, bucket, key, "", 0, OPERATION, "DEL", err);
}

int kv_ask_get(struct link *link, uint64_t token, const char *bucket, const char *key,
               struct error *err)
{
    char subject[NAME_SIZE], body[NAME_SIZE];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.KV_%s", bucket);
    snprintf(body, sizeof(body), "{\"last_by_subj\":\"$KV.%s.%s\"}", bucket, key);
    return ask(link, token, subject, body, err);
}

int kv_ask_bucket(struct link *link, uint64_t token, const char *bucket, struct error *err)
{
    char subject[NAME_SIZE];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.KV_%s", bucket);
    return ask(link, token, subject, "", err);
}

/*
 * The consumer vanishes by itself when nobody asks it for anything. Its name carries the token,
 * because what a consumer delivers comes under its own subject.
 */
int kv_ask_list(struct link *link, uint64_t token, const char *bucket, struct error *err)
{
    char consumer[KV_CONSUMER_SIZE], subject[NAME_SIZE], body[NAME_SIZE];
    link_consumer_name(link, consumer, sizeof(consumer), REPLY_KV, token);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.CREATE.KV_%s.%s", bucket, consumer);
    snprintf(body, sizeof(body),
             "{\"stream_name\":\"KV_%s\",\"config\":{\"name\":\"%s\","
             "\"deliver_policy\":\"last_per_subject\",\"filter_subject\":\"$KV.%s.>\","
             "\"ack_policy\":\"none\",\"replay_policy\":\"instant\",\"headers_only\":true,"
             "\"mem_storage\":true,\"num_replicas\":1,\"inactive_threshold\":10000000000}}",
             bucket, consumer, bucket);
    return ask(link, token, subject, body, err);
}

int kv_ask_list_next(struct link *link, uint64_t token, const char *bucket, uint64_t count,
                     struct error *err)
{
    char consumer[KV_CONSUMER_SIZE], subject[NAME_SIZE], body[64];
    link_consumer_name(link, consumer, sizeof(consumer), REPLY_KV, token);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.KV_%s.%s", bucket, consumer);
    snprintf(body, sizeof(body), "{\"batch\":%" PRIu64 ",\"no_wait\":true}", count);
    return ask(link, token, subject, body, err);
}

void kv_end_list(struct link *link, uint64_t token, const char *bucket)
{
    char consumer[KV_CONSUMER_SIZE], subject[NAME_SIZE];
    link_consumer_name(link, consumer, sizeof(consumer), REPLY_KV, token);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DELETE.KV_%s.%s", bucket, consumer);
    link_request(link, REPLY_KV, token, subject, "", 0); /* else it goes by itself, later */
}

/* --- answers --- */

/* The server's error code, and its words; 0 when the answer is no error. */
static int64_t read_error(const char *text, size_t size, char why[KV_WHY_SIZE])
{
    int64_t code = 0;
    if (!json_scan_valid(text, size)) {
        snprintf(why, KV_WHY_SIZE, "the answer is not understood");
        return -1;
    }
    if (!json_scan_has(text, size, "error"))
        return 0;
    if (!json_scan_integer(text, size, "error.err_code", &code) &&
        !json_scan_integer(text, size, "error.code", &code))
        code = -1;
    char description[KV_WHY_SIZE / 2];
    if (!json_scan_string(text, size, "error.description", description, sizeof(description)))
        snprintf(description, sizeof(description), "refused");
    if (code == API_STREAM_MISSING)
        snprintf(why, KV_WHY_SIZE, "no bucket");
    else
        snprintf(why, KV_WHY_SIZE, "%s (%" PRId64 ")", description, code);
    return code;
}

enum kv_answer kv_read_stored(const char *text, size_t size, uint64_t *revision,
                              char why[KV_WHY_SIZE])
{
    int64_t sequence;
    int64_t code = read_error(text, size, why);
    if (code != 0)
        return code == API_WRONG_SEQUENCE ? KV_ANSWER_CONFLICT : KV_ANSWER_FAILED;
    if (!json_scan_integer(text, size, "seq", &sequence)) {
        snprintf(why, KV_WHY_SIZE, "the answer is not understood");
        return KV_ANSWER_FAILED;
    }
    *revision = (uint64_t)sequence;
    return KV_ANSWER_DONE;
}

/* The value of a letter of base64, or -1. */
static int base64_value(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Decodes the base64 at `path`, "" when there is none; malloc'ed and NUL-terminated. NULL: bad. */
static char *read_base64(const char *text, size_t size, const char *path, size_t *decoded_size)
{
    const char *raw = "\"\"";
    size_t raw_size = 2;
    json_scan_raw(text, size, path, &raw, &raw_size);
    char *decoded = malloc(raw_size);
    if (decoded == NULL || raw_size < 2 || raw[0] != '"') {
        free(decoded);
        return NULL;
    }
    uint32_t bits = 0;
    unsigned bit_count = 0;
    *decoded_size = 0;
    for (size_t i = 1; i < raw_size - 1 && raw[i] != '='; i++) {
        int value = base64_value(raw[i]);
        if (value < 0) {
            free(decoded);
            return NULL;
        }
        bits = (bits << 6 | (uint32_t)value) & 0xffffU;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            decoded[(*decoded_size)++] = (char)(bits >> bit_count);
        }
    }
    decoded[*decoded_size] = '\0';
    return decoded;
}

/* The marks of a deletion in "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n". */
static bool is_marker(const char *headers)
{
    for (const char *line = headers; line != NULL; line = strstr(line, "\r\n")) {
        line += strspn(line, "\r\n");
        size_t name = strcspn(line, ":");
        if (line[name] != ':')
            continue;
        const char *value = line + name + 1 + strspn(line + name + 1, " ");
        if (name == strlen(MARKER) && strncasecmp(line, MARKER, name) == 0)
            return true;
        if (name == strlen(OPERATION) && strncasecmp(line, OPERATION, name) == 0 &&
            (strncmp(value, "DEL\r", 4) == 0 || strncmp(value, "PURGE\r", 6) == 0))
            return true;
    }
    return false;
}

enum kv_answer kv_read_entry(const char *text, size_t size, struct kv_entry *entry,
                             char why[KV_WHY_SIZE])
{
    int64_t sequence;
    int64_t code = read_error(text, size, why);
    if (code != 0)
        return code == API_NO_MESSAGE ? KV_ANSWER_NONE : KV_ANSWER_FAILED;
    size_t headers_size = 0, value_size = 0;
    char *headers = read_base64(text, size, "message.hdrs", &headers_size);
    char *value = read_base64(text, size, "message.data", &value_size);
    if (headers == NULL || value == NULL ||
        !json_scan_integer(text, size, "message.seq", &sequence)) {
        free(headers);
        free(value);
        snprintf(why, KV_WHY_SIZE, "the answer is not understood");
        return KV_ANSWER_FAILED;
    }
    *entry = (struct kv_entry){.value = value,
                               .size = value_size,
                               .revision = (uint64_t)sequence,
                               .deleted = is_marker(headers)};
    free(headers);
    return KV_ANSWER_DONE;
}

enum kv_answer kv_read_bucket(const char *text, size_t size, char why[KV_WHY_SIZE])
{
    return read_error(text, size, why) == 0 ? KV_ANSWER_DONE : KV_ANSWER_FAILED;
}

enum kv_answer kv_read_list(const char *text, size_t size, uint64_t *count, char why[KV_WHY_SIZE])
{
    int64_t pending;
    if (read_error(text, size, why) != 0)
        return KV_ANSWER_FAILED;
    if (!json_scan_integer(text, size, "num_pending", &pending) || pending < 0) {
        snprintf(why, KV_WHY_SIZE, "the answer is not understood");
        return KV_ANSWER_FAILED;
    }
    *count = (uint64_t)pending;
    return KV_ANSWER_DONE;
}

const char *kv_read_listed(const struct wire_message *message, const char *bucket, bool *deleted,
                           uint64_t *left)
{
    struct ack_subject ack;
    char prefix[NAME_SIZE];
    int prefix_size = snprintf(prefix, sizeof(prefix), "$KV.%s.", bucket);
    if (ack_subject_parse(wire_reply(message), &ack) != 0 ||
        strncmp(wire_subject(message), prefix, (size_t)prefix_size) != 0)
        return NULL;
    const char *operation = wire_header(message, OPERATION);
    *deleted =
        wire_header(message, MARKER) != NULL ||
        (operation != NULL && (strcmp(operation, "DEL") == 0 || strcmp(operation, "PURGE") == 0));
    *left = ack.pending;
    return wire_subject(message) + prefix_size;
}
