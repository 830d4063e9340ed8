/*
 * tidemill replay: runs rules over stored messages and prints what they decide.
 *
 * Messages are given to the rules in the order of the stream, each at the moment at which it was
 * stored. A handler may wait, so that its decisions come when later messages have been given; what
 * is printed follows the messages nevertheless: the first of the queue is printed when all its
 * handlers have ended. The last one stays in the queue until there is a next, for the timers that
 * fire between them are noted with it.
 */
#include "cmd/replay.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/subject.h"
#include "base/units.h"
#include "bus/requests.h"
#include "bus/stream_reader.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "cmd/settings.h"
#include "mill/rehearsal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXIT_DIFFERENT = 1, /* with --diff, as diff(1) has it */
    EXIT_TROUBLE = 2,
    WINDOW = 2000, /* messages that wait for their handlers; then the time passes without more */
    GARBAGE = 256  /* messages to be freed in one burst */
};

/* One end of a range: a sequence, or a time. */
struct bound {
    uint64_t sequence;
    int64_t time_ns;
};

struct side {
    struct replay *replay;
    unsigned index;
    struct rehearsal *rehearsal;
};

struct replay {
    const char *stream;
    const char *filter; /* --subject; else the source's own filters */
    struct bound from, to;
    int64_t limit;
    const char *other_rules; /* --diff */
    bool json;
    struct config config;
    const struct source_config *source; /* of that stream; NULL: none */

    struct side sides[REPLAY_SIDES];
    unsigned side_count;
    struct replay_message *first, *last;
    size_t queued;
    struct wire_message *garbage[GARBAGE];
    size_t garbage_count;
    bool out_of_memory;

    uint64_t messages, first_sequence, last_sequence;
    uint64_t published, errors, retries, rejects, unmatched; /* of the first side */
    uint64_t differences;
};

/* --- the rules' decisions --- */

static void count(struct replay *replay, const struct call_result *result)
{
    switch (result->outcome) {
    case OUTCOME_DONE:
        replay->published += result->output_count;
        break;
    case OUTCOME_ERROR:
        replay->errors++;
        break;
    case OUTCOME_RETRY:
        replay->retries++;
        break;
    case OUTCOME_REJECT:
        replay->rejects++;
        break;
    }
}

static void on_ended(void *context, void *token, const struct call_result *result)
{
    struct side *side = context;
    struct replay *replay = side->replay;
    struct replay_message *message = token != NULL ? token : replay->last;
    bool timer = token == NULL;
    int64_t now_ns = timer ? rehearsal_now(side->rehearsal) : 0;
    if (replay_items_add(&message->items[side->index], result, timer, now_ns,
                         replay->other_rules != NULL && !replay->json) != 0)
        replay->out_of_memory = true;
    if (!timer)
        message->open[side->index]--;
    if (side->index == 0)
        count(replay, result);
}

static int open_sides(struct replay *replay, int64_t now_ns, struct error *err)
{
    replay->side_count = replay->other_rules != NULL ? 2 : 1;
    for (unsigned i = 0; i < replay->side_count; i++) {
        struct side *side = &replay->sides[i];
        *side = (struct side){.replay = replay, .index = i};
        struct rehearsal_options options = {
            .rules_dir = i == 0 ? replay->config.rules.dir : replay->other_rules,
            .limits = &replay->config.rules,
            .now_ns = now_ns,
            .ended = on_ended,
            .context = side,
        };
        if (rehearsal_open(&side->rehearsal, &options, err) != 0)
            return -1;
    }
    return 0;
}

/* --- the queue of messages --- */

static void burn_garbage(struct replay *replay)
{
    for (size_t i = 0; i < replay->garbage_count; i++)
        wire_free(replay->garbage[i]);
    replay->garbage_count = 0;
}

static void drop_first(struct replay *replay)
{
    struct replay_message *message = replay->first;
    replay->first = message->next;
    if (replay->first == NULL)
        replay->last = NULL;
    replay->queued--;
    if (replay->garbage_count == GARBAGE)
        burn_garbage(replay);
    replay->garbage[replay->garbage_count++] = message->wire;
    for (unsigned i = 0; i < REPLAY_SIDES; i++)
        replay_items_clear(&message->items[i]);
    free(message);
}

static void print_first(struct replay *replay)
{
    struct replay_message *message = replay->first;
    if (replay->other_rules == NULL) {
        replay_print_items(message);
        return;
    }
    replay_items_cancel(&message->items[0], &message->items[1]);
    if (message->items[0].count + message->items[1].count == 0)
        return;
    replay->differences++;
    replay_print_difference(message, replay->json);
}

/* Prints what is complete. `all`: the last one, too. */
static void print_ended(struct replay *replay, bool all)
{
    while (replay->first != NULL && (all || replay->first != replay->last) &&
           replay->first->open[0] + replay->first->open[1] == 0) {
        print_first(replay);
        drop_first(replay);
    }
}

static void each_header(const struct input *input,
                        void (*visit)(void *context, const char *name, const char *value),
                        void *context)
{
    wire_each_header(input->message, visit, context);
}

/* Takes the message over. */
static struct replay_message *enqueue(struct replay *replay, struct wire_message *wire,
                                      const struct ack_subject *ack)
{
    struct replay_message *message = calloc(1, sizeof(*message));
    if (message == NULL) {
        wire_free(wire);
        return NULL;
    }
    message->wire = wire;
    message->input = (struct input){
        .subject = wire_subject(wire),
        .payload = wire_payload(wire),
        .payload_size = wire_payload_size(wire),
        .stream = replay->stream,
        .consumer = replay->source != NULL ? replay->source->durable : "replay",
        .sequence = ack->stream_sequence,
        .delivered = 1,
        .pending = ack->pending,
        .time_ns = ack->time_ns,
        .format = replay->source != NULL ? replay->source->format : PAYLOAD_JSON,
        .each_header = each_header,
        .message = wire,
    };
    for (unsigned i = 0; i < REPLAY_SIDES; i++)
        replay_items_init(&message->items[i]);
    if (replay->last != NULL)
        replay->last->next = message;
    else
        replay->first = message;
    replay->last = message;
    replay->queued++;
    return message;
}

/* Lets the time pass for the rules that hold up the first message, as a full window would. */
static void make_room(struct replay *replay)
{
    bool moved = true;
    while (replay->queued > WINDOW && moved) {
        moved = false;
        for (unsigned i = 0; i < replay->side_count; i++)
            if (replay->first->open[i] > 0)
                moved = rehearsal_step(replay->sides[i].rehearsal) || moved;
        print_ended(replay, false);
    }
}

static int give(struct replay *replay, struct wire_message *wire, const struct ack_subject *ack,
                struct error *err)
{
    if (replay->side_count == 0 && open_sides(replay, ack->time_ns, err) != 0) {
        wire_free(wire);
        return -1;
    }
    for (unsigned i = 0; replay->last != NULL && i < replay->side_count; i++)
        rehearsal_pass(replay->sides[i].rehearsal, ack->time_ns);
    struct replay_message *message = enqueue(replay, wire, ack);
    if (message == NULL)
        return error_set(err, "out of memory");
    for (unsigned i = 0; i < replay->side_count; i++) {
        size_t wanted =
            rehearsal_give(replay->sides[i].rehearsal, &message->input, message, &message->open[i]);
        if (i == 0 && wanted == 0)
            replay->unmatched++;
    }
    if (replay->messages++ == 0)
        replay->first_sequence = ack->stream_sequence;
    replay->last_sequence = ack->stream_sequence;
    make_room(replay);
    print_ended(replay, false);
    return replay->out_of_memory ? error_set(err, "out of memory") : 0;
}

/* --- the stream --- */

/* Whether the consumer that the configuration describes would get it, or --subject wants it. */
static bool is_wanted(const struct replay *replay, const char *subject)
{
    const struct source_config *source = replay->source;
    if (replay->filter != NULL)
        return subject_matches(replay->filter, subject);
    bool wanted = source == NULL || source->filter.count == 0;
    for (size_t i = 0; !wanted && i < source->filter.count; i++)
        wanted = subject_matches(source->filter.items[i], subject);
    return wanted;
}

static int read_all(struct replay *replay, struct stream_reader *reader, struct error *err)
{
    struct wire_message *wire;
    struct ack_subject ack;
    int got;
    while ((replay->limit == 0 || replay->messages < (uint64_t)replay->limit) && !ferror(stdout) &&
           (got = stream_reader_next(reader, &wire, &ack, err)) != 0) {
        if (got < 0)
            return -1;
        if (replay->to.time_ns != 0 && ack.time_ns > replay->to.time_ns) {
            wire_free(wire);
            break;
        }
        /* The server starts at the block that holds the first one of a time. */
        if (ack.time_ns < replay->from.time_ns || !is_wanted(replay, wire_subject(wire)))
            wire_free(wire);
        else if (give(replay, wire, &ack, err) != 0)
            return -1;
    }
    return 0;
}

/* Ends the handlers that wait, and prints the rest. */
static int finish(struct replay *replay, struct error *err)
{
    if (replay->side_count == 0) /* no message: the rules are loaded all the same */
        return open_sides(replay, clock_wall_ns(), err);
    for (unsigned i = 0; i < replay->side_count; i++)
        rehearsal_finish(replay->sides[i].rehearsal);
    print_ended(replay, true);
    if (replay->out_of_memory)
        return error_set(err, "out of memory");
    if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE)
        return error_set(err, "cannot write: %s", strerror(errno));
    return 0;
}

static int replay_stream(struct replay *replay, struct error *err)
{
    struct requests *requests = NULL;
    struct stream_reader *reader = NULL;
    struct stream_reader_options options = {
        .stream = replay->stream,
        .filter = ">",
        .first_sequence = replay->from.sequence,
        .first_time_ns = replay->from.time_ns,
        .last_sequence = replay->to.sequence,
    };
    int status = requests_open(&requests, &replay->config.nats, "replay", err);
    if (status == 0)
        status = stream_reader_open(&reader, requests, &options, err);
    if (status == 0)
        status = read_all(replay, reader, err);
    if (status == 0)
        status = finish(replay, err);
    while (replay->first != NULL)
        drop_first(replay);
    burn_garbage(replay);
    stream_reader_close(reader);
    requests_close(requests);
    return status;
}

static void print_summary(const struct replay *replay, int64_t took_ns)
{
    const struct rehearsal *old = replay->sides[0].rehearsal;
    fprintf(stderr, "%" PRIu64 " message%s of %s", replay->messages,
            replay->messages == 1 ? "" : "s", replay->stream);
    if (replay->messages > 0)
        fprintf(stderr, " (sequence %" PRIu64 " to %" PRIu64 ")", replay->first_sequence,
                replay->last_sequence);
    fprintf(stderr, " in %.1f s: ", (double)took_ns / 1e9);
    if (replay->other_rules != NULL) {
        fprintf(stderr, "%" PRIu64 " decided differently by %s (version %s) and %s (version %s)\n",
                replay->differences, replay->config.rules.dir, rehearsal_version(old),
                replay->other_rules, rehearsal_version(replay->sides[1].rehearsal));
        return;
    }
    fprintf(stderr,
            "%zu rule%s (version %s) would publish %" PRIu64 "; errors %" PRIu64
            ", retries %" PRIu64 ", rejects %" PRIu64 ", without a rule %" PRIu64 "\n",
            rehearsal_rule_count(old), rehearsal_rule_count(old) == 1 ? "" : "s",
            rehearsal_version(old), replay->published, replay->errors, replay->retries,
            replay->rejects, replay->unmatched);
}

/* --- the command line --- */

/* "1234", "2026-01-01T00:00:00Z" or "90m" (ago). */
static int read_bound(const char *flag, const char *text, struct bound *bound)
{
    struct error err;
    int64_t ago_ns;
    if (text == NULL)
        return 0;
    if (*text != '\0' && text[strspn(text, "0123456789")] == '\0') {
        errno = 0;
        bound->sequence = strtoull(text, NULL, 10);
        if (errno == 0 && bound->sequence > 0)
            return 0;
    } else if (units_parse_time(text, &bound->time_ns, &err) == 0) {
        return 0;
    } else if (units_parse_duration(text, &ago_ns, &err) == 0) {
        bound->time_ns = clock_wall_ns() - ago_ns;
        return 0;
    }
    flags_wrong_usage(&command_replay,
                      "%s %s: a sequence, a time (2026-01-01T00:00:00Z) or how long ago (90m) is "
                      "expected",
                      flag, text);
    return -1;
}

/* The source that reads the stream; without --stream, the only stream that is read. */
static int find_source(struct replay *replay)
{
    const struct config *config = &replay->config;
    for (size_t i = 0; i < config->source_count; i++) {
        const struct source_config *source = &config->sources[i];
        if (replay->stream == NULL)
            replay->stream = source->stream;
        if (strcmp(source->stream, replay->stream) == 0) {
            if (replay->source == NULL)
                replay->source = source;
        } else if (replay->source != NULL && replay->stream == replay->source->stream) {
            flags_wrong_usage(&command_replay,
                              "--stream is missing: the sources of %s read several", config->path);
            return -1;
        }
    }
    return 0;
}

static int run_configured(struct replay *replay)
{
    struct error err;
    int trouble = replay->other_rules != NULL ? EXIT_TROUBLE : EXIT_FAILED;
    if (find_source(replay) != 0 || settings_check_rules_dir(&replay->config) != 0)
        return EXIT_USAGE;
    log_open(LOG_LEVEL_WARN, replay->config.log_format, NULL);
    int64_t began_ns = clock_monotonic_ns();
    int status = replay_stream(replay, &err);
    if (status != 0)
        fprintf(stderr, "tidemill replay: %s\n", err.text);
    else
        print_summary(replay, clock_monotonic_ns() - began_ns);
    for (unsigned i = 0; i < replay->side_count; i++)
        rehearsal_close(replay->sides[i].rehearsal);
    if (status != 0)
        return trouble;
    return replay->differences > 0 ? EXIT_DIFFERENT : EXIT_DONE;
}

static int run(int argc, char **argv)
{
    const char *path = NULL, *from = NULL, *to = NULL;
    struct config_overrides overrides = {0};
    struct error err;
    struct replay replay = {0};
    const struct flag flags[] = {
        {.name = "--config", .short_name = "-c", .value = &path},
        {.name = "--stream", .value = &replay.stream},
        {.name = "--from", .value = &from},
        {.name = "--to", .value = &to},
        {.name = "--subject", .value = &replay.filter},
        {.name = "--rules", .value = &overrides.rules_dir},
        {.name = "--diff", .value = &replay.other_rules},
        {.name = "--json", .given = &replay.json},
        {.name = "--limit", .count = &replay.limit},
        {.name = "--nats", .value = &overrides.nats_url},
    };
    int left = flags_read(&command_replay, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (left > 1)
        return flags_wrong_usage(&command_replay, "unexpected argument %s", argv[1]);
    if (read_bound("--from", from, &replay.from) != 0 || read_bound("--to", to, &replay.to) != 0)
        return EXIT_USAGE;
    if (replay.filter != NULL && subject_check_pattern(replay.filter, &err) != 0)
        return flags_wrong_usage(&command_replay, "--subject: %s", err.text);
    int status = EXIT_USAGE;
    if (settings_load(&replay.config, path, &overrides) == 0)
        status = run_configured(&replay);
    config_free(&replay.config);
    return status;
}

const struct command command_replay = {
    .name = "replay",
    .usage = "replay [-c FILE] [--stream S] [--from SEQ|TIME] [--to SEQ|TIME] [--rules DIR] "
             "[--diff DIR]",
    .summary =
        "run rules over stored messages, print what they would publish; nothing is published",
    .run = run,
    .details =
        "Prints a line of JSON for each message that the rules would publish, and for each error,\n"
        "retry and reject; a summary goes to standard error. Nothing is acknowledged or "
        "published.\n"
        "The clock is that of the messages.\n\n"
        "  --stream S       the stream (else the one that the configuration's sources read)\n"
        "  --from, --to     a sequence, a time (2026-01-01T00:00:00Z) or how long ago (90m)\n"
        "  --subject FILTER only messages on these subjects (else what the source's filter says)\n"
        "  --rules DIR      the rules (else those of the configuration)\n"
        "  --limit N        at most N messages\n"
        "  --nats URL       the server (else NATS_URL, else the configuration's)\n"
        "  --diff DIR       print only what the rules in DIR (+) decide differently (-);\n"
        "                   exit status 0: nothing, 1: something, 2: it failed\n"
        "  --json           with --diff: a line of JSON for each message\n",
};
