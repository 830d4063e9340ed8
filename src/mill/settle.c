#include "mill/settle.h"

#include "base/clock.h"
#include "base/log.h"
#include "mill/cumulative.h"
#include "mill/dead_letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ACK_TEXT_SIZE = 128,
    CONFIRMS_MAX = 3 /* double acks sent before the message is left to come back */
};

static void answer(struct settler *settler, struct delivery *delivery, const char *text)
{
    if (delivery->orphan)
        return; /* whoever hears it takes it for an answer to another delivery */
    /* Not sent (the connection is closed): the server delivers again after ack_wait. */
    link_publish(settler->link, delivery_reply(delivery), text, strlen(text));
}

/*
 * Sets an ack aside for settle_flush; when there is no room for that, sends it now. It is an empty
 * message, which the server takes as it takes +ACK (processAck in its consumer.go), and for which
 * it need not keep a payload: a twentieth of its time per message.
 */
static void answer_ack(struct settler *settler, struct delivery *delivery)
{
    if (delivery->orphan)
        return;
    if (settler->ack_count == settler->ack_capacity) {
        size_t capacity = settler->ack_capacity == 0 ? 256 : settler->ack_capacity * 2;
        const char **acks = (const char **)realloc((void *)settler->acks, capacity * sizeof(*acks));
        if (acks == NULL) {
            answer(settler, delivery, "");
            return;
        }
        settler->acks = acks;
        settler->ack_capacity = capacity;
    }
    settler->acks[settler->ack_count++] = delivery_reply(delivery);
}

void settle_flush(struct settler *settler)
{
    for (size_t i = 0; i < settler->ack_count; i++)
        link_publish(settler->link, settler->acks[i], "", 0);
    settler->ack_count = 0;
}

void settle_close(struct settler *settler)
{
    free((void *)settler->acks);
    settler->acks = NULL;
    settler->ack_count = settler->ack_capacity = 0;
}

/* Nothing more is to be done for it, and all that answers it is the floor. */
static void settle_in_floor(struct delivery *delivery)
{
    if (!delivery->orphan)
        cumulative_settled(delivery->source->cumulative, delivery->ack.stream_sequence,
                           delivery->floor_slot);
}

static void forget_progress(struct settler *settler, const struct delivery *delivery)
{
    if (delivery->ack.delivered > 1)
        progress_forget(settler->progress, delivery->source->index, delivery->ack.stream_sequence);
}

/* A stream sequence fits 56 bits for some thousand years of a million messages a second. */
enum { CONFIRM_SEQUENCE_BITS = 56 };
_Static_assert(CONFIG_SOURCES_MAX <= 1 << (64 - CONFIRM_SEQUENCE_BITS), "the rest is the source");

static uint64_t confirm_token(const struct delivery *delivery)
{
    return (uint64_t)delivery->source->index << CONFIRM_SEQUENCE_BITS |
           delivery->ack.stream_sequence;
}

unsigned confirm_token_source(uint64_t token)
{
    return (unsigned)(token >> CONFIRM_SEQUENCE_BITS);
}

uint64_t confirm_token_sequence(uint64_t token)
{
    return token & ((UINT64_C(1) << CONFIRM_SEQUENCE_BITS) - 1);
}

static bool send_confirm(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    delivery->phase = PHASE_CONFIRM;
    delivery->confirms_sent++;
    delivery_touched(delivery, now_ns);
    link_request(settler->link, REPLY_ACK, confirm_token(delivery), delivery_reply(delivery),
                 "+ACK", 4);
    return false;
}

/* `latency` counts what `acked` does. */
static void count_acked(const struct settler *settler, const struct delivery *delivery,
                        int64_t now_ns)
{
    struct source_counters *counters = delivery->source->counters;
    counter_add(counters->acked, 1);
    histogram_observe(&counters->latency, &latency_bounds,
                      now_ns + settler->wall_offset_ns - delivery->ack.time_ns);
}

static bool acknowledge(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    count_acked(settler, delivery, now_ns);
    forget_progress(settler, delivery);
    if (delivery->source->cumulative != NULL) {
        settle_in_floor(delivery);
        return true;
    }
    if (delivery->source->config->confirm && !delivery->orphan)
        return send_confirm(settler, delivery, now_ns);
    answer_ack(settler, delivery);
    return true;
}

static int64_t backoff_of(const struct delivery *delivery)
{
    const struct source_config *config = delivery->source->config;
    if (config->backoff_count == 0)
        return NS_PER_S;
    uint64_t tries = delivery_tries(delivery);
    uint64_t step = tries > 0 ? tries - 1 : 0;
    if (step >= config->backoff_count)
        step = config->backoff_count - 1;
    return config->backoff_ns[step];
}

static void send_nak(struct settler *settler, struct delivery *delivery, int64_t delay_ns)
{
    char text[ACK_TEXT_SIZE];
    if (delay_ns > 0)
        snprintf(text, sizeof(text), "-NAK {\"delay\":%" PRId64 "}", delay_ns);
    else
        snprintf(text, sizeof(text), "-NAK");
    answer(settler, delivery, text);
}

/* Gives the message back with a delay, and remembers which rules are through with it. */
static bool give_back_later(struct settler *settler, struct delivery *delivery)
{
    for (size_t i = 0; i < delivery->run_count && !delivery->orphan; i++) {
        const struct run *run = &delivery->runs[i];
        if (run->ended && !run->failed)
            progress_note(settler->progress, delivery->source->index, delivery->ack.stream_sequence,
                          run->name);
    }
    int64_t delay_ns = delivery->delay_given ? delivery->delay_ns : backoff_of(delivery);
    counter_add(delivery->source->counters->naked, 1);
    if (delivery->source->cumulative != NULL && !settler->draining && !delivery->orphan) {
        retries_add(settler->retries, delivery, clock_monotonic_ns() + delay_ns);
        return false;
    }
    send_nak(settler, delivery, delay_ns);
    return true;
}

static bool bury(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    struct error err;
    delivery->phase = PHASE_DEAD_LETTER;
    delivery->open = 1;
    if (dead_letter_send(settler->outbox, settler->dead_letter_root, settler->rules_version,
                         delivery, now_ns, &err) == 0)
        return false;
    return settle_dead_letter_done(settler, delivery, false, err.text);
}

bool settle(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    uint64_t tries = (uint64_t)delivery->source->config->max_deliver;
    const struct failure *failure = &delivery->failure;
    if (delivery->verdict != VERDICT_ACK && failure->reason != NULL)
        last_error_note(&delivery->source->counters->last_error, now_ns, failure->reason,
                        failure->rule, failure->error);
    switch (delivery->verdict) {
    case VERDICT_ACK:
        return acknowledge(settler, delivery, now_ns);
    case VERDICT_REJECT:
        return bury(settler, delivery, now_ns);
    case VERDICT_AGAIN:
        break;
    }
    return delivery_tries(delivery) >= tries ? bury(settler, delivery, now_ns)
                                             : give_back_later(settler, delivery);
}

static void send_term(struct settler *settler, struct delivery *delivery)
{
    char text[ACK_TEXT_SIZE];
    if (settler->term_reasons)
        snprintf(text, sizeof(text), "+TERM %s: dead letter stored", delivery->failure.reason);
    else
        snprintf(text, sizeof(text), "+TERM");
    answer(settler, delivery, text);
}

bool settle_dead_letter_done(struct settler *settler, struct delivery *delivery, bool stored,
                             const char *error)
{
    const struct source_config *config = delivery->source->config;
    const struct failure *failure = &delivery->failure;
    if (!stored) {
        log_error("dead letter", "%s/%s sequence %" PRIu64 " stays in the stream: %s",
                  config->stream, config->durable, delivery->ack.stream_sequence, error);
        delivery->delay_given = false;
        return give_back_later(settler, delivery);
    }
    log_warn("dead letter", "%s sequence %" PRIu64 " (%s) after %" PRIu64 " %s: %s%s%s%s%s",
             config->stream, delivery->ack.stream_sequence, delivery->input.subject,
             delivery->ack.delivered, delivery->ack.delivered == 1 ? "try" : "tries",
             failure->reason, failure->rule != NULL ? " in rule " : "",
             failure->rule != NULL ? failure->rule : "", failure->error != NULL ? ": " : "",
             failure->error != NULL ? failure->error : "");
    if (delivery->source->cumulative != NULL)
        settle_in_floor(delivery);
    else
        send_term(settler, delivery);
    forget_progress(settler, delivery);
    counter_add(delivery->source->counters->dead, 1);
    counter_add(delivery->source->counters->dead_of[reason_named(failure->reason)], 1);
    return true;
}

bool settle_confirm_again(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    if (delivery->confirms_sent >= CONFIRMS_MAX || delivery->orphan)
        return false;
    send_confirm(settler, delivery, now_ns);
    return true;
}

void settle_in_progress(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    answer(settler, delivery, "+WPI");
    delivery_touched(delivery, now_ns);
}

void settle_give_back_waiting(struct settler *settler, struct delivery *delivery, int64_t now_ns)
{
    send_nak(settler, delivery, delivery->retry_due_ns - now_ns);
}

void settle_give_back(struct settler *settler, struct delivery *delivery)
{
    answer(settler, delivery, "-NAK");
    counter_add(delivery->source->counters->naked, 1);
}
