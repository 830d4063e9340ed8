#include "mill/discovery.h"

#include "bus/json_write.h"
#include "bus/service.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { VERSION_SIZE = 64, HOST_SIZE = 256 };

struct discovery {
    const struct config *config;
    const struct tally *tally;
    struct service *service;
    char host[HOST_SIZE];

    pthread_mutex_t lock;
    char rules_version[VERSION_SIZE];
};

/* Of a source, over all workers. */
struct sums {
    unsigned long long delivered, redelivered, acked, unmatched, naked, dead, in_flight;
    unsigned long long handling_ns;
};

static struct sums sums_of(const struct discovery *discovery, size_t source)
{
    struct sums sums = {0};
    for (size_t i = 0; i < discovery->tally->worker_count; i++) {
        const struct source_counters *counters = tally_source(discovery->tally, i, source);
        sums.delivered += counter_get(counters->delivered);
        sums.redelivered += counter_get(counters->redelivered);
        sums.acked += counter_get(counters->acked);
        sums.unmatched += counter_get(counters->unmatched);
        sums.naked += counter_get(counters->naked);
        sums.dead += counter_get(counters->dead);
        sums.in_flight += counter_get(counters->in_flight);
        sums.handling_ns += counter_get(counters->handling_ns);
    }
    return sums;
}

/* --- what the service asks, on its thread --- */

static void write_metadata(void *context, FILE *out)
{
    const struct discovery *discovery = context;
    fputs("{\"host\":", out);
    json_write_text(out, discovery->host);
    fprintf(out, ",\"pid\":\"%ld\",\"workers\":\"%zu\"}", (long)getpid(),
            discovery->tally->worker_count);
}

static void fill_endpoint(void *context, size_t index, struct service_endpoint *endpoint)
{
    const struct discovery *discovery = context;
    const struct source_config *source = &discovery->config->sources[index];
    struct sums sums = sums_of(discovery, index);
    snprintf(endpoint->name, sizeof(endpoint->name), "%s-%s", source->stream, source->durable);
    endpoint->subject = source->filter.count > 0 ? source->filter.items[0] : ">";
    endpoint->queue_group = source->durable;
    endpoint->requests = sums.delivered;
    endpoint->errors = sums.naked + sums.dead;
    endpoint->processing_ns = (int64_t)sums.handling_ns;
    int64_t latest_ns = 0;
    for (size_t i = 0; i < discovery->tally->worker_count; i++)
        latest_ns = last_error_read(&tally_source(discovery->tally, i, index)->last_error,
                                    latest_ns, endpoint->last_error, sizeof(endpoint->last_error));
}

static void write_endpoint_metadata(void *context, size_t index, FILE *out)
{
    const struct discovery *discovery = context;
    const struct source_config *source = &discovery->config->sources[index];
    fputs("{\"stream\":", out);
    json_write_text(out, source->stream);
    fputs(",\"durable\":", out);
    json_write_text(out, source->durable);
    char filter[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < source->filter.count && used < sizeof(filter); i++)
        used += (size_t)snprintf(filter + used, sizeof(filter) - used, "%s%s", i > 0 ? "," : "",
                                 source->filter.items[i]);
    fputs(",\"filter\":", out);
    json_write_text(out, filter);
    fputc('}', out);
}

static void write_endpoint_data(void *context, size_t index, FILE *out)
{
    struct discovery *discovery = context;
    struct sums sums = sums_of(discovery, index);
    uint64_t pending;
    fprintf(out,
            "{\"redelivered\":%llu,\"acked\":%llu,\"unmatched\":%llu,\"given_back\":%llu,"
            "\"dead_letters\":%llu,\"in_flight\":%llu,",
            sums.redelivered, sums.acked, sums.unmatched, sums.naked, sums.dead, sums.in_flight);
    if (tally_pending(discovery->tally, index, &pending) == 0)
        fprintf(out, "\"pending\":%" PRIu64 ",", pending);
    fputs("\"rules_version\":", out);
    pthread_mutex_lock(&discovery->lock);
    json_write_text(out, discovery->rules_version);
    pthread_mutex_unlock(&discovery->lock);
    fputc('}', out);
}

/* --- opening and closing --- */

int discovery_open(struct discovery **discovery, const struct config *config,
                   const struct tally *tally, const char *rules_version, struct control *control,
                   struct error *err)
{
    *discovery = NULL;
    if (!config->nats.discovery)
        return 0;
    struct discovery *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "out of memory");
    opened->config = config;
    opened->tally = tally;
    pthread_mutex_init(&opened->lock, NULL);
    gethostname(opened->host, sizeof(opened->host) - 1);
    discovery_rules(opened, rules_version);
    struct service_options options = {
        .name = config->nats.name,
        .version = TIDEMILL_VERSION,
        .description = "Tidemill: Lua rules over JetStream",
        .host =
            {
                .context = opened,
                .endpoint_count = config->source_count,
                .metadata = write_metadata,
                .endpoint = fill_endpoint,
                .endpoint_metadata = write_endpoint_metadata,
                .endpoint_data = write_endpoint_data,
            },
    };
    if (service_open(&opened->service, control, &options, err) != 0) {
        discovery_close(opened);
        return -1;
    }
    *discovery = opened;
    return 0;
}

void discovery_tick(struct discovery *discovery)
{
    if (discovery != NULL)
        service_tick(discovery->service);
}

void discovery_rules(struct discovery *discovery, const char *version)
{
    if (discovery == NULL)
        return;
    pthread_mutex_lock(&discovery->lock);
    snprintf(discovery->rules_version, sizeof(discovery->rules_version), "%s", version);
    pthread_mutex_unlock(&discovery->lock);
}

void discovery_close(struct discovery *discovery)
{
    if (discovery == NULL)
        return;
    service_close(discovery->service);
    pthread_mutex_destroy(&discovery->lock);
    free(discovery);
}
