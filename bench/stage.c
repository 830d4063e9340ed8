#include "stage.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum { ANSWER_SIZE = 32 << 10, CHUNK_MESSAGES = 2000, CHUNK_BYTES = 2 << 20, PATH_SIZE = 512 };

/* --- files --- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

int stage_write(const struct stage *stage, const char *path, const char *text, struct error *err)
{
    char whole[PATH_SIZE];
    snprintf(whole, sizeof(whole), "%s/%s", stage->folder, path);
    for (char *slash = whole + strlen(stage->folder); (slash = strchr(slash + 1, '/')) != NULL;) {
        *slash = '\0';
        if (mkdir(whole, 0700) != 0 && errno != EEXIST)
            return error_set(err, "%s: %s", whole, strerror(errno));
        *slash = '/';
    }
    FILE *file = fopen(whole, "we");
    if (file == NULL)
        return error_set(err, "%s: %s", whole, strerror(errno));
    fputs(text, file);
    return fclose(file) == 0 ? 0 : error_set(err, "%s: %s", whole, strerror(errno));
}

/* --- the server --- */

int stage_open(struct stage *stage, struct error *err)
{
    const char *parent = getenv("TMPDIR");
    struct server_options options = {.folder = stage->folder};
    snprintf(stage->folder, sizeof(stage->folder), "%s/tidemill-bench.XXXXXX",
             parent != NULL ? parent : "/tmp");
    if (mkdtemp(stage->folder) == NULL)
        return error_set(err, "%s: %s", stage->folder, strerror(errno));
    if (server_open(&stage->server, &options, clock_monotonic_ns() + 20 * NS_PER_S, err) != 0 ||
        socket_open(&stage->control, server_url(stage->server), err) != 0 ||
        socket_open(&stage->events, server_url(stage->server), err) != 0)
        return -1;
    return 0;
}

void stage_close(struct stage *stage)
{
    socket_close(stage->control);
    socket_close(stage->events);
    server_close(stage->server);
    if (stage->folder[0] != '\0')
        nftw(stage->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *stage_url(const struct stage *stage)
{
    return server_url(stage->server);
}

pid_t stage_server_id(const struct stage *stage)
{
    return process_id(server_process(stage->server));
}

/* --- JetStream --- */

/* Asks JetStream; the answer may not be an error. */
static int ask(struct stage *stage, const char *subject, const char *payload, char *answer,
               struct error *err)
{
    char api[256];
    snprintf(api, sizeof(api), "$JS.API.%s", subject);
    if (socket_request(stage->control, api, payload, answer, ANSWER_SIZE, err) != 0)
        return -1;
    if (strstr(answer, "\"error\":{") != NULL)
        return error_set(err, "%s: %.300s", api, answer);
    return 0;
}

/* The number under a key; 0 when it is not there, as the server leaves zeros out. */
static uint64_t number_of(const char *json, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    const char *found = json != NULL ? strstr(json, quoted) : NULL;
    return found == NULL ? 0 : strtoull(found + strlen(quoted), NULL, 10);
}

void stage_delete_stream(struct stage *stage, const char *name)
{
    char subject[128], answer[ANSWER_SIZE];
    struct error gone;
    snprintf(subject, sizeof(subject), "STREAM.DELETE.%s", name);
    ask(stage, subject, "", answer, &gone); /* it need not be there */
}

static int configure(struct stage *stage, const char *verb, const char *name, const char *subjects,
                     const char *more, struct error *err)
{
    char subject[128], config[1024], answer[ANSWER_SIZE];
    snprintf(subject, sizeof(subject), "STREAM.%s.%s", verb, name);
    snprintf(config, sizeof(config),
             "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"storage\":\"file\",\"retention\":\"limits\","
             "\"num_replicas\":1%s}",
             name, subjects, more);
    return ask(stage, subject, config, answer, err);
}

int stage_stream(struct stage *stage, const char *name, const char *subjects, const char *more,
                 struct error *err)
{
    stage_delete_stream(stage, name);
    return configure(stage, "CREATE", name, subjects, more, err);
}

int stage_update_stream(struct stage *stage, const char *name, const char *subjects,
                        const char *more, struct error *err)
{
    return configure(stage, "UPDATE", name, subjects, more, err);
}

int stage_consumer(struct stage *stage, const char *stream, const char *durable, bool cumulative,
                   struct error *err)
{
    char subject[256], config[1024], answer[ANSWER_SIZE];
    snprintf(subject, sizeof(subject), "CONSUMER.DURABLE.CREATE.%s.%s", stream, durable);
    snprintf(config, sizeof(config),
             "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\",\"deliver_policy\":"
             "\"all\",\"ack_policy\":\"%s\",\"ack_wait\":30000000000,\"max_ack_pending\":20000,"
             "\"replay_policy\":\"instant\"}}",
             stream, durable, cumulative ? "all" : "explicit");
    return ask(stage, subject, config, answer, err);
}

int stage_delete_consumer(struct stage *stage, const char *stream, const char *durable,
                          struct error *err)
{
    char subject[256], answer[ANSWER_SIZE];
    snprintf(subject, sizeof(subject), "CONSUMER.DELETE.%s.%s", stream, durable);
    return ask(stage, subject, "", answer, err);
}

int stage_count(struct stage *stage, const char *stream, uint64_t *count, struct error *err)
{
    char subject[128], answer[ANSWER_SIZE];
    snprintf(subject, sizeof(subject), "STREAM.INFO.%s", stream);
    if (ask(stage, subject, "", answer, err) != 0)
        return -1;
    *count = number_of(strstr(answer, "\"state\":"), "messages");
    return 0;
}

int stage_consumer_state(struct stage *stage, const char *stream, const char *durable,
                         struct stage_consumer_state *state, struct error *err)
{
    char subject[256], answer[ANSWER_SIZE];
    snprintf(subject, sizeof(subject), "CONSUMER.INFO.%s.%s", stream, durable);
    if (ask(stage, subject, "", answer, err) != 0)
        return -1;
    state->delivered = number_of(strstr(answer, "\"delivered\":"), "stream_seq");
    state->pending = number_of(answer, "num_pending");
    state->ack_pending = number_of(answer, "num_ack_pending");
    state->redelivered = number_of(answer, "num_redelivered");
    return 0;
}

void stage_server_version(const struct stage *stage, char *version, size_t size)
{
    const char *log = process_text(server_process(stage->server));
    const char *found = log != NULL ? strstr(log, "Version:") : NULL;
    if (found == NULL || sscanf(found, "Version: %15s", version) != 1)
        snprintf(version, size, "unknown");
}

/* --- filling --- */

int stage_fill(struct stage *stage, const struct workload *workload, struct error *err)
{
    static char payload[WORKLOAD_PAYLOAD_MAX];
    char subject[64], answer[1024];
    uint64_t chunk = CHUNK_BYTES / workload->bytes;
    chunk = chunk < 1 ? 1 : chunk > CHUNK_MESSAGES ? CHUNK_MESSAGES : chunk;
    for (uint64_t i = 0; i < workload->count; i++) {
        size_t size = workload_payload(workload, i, payload);
        workload_subject(workload, i, subject, sizeof(subject));
        if ((i + 1) % chunk != 0 && i + 1 != workload->count) {
            socket_publish(stage->control, subject, NULL, payload, size);
            continue;
        }
        /* The last one of a chunk waits for its answer: then those before it are stored too. */
        payload[size] = '\0';
        if (socket_request(stage->control, subject, payload, answer, sizeof(answer), err) != 0)
            return -1;
        if (number_of(answer, "seq") != i + 1)
            return error_set(err, "filling: message %" PRIu64 " was answered by %s", i + 1, answer);
    }
    return 0;
}
