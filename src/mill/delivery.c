#include "mill/delivery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void each_header(const struct input *input,
                        void (*visit)(void *context, const char *name, const char *value),
                        void *context)
{
    wire_each_header(input->message, visit, context);
}

static void append(struct source *source, struct delivery *delivery)
{
    delivery->older = source->newest;
    delivery->newer = NULL;
    *(delivery->older != NULL ? &delivery->older->newer : &source->oldest) = delivery;
    source->newest = delivery;
}

static void leave(struct delivery *delivery)
{
    struct source *source = delivery->source;
    *(delivery->older != NULL ? &delivery->older->newer : &source->oldest) = delivery->newer;
    *(delivery->newer != NULL ? &delivery->newer->older : &source->newest) = delivery->older;
}

static struct delivery **bucket_of(struct source *source, uint64_t sequence)
{
    return &source->buckets[sequence % SOURCE_BUCKETS];
}

/* A spare one or a new one, zeroed up to its `few` runs. */
static struct delivery *take_place(struct source *source)
{
    struct delivery *delivery = source->spares;
    if (delivery != NULL) {
        source->spares = delivery->newer;
        source->spare_count--;
    } else {
        delivery = malloc(sizeof(*delivery));
    }
    if (delivery != NULL)
        memset(delivery, 0, offsetof(struct delivery, few));
    return delivery;
}

static void give_place_back(struct source *source, struct delivery *delivery)
{
    if (source->spare_count >= SOURCE_SPARES) {
        free(delivery);
        return;
    }
    delivery->newer = source->spares;
    source->spares = delivery;
    source->spare_count++;
}

void source_free_spares(struct source *source)
{
    while (source->spares != NULL) {
        struct delivery *delivery = source->spares;
        source->spares = delivery->newer;
        free(delivery);
    }
    source->spare_count = 0;
}

struct delivery *delivery_new(struct source *source, struct wire_message *message,
                              const struct ack_subject *ack, int64_t now_ns)
{
    struct delivery *delivery = take_place(source);
    if (delivery == NULL)
        return NULL;
    delivery->source = source;
    delivery->message = message;
    delivery->ack = *ack;
    delivery->touched_ns = now_ns;
    delivery->tries = 1;
    delivery->stream_id = source->stream_id;
    delivery->dead_letter.delivery = delivery;
    delivery->runs = delivery->few;
    delivery->input = (struct input){
        .subject = wire_subject(message),
        .payload = wire_payload(message),
        .payload_size = wire_payload_size(message),
        .stream = source->config->stream,
        .consumer = source->config->durable,
        .sequence = ack->stream_sequence,
        .delivered = ack->delivered,
        .pending = ack->pending,
        .time_ns = ack->time_ns,
        .format = source->config->format,
        .each_header = each_header,
        .message = message,
    };
    append(source, delivery);
    struct delivery **bucket = bucket_of(source, ack->stream_sequence);
    delivery->next_in_bucket = *bucket;
    *bucket = delivery;
    return delivery;
}

int delivery_make_runs(struct delivery *delivery, size_t count)
{
    if (count > DELIVERY_FEW_RUNS) {
        struct run *runs = malloc(count * sizeof(*runs));
        if (runs == NULL)
            return -1;
        delivery->runs = runs;
    }
    for (size_t i = 0; i < count; i++)
        delivery->runs[i] = (struct run){.delivery = delivery};
    return 0;
}

static void free_failure(struct failure *failure)
{
    free(failure->rule);
    free(failure->error);
    free(failure->traceback);
    *failure = (struct failure){0};
}

void delivery_again(struct delivery *delivery)
{
    if (delivery->runs != delivery->few)
        free(delivery->runs);
    delivery->runs = delivery->few;
    delivery->run_count = 0;
    free_failure(&delivery->failure);
    delivery->verdict = VERDICT_ACK;
    delivery->open = 0;
    delivery->delay_given = false;
    delivery->delay_ns = 0;
    delivery->tries++;
    delivery->ack.delivered++;
    delivery->input.delivered++;
}

uint64_t delivery_tries(const struct delivery *delivery)
{
    return delivery->source->cumulative != NULL ? delivery->tries : delivery->ack.delivered;
}

bool delivery_is_hopeless(const struct delivery *delivery)
{
    uint64_t most = (uint64_t)delivery->source->config->max_deliver;
    uint64_t factor = delivery->source->cumulative != NULL ? DELIVERY_CUMULATIVE_FACTOR : 1;
    return delivery_tries(delivery) > most || delivery->ack.delivered > factor * most;
}

void delivery_free(struct delivery *delivery)
{
    leave(delivery);
    struct delivery **at = bucket_of(delivery->source, delivery->ack.stream_sequence);
    while (*at != delivery)
        at = &(*at)->next_in_bucket;
    *at = delivery->next_in_bucket;
    if (delivery->runs != delivery->few)
        free(delivery->runs);
    free_failure(&delivery->failure);
    give_place_back(delivery->source, delivery);
}

struct delivery *delivery_find(struct source *source, uint64_t sequence)
{
    struct delivery *delivery = *bucket_of(source, sequence);
    while (delivery != NULL && delivery->ack.stream_sequence != sequence)
        delivery = delivery->next_in_bucket;
    return delivery;
}

void delivery_touched(struct delivery *delivery, int64_t now_ns)
{
    leave(delivery);
    delivery->touched_ns = now_ns;
    append(delivery->source, delivery);
}

void delivery_name(const struct delivery *delivery, char name[DELIVERY_NAME_SIZE])
{
    char later[24] = "";
    if (delivery->stream_id != 0)
        snprintf(later, sizeof(later), "@%" PRIx64, delivery->stream_id);
    snprintf(name, DELIVERY_NAME_SIZE, "%s%s:%" PRIu64, delivery->input.stream, later,
             delivery->ack.stream_sequence);
}

const char *delivery_reply(const struct delivery *delivery)
{
    return wire_reply(delivery->latest != NULL ? delivery->latest : delivery->message);
}

static void replace(char **text, const char *with)
{
    free(*text);
    *text = with != NULL ? strdup(with) : NULL;
}

void delivery_fail(struct delivery *delivery, enum verdict verdict, const char *reason,
                   const char *rule, const char *error, const char *traceback)
{
    if (verdict <= delivery->verdict)
        return;
    delivery->verdict = verdict;
    delivery->failure.reason = reason;
    replace(&delivery->failure.rule, rule);
    replace(&delivery->failure.error, error);
    replace(&delivery->failure.traceback, traceback);
}

void delivery_retry(struct delivery *delivery, const char *rule, int64_t delay_ns)
{
    char text[64];
    snprintf(text, sizeof(text), "the rule asked for another try in %.3f s",
             (double)delay_ns / 1e9);
    delivery_fail(delivery, VERDICT_AGAIN, "retry", rule, text, NULL);
    if (!delivery->delay_given || delay_ns > delivery->delay_ns)
        delivery->delay_ns = delay_ns;
    delivery->delay_given = true;
}
