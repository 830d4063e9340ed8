/* tidemill check: loads the configuration and the rules and says what is wrong with them. */

#include "base/subject.h"
#include "base/suggest.h"
#include "bus/stream_reader.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "cmd/settings.h"
#include "rules/engine.h"
#include "rules/lint.h"
#include "rules/ruleset.h"
#include "rules/vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUGGESTIONS_MAX = 32, SUGGESTION_SIZE = 256 };

struct check {
    struct config config;
    bool online, strict;
    struct ruleset *ruleset;
    struct engine *engine;
    struct lint *lint;
    struct requests *requests; /* --online */
    const char *path;          /* of the rule that is looked at */
    size_t warnings;
    struct error err;
    int status; /* of what callbacks do */
};

static void warn(struct check *check, const char *path, int line, const char *text)
{
    check->warnings++;
    if (line > 0)
        fprintf(stderr, "tidemill: %s:%d: warning: %s\n", path, line, text);
    else
        fprintf(stderr, "tidemill: %s: warning: %s\n", path, text);
}

/* --- does it load? ---------------------------------------------------------------------------- */

static void on_finished(void *context, void *token, const struct call_result *result)
{
    (void)context;
    (void)token;
    (void)result; /* on_load's; a fault in it is told by on_fault */
}

static void on_fault(void *context, const char *rule, const struct error *err)
{
    (void)context, (void)rule;
    fprintf(stderr, "tidemill: %s\n", err->text);
}

/* Loads the rules as `run` would, without a server. Returns how many did not load, or -1. */
static int load_rules(struct check *check)
{
    const struct rules_config *rules = &check->config.rules;
    struct engine_options options = {
        .limits = {.timeout_ns = rules->timeout_ns, .memory = rules->memory},
        .host = {.finished = on_finished},
        .worker_id = 1,
        .worker_count = 1,
    };
    if (ruleset_read(&check->ruleset, rules->dir, &check->err) != 0)
        return -1;
    return engine_check(&check->engine, check->ruleset, &options, on_fault, check, &check->err);
}

/* --- the names -------------------------------------------------------------------------------- */

static void on_finding(void *context, const char *path, int line, const char *text)
{
    warn(context, path, line, text);
}

/* Reads the sources of all rules and modules. */
static int read_sources(struct check *check)
{
    check->lint = lint_new();
    int status = check->lint != NULL ? 0 : -1;
    for (size_t i = 0; status == 0 && i < ruleset_rule_count(check->ruleset); i++)
        status = lint_read(check->lint, ruleset_rule(check->ruleset, i));
    for (size_t i = 0; status == 0 && i < ruleset_module_count(check->ruleset); i++)
        status = lint_read(check->lint, ruleset_module_at(check->ruleset, i));
    return status == 0 ? 0 : error_set(&check->err, "out of memory");
}

static int check_names(struct check *check)
{
    struct vocabulary *vocabulary = NULL;
    if (read_sources(check) != 0 || vocabulary_open(&vocabulary, check->engine, &check->err) != 0)
        return -1;
    lint_judge(check->lint, vocabulary, on_finding, check);
    vocabulary_close(vocabulary);
    return 0;
}

/* --- the subjects ----------------------------------------------------------------------------- */

/* The stream among those of the configuration; NULL: the server may know it. */
static const struct stream_config *find_stream(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->stream_count; i++)
        if (strcmp(config->streams[i].name, name) == 0)
            return &config->streams[i];
    return NULL;
}

static bool overlaps_any(const struct string_list *list, const char *pattern)
{
    for (size_t i = 0; i < list->count; i++)
        if (subject_patterns_overlap(list->items[i], pattern))
            return true;
    return false;
}

/* Whether a message that a source delivers may match `pattern`. True when it is not known. */
static bool is_delivered(const struct config *config, const char *pattern)
{
    for (size_t i = 0; i < config->source_count; i++) {
        const struct source_config *source = &config->sources[i];
        const struct stream_config *stream = find_stream(config, source->stream);
        bool passes = source->filter.count == 0 || overlaps_any(&source->filter, pattern);
        if (passes && (stream == NULL || overlaps_any(&stream->subjects, pattern)))
            return true;
    }
    return false;
}

/* `candidate` with its wildcards filled in from `pattern`, token by token. */
static void fill_in(const char *candidate, const char *pattern, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    while (*candidate != '\0' && used < size) {
        size_t length = strcspn(candidate, "."), other = strcspn(pattern, ".");
        bool any = length == 1 && *candidate == '*', rest = length == 1 && *candidate == '>';
        const char *from = (any || rest) && *pattern != '\0' ? pattern : candidate;
        size_t count = from == candidate ? length : rest ? strlen(pattern) : other;
        used += (size_t)snprintf(out + used, size - used, "%s%.*s", used > 0 ? "." : "", (int)count,
                                 from);
        candidate += length + (candidate[length] == '.');
        pattern += other + (pattern[other] == '.');
    }
}

/* The subject of a source that `pattern` most likely stands for. False: none is near. */
static bool find_nearest(const struct config *config, const char *pattern, char *out, size_t size)
{
    char texts[SUGGESTIONS_MAX][SUGGESTION_SIZE];
    const char *known[SUGGESTIONS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < config->source_count; i++) {
        const struct source_config *source = &config->sources[i];
        const struct stream_config *stream = find_stream(config, source->stream);
        const struct string_list *list =
            source->filter.count > 0 || stream == NULL ? &source->filter : &stream->subjects;
        for (size_t j = 0; j < list->count && count < SUGGESTIONS_MAX; j++) {
            fill_in(list->items[j], pattern, texts[count], sizeof(texts[count]));
            known[count] = texts[count];
            count++;
        }
    }
    const char *nearest = suggest_nearest(pattern, known, count);
    if (nearest != NULL)
        snprintf(out, size, "%s", nearest);
    return nearest != NULL;
}

static void check_subject(void *context, const char *pattern)
{
    struct check *check = context;
    char text[2 * SUBJECT_SIZE_MAX + 128];
    if (is_delivered(&check->config, pattern))
        return;
    int used = snprintf(text, sizeof(text), "subjects \"%s\": no source delivers it", pattern);
    char nearest[SUGGESTION_SIZE];
    if (find_nearest(&check->config, pattern, nearest, sizeof(nearest)))
        snprintf(text + used, sizeof(text) - (size_t)used, " (did you mean \"%s\"?)", nearest);
    warn(check, check->path, 0, text);
}

static void check_subjects(struct check *check)
{
    for (size_t i = 0; i < engine_rule_count(check->engine); i++) {
        const struct rule *rule = engine_rule_at(check->engine, i);
        check->path = ruleset_rule(check->ruleset, i)->path;
        if (rule_enabled(rule))
            rule_each_subject(rule, check_subject, check);
    }
}

/* --- the server: --online --------------------------------------------------------------------- */

/* A publish whose subject no stream stores will never be acknowledged. */
static void check_publish(void *context, const char *path, int line, const char *subject)
{
    struct check *check = context;
    char stream[256], text[SUBJECT_SIZE_MAX + 128];
    if (check->status != 0 || subject_check(subject, NULL) != 0)
        return;
    int found = stream_reader_find(check->requests, subject, stream, sizeof(stream), &check->err);
    if (found < 0)
        check->status = -1;
    if (found != 0)
        return;
    for (size_t i = 0; i < check->config.stream_count; i++) /* `run` creates these */
        if (overlaps_any(&check->config.streams[i].subjects, subject))
            return;
    snprintf(text, sizeof(text), "\"%s\": no stream on the server stores it", subject);
    warn(check, path, line, text);
}

static int check_publishes(struct check *check)
{
    if (requests_open(&check->requests, &check->config.nats, "check", &check->err) != 0)
        return -1;
    lint_each_publish(check->lint, check_publish, check);
    requests_close(check->requests);
    return check->status;
}

/* --- the command ------------------------------------------------------------------------------ */

static void print_ok(const struct check *check)
{
    const struct config *config = &check->config;
    size_t rules = engine_rule_count(check->engine);
    printf("ok: %s and %zu rule%s in %s (version %s)", config->path, rules, rules == 1 ? "" : "s",
           config->rules.dir, engine_version(check->engine));
    if (check->warnings > 0)
        printf(", %zu warning%s", check->warnings, check->warnings == 1 ? "" : "s");
    printf("\n");
    if (rules == 0)
        printf("no rules: every message would be acknowledged unseen\n");
}

static int check_rules(struct check *check)
{
    int broken = load_rules(check);
    if (broken > 0)
        return EXIT_USAGE;
    int status = broken;
    if (status == 0)
        status = check_names(check);
    if (status == 0)
        check_subjects(check);
    bool loads = status == 0;
    if (loads && check->online)
        status = check_publishes(check);
    if (status != 0) {
        fprintf(stderr, "tidemill: %s\n", check->err.text);
        return loads ? EXIT_FAILED : EXIT_USAGE;
    }
    if (check->strict && check->warnings > 0)
        return EXIT_USAGE;
    print_ok(check);
    return EXIT_DONE;
}

static int run_check(int argc, char **argv)
{
    const char *path = NULL;
    struct config_overrides overrides = {0};
    struct check check = {0};
    const struct flag flags[] = {
        {.name = "--config", .short_name = "-c", .value = &path},
        {.name = "--rules", .value = &overrides.rules_dir},
        {.name = "--nats", .value = &overrides.nats_url},
        {.name = "--online", .given = &check.online},
        {.name = "--strict", .given = &check.strict},
    };
    int left = flags_read(&command_check, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (left > 1)
        return flags_wrong_usage(&command_check, "unexpected argument %s", argv[1]);

    int status = EXIT_USAGE;
    if (settings_load(&check.config, path, &overrides) == 0 &&
        settings_check_rules_dir(&check.config) == 0)
        status = check_rules(&check);
    lint_free(check.lint);
    engine_close(check.engine);
    ruleset_release(check.ruleset);
    config_free(&check.config);
    return status;
}

const struct command command_check = {
    .name = "check",
    .usage = "check [-c FILE] [--rules DIR] [--strict] [--online [--nats URL]]",
    .summary = "load configuration and rules, say what is wrong",
    .run = run_check,
    .details = "Warns about names that do not exist and about subjects that no source delivers.\n"
               "  --rules DIR        the rules, instead of the configuration's\n"
               "  --strict           warnings count as errors: exit status 2\n"
               "  --online           asks the server, too, whether a stream stores what rules\n"
               "                     publish\n"
               "  --nats URL         the server, instead of the configuration's\n",
};
