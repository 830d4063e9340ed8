#include "mill/recovery.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/provision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256 };

#define WAIT_FIRST_NS   NS_PER_S
#define WAIT_LONGEST_NS (30 * NS_PER_S)

struct watched {
    struct recovery *recovery;
    unsigned index;
    uv_work_t work;
    bool busy;
    bool told; /* this trouble has been logged */
    int64_t not_before_ns, wait_ns;
    /* the result of the look, written on the pool thread */
    enum consumer_state found;
    bool created;
    struct error error;
};

struct recovery {
    uv_loop_t *loop;
    const struct config *config;
    struct control *control;
    const struct source_counters *counters;
    size_t worker_count;
    struct health *health;
    recovery_restored restored;
    void *context;
    struct watched *sources; /* by position in config->sources */
};

int recovery_open(struct recovery **out, uv_loop_t *loop, const struct config *config,
                  struct control *control, const struct source_counters *counters,
                  size_t worker_count, struct health *health, recovery_restored restored,
                  void *context, struct error *err)
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
                                  .counters = counters,
                                  .worker_count = worker_count,
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

/* On a pool thread: what is missing is made, the source's stream first if it is a configured one.
 */
static int make_missing(struct watched *watched)
{
    const struct config *config = watched->recovery->config;
    const struct source_config *source = config_of(watched);
    for (size_t i = 0; i < config->stream_count; i++) {
        if (strcmp(config->streams[i].name, source->stream) == 0 &&
            provision_stream(watched->recovery->control, &config->streams[i], &watched->error) != 0)
            return -1;
    }
    return provision_consumer(watched->recovery->control, source, &watched->error);
}

static void look(uv_work_t *work)
{
    struct watched *watched = work->data;
    const struct source_config *source = config_of(watched);
    watched->created = false;
    watched->found = provision_consumer_state(watched->recovery->control, source->stream,
                                              source->durable, NULL, &watched->error);
    if (watched->found == CONSUMER_MISSING && make_missing(watched) == 0)
        watched->created = true;
}

static void on_looked(uv_work_t *work, int status)
{
    struct watched *watched = work->data;
    struct recovery *recovery = watched->recovery;
    const struct source_config *source = config_of(watched);
    char name[NAME_SIZE];
    (void)status;
    recovery_check_name(source, name, sizeof(name));
    watched->busy = false;
    watched->not_before_ns = clock_monotonic_ns() + watched->wait_ns;
    watched->wait_ns *= 2;
    if (watched->wait_ns > WAIT_LONGEST_NS)
        watched->wait_ns = WAIT_LONGEST_NS;
    if (watched->created) {
        log_warn("supervisor", "%s was gone and has been created again", name);
        watched->told = false;
        recovery->restored(recovery->context, watched->index);
        return;
    }
    if (watched->found == CONSUMER_PRESENT) {
        health_failed(recovery->health, name, "there, but it does not answer the pulls");
        recovery->restored(recovery->context, watched->index);
        return;
    }
    health_failed(recovery->health, name, "%s", watched->error.text);
    if (!watched->told)
        log_error("supervisor", "%s: %s; trying again", name, watched->error.text);
    watched->told = true;
}

/* The doubts of the worker that has most. */
static unsigned long long doubts_of(const struct recovery *recovery, unsigned source)
{
    unsigned long long most = 0;
    for (size_t i = 0; i < recovery->worker_count; i++) {
        const struct source_counters *row = &recovery->counters[i * recovery->config->source_count];
        unsigned long long doubts = counter_get(row[source].doubts);
        most = doubts > most ? doubts : most;
    }
    return most;
}

static void tick_source(struct recovery *recovery, struct watched *watched)
{
    char name[NAME_SIZE];
    recovery_check_name(config_of(watched), name, sizeof(name));
    if (doubts_of(recovery, watched->index) == 0) {
        if (!watched->busy)
            health_ok(recovery->health, name);
        watched->wait_ns = WAIT_FIRST_NS;
        watched->not_before_ns = 0;
        watched->told = false;
        return;
    }
    if (watched->busy || clock_monotonic_ns() < watched->not_before_ns ||
        !control_connected(recovery->control))
        return;
    health_failed(recovery->health, name, "no answer to the pulls");
    watched->busy = true;
    uv_queue_work(recovery->loop, &watched->work, look, on_looked);
}

void recovery_tick(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->config->source_count; i++)
        tick_source(recovery, &recovery->sources[i]);
}
