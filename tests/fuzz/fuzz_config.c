/*
 * A configuration file, run and checked as `tidemill run` does it; behind a NUL what the
 * environment says. What is refused has a line that says why; what is accepted is inside all bounds
 * that base/config.h names, so that nobody behind has to look again.
 *
 * Texts with Lua's patterns are left out: a configuration may match as long as it likes.
 */
#include "base/config.h"

#include <limits.h>

#include "base/clock.h"
#include "base/subject.h"
#include "fuzz.h"
#include "ops/address.h"
#include "rules/luafile.h"

enum { DEPTH_MAX = 32, NAME_MAX_SIZE = 255 };

/* What luafile.h and value.h promise of the tree. */
static void check_tree(const struct value *value, int depth)
{
    if (value->type == VALUE_STRING || value->type == VALUE_OTHER)
        must(value->string != NULL && value->string[value->size] == '\0');
    if (value->type != VALUE_TABLE)
        return;
    must(depth < DEPTH_MAX && value->length <= value->pair_count);
    const char *last = NULL;
    for (size_t i = 0; i < value->pair_count; i++) {
        const struct value_pair *pair = &value->pairs[i];
        bool is_index = pair->key.type == VALUE_INTEGER && pair->key.integer == (int64_t)i + 1;
        must(i >= value->length || is_index);
        must(pair->key.type != VALUE_NIL && pair->key.type != VALUE_TABLE);
        must(pair->value.type != VALUE_NIL);
        if (pair->key.type == VALUE_STRING) {
            must(last == NULL || strcmp(last, pair->key.string) <= 0);
            last = pair->key.string;
        }
        check_tree(&pair->key, depth + 1);
        check_tree(&pair->value, depth + 1);
    }
}

/* A string from the file: there, not empty, on one line. */
static void check_string(const char *string)
{
    must(string != NULL && *string != '\0');
    for (; *string != '\0'; string++)
        must((unsigned char)*string >= ' ' && *string != 0x7f);
}

static void check_name(const char *name)
{
    check_string(name);
    must(strpbrk(name, ". \\/*>") == NULL && strlen(name) <= NAME_MAX_SIZE);
}

static void check_patterns(const struct string_list *patterns)
{
    for (size_t i = 0; i < patterns->count; i++) {
        must(subject_check_pattern(patterns->items[i], NULL) == 0);
        for (size_t j = 0; j < i; j++)
            must(!subject_patterns_overlap(patterns->items[i], patterns->items[j]));
    }
}

static void check_stream(const struct stream_config *stream)
{
    check_name(stream->name);
    must(stream->subjects.count > 0);
    check_patterns(&stream->subjects);
    must(stream->max_age_ns == 0 || stream->max_age_ns >= 100 * NS_PER_MS);
    must(stream->max_bytes == -1 || stream->max_bytes > 0);
    must(stream->max_msgs == -1 || stream->max_msgs > 0);
    must(stream->duplicate_window_ns >= 100 * NS_PER_MS);
    must(stream->max_age_ns == 0 || stream->duplicate_window_ns <= stream->max_age_ns);
    must(stream->replicas >= 1 && stream->replicas <= 5);
}

static void check_source(const struct source_config *source, const struct rules_config *rules)
{
    check_name(source->stream);
    check_name(source->durable);
    check_patterns(&source->filter);
    must(source->batch >= 1 && source->batch <= 10000);
    must(source->ack_wait_ns >= 100 * NS_PER_MS && source->ack_wait_ns > rules->hard_timeout_ns);
    must(source->max_deliver >= 1 && source->max_ack_pending >= 1);
    must(source->backoff_count >= 1 && source->backoff_ns != NULL);
    for (size_t i = 0; i < source->backoff_count; i++)
        must(source->backoff_ns[i] >= 0);
    must(source->start <= START_TIME && source->format <= PAYLOAD_RAW);
    must(source->start != START_SEQUENCE || source->start_sequence >= 1);
    must(source->start_time_ns >= 0);
    must(source->workers >= 1 && source->workers <= 64);
    must(source->ack == ACK_EACH || (source->ack == ACK_CUMULATIVE && source->workers == 1));
}

static void check_nats(const struct nats_config *nats)
{
    must(nats->urls.count >= 1);
    for (size_t i = 0; i < nats->urls.count; i++) {
        check_string(nats->urls.items[i]);
        must(strpbrk(nats->urls.items[i], " ,") == NULL);
        must(nats->tls.enabled || strncmp(nats->urls.items[i], "tls://", 6) != 0);
    }
    check_string(nats->name);
    must((nats->user == NULL) == (nats->password == NULL));
    must((nats->tls.cert == NULL) == (nats->tls.key == NULL));
    must(nats->connect_timeout_ns >= NS_PER_MS && nats->reconnect_wait_ns >= NS_PER_MS);
    must(nats->max_reconnects >= -1);
}

static void check_config(const struct config *config, bool has_file)
{
    struct address address;
    check_nats(&config->nats);
    for (size_t i = 0; i < config->stream_count; i++)
        check_stream(&config->streams[i]);
    for (size_t i = 0; i < config->source_count; i++)
        check_source(&config->sources[i], &config->rules);
    must(config->source_count >= 1 || !has_file);
    check_string(config->rules.dir);
    must(config->rules.timeout_ns > 0);
    must(config->rules.timeout_ns < config->rules.hard_timeout_ns);
    must(config->rules.memory >= 1 << 20);
    must(subject_check(config->dead_letter_subject, NULL) == 0);
    if (config->http_listen != NULL)
        must(address_parse(&address, config->http_listen, NULL) == 0 && *address.host != '\0');
    must(config->log_level <= LOG_LEVEL_ERROR && config->log_format <= LOG_FORMAT_JSON);
    must(config->log_limits.fold <= INT_MAX && config->log_limits.flood <= INT_MAX);
    must(config->log_limits.interval_ns >= 100 * NS_PER_MS);
    must(config->shutdown_timeout_ns >= NS_PER_MS && config->path == NULL);
}

/* Twice, because the same tree must come to the same end. */
static void check_build(const struct value *root, const struct config_overrides *overrides)
{
    static struct config_problems problems, again;
    struct config config;
    int status = config_build(&config, root, overrides, &problems);
    must((status == 0) == (problems.count == 0));
    for (size_t i = 0; i < problems.count && i < CONFIG_PROBLEMS_MAX; i++)
        must_be_a_message(problems.items[i].text);
    if (status == 0)
        check_config(&config, root != NULL);
    config_free(&config);
    must(config_build(&config, root, overrides, &again) == status);
    must(problems.count == again.count);
    for (size_t i = 0; i < problems.count && i < CONFIG_PROBLEMS_MAX; i++)
        must(strcmp(problems.items[i].text, again.items[i].text) == 0);
    config_free(&config);
}

/* The text up to the next NUL, or NULL at the end. */
static const char *next_text(const char **at, const char *end)
{
    const char *text = *at < end ? *at : NULL;
    *at += text != NULL ? strlen(text) + 1 : 0;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = copy_text(data, size);
    const char *at = text, *end = text + size;
    const char *file = next_text(&at, end);
    struct config_overrides overrides = {.nats_url = next_text(&at, end)};
    overrides.http_listen = next_text(&at, end);
    overrides.log_level = next_text(&at, end);
    overrides.rules_dir = next_text(&at, end);
    overrides.nats_creds = next_text(&at, end);
    struct value root;
    struct error err = {""};
    if (file == NULL) {
        check_build(NULL, &overrides);
    } else if (strstr(file, "find") == NULL && strstr(file, "match") == NULL &&
               strstr(file, "gsub") == NULL) {
        if (luafile_eval_text("tidemill.lua", file, strlen(file), &root, &err) == 0) {
            must(root.type == VALUE_TABLE);
            check_tree(&root, 0);
            check_build(&root, &overrides);
            value_free(&root);
        } else {
            must(root.type == VALUE_NIL && strncmp(err.text, "tidemill.lua", 12) == 0);
            must_be_a_message(err.text);
        }
    }
    free(text);
    return 0;
}
