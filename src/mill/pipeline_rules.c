/*
 * The inner half of the pipeline: from a message's first handler to its settling. A delivery's
 * `open` counts the handlers that have not ended and the outputs that are not stored; whoever
 * brings it to zero concludes. While handlers are being started one more is counted, so that a
 * delivery does not end under the hand that starts it.
 */
#include "mill/pipeline_internal.h"
#include "mill/telemetry.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ID_SIZE = 384,
    COMPONENT_SIZE = 96,
    REQUEST_WAIT_BITS = 52 /* of a request's token; the rest says which generation asked */
};

/* --- the end of a delivery --- */

static void release_runs(struct delivery *delivery)
{
    for (size_t i = 0; i < delivery->run_count; i++)
        delivery->runs[i].generation->uses--;
    delivery->run_count = 0;
}

void pipeline_finish(struct pipeline *pipeline, struct delivery *delivery)
{
    struct source *source = delivery->source;
    release_runs(delivery);
    pipeline_discard(pipeline, delivery->message);
    pipeline_discard(pipeline, delivery->latest);
    delivery_free(delivery);
    pull_settled(source->pull);
    counter_sub(source->counters->in_flight, 1);
}

/* One thing less is open. */
static void close_one(struct pipeline *pipeline, struct delivery *delivery)
{
    if (--delivery->open > 0)
        return;
    if (settle(&pipeline->settler, delivery, pipeline->now_ns))
        pipeline_finish(pipeline, delivery);
    else if (delivery->phase == PHASE_WAITING)
        release_runs(delivery);
}

/* --- outputs --- */

static void fail_output(struct run *run, const char *error)
{
    if (!run->failed) /* a call is one error, whatever of it fails */
        counter_add(run->counters->errors[REASON_OUTPUT], 1);
    run->failed = true;
    delivery_fail(run->delivery, VERDICT_AGAIN, "output", run->name, error, NULL);
}

void pipeline_output_done(void *context, void *token, const struct outbox_result *result)
{
    struct pipeline *pipeline = context;
    struct worker_counters *counters = pipeline->options.counters;
    if (result->stored) {
        counter_add(counters->outputs_stored, 1);
        histogram_observe(&counters->publish_ack, &publish_ack_bounds, result->latency_ns);
    } else {
        counter_add(counters->outputs_failed, 1);
    }
    if (result->duplicate)
        counter_add(counters->outputs_repeated, 1);

    struct run *run = token;
    if (run == NULL) { /* a timer's */
        if (!result->stored)
            log_error(pipeline->name, "an output of a timer is lost: %s", result->error);
        return;
    }
    struct delivery *delivery = run->delivery;
    if (run == &delivery->dead_letter) {
        delivery->open = 0;
        if (settle_dead_letter_done(&pipeline->settler, delivery, result->stored, result->error))
            pipeline_finish(pipeline, delivery);
        else
            release_runs(delivery);
        return;
    }
    if (!result->stored) {
        char why[REFUSALS_WHY_SIZE];
        snprintf(why, sizeof(why), "rule %s: %s (for %s sequence %" PRIu64 ")", run->name,
                 result->error, delivery->input.stream, delivery->ack.stream_sequence);
        refusals_note(&pipeline->refusals, clock_monotonic_ns(), why);
        fail_output(run, result->error);
    } else {
        refusals_stored(&pipeline->refusals);
    }
    close_one(pipeline, delivery);
}

static int add_headers(struct outgoing *outgoing, const struct output *output)
{
    for (size_t i = 0; i < output->header_count; i++) {
        if (outgoing_header(outgoing, output->headers[i].name, output->headers[i].value) != 0)
            return -1;
    }
    if (output->ttl_ns > 0) { /* ADR-43: whole seconds, at least one */
        char seconds[24];
        snprintf(seconds, sizeof(seconds), "%" PRId64 "s",
                 (output->ttl_ns + NS_PER_S - 1) / NS_PER_S);
        return outgoing_header(outgoing, "Nats-TTL", seconds);
    }
    return 0;
}

static int publish_core(struct pipeline *pipeline, const struct output *output, struct error *err)
{
    struct outgoing *outgoing = outgoing_new(pipeline->link, PUBACK_NONE, 0, output->subject,
                                             output->payload, output->payload_size);
    int status = -1;
    if (outgoing == NULL || add_headers(outgoing, output) != 0)
        error_set(err, "out of memory");
    else
        status = link_send(pipeline->link, outgoing, err);
    outgoing_free(outgoing);
    return status;
}

/* `run` is NULL for a timer's output. */
static int publish_durable(struct pipeline *pipeline, const struct output *output, const char *id,
                           struct run *run, int64_t now_ns, struct error *err)
{
    struct publication publication = {
        .subject = output->subject,
        .payload = output->payload,
        .payload_size = output->payload_size,
        .id = output->id != NULL ? output->id : id,
        .insistent = run == NULL,
    };
    struct outgoing *outgoing = outbox_prepare(pipeline->outbox, &publication, run);
    if (outgoing == NULL)
        return error_set(err, "out of memory");
    if (add_headers(outgoing, output) != 0) {
        outbox_discard(pipeline->outbox);
        return error_set(err, "out of memory");
    }
    if (run != NULL)
        run->delivery->open++;
    outbox_send(pipeline->outbox, now_ns);
    return 0;
}

static void publish_outputs(struct pipeline *pipeline, struct run *run,
                            const struct call_result *result)
{
    const struct delivery *delivery = run->delivery;
    char name[DELIVERY_NAME_SIZE] = "";
    if (result->output_count > 0)
        delivery_name(delivery, name);
    for (size_t i = 0; i < result->output_count; i++) {
        const struct output *output = &result->outputs[i];
        struct error err;
        char id[ID_SIZE];
        int status;
        snprintf(id, sizeof(id), "%s:%s:%zu", name, run->name, i + 1);
        if (output->durable)
            status = publish_durable(pipeline, output, id, run, result->ended_ns, &err);
        else
            status = publish_core(pipeline, output, &err);
        if (status != 0)
            fail_output(run, err.text);
    }
}

static void publish_timer_outputs(struct pipeline *pipeline, const struct call_result *result)
{
    for (size_t i = 0; i < result->output_count; i++) {
        const struct output *output = &result->outputs[i];
        struct error err;
        char id[ID_SIZE];
        int status;
        snprintf(id, sizeof(id), "timer:%s:%s:%" PRIu64, pipeline->unique, result->rule,
                 ++pipeline->timer_outputs);
        if (output->durable)
            status = publish_durable(pipeline, output, id, NULL, clock_monotonic_ns(), &err);
        else
            status = publish_core(pipeline, output, &err);
        if (status != 0)
            log_error(pipeline->name, "rule %s: an output of a timer is lost: %s", result->rule,
                      err.text);
    }
}

/* --- handlers --- */

static void log_failure(const struct run *run, const struct call_result *result)
{
    char component[COMPONENT_SIZE];
    const struct delivery *delivery = run->delivery;
    snprintf(component, sizeof(component), "rule %s", result->rule);
    log_warn(component, "%s (%s, %s sequence %" PRIu64 ", try %" PRIu64 ")", result->error,
             delivery->input.subject, delivery->input.stream, delivery->ack.stream_sequence,
             delivery->ack.delivered);
    if (result->traceback != NULL)
        log_debug(component, "%s", result->traceback);
}

/* A timer's, or on_unload's: there is no message to name. */
static void log_timer_failure(const struct pipeline *pipeline, const struct call_result *result)
{
    log_error(pipeline->name, "rule %s: %s", result->rule, result->error);
    if (result->traceback != NULL)
        log_debug(pipeline->name, "%s", result->traceback);
}

static void count_call(struct rule_counters *rule, const struct call_result *result)
{
    counter_add(rule->calls, 1);
    histogram_observe(&rule->duration, &duration_bounds, result->elapsed_ns);
    if (result->outcome == OUTCOME_RETRY)
        counter_add(rule->errors[REASON_RETRY], 1);
    else if (result->outcome != OUTCOME_DONE)
        counter_add(rule->errors[reason_named(cause_name(result->cause))], 1);
}

static void on_finished(void *context, void *token, const struct call_result *result)
{
    struct pipeline *pipeline = context;
    struct run *run = token;
    pipeline->now_ns = result->ended_ns;
    count_call(result->host_data, result);
    if (run == NULL) {
        if (result->outcome == OUTCOME_ERROR)
            log_timer_failure(pipeline, result);
        publish_timer_outputs(pipeline, result);
        return;
    }
    struct delivery *delivery = run->delivery;
    counter_add(delivery->source->counters->handling_ns, result->elapsed_ns);
    run->ended = true;
    run->rule = NULL;
    run->counters = result->host_data;
    run->failed = result->outcome != OUTCOME_DONE;
    switch (result->outcome) {
    case OUTCOME_DONE:
        publish_outputs(pipeline, run, result);
        break;
    case OUTCOME_RETRY:
        delivery_retry(delivery, run->name, result->retry_ns);
        break;
    case OUTCOME_ERROR:
        log_failure(run, result);
        delivery_fail(delivery, VERDICT_AGAIN, cause_name(result->cause), run->name, result->error,
                      result->traceback);
        break;
    case OUTCOME_REJECT:
        delivery_fail(delivery, VERDICT_REJECT, cause_name(result->cause), run->name, result->error,
                      result->traceback);
        break;
    }
    close_one(pipeline, delivery);
}

/* Finds the rules that want the message and have not already succeeded with it; fills the runs. */
static int find_runs(struct pipeline *pipeline, struct delivery *delivery, size_t *wanted)
{
    struct engine *engine = pipeline->current->engine;
    const struct source *source = delivery->source;
    size_t capacity = engine_rule_count(engine);
    if (capacity > pipeline->match_capacity) {
        struct rule **matches =
            (struct rule **)realloc((void *)pipeline->matches, capacity * sizeof(*matches));
        if (matches == NULL)
            return -1;
        pipeline->matches = matches;
        pipeline->match_capacity = capacity;
    }
    *wanted = engine_match(engine, delivery->input.subject, pipeline->matches, capacity);
    if (delivery_make_runs(delivery, *wanted) != 0)
        return -1;
    for (size_t i = 0; i < *wanted; i++) {
        const char *name = rule_name(pipeline->matches[i]);
        if (delivery->ack.delivered > 1 && progress_has(pipeline->options.progress, source->index,
                                                        delivery->ack.stream_sequence, name))
            continue;
        struct run *run = &delivery->runs[delivery->run_count++];
        run->generation = pipeline->current;
        run->generation->uses++;
        run->rule = pipeline->matches[i];
        run->name = name;
    }
    return 0;
}

void pipeline_start(struct pipeline *pipeline, struct delivery *delivery)
{
    size_t wanted = 0;
    delivery->phase = PHASE_RULES;
    delivery->open = 1;
    if (delivery_is_hopeless(delivery)) {
        char text[96];
        snprintf(text, sizeof(text), "delivered %" PRIu64 " times and never settled",
                 delivery->ack.delivered);
        delivery_fail(delivery, VERDICT_REJECT, "max_deliver", NULL, text, NULL);
    } else if (find_runs(pipeline, delivery, &wanted) != 0) {
        delivery_fail(delivery, VERDICT_AGAIN, "memory", NULL, "out of memory", NULL);
    } else if (wanted == 0) {
        counter_add(delivery->source->counters->unmatched, 1);
    }
    delivery->open += delivery->run_count;
    for (size_t i = 0; i < delivery->run_count; i++) {
        struct run *run = &delivery->runs[i];
        engine_call(pipeline->current->engine, run->rule, &delivery->input, run);
    }
    close_one(pipeline, delivery);
}

/* --- replies --- */

/* The generation whose number ends with `number`, in the bits of `mask`; NULL: it is gone. */
static struct generation *generation_numbered(struct pipeline *pipeline, uint64_t number,
                                              uint64_t mask)
{
    struct generation *generation = pipeline->current;
    if ((generation->number & mask) != number) {
        generation = pipeline->retired;
        while (generation != NULL && (generation->number & mask) != number)
            generation = generation->next;
    }
    return generation;
}

static void on_kv_answered(void *context, uint32_t number, uint64_t wait, const struct reply *reply)
{
    struct generation *generation = generation_numbered(context, number, UINT32_MAX);
    if (generation != NULL)
        engine_reply(generation->engine, wait, reply);
}

static void on_request_reply(struct pipeline *pipeline, uint64_t token,
                             const struct wire_message *message, bool no_responders)
{
    uint64_t mask = (UINT64_C(1) << (64 - REQUEST_WAIT_BITS)) - 1;
    struct generation *generation = generation_numbered(pipeline, token >> REQUEST_WAIT_BITS, mask);
    if (generation == NULL)
        return;
    struct reply reply = {
        .error = no_responders ? "no responders" : NULL,
        .payload = wire_payload(message),
        .payload_size = wire_payload_size(message),
    };
    engine_reply(generation->engine, token & ((UINT64_C(1) << REQUEST_WAIT_BITS) - 1), &reply);
}

static void on_confirmed(struct pipeline *pipeline, uint64_t token)
{
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        struct source *source = &pipeline->sources[i];
        if (source->index != confirm_token_source(token))
            continue;
        struct delivery *delivery = delivery_find(source, confirm_token_sequence(token));
        if (delivery != NULL && delivery->phase == PHASE_CONFIRM)
            pipeline_finish(pipeline, delivery);
    }
}

void pipeline_reply(struct pipeline *pipeline, enum reply_kind kind, uint64_t token,
                    struct wire_message *message, bool no_responders)
{
    switch (kind) {
    case REPLY_PUBLISH:
        pipeline->now_ns = clock_monotonic_ns();
        outbox_reply(pipeline->outbox, token, message, no_responders, pipeline->now_ns);
        break;
    case REPLY_REQUEST:
        on_request_reply(pipeline, token, message, no_responders);
        break;
    case REPLY_ACK:
        if (!no_responders)
            on_confirmed(pipeline, token);
        break;
    case REPLY_FLOOR:
        for (size_t i = 0; i < pipeline->options.source_count; i++) {
            if (pipeline->sources[i].cumulative != NULL)
                cumulative_reply(pipeline->sources[i].cumulative, token, message, no_responders);
        }
        break;
    case REPLY_KV:
        if (pipeline->kv != NULL)
            kv_calls_reply(pipeline->kv, token, message, no_responders);
        break;
    case REPLY_BARRIER:
        break;
    }
    pipeline_discard(pipeline, message);
}

/* --- the engine's host --- */

/* The generation of an engine that wants to ask something; NULL: that cannot be done now. */
static const struct generation *asking_generation(struct pipeline *pipeline,
                                                  const struct engine *engine, struct error *err)
{
    const struct generation *generation = pipeline->current;
    if (generation->engine != engine) {
        generation = pipeline->retired;
        while (generation != NULL && generation->engine != engine)
            generation = generation->next;
    }
    if (generation == NULL || !link_connected(pipeline->link)) {
        error_set(err, "disconnected");
        return NULL;
    }
    return generation;
}

static int on_kv(void *context, struct engine *engine, uint64_t wait,
                 const struct kv_request *request, struct error *err)
{
    struct pipeline *pipeline = context;
    const struct generation *generation = asking_generation(pipeline, engine, err);
    if (generation == NULL)
        return -1;
    if (pipeline->kv == NULL)
        pipeline->kv = kv_calls_new(pipeline->link, on_kv_answered, pipeline);
    if (pipeline->kv == NULL)
        return error_set(err, "out of memory");
    return kv_calls_begin(pipeline->kv, generation->number, wait, request, clock_monotonic_ns(),
                          err);
}

static int on_request(void *context, struct engine *engine, uint64_t wait, const char *subject,
                      const char *payload, size_t payload_size, struct error *err)
{
    struct pipeline *pipeline = context;
    const struct generation *generation = asking_generation(pipeline, engine, err);
    if (generation == NULL)
        return -1;
    uint64_t token = (uint64_t)generation->number << REQUEST_WAIT_BITS | wait;
    if (link_request(pipeline->link, REPLY_REQUEST, token, subject, payload, payload_size) != 0)
        return error_set(err, "the request could not be sent");
    return 0;
}

static void on_in_progress(void *context, void *token)
{
    struct pipeline *pipeline = context;
    struct run *run = token;
    if (run != NULL)
        settle_in_progress(&pipeline->settler, run->delivery, clock_monotonic_ns());
}

static void on_log(void *context, enum log_level level, const char *rule, const char *text)
{
    char component[COMPONENT_SIZE];
    (void)context;
    snprintf(component, sizeof(component), "rule %s", rule);
    log_rule(level, component, "%s", text);
}

void pipeline_engine_options(struct pipeline *pipeline, struct engine_options *options)
{
    const struct rules_config *rules = &pipeline->options.config->rules;
    *options = (struct engine_options){
        .limits = {.timeout_ns = rules->timeout_ns, .memory = rules->memory},
        .host =
            {
                .context = pipeline,
                .finished = on_finished,
                .request = on_request,
                .kv = on_kv,
                .in_progress = on_in_progress,
                .log = on_log,
                .metric = telemetry_rule_metric,
            },
        .worker_id = pipeline->options.worker_id,
        .worker_count = pipeline->options.worker_count,
    };
}

/* --- reload --- */

void pipeline_put_to_work(struct pipeline *pipeline, struct engine *engine)
{
    const struct pipeline_options *options = &pipeline->options;
    for (size_t i = 0; i < engine_rule_count(engine); i++) {
        struct rule *rule = engine_rule_at(engine, i);
        rule_set_host_data(rule, rule_book_counters(options->rules, rule_name(rule),
                                                    (size_t)options->worker_id - 1));
    }
    engine_put_to_work(engine, options->activity, link_max_payload(pipeline->link));
}

int pipeline_try_swap(struct pipeline *pipeline, struct engine *engine, struct error *err)
{
    return engine_carry_state(engine, pipeline->current->engine, err);
}

/* A call that never started on the old rules runs on the new ones, if they still have its rule. */
static void requeue(void *context, const char *rule, const struct input *input, void *token)
{
    struct pipeline *pipeline = context;
    struct run *run = token;
    struct rule *same = engine_rule_named(pipeline->current->engine, rule);
    run->generation->uses--;
    run->generation = pipeline->current;
    run->generation->uses++;
    if (same != NULL) {
        run->rule = same;
        run->name = rule_name(same);
        engine_call(pipeline->current->engine, same, input, run);
        return;
    }
    run->name = "";
    run->rule = NULL;
    run->ended = true;
    close_one(pipeline, run->delivery);
}

int pipeline_swap(struct pipeline *pipeline, struct engine *engine, struct error *err)
{
    if (engine_carry_state(engine, pipeline->current->engine, err) != 0)
        return -1;
    pipeline_put_to_work(pipeline, engine);
    struct generation *next = generation_new(engine, pipeline->generations + 1);
    if (next == NULL)
        return error_set(err, "out of memory");
    pipeline->generations++;
    struct generation *old = pipeline->current;
    old->retired_at_ns = clock_monotonic_ns();
    old->next = pipeline->retired;
    pipeline->retired = old;
    pipeline->current = next;
    pipeline->settler.rules_version = engine_version(engine);
    engine_retire(old->engine, requeue, pipeline);
    return 0;
}

/* There is no queued call left when nothing is in flight. */
static void no_requeue(void *context, const char *rule, const struct input *input, void *token)
{
    (void)context, (void)rule, (void)input, (void)token;
}

void pipeline_unload(struct pipeline *pipeline)
{
    engine_retire(pipeline->current->engine, no_requeue, pipeline);
}
