/*
 * instructions --lua: the version of Lua it runs with.
 * instructions RULES BATCH COUNT: gives messages of a recorded batch to engines, `count` to each,
 * again and again from the batch's first line, and counts what comes out. To be run under
 * callgrind, which counts the instructions of `measured` alone (scripts/bench-instructions).
 *
 * There are several engines because each Lua state hashes its strings with a seed of its own, made
 * from the time and from addresses. With one state the figure moves by half a percent from run to
 * run; over several that evens out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "mill/rehearsal.h"

enum { MESSAGES_MAX = 1000, WARM_UP = 500, ENGINES = 8 };

struct message {
    char *subject;
    char *payload;
    size_t size;
};

struct batch {
    char *text;
    struct message messages[MESSAGES_MAX];
    size_t count;
};

/* What the rules made of it. */
struct tally {
    size_t calls, failures, outputs, bytes;
};

void measured(struct rehearsal *rehearsal, const struct batch *batch, size_t count);

static char *read_file(const char *path)
{
    char *text = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    ssize_t size = getdelim(&text, &room, '\0', file);
    fclose(file);
    if (size < 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Each line is a subject, a blank and a payload. */
static int read_batch(struct batch *batch, const char *path)
{
    char *rest = NULL;
    batch->text = read_file(path);
    if (batch->text == NULL)
        return -1;
    for (char *line = strtok_r(batch->text, "\n", &rest);
         line != NULL && batch->count < MESSAGES_MAX; line = strtok_r(NULL, "\n", &rest)) {
        struct message *message = &batch->messages[batch->count++];
        char *blank = strchr(line, ' ');
        if (blank == NULL)
            return -1;
        *blank = '\0';
        *message = (struct message){line, blank + 1, strlen(blank + 1)};
    }
    return batch->count > 0 ? 0 : -1;
}

static void on_ended(void *context, void *token, const struct call_result *result)
{
    struct tally *tally = context;
    (void)token;
    tally->calls++;
    tally->failures += result->outcome != OUTCOME_DONE;
    tally->outputs += result->output_count;
    for (size_t i = 0; i < result->output_count; i++)
        tally->bytes += result->outputs[i].payload_size;
}

static void give(struct rehearsal *rehearsal, const struct batch *batch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct message *message = &batch->messages[i % batch->count];
        struct input input = {.subject = message->subject,
                              .payload = message->payload,
                              .payload_size = message->size,
                              .stream = "bench",
                              .consumer = "instructions",
                              .sequence = i + 1,
                              .delivered = 1,
                              .format = PAYLOAD_JSON};
        size_t wanted = 0;
        rehearsal_give(rehearsal, &input, &input, &wanted);
    }
}

/* A name that callgrind finds: neither inlined nor made a copy of. */
__attribute__((noinline, noclone)) void measured(struct rehearsal *rehearsal,
                                                 const struct batch *batch, size_t count)
{
    give(rehearsal, batch, count);
}

/* All stay open until the end, so that no two stand at the same address. */
static int open_engines(struct rehearsal **engines, const char *rules, struct tally *tally,
                        struct error *err)
{
    /* Under callgrind a call takes fifty times as long. */
    const struct rules_config limits = {.timeout_ns = 600 * NS_PER_S, .memory = 64 << 20};
    struct rehearsal_options options = {
        .rules_dir = rules, .limits = &limits, .ended = on_ended, .context = tally};
    for (size_t i = 0; i < ENGINES; i++)
        if (rehearsal_open(&engines[i], &options, err) != 0)
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    static struct batch batch;
    struct tally tally = {0};
    struct rehearsal *engines[ENGINES] = {NULL};
    struct error err;
    if (argc == 2 && strcmp(argv[1], "--lua") == 0)
        return puts(engine_lua_version()) < 0;
    size_t count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (count == 0 || read_batch(&batch, argv[2]) != 0) {
        fprintf(stderr, "usage: instructions RULES BATCH COUNT, or --lua\n");
        return 2;
    }
    int status = open_engines(engines, argv[1], &tally, &err);
    if (status != 0)
        fprintf(stderr, "instructions: %s\n", err.text);
    for (size_t i = 0; status == 0 && i < ENGINES; i++)
        give(engines[i], &batch, WARM_UP);
    tally = (struct tally){0};
    for (size_t i = 0; status == 0 && i < ENGINES; i++)
        measured(engines[i], &batch, count);
    printf("%zu messages, %zu calls, %zu failed, %zu outputs, %zu bytes\n", count * ENGINES,
           tally.calls, tally.failures, tally.outputs, tally.bytes);
    for (size_t i = 0; i < ENGINES; i++)
        rehearsal_close(engines[i]);
    free(batch.text);
    return status == 0 && tally.failures == 0 ? 0 : 1;
}
