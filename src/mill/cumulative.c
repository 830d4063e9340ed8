#include "mill/cumulative.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/consumer_facts.h"
#include "bus/pull.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PREFIX_SIZE = 768,
    SUFFIX_SIZE = 128,
    SUBJECT_SIZE = 1024,
    INDEX_BITS = 8, /* of a token: the source; the rest counts what was asked */
    INDEX_SHIFT = 64 - INDEX_BITS
};

_Static_assert(CONFIG_SOURCES_MAX <= 1 << INDEX_BITS, "a token has an index for each source");

#define ACK_EVERY_NS    (2 * NS_PER_MS)
#define ASK_FIRST_NS    (NS_PER_S / 8) /* between questions, doubling */
#define ASK_LONGEST_NS  NS_PER_S
#define UNKNOWN_LONG_NS (5 * NS_PER_S)
#define ANSWER_WAIT_NS  (2 * NS_PER_S)
#define RENEW_PARTS     3 /* of ack_wait: after one of them a settled message is renewed */

struct cumulative {
    struct link *link;
    const struct source_config *config;
    unsigned index;
    struct floor *floor;
    uint64_t number; /* of what was asked last; another number's answer is too late */
    enum floor_question asked;
    int64_t sent_ns; /* the ack or question that is to be answered; 0: nothing is */
    int64_t next_ack_ns, next_question_ns, question_wait_ns;
    int64_t renewed_ns;
    int64_t unknown_ns; /* since when something pending is not known here; 0: all is */
    bool told;          /* that has been logged */
    /* Of a delivery's acknowledgement subject, what is before its counts and after them. */
    bool learned; /* it is the server's; else the one that all servers take */
    char prefix[PREFIX_SIZE], suffix[SUFFIX_SIZE];
};

/* What a pull may have asked for at most. */
static size_t window_of(const struct source_config *config)
{
    return (size_t)config->batch * PULL_AHEAD * PULL_GROWTH;
}

struct cumulative *cumulative_new(struct link *link, const struct source_config *config,
                                  unsigned index)
{
    struct cumulative *cumulative = calloc(1, sizeof(*cumulative));
    if (cumulative == NULL)
        return NULL;
    cumulative->link = link;
    snprintf(cumulative->prefix, sizeof(cumulative->prefix), "$JS.ACK.%s.%s.", config->stream,
             config->durable);
    snprintf(cumulative->suffix, sizeof(cumulative->suffix), "0.0");
    cumulative->config = config;
    cumulative->index = index;
    cumulative->question_wait_ns = ASK_FIRST_NS;
    cumulative->floor = floor_new((size_t)config->max_ack_pending + 2 * window_of(config));
    if (cumulative->floor == NULL) {
        free(cumulative);
        return NULL;
    }
    return cumulative;
}

void cumulative_free(struct cumulative *cumulative)
{
    if (cumulative == NULL)
        return;
    floor_free(cumulative->floor);
    free(cumulative);
}

/* --- what arrives --- */

/* Skips `count` tokens of a subject. */
static const char *skip_tokens(const char *text, int count)
{
    for (; count > 0 && text != NULL; count--) {
        text = strchr(text, '.');
        text = text != NULL ? text + 1 : NULL;
    }
    return text;
}

/* Acks are sent to the subjects that deliveries came with, but for the counts in them. */
static void learn_subject(struct cumulative *cumulative, const char *reply,
                          const struct ack_subject *ack)
{
    const char *counts = ack->consumer + ack->consumer_size + 1;
    const char *rest = skip_tokens(counts, 3); /* delivered, stream and consumer sequence */
    if (rest == NULL)
        return;
    cumulative->learned = true;
    snprintf(cumulative->prefix, sizeof(cumulative->prefix), "%.*s", (int)(counts - reply), reply);
    snprintf(cumulative->suffix, sizeof(cumulative->suffix), "%s", rest);
}

static void format_subject(const struct cumulative *cumulative, char subject[SUBJECT_SIZE],
                           uint64_t sequence, uint64_t number)
{
    snprintf(subject, SUBJECT_SIZE, "%s1.%" PRIu64 ".%" PRIu64 ".%s", cumulative->prefix, sequence,
             number, cumulative->suffix);
}

enum floor_arrival cumulative_arrived(struct cumulative *cumulative, const char *reply,
                                      const struct ack_subject *ack, uint64_t *slot)
{
    struct floor_delivery delivery = {.sequence = ack->stream_sequence,
                                      .number = ack->consumer_sequence,
                                      .count = ack->delivered};
    if (!cumulative->learned)
        learn_subject(cumulative, reply, ack);
    return floor_arrived(cumulative->floor, &delivery, slot);
}

void cumulative_settled(struct cumulative *cumulative, uint64_t sequence, uint64_t slot)
{
    floor_settle(cumulative->floor, sequence, slot);
}

static void forget_questions(struct cumulative *cumulative)
{
    cumulative->sent_ns = 0;
    cumulative->number++;
    cumulative->asked = FLOOR_ASK_NOTHING;
    cumulative->next_question_ns = 0;
    cumulative->question_wait_ns = ASK_FIRST_NS;
}

void cumulative_doubt(struct cumulative *cumulative)
{
    floor_doubt(cumulative->floor);
    forget_questions(cumulative);
}

void cumulative_reset(struct cumulative *cumulative)
{
    floor_reset(cumulative->floor);
    forget_questions(cumulative);
    cumulative->learned = false;
}

bool cumulative_full(const struct cumulative *cumulative)
{
    return floor_is_full(cumulative->floor, window_of(cumulative->config));
}

/* --- what is sent --- */

static uint64_t next_token(struct cumulative *cumulative)
{
    cumulative->number++;
    return (uint64_t)cumulative->index << INDEX_SHIFT |
           (cumulative->number & ((UINT64_C(1) << INDEX_SHIFT) - 1));
}

static void request(struct cumulative *cumulative, const char *subject, const char *payload,
                    int64_t now_ns)
{
    cumulative->sent_ns = now_ns; /* when it could not be sent, neither will it be answered */
    link_request_in_order(cumulative->link, REPLY_FLOOR, next_token(cumulative), subject, payload,
                          strlen(payload));
}

static void send_ack(struct cumulative *cumulative, int64_t now_ns)
{
    struct floor_ack ack;
    char subject[SUBJECT_SIZE];
    if (!floor_next_ack(cumulative->floor, &ack))
        return;
    format_subject(cumulative, subject, ack.sequence, ack.number);
    request(cumulative, subject, "+ACK", now_ns);
    floor_ack_sent(cumulative->floor, &ack);
    cumulative->next_ack_ns = now_ns + ACK_EVERY_NS;
}

static void ask(struct cumulative *cumulative, enum floor_question question, int64_t now_ns)
{
    char subject[SUBJECT_SIZE];
    if (question == FLOOR_ASK_CONSUMER) {
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s",
                 cumulative->config->stream, cumulative->config->durable);
        cumulative->next_question_ns = now_ns + cumulative->question_wait_ns;
        cumulative->question_wait_ns *= 2;
        if (cumulative->question_wait_ns > ASK_LONGEST_NS)
            cumulative->question_wait_ns = ASK_LONGEST_NS;
    } else {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", cumulative->config->stream);
    }
    request(cumulative, subject, "", now_ns);
    floor_asked(cumulative->floor, question);
    cumulative->asked = question;
}

static bool may_ask(const struct cumulative *cumulative, enum floor_question question,
                    int64_t now_ns)
{
    return question == FLOOR_ASK_STREAM ||
           (question == FLOOR_ASK_CONSUMER && now_ns >= cumulative->next_question_ns);
}

struct telling {
    struct cumulative *cumulative;
    const char *payload;
};

static void tell(void *context, uint64_t sequence, uint64_t number)
{
    struct telling *telling = context;
    char subject[SUBJECT_SIZE];
    format_subject(telling->cumulative, subject, sequence, number);
    link_publish(telling->cumulative->link, subject, telling->payload, strlen(telling->payload));
}

/* Settled messages that wait for the floor do not come again. */
static void renew(struct cumulative *cumulative, int64_t now_ns)
{
    int64_t part_ns = cumulative->config->ack_wait_ns / RENEW_PARTS;
    if (now_ns - cumulative->renewed_ns < part_ns / 2)
        return;
    cumulative->renewed_ns = now_ns;
    if (!floor_is_complete(cumulative->floor) || floor_settled_count(cumulative->floor) == 0)
        return;
    struct telling renewing = {cumulative, "+WPI"};
    floor_visit_settled(cumulative->floor, (uint32_t)(part_ns / NS_PER_MS), tell, &renewing);
}

/* What a dead process held has come after ack_wait at the latest. */
static void watch_unknown(struct cumulative *cumulative, bool unknown, int64_t now_ns)
{
    const struct source_config *config = cumulative->config;
    if (!unknown) {
        cumulative->unknown_ns = 0;
        cumulative->told = false;
        return;
    }
    if (cumulative->unknown_ns == 0)
        cumulative->unknown_ns = now_ns;
    if (cumulative->told ||
        now_ns - cumulative->unknown_ns < 2 * config->ack_wait_ns + UNKNOWN_LONG_NS)
        return;
    cumulative->told = true;
    log_warn("cumulative",
             "%s/%s: messages are pending that do not come here, and nothing above them can be "
             "acknowledged: does another process pull from this consumer?",
             config->stream, config->durable);
}

void cumulative_round(struct cumulative *cumulative, int64_t now_ns)
{
    struct floor *floor = cumulative->floor;
    floor_tick(floor, (uint32_t)(now_ns / NS_PER_MS));
    if (!link_connected(cumulative->link))
        return;
    if (cumulative->sent_ns != 0) {
        if (now_ns - cumulative->sent_ns < ANSWER_WAIT_NS)
            return;
        cumulative_doubt(cumulative);
    }
    enum floor_question question = floor_question(floor);
    watch_unknown(cumulative, question != FLOOR_ASK_NOTHING, now_ns);
    if (may_ask(cumulative, question, now_ns)) {
        ask(cumulative, question, now_ns);
        return;
    }
    if (question == FLOOR_ASK_NOTHING)
        cumulative->question_wait_ns = ASK_FIRST_NS;
    renew(cumulative, now_ns);
    if (now_ns >= cumulative->next_ack_ns)
        send_ack(cumulative, now_ns);
}

int64_t cumulative_due_ns(const struct cumulative *cumulative)
{
    struct floor_ack ack;
    if (cumulative->sent_ns != 0 || !link_connected(cumulative->link))
        return -1;
    if (floor_next_ack(cumulative->floor, &ack))
        return cumulative->next_ack_ns;
    return floor_question(cumulative->floor) != FLOOR_ASK_NOTHING ? cumulative->next_question_ns
                                                                  : -1;
}

/* --- answers --- */

/* With a delay: without one nats-server 2.9 may deliver what is not pending at all. */
static void recall(struct cumulative *cumulative)
{
    struct telling recalling = {cumulative, "-NAK {\"delay\":1000000}"};
    size_t most = 2 * (size_t)cumulative->config->max_ack_pending;
    floor_visit_missing(cumulative->floor, most, tell, &recalling);
}

static void on_consumer(struct cumulative *cumulative, const char *text, size_t size)
{
    struct consumer_facts facts;
    if (!consumer_facts_read(text, size, &facts)) {
        floor_unanswered(cumulative->floor);
        return;
    }
    struct floor_facts told = {.created_ns = facts.created_ns,
                               .acked_sequence = facts.acked_sequence,
                               .acked_number = facts.acked_number,
                               .delivered = facts.delivered_sequence,
                               .delivered_number = facts.delivered_number,
                               .pending = facts.ack_pending,
                               .replicated = facts.replicated};
    floor_told_consumer(cumulative->floor, &told);
}

void cumulative_reply(struct cumulative *cumulative, uint64_t token,
                      const struct wire_message *message, bool no_responders)
{
    uint64_t mask = (UINT64_C(1) << INDEX_SHIFT) - 1;
    if (token >> INDEX_SHIFT != cumulative->index || cumulative->sent_ns == 0 ||
        (token & mask) != (cumulative->number & mask))
        return;
    const char *text = wire_payload(message);
    size_t size = wire_payload_size(message);
    enum floor_question asked = cumulative->asked;
    uint64_t first;
    cumulative->sent_ns = 0;
    cumulative->asked = FLOOR_ASK_NOTHING;
    if (no_responders)
        cumulative_doubt(cumulative);
    else if (asked == FLOOR_ASK_CONSUMER)
        on_consumer(cumulative, text, size);
    else if (asked == FLOOR_ASK_STREAM && stream_first_sequence_read(text, size, &first)) {
        floor_told_stream(cumulative->floor, first);
        recall(cumulative);
    } else if (asked == FLOOR_ASK_STREAM)
        floor_unanswered(cumulative->floor);
    else
        floor_ack_answered(cumulative->floor);
}

/* --- the end --- */

void cumulative_leave(struct cumulative *cumulative)
{
    struct telling giving_back = {cumulative, "-NAK"};
    struct floor_ack ack;
    char subject[SUBJECT_SIZE];
    floor_ack_answered(cumulative->floor); /* it will be: all is in order on this connection */
    floor_unanswered(cumulative->floor);
    if (floor_next_ack(cumulative->floor, &ack)) {
        format_subject(cumulative, subject, ack.sequence, ack.number);
        link_publish(cumulative->link, subject, "+ACK", 4);
        floor_ack_sent(cumulative->floor, &ack);
        floor_ack_answered(cumulative->floor);
    }
    floor_visit_settled(cumulative->floor, 0, tell, &giving_back);
}
