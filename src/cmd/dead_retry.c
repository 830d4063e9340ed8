#include "base/subject.h"
#include "bus/puback.h"
#include "cmd/command.h"
#include "cmd/dead.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Each letter is published to the subject of its input, and removed when a stream has said that it
 * stored it; many are under way at a time, in their order. Its Nats-Msg-Id is made of where and
 * when the dead letter was stored: another than the input's own, which the stream may still know,
 * and the same one when this is done again after it broke off between the two steps.
 */

struct retry {
    struct dead_letters *letters;
    struct dead_failures failures;
    uint64_t retried;
    bool stopped; /* the server does not answer: do not try the others */
    struct request_header *headers;
    size_t header_count, header_room;
    bool out_of_memory;
};

static void on_removed(void *context, uint64_t sequence, const struct answer *answer)
{
    struct retry *retry = context;
    struct error err;
    retry->stopped |= answer->late;
    if (dead_letters_removed(answer, &err) >= 0)
        retry->retried++;
    else
        dead_failed(&retry->failures, sequence, "stored again, but not removed from stream %s: %s",
                    retry->letters->stream, err.text);
}

static void on_stored(void *context, uint64_t sequence, const struct answer *answer)
{
    struct retry *retry = context;
    struct error err;
    char why[256];
    if (answer->text == NULL) {
        retry->stopped |= answer->late;
        dead_failed(&retry->failures, sequence, "kept: %s",
                    answer->late ? answer->why : "no stream stores its subject");
        return;
    }
    enum puback puback = puback_parse(answer->text, answer->size, why, sizeof(why));
    if (puback != PUBACK_STORED && puback != PUBACK_DUPLICATE)
        dead_failed(&retry->failures, sequence, "kept: its stream refuses it: %s", why);
    else if (dead_letters_remove(retry->letters, sequence, on_removed, retry, &err) != 0)
        dead_failed(&retry->failures, sequence, "stored again, but not removed from stream %s: %s",
                    retry->letters->stream, err.text);
}

static void add_header(struct retry *retry, const char *name, const char *value)
{
    if (retry->header_count == retry->header_room) {
        size_t room = retry->header_room * 2 + 8;
        struct request_header *headers = realloc(retry->headers, room * sizeof(*headers));
        if (headers == NULL) {
            retry->out_of_memory = true;
            return;
        }
        retry->headers = headers;
        retry->header_room = room;
    }
    retry->headers[retry->header_count++] = (struct request_header){.name = name, .value = value};
}

/* The server acted on those when the message was first stored; they were meant for that moment. */
static void visit_header(void *context, const char *name, const char *value)
{
    if (strncasecmp(name, "Nats-", 5) != 0)
        add_header(context, name, value);
}

/* Whoever may write into the stream must not make us call the server's own interfaces. */
static bool is_for_the_server(const char *subject)
{
    return strncmp(subject, "$JS.", 4) == 0 || strncmp(subject, "$SYS.", 5) == 0;
}

/* Returns 0 also when this one cannot be sent, which is said and counted. */
static int send_again(void *context, const struct dead_letter *letter, struct error *err)
{
    struct retry *retry = context;
    struct error why;
    char id[320];
    if (letter->subject == NULL) {
        dead_failed(&retry->failures, letter->sequence,
                    "kept: it has no header Tidemill-Subject: tidemill did not write it");
        return 0;
    }
    if (subject_check(letter->subject, &why) != 0 || is_for_the_server(letter->subject)) {
        dead_failed(&retry->failures, letter->sequence,
                    "kept: its Tidemill-Subject is none to publish to");
        return 0;
    }
    snprintf(id, sizeof(id), "%s:%" PRIu64 ":%" PRId64 ":retry", retry->letters->stream,
             letter->sequence, letter->time_ns);
    retry->header_count = 0;
    add_header(retry, "Nats-Msg-Id", id);
    dead_letter_each_header(letter, visit_header, retry);
    if (retry->out_of_memory)
        return error_set(err, "out of memory");
    struct request request = {.subject = letter->subject,
                              .payload = letter->payload,
                              .size = letter->size,
                              .headers = retry->headers,
                              .header_count = retry->header_count,
                              .answered = on_stored,
                              .context = retry,
                              .number = letter->sequence};
    if (requests_send(retry->letters->requests, &request, &why) != 0)
        dead_failed(&retry->failures, letter->sequence, "kept: %s", why.text);
    return retry->stopped ? 1 : 0;
}

/* One after the other: the same sequence twice is then found once. */
static int64_t retry_named(struct retry *retry, const struct dead_words *words, struct error *err)
{
    int64_t found = 0;
    for (size_t i = 0; i < words->sequence_count && !retry->stopped; i++) {
        int one =
            dead_letters_one(retry->letters, words->sequences[i], false, send_again, retry, err);
        if (one < 0)
            return -1;
        if (one == 0)
            dead_failed(&retry->failures, words->sequences[i], "stream %s has no such dead letter",
                        retry->letters->stream);
        requests_wait(retry->letters->requests);
        found += one;
    }
    return found;
}

int dead_retry(struct dead_letters *letters, const struct dead_words *words, struct error *err)
{
    struct retry retry = {.letters = letters};
    int64_t found = words->all
                        ? dead_letters_each(letters, &words->filter, false, send_again, &retry, err)
                        : retry_named(&retry, words, err);
    requests_wait(letters->requests);
    free(retry.headers);
    dead_failures_end(&retry.failures);
    if (found == 0 && words->all)
        dead_say_none(letters, words);
    else if (retry.failures.count > 0)
        printf("%" PRIu64 " retried, %" PRIu64 " failed\n", retry.retried, retry.failures.count);
    else
        printf("%" PRIu64 " retried\n", retry.retried);
    if (found < 0 || dead_end_output(err) != 0)
        return -1;
    if (retry.stopped)
        return error_set(err, "stopped: the server does not answer");
    return retry.failures.count > 0 ? EXIT_FAILED : EXIT_DONE;
}
