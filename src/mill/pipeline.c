#include "mill/pipeline.h"

#include "base/clock.h"
#include "base/log.h"
#include "mill/pipeline_internal.h"
#include "mill/tally.h"
#include "mill/telemetry.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BUFFERED_HIGH = 4 << 20, /* bytes in the connection's output buffer */
    CLOCK_EVERY = 32         /* messages that no rule wants: then the clock is looked at */
};

#define SLICE_NS          (4 * NS_PER_MS) /* of work a round, so that timers and acks keep pace */
#define PULL_EXPIRES_NS   (30 * NS_PER_S)
#define PULL_HEARTBEAT_NS NS_PER_S /* twice that, and a dead request or consumer is noticed */
#define CONFIRM_WAIT_NS   (2 * NS_PER_S)

/* --- garbage --- */

static void collect(struct pipeline *pipeline)
{
    settle_flush(&pipeline->settler); /* the subjects of acks are in the messages */
    garbage_burn(&pipeline->garbage);
}

void pipeline_discard(struct pipeline *pipeline, struct wire_message *message)
{
    if (garbage_add(&pipeline->garbage, message))
        return;
    collect(pipeline);
    wire_free(message);
}

/* Frees what is done with when that is worth waking a thread for, or when there is time. */
static void end_round(struct pipeline *pipeline, bool busy)
{
    settle_flush(&pipeline->settler);
    if (busy && !garbage_is_due(&pipeline->garbage))
        return;
    outbox_collect(pipeline->outbox);
    collect(pipeline);
}

/* --- opening and closing --- */

int pipeline_open(struct pipeline **out, const struct pipeline_options *options, struct error *err)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
    if (pipeline == NULL)
        return error_set(err, "out of memory");
    pipeline->options = *options;
    snprintf(pipeline->name, sizeof(pipeline->name), "worker %d", options->worker_id);
    refusals_init(&pipeline->refusals, options->health, pipeline->name);
    pipeline->sources = calloc(options->source_count, sizeof(*pipeline->sources));
    if (pipeline->sources == NULL) {
        free(pipeline);
        return error_set(err, "out of memory");
    }
    *out = pipeline;
    return 0;
}

void pipeline_free(struct pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    free(pipeline->sources);
    garbage_close(&pipeline->garbage);
    settle_close(&pipeline->settler);
    free((void *)pipeline->matches);
    free(pipeline);
}

void pipeline_set_term_reasons(struct pipeline *pipeline, bool term_reasons)
{
    pipeline->term_reasons = term_reasons;
}

static int open_sources(struct pipeline *pipeline, struct error *err)
{
    const struct pipeline_options *options = &pipeline->options;
    for (size_t i = 0; i < options->source_count; i++) {
        struct source *source = &pipeline->sources[i];
        source->index = options->sources[i];
        source->config = &options->config->sources[source->index];
        source->counters = &options->source_counters[source->index];
        struct pull_options pull = {
            .stream = source->config->stream,
            .durable = source->config->durable,
            .batch = (uint32_t)source->config->batch,
            .window = (uint32_t)source->config->batch * PULL_AHEAD,
            .expires_ns = PULL_EXPIRES_NS,
            .heartbeat_ns = PULL_HEARTBEAT_NS,
        };
        if (pull_open(&source->pull, pipeline->link, source->index, &pull, err) != 0)
            return -1;
        if (source->config->ack != ACK_CUMULATIVE)
            continue;
        source->cumulative = cumulative_new(pipeline->link, source->config, source->index);
        if (source->cumulative == NULL)
            return error_set(err, "out of memory");
    }
    return 0;
}

static int64_t shortest_ack_wait(const struct pipeline *pipeline)
{
    int64_t shortest_ns = INT64_MAX;
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        unsigned index = pipeline->options.sources[i];
        int64_t ack_wait_ns = pipeline->options.config->sources[index].ack_wait_ns;
        shortest_ns = ack_wait_ns < shortest_ns ? ack_wait_ns : shortest_ns;
    }
    return shortest_ns;
}

/* What is looked at now and then, instead of for every message. */
static void note_state(struct pipeline *pipeline)
{
    struct worker_counters *counters = pipeline->options.counters;
    counter_set(counters->lua_bytes, engine_memory(pipeline->current->engine));
    counter_set(counters->connected, link_connected(pipeline->link));
    pipeline->settler.wall_offset_ns = clock_wall_ns() - clock_monotonic_ns();
}

int pipeline_attach(struct pipeline *pipeline, struct link *link, struct engine *engine,
                    struct error *err)
{
    pipeline->link = link;
    snprintf(pipeline->unique, sizeof(pipeline->unique), "%s", link_inbox(link));
    pipeline->current = generation_new(engine, ++pipeline->generations);
    if (pipeline->current == NULL) {
        engine_close(engine);
        return error_set(err, "out of memory");
    }
    if (outbox_open(&pipeline->outbox, link, shortest_ack_wait(pipeline), pipeline_output_done,
                    pipeline, err) != 0 ||
        open_sources(pipeline, err) != 0)
        return -1;
    pipeline->settler = (struct settler){
        .link = link,
        .outbox = pipeline->outbox,
        .progress = pipeline->options.progress,
        .retries = &pipeline->retries,
        .dead_letter_root = pipeline->options.config->dead_letter_subject,
        .rules_version = engine_version(engine),
        .term_reasons = pipeline->term_reasons,
    };
    pipeline_put_to_work(pipeline, engine);
    note_state(pipeline);
    return 0;
}

static void drop_message(struct delivery *delivery)
{
    wire_free(delivery->message);
    wire_free(delivery->latest);
    delivery_free(delivery);
}

void pipeline_detach(struct pipeline *pipeline)
{
    generation_free(pipeline->current);
    pipeline->current = NULL;
    for (struct generation *old = pipeline->retired, *next; old != NULL; old = next) {
        next = old->next;
        generation_free(old);
    }
    pipeline->retired = NULL;
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        struct source *source = &pipeline->sources[i];
        while (source->oldest != NULL)
            drop_message(source->oldest);
        pull_free(source->pull);
        source->pull = NULL;
        cumulative_free(source->cumulative);
        source->cumulative = NULL;
        source_free_spares(source);
    }
    settle_close(&pipeline->settler);
    outbox_free(pipeline->outbox);
    pipeline->outbox = NULL;
    kv_calls_free(pipeline->kv);
    pipeline->kv = NULL;
    collect(pipeline);
}

/* --- arrival --- */

static void enqueue(struct pipeline *pipeline, struct delivery *delivery)
{
    delivery->phase = PHASE_QUEUED;
    delivery->next_queued = NULL;
    if (pipeline->last_queued != NULL)
        pipeline->last_queued->next_queued = delivery;
    else
        pipeline->first_queued = delivery;
    pipeline->last_queued = delivery;
}

static struct delivery *dequeue(struct pipeline *pipeline)
{
    struct delivery *delivery = pipeline->first_queued;
    if (delivery == NULL)
        return NULL;
    pipeline->first_queued = delivery->next_queued;
    if (pipeline->first_queued == NULL)
        pipeline->last_queued = NULL;
    return delivery;
}

/* The same message again while the first copy is still worked on: keep its newer ack subject. */
static void merge(struct pipeline *pipeline, struct delivery *delivery,
                  struct wire_message *message, int64_t now_ns)
{
    pipeline_discard(pipeline, delivery->latest);
    delivery->latest = message;
    delivery_touched(delivery, now_ns);
    pull_settled(delivery->source->pull);
}

/* There is nothing to be done about a message that has arrived. */
static void pass_over(struct pipeline *pipeline, struct source *source,
                      struct wire_message *message)
{
    pipeline_discard(pipeline, message);
    pull_settled(source->pull);
}

static void take_in(struct pipeline *pipeline, struct source *source, struct wire_message *message,
                    const struct ack_subject *ack, int64_t now_ns)
{
    enum floor_arrival arrival = FLOOR_NEW;
    uint64_t slot = 0;
    counter_add(source->counters->delivered, 1);
    if (source->cumulative != NULL)
        arrival = cumulative_arrived(source->cumulative, wire_reply(message), ack, &slot);
    if (ack->delivered > 1)
        counter_add(source->counters->redelivered, 1);
    if (ack->delivered > 1 || arrival == FLOOR_OPEN) {
        struct delivery *same = delivery_find(source, ack->stream_sequence);
        if (same != NULL && !same->orphan) {
            merge(pipeline, same, message, now_ns);
            return;
        }
    }
    if (arrival == FLOOR_SETTLED) {
        pass_over(pipeline, source, message);
        return;
    }
    struct delivery *delivery =
        arrival != FLOOR_FULL ? delivery_new(source, message, ack, now_ns) : NULL;
    if (delivery == NULL) { /* it comes back after ack_wait */
        log_error(pipeline->name, "out of memory: a message is left to be delivered again");
        pass_over(pipeline, source, message);
        return;
    }
    delivery->floor_slot = slot;
    counter_add(source->counters->in_flight, 1);
    enqueue(pipeline, delivery);
}

/* Whether there were any. */
static bool take_arrivals(struct pipeline *pipeline, int64_t now_ns)
{
    bool any = false;
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        struct source *source = &pipeline->sources[i];
        uint64_t pending = 0; /* ack.pending may be that of a status */
        bool arrived = false;
        struct ack_subject ack;
        struct wire_message *message;
        while ((message = pull_next(source->pull, &ack, now_ns)) != NULL) {
            take_in(pipeline, source, message, &ack, now_ns);
            pending = ack.pending;
            arrived = true;
        }
        if (arrived)
            tally_arrived(source->counters, pending, now_ns);
        any |= arrived;
    }
    return any;
}

/* --- rounds --- */

/* What goes out has reached its bound: nobody may publish more. */
static bool is_full(const struct pipeline *pipeline)
{
    return outbox_full(pipeline->outbox) || link_buffered(pipeline->link) > BUFFERED_HIGH;
}

/* No message is started. */
static bool is_held(const struct pipeline *pipeline)
{
    return is_full(pipeline) || !link_connected(pipeline->link);
}

static void work(struct pipeline *pipeline, int64_t now_ns)
{
    int64_t until_ns = now_ns + SLICE_NS;
    struct delivery *delivery;
    pipeline->now_ns = now_ns;
    for (unsigned i = 1; !outbox_full(pipeline->outbox) && pipeline->now_ns < until_ns &&
                         (delivery = dequeue(pipeline)) != NULL;
         i++) {
        pipeline_start(pipeline, delivery); /* its handlers tell the time */
        if (i % CLOCK_EVERY == 0)
            pipeline->now_ns = clock_monotonic_ns();
    }
}

/* +WPI for what has waited half of ack_wait; double acks without an answer again. */
static void keep_alive(struct pipeline *pipeline, struct source *source, int64_t now_ns)
{
    int64_t half_ns = source->config->ack_wait_ns / 2;
    int64_t confirm_ns = half_ns < CONFIRM_WAIT_NS ? half_ns : CONFIRM_WAIT_NS;
    int64_t least_ns = source->config->confirm ? confirm_ns : half_ns;
    for (struct delivery *delivery = source->oldest, *newer; delivery != NULL; delivery = newer) {
        int64_t waited_ns = now_ns - delivery->touched_ns;
        newer = delivery->newer;
        if (waited_ns < least_ns)
            break;
        if (delivery->phase != PHASE_CONFIRM) {
            if (waited_ns >= half_ns)
                settle_in_progress(&pipeline->settler, delivery, now_ns);
        } else if (!settle_confirm_again(&pipeline->settler, delivery, now_ns)) {
            pipeline_finish(pipeline, delivery);
        }
    }
}

static void end_retired(struct pipeline *pipeline, int64_t now_ns)
{
    struct generation **at = &pipeline->retired;
    while (*at != NULL) {
        struct generation *old = *at;
        if (!generation_is_over(old) && now_ns - old->retired_at_ns > GENERATION_PATIENCE_NS)
            engine_abort_calls(old->engine, "the rules were reloaded a minute ago: the handler "
                                            "still waited");
        if (generation_is_over(old)) {
            *at = old->next;
            int64_t start_ns = clock_monotonic_ns();
            generation_free(old);
            telemetry_paused("close", clock_monotonic_ns() - start_ns);
        } else {
            at = &old->next;
        }
    }
}

/*
 * What the clock asks for. Runs after the arrivals were taken, so that a slow round looks like no
 * silence.
 */
static void on_tick(struct pipeline *pipeline, int64_t now_ns)
{
    pipeline->tick_due = false;
    pipeline->now_ns = now_ns;
    if (link_connected(pipeline->link)) {
        outbox_tick(pipeline->outbox, now_ns);
        for (size_t i = 0; i < pipeline->options.source_count; i++)
            keep_alive(pipeline, &pipeline->sources[i], now_ns);
    }
    end_retired(pipeline, now_ns);
    refusals_tick(&pipeline->refusals, now_ns);
    note_state(pipeline);
}

/* Timers publish too, and so do handlers that sleep: they wait as messages do. */
static void run_timers(struct pipeline *pipeline, int64_t now_ns)
{
    if (is_full(pipeline))
        return;
    int64_t due_ns = engine_due_ns(pipeline->current->engine);
    if (due_ns >= 0 && due_ns <= now_ns)
        engine_tick(pipeline->current->engine);
    for (struct generation *old = pipeline->retired; old != NULL; old = old->next) {
        due_ns = engine_due_ns(old->engine);
        if (due_ns >= 0 && due_ns <= now_ns)
            engine_tick(old->engine);
    }
}

/* What waits here for its next try is tried, like what has arrived. */
static void take_retries(struct pipeline *pipeline, int64_t now_ns)
{
    struct delivery *delivery;
    while ((delivery = retries_take(&pipeline->retries, now_ns)) != NULL) {
        if (delivery->orphan) {
            pipeline_finish(pipeline, delivery); /* its successor comes, or has come */
            continue;
        }
        delivery_again(delivery);
        enqueue(pipeline, delivery);
    }
}

static void end_source_round(struct source *source, int64_t now_ns, bool held)
{
    const char *why;
    bool full = source->cumulative != NULL && cumulative_full(source->cumulative);
    pull_round(source->pull, now_ns, held || full);
    tally_pull(source->counters, source->pull);
    if (source->cumulative == NULL)
        return;
    unsigned doubts = pull_doubts(source->pull, &why);
    uint64_t losses = pull_counts(source->pull)->lost + pull_counts(source->pull)->unavailable;
    if (doubts > source->doubts_seen || losses != source->losses_seen)
        cumulative_doubt(source->cumulative);
    source->doubts_seen = doubts;
    source->losses_seen = losses;
    cumulative_round(source->cumulative, now_ns);
}

bool pipeline_round(struct pipeline *pipeline)
{
    int64_t now_ns = clock_monotonic_ns();
    pipeline->now_ns = now_ns;
    link_take_pubacks(pipeline->link);
    bool busy = take_arrivals(pipeline, now_ns);
    take_retries(pipeline, now_ns);
    run_timers(pipeline, now_ns);
    bool held = is_held(pipeline);
    if (!held)
        work(pipeline, now_ns);
    if (pipeline->tick_due)
        on_tick(pipeline, clock_monotonic_ns());

    now_ns = clock_monotonic_ns();
    for (size_t i = 0; i < pipeline->options.source_count; i++)
        end_source_round(&pipeline->sources[i], now_ns, held);
    end_round(pipeline, busy);
    return pipeline->first_queued != NULL && !held && !outbox_full(pipeline->outbox);
}

void pipeline_tick(struct pipeline *pipeline)
{
    pipeline->tick_due = true;
}

/* The earlier of two times, of which -1 is never. */
static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    return a_ns < 0 || (b_ns >= 0 && b_ns < a_ns) ? b_ns : a_ns;
}

int64_t pipeline_due_ns(const struct pipeline *pipeline)
{
    int64_t due_ns = -1;
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        if (pipeline->sources[i].cumulative != NULL)
            due_ns = earlier(due_ns, cumulative_due_ns(pipeline->sources[i].cumulative));
    }
    if (is_full(pipeline))
        return due_ns; /* a PubAck, or its absence, brings the next round; so does the tick */
    due_ns = earlier(due_ns, retries_due_ns(&pipeline->retries));
    due_ns = earlier(due_ns, engine_due_ns(pipeline->current->engine));
    for (const struct generation *old = pipeline->retired; old != NULL; old = old->next)
        due_ns = earlier(due_ns, engine_due_ns(old->engine));
    return due_ns;
}

/* They would keep the worker from its end. */
static void give_back_waiting(struct pipeline *pipeline)
{
    int64_t now_ns = clock_monotonic_ns();
    struct delivery *delivery;
    while ((delivery = retries_take(&pipeline->retries, INT64_MAX)) != NULL) {
        settle_give_back_waiting(&pipeline->settler, delivery, now_ns);
        pipeline_finish(pipeline, delivery);
    }
}

void pipeline_drain(struct pipeline *pipeline)
{
    pipeline->settler.draining = true;
    give_back_waiting(pipeline);
    for (size_t i = 0; i < pipeline->options.source_count; i++)
        pull_drain(pipeline->sources[i].pull, clock_monotonic_ns());
}

bool pipeline_unsubscribed(const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        if (!pull_unsubscribed(pipeline->sources[i].pull))
            return false;
    }
    return true;
}

void pipeline_give_up(struct pipeline *pipeline)
{
    struct delivery *delivery;
    while ((delivery = dequeue(pipeline)) != NULL) {
        settle_give_back(&pipeline->settler, delivery);
        pipeline_finish(pipeline, delivery);
    }
    engine_abort_calls(pipeline->current->engine, "the program stops");
    for (struct generation *old = pipeline->retired; old != NULL; old = old->next)
        engine_abort_calls(old->engine, "the program stops");
}

void pipeline_leave(struct pipeline *pipeline)
{
    settle_flush(&pipeline->settler);
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        pull_dismiss(pipeline->sources[i].pull);
        if (pipeline->sources[i].cumulative != NULL)
            cumulative_leave(pipeline->sources[i].cumulative);
    }
}

static size_t in_flight(const struct pipeline *pipeline)
{
    size_t count = 0;
    for (size_t i = 0; i < pipeline->options.source_count; i++)
        count += pull_in_flight(pipeline->sources[i].pull);
    return count;
}

bool pipeline_idle(const struct pipeline *pipeline)
{
    bool idle = outbox_count(pipeline->outbox) == 0 && in_flight(pipeline) == 0 &&
                engine_active(pipeline->current->engine) == 0;
    for (const struct generation *old = pipeline->retired; old != NULL; old = old->next)
        idle = idle && engine_active(old->engine) == 0;
    return idle;
}
