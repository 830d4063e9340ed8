#include "base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config_check.h"
#include "base/config_log.h"
#include "base/config_section.h"
#include "base/server_url.h"
#include "base/subject.h"
#include "base/units.h"

/*
 * The table of tables is read section by section, in the order of the documentation: defaults
 * first, then what the file says, then what wins over the file; at the end what concerns several
 * keys (config_check.c). A wrong value leaves its default, so that one mistake is reported once.
 */

enum { STREAMS_MAX = 1000, SECRET_SIZE_MAX = 4096 };

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Gives a string its default when the file did not say one. */
static void default_string(const struct section *section, const char *key, char **string,
                           const char *text)
{
    if (*string == NULL && (*string = strdup(text)) == NULL)
        section_problem(section, key, "out of memory");
}

/* Reads an integer key into an int. */
static void read_int(struct section *section, const char *key, int min, int max, int *integer)
{
    int64_t wide = *integer;
    section_integer(section, key, min, max, &wide);
    *integer = (int)wide;
}

/* Reads a file with one line, without the white space around it, into `line`. */
static int read_line(const char *path, char line[SECRET_SIZE_MAX + 1], struct error *err)
{
    ssize_t size = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        size = read(fd, line, SECRET_SIZE_MAX + 1);
    int read_errno = errno;
    if (fd >= 0)
        close(fd);
    if (size < 0)
        return error_set(err, "%.200s cannot be read: %s", path, strerror(read_errno));
    if (size > SECRET_SIZE_MAX)
        return error_set(err, "%.200s has more than %d bytes", path, SECRET_SIZE_MAX);
    line[size] = '\0';
    size_t start = strspn(line, " \t\r\n");
    size_t end = strlen(line);
    while (end > start && strchr(" \t\r\n", line[end - 1]) != NULL)
        end--;
    line[end] = '\0';
    memmove(line, line + start, end - start + 1);
    if (*line == '\0')
        return error_set(err, "%.200s is empty", path);
    if (strpbrk(line, "\r\n") != NULL)
        return error_set(err, "%.200s has more than one line", path);
    return 0;
}

/* A secret is given in the file or, better, as the name of a file that holds it. */
static void read_secret(struct section *section, const char *key, const char *file_key,
                        char **secret)
{
    char *path = NULL;
    char line[SECRET_SIZE_MAX + 1];
    struct error err;
    section_string(section, key, secret);
    section_string(section, file_key, &path);
    if (path == NULL)
        return;
    if (*secret != NULL)
        section_problem(section, file_key, "%s is given too; one of the two is enough", key);
    else if (read_line(path, line, &err) != 0)
        section_problem(section, file_key, "%s", err.text);
    else
        default_string(section, file_key, secret, line);
    /* A secret that could not be read is not missing: nothing more is to be said about it. */
    default_string(section, file_key, secret, "");
    free(path);
}

static bool has_scheme(const char *url, const char *scheme)
{
    return strncmp(url, scheme, strlen(scheme)) == 0;
}

/* One URL: of NATS, or without a scheme. A URL may hold a password, so messages never show it
 * whole. */
static void add_url(const struct section *section, const char *key, const char *url,
                    struct string_list *urls)
{
    struct server_url parts = {.address = NULL};
    struct error err;
    const char *scheme_end = strstr(url, "://");
    if (scheme_end != NULL && !has_scheme(url, "nats://") && !has_scheme(url, "tls://"))
        section_problem(section, key, "'%.*s://' is no scheme of NATS (nats:// or tls://)",
                        scheme_end - url > 20 ? 20 : (int)(scheme_end - url), url);
    else if (strchr(url, ' ') != NULL)
        section_problem(section, key, "has a space inside");
    else if ((scheme_end != NULL ? scheme_end[3] : *url) == '\0')
        section_problem(section, key, "has no host (write it like nats://127.0.0.1:4222)");
    else if (server_url_read(&parts, url, &err) != 0)
        section_problem(section, key, "%s", err.text);
    else
        section_append(section->problems, "nats.url", urls, url);
    server_url_free(&parts);
}

/* Reads the servers' URLs: one string, several with commas between them, or a list. */
static void read_urls(struct section *section, const char *key, struct string_list *urls)
{
    struct string_list texts = {0}, found = {0};
    section_strings(section, key, &texts);
    for (size_t i = 0; i < texts.count; i++) {
        char *rest = texts.items[i];
        while (rest != NULL) {
            char *url = strsep(&rest, ",");
            url += strspn(url, " ");
            size_t size = strlen(url);
            while (size > 0 && url[size - 1] == ' ')
                url[--size] = '\0';
            add_url(section, key, url, &found);
        }
    }
    string_list_free(&texts);
    if (found.count > 0) {
        string_list_free(urls);
        *urls = found;
    }
}

static void read_tls(struct section *nats, struct tls_config *tls)
{
    struct section section;
    tls->verify = true;
    tls->enabled = section_enter(nats, "tls", &section);
    section_string(&section, "ca", &tls->ca);
    section_string(&section, "cert", &tls->cert);
    section_string(&section, "key", &tls->key);
    section_string(&section, "hostname", &tls->hostname);
    section_boolean(&section, "verify", &tls->verify);
    section_end(&section);
}

static void read_nats(struct section *root, struct nats_config *nats)
{
    struct section section;
    nats->connect_timeout_ns = 3 * NS_PER_S;
    nats->reconnect_wait_ns = NS_PER_S;
    nats->max_reconnects = -1;
    nats->discovery = true;
    section_enter(root, "nats", &section);
    read_urls(&section, "url", &nats->urls);
    section_string(&section, "name", &nats->name);
    default_string(&section, "name", &nats->name, "tidemill");
    section_string(&section, "user", &nats->user);
    read_secret(&section, "password", "password_file", &nats->password);
    read_secret(&section, "token", "token_file", &nats->token);
    section_string(&section, "creds", &nats->creds);
    section_string(&section, "nkey_seed", &nats->nkey_seed);
    read_tls(&section, &nats->tls);
    section_duration(&section, "connect_timeout", NS_PER_MS, &nats->connect_timeout_ns);
    section_duration(&section, "reconnect_wait", NS_PER_MS, &nats->reconnect_wait_ns);
    read_int(&section, "max_reconnects", -1, INT_MAX, &nats->max_reconnects);
    section_boolean(&section, "discovery", &nats->discovery);
    section_end(&section);
}

/* What must wait until the overrides are known. */
static void finish_nats(struct nats_config *nats, struct config_problems *problems)
{
    if (nats->urls.count == 0)
        section_append(problems, "nats.url", &nats->urls, "nats://127.0.0.1:4222");
    for (size_t i = 0; i < nats->urls.count; i++)
        nats->tls.enabled = nats->tls.enabled || has_scheme(nats->urls.items[i], "tls://");
}

/* Reads the required name of a stream or a consumer. */
static void read_name(struct section *section, const char *key, char **name)
{
    section_string(section, key, name);
    section_require(section);
    if (*name == NULL)
        return;
    char path[SECTION_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s.%s", section->path, key);
    config_check_name(*name, path, section->problems);
}

/* Reads subject patterns. One bad pattern empties the list, so that nothing is concluded from the
 * rest. */
static void read_patterns(struct section *section, const char *key, struct string_list *patterns)
{
    size_t bad = 0;
    section_strings(section, key, patterns);
    for (size_t i = 0; i < patterns->count; i++) {
        struct error err;
        if (subject_check_pattern(patterns->items[i], &err) == 0)
            continue;
        section_problem(section, key, "%s", err.text);
        bad++;
    }
    if (bad > 0)
        string_list_free(patterns);
}

/* The server keeps no message id longer than the message: the window is at most the age. */
static void read_window(struct section *section, struct stream_config *stream)
{
    int64_t window = -1;
    section_duration(section, "duplicate_window", 100 * NS_PER_MS, &window);
    stream->duplicate_window_ns = 120 * NS_PER_S;
    bool limited = stream->max_age_ns > 0;
    if (window < 0) {
        if (limited && stream->max_age_ns < stream->duplicate_window_ns)
            stream->duplicate_window_ns = stream->max_age_ns;
        return;
    }
    char window_text[UNITS_DURATION_TEXT], age_text[UNITS_DURATION_TEXT];
    if (limited && window > stream->max_age_ns)
        section_problem(section, "duplicate_window", "%s is longer than max_age (%s)",
                        units_format_duration(window, window_text),
                        units_format_duration(stream->max_age_ns, age_text));
    stream->duplicate_window_ns = window;
}

static void read_stream(struct section *section, struct stream_config *stream)
{
    static const char *const storages[] = {"file", "memory"};
    int storage = 0;
    stream->max_bytes = -1;
    stream->max_msgs = -1;
    stream->replicas = 1;
    read_name(section, "name", &stream->name);
    read_patterns(section, "subjects", &stream->subjects);
    section_choice(section, "storage", storages, COUNT(storages), &storage);
    stream->memory_storage = storage == 1;
    section_duration(section, "max_age", 0, &stream->max_age_ns);
    if (stream->max_age_ns > 0 && stream->max_age_ns < 100 * NS_PER_MS)
        section_problem(section, "max_age", "must be at least 100ms, or 0 for no limit");
    read_window(section, stream);
    section_size(section, "max_bytes", 1, true, &stream->max_bytes);
    section_integer(section, "max_msgs", -1, INT64_MAX, &stream->max_msgs);
    if (stream->max_msgs == 0)
        section_problem(section, "max_msgs", "must be more than 0, or -1 for no limit");
    read_int(section, "replicas", 1, 5, &stream->replicas);
    section_end(section);
    /* Only a good name makes a good subject; a bad one is a problem already. */
    if (stream->subjects.count == 0 && stream->name != NULL &&
        value_get(section->table, "subjects") == NULL) {
        char subject[SUBJECT_SIZE_MAX];
        snprintf(subject, sizeof(subject), "%.255s.>", stream->name);
        if (subject_check_pattern(subject, NULL) == 0)
            section_append(section->problems, section->path, &stream->subjects, subject);
    }
}

static void read_streams(struct section *root, struct config *config)
{
    size_t count = section_list(root, "streams", STREAMS_MAX);
    config->streams = count > 0 ? calloc(count, sizeof(*config->streams)) : NULL;
    if (config->streams == NULL) {
        if (count > 0)
            section_problem(root, "streams", "out of memory");
        return;
    }
    config->stream_count = count;
    for (size_t i = 0; i < count; i++) {
        struct section section;
        section_element(root, "streams", i, &section);
        read_stream(&section, &config->streams[i]);
    }
}

/* start = { sequence = n } or { time = "..." } */
static void read_start_at(struct section *source_section, struct source_config *source)
{
    struct section section;
    char *time = NULL;
    int64_t sequence = 0;
    struct error err;
    size_t problems = source_section->problems->count;
    section_enter(source_section, "start", &section);
    section_integer(&section, "sequence", 1, INT64_MAX, &sequence);
    section_string(&section, "time", &time);
    section_end(&section);
    bool has_sequence = value_get(section.table, "sequence") != NULL;
    bool has_time = value_get(section.table, "time") != NULL;
    if (section.problems->count > problems)
        ; /* said already */
    else if (has_sequence == has_time)
        section_problem(source_section, "start",
                        "a sequence or a time is wanted%s: { sequence = 1 } or { time = "
                        "\"2026-01-01T00:00:00Z\" }",
                        has_time ? ", not both" : "");
    else if (time != NULL && units_parse_time(time, &source->start_time_ns, &err) != 0)
        section_problem(&section, "time", "%s", err.text);
    source->start = has_sequence ? START_SEQUENCE : START_TIME;
    source->start_sequence = (uint64_t)sequence;
    free(time);
}

static void read_start(struct section *section, struct source_config *source)
{
    static const char *const starts[] = {"all", "new", "last"};
    const struct value *value = section_value(section, "start");
    int start = START_ALL;
    if (value != NULL && value->type == VALUE_TABLE) {
        read_start_at(section, source);
        return;
    }
    section_choice(section, "start", starts, COUNT(starts), &start);
    source->start = (enum start_at)start;
}

/* 1s, 5s, 30s unless the file has its own. */
static void read_backoff(struct section *section, struct source_config *source)
{
    static const int64_t seconds[] = {1, 5, 30};
    section_durations(section, "backoff", &source->backoff_ns, &source->backoff_count);
    if (source->backoff_ns != NULL)
        return;
    source->backoff_ns = calloc(COUNT(seconds), sizeof(*source->backoff_ns));
    if (source->backoff_ns == NULL) {
        section_problem(section, "backoff", "out of memory");
        return;
    }
    source->backoff_count = COUNT(seconds);
    for (size_t i = 0; i < COUNT(seconds); i++)
        source->backoff_ns[i] = seconds[i] * NS_PER_S;
}

static void read_source(struct section *section, struct source_config *source)
{
    static const char *const formats[] = {"json", "raw"};
    static const char *const acks[] = {"each", "cumulative"};
    int format = PAYLOAD_JSON, ack = ACK_EACH;
    source->batch = 500;
    source->ack_wait_ns = 30 * NS_PER_S;
    source->max_deliver = 5;
    source->max_ack_pending = 20000;
    source->workers = 1;
    read_name(section, "stream", &source->stream);
    read_name(section, "durable", &source->durable);
    read_patterns(section, "filter", &source->filter);
    read_int(section, "batch", 1, 10000, &source->batch);
    section_duration(section, "ack_wait", 100 * NS_PER_MS, &source->ack_wait_ns);
    read_int(section, "max_deliver", 1, 1000000, &source->max_deliver);
    read_backoff(section, source);
    read_int(section, "max_ack_pending", 1, 10000000, &source->max_ack_pending);
    read_start(section, source);
    read_int(section, "workers", 1, 64, &source->workers);
    section_choice(section, "format", formats, COUNT(formats), &format);
    section_choice(section, "ack", acks, COUNT(acks), &ack);
    section_boolean(section, "confirm", &source->confirm);
    section_end(section);
    source->format = (enum payload_format)format;
    source->ack = (enum ack_mode)ack;
}

static void read_sources(struct section *root, struct config *config)
{
    size_t count = section_list(root, "sources", CONFIG_SOURCES_MAX);
    const struct value *value = value_get(root->table, "sources");
    if (root->table != NULL &&
        (value == NULL || (value->type == VALUE_TABLE && value->pair_count == 0)))
        section_problem(root, "sources",
                        "at least one is needed: { stream = \"...\", durable = \"...\" }");
    config->sources = count > 0 ? calloc(count, sizeof(*config->sources)) : NULL;
    if (config->sources == NULL) {
        if (count > 0)
            section_problem(root, "sources", "out of memory");
        return;
    }
    config->source_count = count;
    for (size_t i = 0; i < count; i++) {
        struct section section;
        section_element(root, "sources", i, &section);
        read_source(&section, &config->sources[i]);
    }
}

static void read_rules(struct section *root, struct rules_config *rules)
{
    struct section section;
    rules->memory = INT64_C(256) << 20;
    section_enter(root, "rules", &section);
    section_string(&section, "dir", &rules->dir);
    default_string(&section, "dir", &rules->dir, "rules");
    section_boolean(&section, "watch", &rules->watch);
    section_duration(&section, "timeout", NS_PER_MS, &rules->timeout_ns);
    section_duration(&section, "hard_timeout", NS_PER_MS, &rules->hard_timeout_ns);
    section_size(&section, "memory", 1 << 20, false, &rules->memory);
    section_end(&section);
}

/*
 * What was not given: a call gets a second and cannot pass ten, or less where a source's ack_wait
 * is short, since a call must end before the server gives its message to somebody else.
 */
static void default_timeouts(struct config *config)
{
    struct rules_config *rules = &config->rules;
    if (rules->hard_timeout_ns == 0) {
        rules->hard_timeout_ns = 10 * NS_PER_S;
        if (rules->timeout_ns > rules->hard_timeout_ns / 2)
            rules->hard_timeout_ns =
                rules->timeout_ns < INT64_MAX / 2 ? rules->timeout_ns * 2 : INT64_MAX;
        for (size_t i = 0; i < config->source_count; i++) {
            int64_t most_ms = config->sources[i].ack_wait_ns / NS_PER_MS * 2 / 3;
            if (rules->hard_timeout_ns > most_ms * NS_PER_MS)
                rules->hard_timeout_ns = most_ms * NS_PER_MS;
        }
    }
    if (rules->timeout_ns == 0) {
        rules->timeout_ns = NS_PER_S;
        if (rules->timeout_ns > rules->hard_timeout_ns / 2)
            rules->timeout_ns = rules->hard_timeout_ns / 2;
    }
}

static void read_dead_letter(struct section *root, struct config *config)
{
    struct section section;
    struct error err;
    section_enter(root, "dead_letter", &section);
    section_string(&section, "subject", &config->dead_letter_subject);
    default_string(&section, "subject", &config->dead_letter_subject, "dead");
    if (config->dead_letter_subject != NULL &&
        subject_check(config->dead_letter_subject, &err) != 0)
        section_problem(&section, "subject", "%s", err.text);
    section_end(&section);
}

/* Reads an address to listen at; an empty string switches off. */
static void read_listen(struct section *section, const char *key, char **listen)
{
    const struct value *value = section_value(section, key);
    if (value != NULL && value->type == VALUE_STRING && value->size == 0) {
        free(*listen);
        *listen = NULL;
        return;
    }
    char *found = NULL;
    section_string(section, key, &found);
    if (found == NULL)
        return;
    char path[SECTION_PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s%s%s", section->path, *section->path != '\0' ? "." : "", key);
    config_check_listen(found, path, section->problems);
    free(*listen);
    *listen = found;
}

static void read_http(struct section *root, struct config *config)
{
    struct section section;
    const struct value *value = section_value(root, "http");
    if (value != NULL && value->type == VALUE_BOOLEAN) {
        if (value->boolean)
            section_problem(root, "http", "a table or false is wanted, not true");
        return;
    }
    section_enter(root, "http", &section);
    default_string(&section, "listen", &config->http_listen, "127.0.0.1:9180");
    read_listen(&section, "listen", &config->http_listen);
    section_end(&section);
}

/* Puts one override into the table of overrides. */
static void say(struct value *table, const char *key, const char *text)
{
    table->pairs[table->pair_count++] = (struct value_pair){
        .key = {.type = VALUE_STRING, .string = (char *)key, .size = strlen(key)},
        .value = {.type = VALUE_STRING, .string = (char *)text, .size = strlen(text)},
    };
}

/*
 * The environment and the flags win. They are read like a section of the file, so they are checked
 * like one; their problems appear under the names of the variables. An empty one is one not set,
 * except for the address, where it says "off".
 */
static void read_overrides(struct config *config, const struct config_overrides *overrides,
                           struct config_problems *problems)
{
    struct value_pair pairs[5];
    struct value table = {.type = VALUE_TABLE, .pairs = pairs};
    struct section section = {.problems = problems, .table = &table};
    const struct {
        const char *key;
        const char *text;
    } said[] = {
        {"NATS_URL", overrides->nats_url},
        {"NATS_CREDS", overrides->nats_creds},
        {"TIDEMILL_RULES", overrides->rules_dir},
        {"TIDEMILL_LOG_LEVEL", overrides->log_level},
    };
    for (size_t i = 0; i < COUNT(said); i++) {
        if (said[i].text != NULL && *said[i].text != '\0')
            say(&table, said[i].key, said[i].text);
    }
    if (overrides->http_listen != NULL)
        say(&table, "TIDEMILL_HTTP", overrides->http_listen);
    read_urls(&section, "NATS_URL", &config->nats.urls);
    section_string(&section, "NATS_CREDS", &config->nats.creds);
    section_string(&section, "TIDEMILL_RULES", &config->rules.dir);
    config_read_level(&section, "TIDEMILL_LOG_LEVEL", &config->log_level);
    read_listen(&section, "TIDEMILL_HTTP", &config->http_listen);
    config->rules.watch = config->rules.watch || overrides->watch;
}

int config_build(struct config *config, const struct value *root,
                 const struct config_overrides *overrides, struct config_problems *problems)
{
    *config = (struct config){.shutdown_timeout_ns = 20 * NS_PER_S};
    problems->count = 0;
    struct section section = {.problems = problems};
    if (root != NULL && root->type == VALUE_TABLE)
        section.table = root;
    else if (root != NULL && root->type != VALUE_NIL)
        section_add_problem(problems, "the configuration", "a table is wanted, not a %s",
                            value_type_name(root));
    read_nats(&section, &config->nats);
    read_streams(&section, config);
    read_sources(&section, config);
    read_rules(&section, &config->rules);
    read_dead_letter(&section, config);
    read_http(&section, config);
    config_read_log(&section, config);
    section_duration(&section, "shutdown_timeout", NS_PER_MS, &config->shutdown_timeout_ns);
    section_end(&section);
    if (overrides != NULL)
        read_overrides(config, overrides, problems);
    finish_nats(&config->nats, problems);
    default_timeouts(config);
    config_check(config, problems);
    return problems->count == 0 ? 0 : -1;
}

static void free_nats(struct nats_config *nats)
{
    string_list_free(&nats->urls);
    free(nats->name);
    free(nats->user);
    free(nats->password);
    free(nats->token);
    free(nats->creds);
    free(nats->nkey_seed);
    free(nats->tls.ca);
    free(nats->tls.cert);
    free(nats->tls.key);
    free(nats->tls.hostname);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    free_nats(&config->nats);
    for (size_t i = 0; i < config->stream_count; i++) {
        free(config->streams[i].name);
        string_list_free(&config->streams[i].subjects);
    }
    for (size_t i = 0; i < config->source_count; i++) {
        free(config->sources[i].stream);
        free(config->sources[i].durable);
        string_list_free(&config->sources[i].filter);
        free(config->sources[i].backoff_ns);
    }
    free(config->streams);
    free(config->sources);
    free(config->rules.dir);
    free(config->dead_letter_subject);
    free(config->http_listen);
    free(config->path);
    *config = (struct config){0};
}
