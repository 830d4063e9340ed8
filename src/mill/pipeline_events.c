/*
 * What the pipeline is told from outside: by the link (nobody heard, denied, connected again), and
 * by recovery, when a consumer or its stream was made anew.
 */
#include "mill/pipeline_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

static bool deny_pull(struct pipeline *pipeline, const char *subject, int64_t now_ns)
{
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        if (pull_denied(pipeline->sources[i].pull, subject, now_ns))
            return true; /* the supervisor's looks tell it */
    }
    return false;
}

/* Acknowledgements are many: told with measure. */
static bool deny_ack(struct pipeline *pipeline, const char *subject, int64_t now_ns)
{
    struct ack_subject ack;
    char why[REFUSALS_WHY_SIZE];
    if (ack_subject_parse(subject, &ack) != 0)
        return false;
    snprintf(
        why, sizeof(why),
        "permission is missing: the server denies this user to publish to $JS.ACK.%.*s.%.*s.>, "
        "so nothing is acknowledged and all comes again",
        (int)ack.stream_size, ack.stream, (int)ack.consumer_size, ack.consumer);
    refusals_note(&pipeline->refusals, now_ns, why);
    return true;
}

void pipeline_unheard(struct pipeline *pipeline)
{
    pipeline->now_ns = clock_monotonic_ns();
    outbox_unheard(pipeline->outbox, pipeline->now_ns);
}

void pipeline_denied(struct pipeline *pipeline, const char *subject)
{
    int64_t now_ns = pipeline->now_ns = clock_monotonic_ns();
    if (outbox_denied(pipeline->outbox, subject, now_ns) == 0 &&
        !deny_pull(pipeline, subject, now_ns) && !deny_ack(pipeline, subject, now_ns))
        log_warn(pipeline->name,
                 "permission is missing: the server denies this user to publish "
                 "to %s",
                 subject);
}

void pipeline_reconnected(struct pipeline *pipeline)
{
    int64_t now_ns = clock_monotonic_ns();
    counter_add(pipeline->options.counters->reconnects, 1);
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        pull_restart(pipeline->sources[i].pull, now_ns);
        if (pipeline->sources[i].cumulative != NULL)
            cumulative_doubt(pipeline->sources[i].cumulative);
    }
    outbox_resend(pipeline->outbox, now_ns);
}

static void restart_source(struct pipeline *pipeline, struct source *source, bool replaced,
                           uint64_t stream_id)
{
    for (struct delivery *delivery = source->oldest; delivery != NULL; delivery = delivery->newer)
        delivery->orphan = delivery->orphan || replaced;
    if (stream_id != source->stream_id)
        progress_forget_source(pipeline->options.progress, source->index);
    source->stream_id = stream_id;
    if (replaced && source->cumulative != NULL)
        cumulative_reset(source->cumulative);
    pull_restart(source->pull, clock_monotonic_ns());
}

void pipeline_restart_pull(struct pipeline *pipeline, unsigned source, bool replaced,
                           uint64_t stream_id)
{
    for (size_t i = 0; i < pipeline->options.source_count; i++) {
        if (pipeline->sources[i].index == source)
            restart_source(pipeline, &pipeline->sources[i], replaced, stream_id);
    }
}
