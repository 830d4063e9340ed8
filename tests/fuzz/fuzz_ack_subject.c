/*
 * The reply subjects of JetStream: taken are those of nine tokens, and of eleven and more, whose
 * five numbers are numbers; every field is the token at its place. Once as the bytes are, once
 * behind the prefix.
 */
#include "bus/wire.h"

#include <errno.h>
#include <inttypes.h>

#include "fuzz.h"

enum { TOKENS_MAX = 12 };

/* Splits at the dots, in place; what comes after the last kept token is cut off. */
static size_t split(char *text, char *tokens[TOKENS_MAX])
{
    size_t count = 0;
    while (text != NULL && count < TOKENS_MAX)
        tokens[count++] = strsep(&text, ".");
    return count;
}

static bool is_number(const char *token, uint64_t max, uint64_t *number)
{
    errno = 0;
    *number = strtoull(token, NULL, 10);
    return *token != '\0' && token[strspn(token, "0123456789")] == '\0' && errno == 0 &&
           *number <= max;
}

/* The same by splitting; the slices point into `text`. */
static bool expected(char *text, struct ack_subject *ack)
{
    char *tokens[TOKENS_MAX];
    size_t count = split(text, tokens);
    if (count < 3 || strcmp(tokens[0], "$JS") != 0 || strcmp(tokens[1], "ACK") != 0)
        return false;
    if (count != 9 && count < 11)
        return false;
    char **field = tokens + (count == 9 ? 2 : 4);
    uint64_t time_ns;
    *ack = (struct ack_subject){.stream = field[0],
                                .consumer = field[1],
                                .stream_size = strlen(field[0]),
                                .consumer_size = strlen(field[1])};
    bool good = is_number(field[2], UINT64_MAX, &ack->delivered) &&
                is_number(field[3], UINT64_MAX, &ack->stream_sequence) &&
                is_number(field[4], UINT64_MAX, &ack->consumer_sequence) &&
                is_number(field[5], INT64_MAX, &time_ns) &&
                is_number(field[6], UINT64_MAX, &ack->pending);
    ack->time_ns = good ? (int64_t)time_ns : 0;
    return good && ack->stream_size > 0 && ack->consumer_size > 0;
}

static void must_be_equal(const struct ack_subject *a, const struct ack_subject *b)
{
    must(a->stream_size == b->stream_size && memcmp(a->stream, b->stream, a->stream_size) == 0);
    must(a->consumer_size == b->consumer_size);
    must(memcmp(a->consumer, b->consumer, a->consumer_size) == 0);
    must(a->delivered == b->delivered && a->pending == b->pending && a->time_ns == b->time_ns);
    must(a->stream_sequence == b->stream_sequence);
    must(a->consumer_sequence == b->consumer_sequence);
}

/* What was read, written in the short form, reads the same. */
static void check_again(const struct ack_subject *ack)
{
    char *text = NULL;
    struct ack_subject again;
    must(asprintf(&text,
                  "$JS.ACK.%.*s.%.*s.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRId64 ".%" PRIu64,
                  (int)ack->stream_size, ack->stream, (int)ack->consumer_size, ack->consumer,
                  ack->delivered, ack->stream_sequence, ack->consumer_sequence, ack->time_ns,
                  ack->pending) > 0);
    must(ack_subject_parse(text, &again) == 0);
    must_be_equal(ack, &again);
    free(text);
}

static void check(const char *text)
{
    struct ack_subject ack, wanted;
    char *tokens = copy_text(text, strlen(text));
    bool good = expected(tokens, &wanted);
    must(ack_subject_parse(text, &ack) == (good ? 0 : -1));
    if (good) {
        must(ack.stream > text && ack.consumer > ack.stream);
        must_be_equal(&ack, &wanted);
        check_again(&ack);
    }
    free(tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size), *prefixed = NULL;
    check(text);
    must(asprintf(&prefixed, "$JS.ACK.%s", text) > 0);
    check(prefixed);
    free(prefixed);
    free(text);
    return 0;
}
