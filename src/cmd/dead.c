/* tidemill dead: looks through the dead letters, sends them again, removes them. */

#include "cmd/dead.h"

#include "base/clock.h"
#include "base/subject.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cmd/command.h"
#include "cmd/connect_flags.h"
#include "cmd/flags.h"
#include "cmd/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLAGS_MAX = 16, FAILURES_SAID = 20 };

/* What a subcommand takes besides the flags about the connection. */
enum takes { TAKES_FILTERS = 1, TAKES_ONE = 2, TAKES_MANY = 4, TAKES_JSON = 8 };

static const struct subcommand {
    const char *name;
    int (*run)(struct dead_letters *letters, const struct dead_words *words, struct error *err);
    unsigned takes;
} subcommands[] = {
    {"list", dead_list, TAKES_FILTERS | TAKES_JSON},
    {"show", dead_show, TAKES_ONE | TAKES_JSON},
    {"retry", dead_retry, TAKES_FILTERS | TAKES_MANY},
    {"purge", dead_purge, TAKES_FILTERS | TAKES_MANY},
};
enum { SUBCOMMAND_COUNT = sizeof(subcommands) / sizeof(subcommands[0]) };

struct command_line {
    const char *path, *root, *since, *until;
    struct connect_flags connect;
    struct dead_words words;
};

static const struct subcommand *find_subcommand(const char *name)
{
    const char *names[SUBCOMMAND_COUNT];
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
        names[i] = subcommands[i].name;
    }
    const char *nearest = suggest_nearest(name, names, SUBCOMMAND_COUNT);
    if (nearest != NULL)
        flags_wrong_usage(&command_dead, "unknown word %s: did you mean %s?", name, nearest);
    else
        flags_wrong_usage(&command_dead, "list, show, retry or purge is expected, not %s", name);
    return NULL;
}

/* The flags of the subcommand; how many. */
static size_t flags_of(const struct subcommand *subcommand, struct command_line *line,
                       struct flag flags[FLAGS_MAX])
{
    struct dead_words *words = &line->words;
    struct flag *next = flags;
    *next++ = (struct flag){.name = "--config", .short_name = "-c", .value = &line->path};
    *next++ = (struct flag){.name = "--nats", .value = &line->connect.url};
    *next++ = (struct flag){.name = "--creds", .value = &line->connect.creds};
    *next++ = (struct flag){.name = "--subject", .value = &line->root};
    if (subcommand->takes & TAKES_FILTERS) {
        *next++ = (struct flag){.name = "--rule", .value = &words->filter.rule};
        *next++ = (struct flag){.name = "--reason", .value = &words->filter.reason};
        *next++ = (struct flag){.name = "--since", .value = &line->since};
        *next++ = (struct flag){.name = "--until", .value = &line->until};
        *next++ = (struct flag){.name = "--limit", .count = &words->filter.limit};
    }
    if (subcommand->takes & TAKES_JSON)
        *next++ = (struct flag){.name = "--json", .given = &words->json};
    if (subcommand->takes & TAKES_MANY)
        *next++ = (struct flag){.name = "--all", .given = &words->all};
    if (subcommand->run == dead_show)
        *next++ = (struct flag){.name = "--payload", .given = &words->payload};
    if (subcommand->run == dead_purge)
        *next++ = (struct flag){.name = "--yes", .given = &words->yes};
    return (size_t)(next - flags);
}

/* A time, or how long ago. */
static int read_moment(const char *flag, const char *text, int64_t *time_ns)
{
    int64_t ago_ns;
    if (text == NULL || units_parse_time(text, time_ns, NULL) == 0)
        return 0;
    if (units_parse_duration(text, &ago_ns, NULL) != 0)
        return flags_wrong_usage(&command_dead,
                                 "%s %s: a time (2026-01-01T00:00:00Z) or how long ago (90m) is "
                                 "expected",
                                 flag, text);
    int64_t now_ns = clock_wall_ns();
    *time_ns = ago_ns < now_ns ? now_ns - ago_ns : 1;
    return 0;
}

static int read_sequences(int count, char **texts, uint64_t *sequences)
{
    for (int i = 0; i < count; i++) {
        char *end;
        errno = 0;
        unsigned long long number = strtoull(texts[i], &end, 10);
        if (texts[i][0] < '0' || texts[i][0] > '9' || errno != 0 || *end != '\0' || number == 0)
            return flags_wrong_usage(&command_dead,
                                     "%s: a sequence as `tidemill dead list` shows it is expected",
                                     texts[i]);
        sequences[i] = number;
    }
    return 0;
}

/* Whether there are as many sequences, --all and filters as there should be; says what is not. */
static int check_words(const struct subcommand *subcommand, const struct dead_words *words)
{
    size_t count = words->sequence_count;
    if (subcommand->takes & TAKES_ONE && count != 1)
        return flags_wrong_usage(&command_dead, "%s wants one sequence", subcommand->name);
    if (!(subcommand->takes & (TAKES_ONE | TAKES_MANY)) && count > 0)
        return flags_wrong_usage(&command_dead, "%s takes no sequence", subcommand->name);
    if (words->json && words->payload)
        return flags_wrong_usage(&command_dead, "--json or --payload, not both");
    if (!(subcommand->takes & TAKES_MANY))
        return 0;
    if (count == 0 && !words->all)
        return flags_wrong_usage(&command_dead, "%s wants sequences, or --all", subcommand->name);
    if (count > 0 && words->all)
        return flags_wrong_usage(&command_dead, "sequences or --all, not both");
    if (count > 0 && words->filtered)
        return flags_wrong_usage(&command_dead, "filters go with --all, not with sequences");
    if (subcommand->run == dead_purge && !words->yes && isatty(STDIN_FILENO) != 1)
        return flags_wrong_usage(&command_dead, "purge asks on a terminal, and here is none: say "
                                                "--yes");
    return 0;
}

static int check_line(const struct subcommand *subcommand, struct command_line *line)
{
    struct dead_words *words = &line->words;
    struct error err;
    if (line->root != NULL && subject_check(line->root, &err) != 0)
        return flags_wrong_usage(&command_dead, "--subject: %s", err.text);
    if (read_moment("--since", line->since, &words->filter.since_ns) != 0 ||
        read_moment("--until", line->until, &words->filter.until_ns) != 0)
        return EXIT_USAGE;
    words->filtered = words->filter.rule != NULL || words->filter.reason != NULL ||
                      line->since != NULL || line->until != NULL || words->filter.limit != 0;
    return check_words(subcommand, words);
}

static int run_with(const struct subcommand *subcommand, const struct command_line *line,
                    const struct nats_config *nats, const char *root)
{
    struct dead_letters letters;
    struct error err;
    int status = dead_letters_open(&letters, nats, root, &err);
    if (status == 0)
        status = subcommand->run(&letters, &line->words, &err);
    if (status < 0) {
        fprintf(stderr, "tidemill dead: %s\n", err.text);
        status = EXIT_FAILED;
    }
    dead_letters_close(&letters);
    return status;
}

/* Whether a configuration is named, or the usual one is there. */
static bool has_configuration(const struct command_line *line)
{
    const char *variable = getenv("TIDEMILL_CONFIG");
    return line->path != NULL || (variable != NULL && *variable != '\0') ||
           access("tidemill.lua", F_OK) == 0;
}

static int run_connected(const struct subcommand *subcommand, const struct command_line *line)
{
    int status = EXIT_USAGE;
    if (has_configuration(line)) {
        struct config config;
        struct config_overrides overrides = {.nats_url = line->connect.url,
                                             .nats_creds = line->connect.creds};
        if (settings_load(&config, line->path, &overrides) == 0)
            status = run_with(subcommand, line, &config.nats,
                              line->root != NULL ? line->root : config.dead_letter_subject);
        config_free(&config);
        return status;
    }
    struct nats_config nats;
    struct error err;
    if (connect_flags_config(&line->connect, &nats, &err) == 0) {
        status = run_with(subcommand, line, &nats, line->root != NULL ? line->root : "dead");
    } else {
        fprintf(stderr, "tidemill dead: %s\n", err.text);
        status = EXIT_FAILED;
    }
    connect_flags_free(&nats);
    return status;
}

static int run(int argc, char **argv)
{
    if (argc < 2)
        return flags_wrong_usage(&command_dead, "list, show, retry or purge is expected");
    const struct subcommand *subcommand = find_subcommand(argv[1]);
    if (subcommand == NULL)
        return EXIT_USAGE;
    struct command_line line = {.path = NULL};
    struct flag flags[FLAGS_MAX];
    size_t count = flags_of(subcommand, &line, flags);
    int left = flags_read(&command_dead, flags, count, argc - 1, argv + 1);
    if (left < 0)
        return EXIT_USAGE;

    uint64_t *sequences = calloc((size_t)left, sizeof(*sequences));
    if (sequences == NULL) {
        fprintf(stderr, "tidemill dead: out of memory\n");
        return EXIT_FAILED;
    }
    line.words.sequences = sequences;
    line.words.sequence_count = (size_t)left - 1;
    int status = read_sequences(left - 1, argv + 2, sequences);
    if (status == 0)
        status = check_line(subcommand, &line);
    if (status == 0)
        status = run_connected(subcommand, &line);
    free(sequences);
    return status;
}

void dead_say_none(const struct dead_letters *letters, const struct dead_words *words)
{
    fprintf(words->json ? stderr : stdout, "no dead letter%s in stream %s\n",
            words->filtered ? " matches" : "s", letters->stream);
}

int dead_end_output(struct error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return errno == EPIPE ? 0 : error_set(err, "cannot write: %s", strerror(errno));
}

void dead_failed(struct dead_failures *failures, uint64_t sequence, const char *format, ...)
{
    if (++failures->count > FAILURES_SAID)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "tidemill dead: %" PRIu64 ": ", sequence);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void dead_failures_end(const struct dead_failures *failures)
{
    if (failures->count > FAILURES_SAID)
        fprintf(stderr, "tidemill dead: and %" PRIu64 " more\n", failures->count - FAILURES_SAID);
}

const struct command command_dead = {
    .name = "dead",
    .usage = "dead list|show|retry|purge [SEQUENCE...] [-c FILE] [--nats URL]",
    .summary = "look through dead letters, send them again, remove them",
    .run = run,
    .details =
        "  dead list [filters] [--json]           a line for each, the oldest first\n"
        "  dead show SEQUENCE [--json|--payload]  all about one; only its payload, byte for byte\n"
        "  dead retry SEQUENCE...                 publish them to their subject again; what is\n"
        "  dead retry --all [filters]             stored is removed from the dead letters\n"
        "  dead purge SEQUENCE... [--yes]         remove them for good\n"
        "  dead purge --all [filters] [--yes]     the same; asks first, unless --yes\n\n"
        "Filters:\n"
        "  --rule RULE        given up because of this rule\n"
        "  --reason REASON    error, timeout, memory, output, retry, rejected, payload, "
        "max_deliver\n"
        "  --since, --until   a time (2026-01-01T00:00:00Z) or how long ago (90m)\n"
        "  --limit N          only the first N of those that match\n\n"
        "Server and subject are those of the configuration (-c FILE, else TIDEMILL_CONFIG, else\n"
        "tidemill.lua when it is there).\n\n"
        "  --nats URL         the server (else NATS_URL, else the configuration's)\n"
        "  --creds FILE       a credentials file (else NATS_CREDS, else the configuration's)\n"
        "  --subject ROOT     dead letters are on ROOT.<stream>.<durable> (else the\n"
        "                     configuration's dead_letter.subject, else dead)\n",
};
