#include "mill/recovery.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/library.h"
#include "bus/provision.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256, WHY_SIZE = 600 };

#define WAIT_FIRST_NS   NS_PER_S
#define WAIT_LONGEST_NS (4 * NS_PER_S) /* what is back is found within a few seconds */
#define LOOK_EVERY_NS   (5 * NS_PER_S) /* without any doubt */

/* How many silences in a row make a source unready: one may be a hiccup of a busy server. */
enum { DOUBTS_UNREADY = 2 };

struct watched {
    struct recovery *recovery;
    unsigned index;
    uv_work_t work;
    bool busy;
    bool told; /* this trouble has been logged */
    int64_t last_look_ns;
    int64_t not_before_ns, wait_ns; /* while there is trouble */
    /* What the looks have found: belongs to the pool thread while `busy`. */
    int64_t first_created_ns; /* of the stream; 0: not known yet */
    int64_t created_ns;
    uint64_t settled; /* all up to this sequence is, in the stream created then */
    int64_t consumer_created_ns;
    bool stream_gone; /* the last look did not find it */
    /* The result of the last look. */
    enum consumer_state found;
    bool consumer_created, consumer_replaced, stream_replaced;
    bool stream_lost; /* the one before had found it still */
    uint64_t behind;  /* where the consumer was created */
    struct error error;
};

struct recovery {
    uv_loop_t *loop;
    const struct config *config;
    struct control *control;
    const struct tally *tally;
    struct health *health;
    recovery_restored restored;
    void *context;
    struct watched *sources; /* by position in config->sources */
};

int recovery_open(struct recovery **out, uv_loop_t *loop, const struct config *config,
                  struct control *control, const struct tally *tally, struct health *health,
                  recovery_restored restored, void *context, struct error *err)
{
    struct recovery *recovery = calloc(1, sizeof(*recovery));
    struct watched *sources = calloc(config->source_count, sizeof(*sources));
    if (recovery == NULL || sources == NULL) {
        free(recovery);
        free(sources);
        return error_set(err, "out of memory");
    }
    *recovery = (struct recovery){.loop = loop,
                                  .config = config,
                                  .control = control,
                                  .tally = tally,
                                  .health = health,
                                  .restored = restored,
                                  .context = context,
                                  .sources = sources};
    for (size_t i = 0; i < config->source_count; i++) {
        sources[i].recovery = recovery;
        sources[i].index = (unsigned)i;
        sources[i].work.data = &sources[i];
        sources[i].wait_ns = WAIT_FIRST_NS;
    }
    *out = recovery;
    return 0;
}

void recovery_free(struct recovery *recovery)
{
    if (recovery == NULL)
        return;
    free(recovery->sources);
    free(recovery);
}

void recovery_check_name(const struct source_config *source, char *out, size_t size)
{
    snprintf(out, size, "consumer %s/%s", source->stream, source->durable);
}

static const struct source_config *config_of(const struct watched *watched)
{
    return &watched->recovery->config->sources[watched->index];
}

static uint64_t stream_id_of(const struct watched *watched)
{
    bool first = watched->created_ns == watched->first_created_ns;
    return first ? 0 : (uint64_t)watched->created_ns;
}

/* --- on a pool thread --- */

static void note_stream(struct watched *watched, int64_t created_ns)
{
    if (created_ns != 0)
        watched->stream_gone = false;
    if (created_ns == 0 || created_ns == watched->created_ns)
        return;
    if (watched->first_created_ns == 0)
        watched->first_created_ns = created_ns;
    else
        watched->stream_replaced = true;
    watched->created_ns = created_ns;
    watched->settled = 0;
}

/* What is missing is made, the source's stream first if it is a configured one. */
static int make_missing(struct watched *watched)
{
    struct control *control = watched->recovery->control;
    const struct config *config = watched->recovery->config;
    const struct source_config *source = config_of(watched);
    bool known = watched->created_ns != 0;
    for (size_t i = 0; i < config->stream_count; i++) {
        if (strcmp(config->streams[i].name, source->stream) == 0 &&
            provision_stream(control, &config->streams[i], &watched->error) != 0)
            return -1;
    }
    int64_t created_ns;
    if (provision_stream_created(control, source->stream, &created_ns, &watched->error) != 0)
        return -1;
    note_stream(watched, created_ns);
    watched->behind = watched->settled;
    return known ? provision_consumer_again(control, source, watched->settled, &watched->error)
                 : provision_consumer(control, source, &watched->error);
}

static void note_consumer(struct watched *watched, const struct consumer_counts *counts)
{
    if (watched->consumer_created_ns != 0 && watched->consumer_created_ns != counts->created_ns)
        watched->consumer_replaced = true;
    watched->consumer_created_ns = counts->created_ns;
    watched->settled = (uint64_t)counts->acknowledged_sequence;
    tally_consumer(watched->recovery->tally, watched->index, counts);
}

/*
 * Whether the stream has only just gone: it is then made again by the next look. nats-server 2.9
 * removes a stream's files after it has answered, those of a new one of the same name among them.
 */
static bool note_loss(struct watched *watched, int64_t created_ns)
{
    bool gone = created_ns == 0 && watched->created_ns != 0;
    watched->stream_lost = gone && !watched->stream_gone;
    watched->stream_gone = gone;
    return watched->stream_lost;
}

static void look_at(struct watched *watched)
{
    struct control *control = watched->recovery->control;
    const struct source_config *source = config_of(watched);
    struct consumer_counts counts;
    int64_t created_ns;
    watched->consumer_created = watched->consumer_replaced = watched->stream_replaced = false;
    watched->stream_lost = false;
    watched->found = CONSUMER_UNKNOWN;
    /* The stream first: a sequence that is counted in a later one is then never taken for its. */
    if (provision_stream_created(control, source->stream, &created_ns, &watched->error) != 0)
        return;
    watched->found = provision_consumer_state(control, source->stream, source->durable, &counts,
                                              &watched->error);
    if (watched->found == CONSUMER_PRESENT) {
        note_stream(watched, created_ns);
        note_consumer(watched, &counts);
    } else if (watched->found == CONSUMER_MISSING && note_loss(watched, created_ns)) {
        return;
    } else if (watched->found == CONSUMER_MISSING && make_missing(watched) == 0) {
        watched->consumer_created = true;
        watched->found = provision_consumer_state(control, source->stream, source->durable, &counts,
                                                  &watched->error);
        if (watched->found == CONSUMER_PRESENT)
            note_consumer(watched, &counts);
    }
}

static void look(uv_work_t *work)
{
    look_at(work->data);
    library_leave_thread();
}

/* --- on the loop --- */

/* The doubts of the worker that has most. */
static unsigned long long doubts_of(const struct recovery *recovery, unsigned source)
{
    unsigned long long most = 0;
    for (size_t i = 0; i < recovery->tally->worker_count; i++) {
        unsigned long long doubts = counter_get(tally_source(recovery->tally, i, source)->doubts);
        most = doubts > most ? doubts : most;
    }
    return most;
}

/* Why the pulls get no answer though the consumer is there. */
static void explain_silence(const struct watched *watched, char *text, size_t size)
{
    const struct recovery *recovery = watched->recovery;
    const struct source_config *source = config_of(watched);
    bool denied = false;
    for (size_t i = 0; i < recovery->tally->worker_count; i++)
        denied = denied || counter_get(tally_source(recovery->tally, i, watched->index)->denied);
    if (denied)
        snprintf(text, size,
                 "permission is missing: the server denies this user to publish to "
                 "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
                 source->stream, source->durable);
    else
        snprintf(text, size, "it is there, but does not answer the pulls");
}

static void wait_longer(struct watched *watched)
{
    watched->not_before_ns = watched->last_look_ns + watched->wait_ns;
    watched->wait_ns *= 2;
    if (watched->wait_ns > WAIT_LONGEST_NS)
        watched->wait_ns = WAIT_LONGEST_NS;
}

static void complain(struct watched *watched, const char *name, const char *why)
{
    health_failed(watched->recovery->health, name, "%s", why);
    if (!watched->told)
        log_error("supervisor", "%s: %s; trying again", name, why);
    watched->told = true;
}

static void on_looked(uv_work_t *work, int status)
{
    struct watched *watched = work->data;
    struct recovery *recovery = watched->recovery;
    unsigned long long doubts = doubts_of(recovery, watched->index);
    char name[NAME_SIZE], why[WHY_SIZE];
    (void)status;
    recovery_check_name(config_of(watched), name, sizeof(name));
    watched->busy = false;
    watched->last_look_ns = clock_monotonic_ns();
    if (doubts > 0 || watched->found == CONSUMER_MISSING)
        wait_longer(watched);
    if (watched->stream_lost) {
        health_failed(recovery->health, name, "the stream is gone");
        return;
    }
    if (watched->stream_replaced)
        log_warn("supervisor", "%s: the stream is a new one: all its messages are", name);
    if (watched->consumer_created) {
        log_warn("supervisor", "%s was gone and has been created again, behind sequence %" PRIu64,
                 name, watched->behind);
        watched->told = false;
    } else if (watched->found == CONSUMER_UNKNOWN && doubts == 0) {
        log_debug("supervisor", "%s: %s", name, watched->error.text); /* it works all the same */
        return;
    } else if (watched->found != CONSUMER_PRESENT) {
        complain(watched, name, watched->error.text);
        return;
    } else if (doubts >= DOUBTS_UNREADY) {
        explain_silence(watched, why, sizeof(why));
        complain(watched, name, why);
    } else {
        log_debug("supervisor", "%s: settled up to sequence %" PRIu64, name, watched->settled);
    }
    bool replaced =
        watched->consumer_created || watched->consumer_replaced || watched->stream_replaced;
    if (replaced || (doubts > 0 && !watched->told))
        recovery->restored(recovery->context, watched->index, replaced, stream_id_of(watched));
}

static void begin_look(struct watched *watched)
{
    if (!control_connected(watched->recovery->control))
        return;
    watched->busy = true;
    uv_queue_work(watched->recovery->loop, &watched->work, look, on_looked);
}

static void tick_source(struct recovery *recovery, struct watched *watched)
{
    char name[NAME_SIZE];
    int64_t now_ns = clock_monotonic_ns();
    unsigned long long doubts = doubts_of(recovery, watched->index);
    recovery_check_name(config_of(watched), name, sizeof(name));
    if (watched->busy) {
        if (doubts >= DOUBTS_UNREADY && !watched->told)
            health_failed(recovery->health, name, "no answer to the pulls");
        return;
    }
    if (doubts == 0 && watched->found != CONSUMER_MISSING) {
        health_ok(recovery->health, name);
        if (watched->told)
            log_info("supervisor", "%s answers again", name);
        watched->told = false;
        watched->wait_ns = WAIT_FIRST_NS;
        watched->not_before_ns = 0;
        if (now_ns - watched->last_look_ns >= LOOK_EVERY_NS)
            begin_look(watched);
    } else if (now_ns >= watched->not_before_ns) {
        begin_look(watched);
    }
}

void recovery_tick(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->config->source_count; i++)
        tick_source(recovery, &recovery->sources[i]);
}
