#include "base/config_check.h"

#include <stdio.h>
#include <string.h>

#include "base/config_section.h"
#include "base/subject.h"
#include "base/units.h"

/* The path of a key or an element, to point at it. */
struct place {
    char text[96];
};

static struct place at(const char *list, size_t index, const char *key)
{
    struct place place;
    snprintf(place.text, sizeof(place.text), "%s[%zu]%s%s", list, index + 1,
             *key != '\0' ? "." : "", key);
    return place;
}

static struct place at_element(const char *list, size_t index, const char *key, size_t element)
{
    struct place place;
    snprintf(place.text, sizeof(place.text), "%s[%zu].%s[%zu]", list, index + 1, key, element + 1);
    return place;
}

void config_check_name(const char *name, const char *path, struct config_problems *problems)
{
    enum { NAME_SIZE_MAX = 255 };
    size_t bad = strcspn(name, ". \\/*>");
    if (name[bad] == ' ')
        section_add_problem(problems, path, "'%.60s' is no name: it has a space", name);
    else if (name[bad] != '\0')
        section_add_problem(problems, path, "'%.60s' is no name: it has a '%c'", name, name[bad]);
    else if (strlen(name) > NAME_SIZE_MAX)
        section_add_problem(problems, path, "is no name: it has more than %d bytes", NAME_SIZE_MAX);
}

/* Whether `port` is a decimal number up to 65535; 0 lets the system choose. */
static bool is_port(const char *port)
{
    long number = 0;
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits > 5 || port[digits] != '\0')
        return false;
    for (; *port != '\0'; port++)
        number = number * 10 + (*port - '0');
    return number <= 65535;
}

void config_check_listen(const char *listen, const char *path, struct config_problems *problems)
{
    enum { HOST_SIZE_MAX = 255 };
    const char *colon = strrchr(listen, ':');
    size_t size = colon != NULL ? (size_t)(colon - listen) : 0;
    bool bracketed = size >= 2 && *listen == '[' && colon[-1] == ']';
    size_t inside = bracketed ? 1 : 0; /* where the host begins, and how much is behind it */
    bool wrong = colon == NULL || !is_port(colon + 1) || size - 2 * inside > HOST_SIZE_MAX;
    for (size_t i = inside; !wrong && i < size - inside; i++)
        wrong = listen[i] == '[' || listen[i] == ']';
    if (wrong)
        section_add_problem(problems, path,
                            "'%.60s' is no address and port (write it like 127.0.0.1:9180)",
                            listen);
    else if (size == 2 * inside)
        section_add_problem(problems, path,
                            "'%.60s' has no address (0.0.0.0%.6s listens on all of them)", listen,
                            colon);
    else if (!bracketed && memchr(listen, ':', size) != NULL)
        section_add_problem(problems, path, "'%.60s' needs brackets: [%.*s]%.6s", listen,
                            size > 60 ? 60 : (int)size, listen, colon);
}

/* Patterns of one list that meet: the server refuses such a consumer, and such a stream. */
static void check_overlaps_within(const struct string_list *patterns, const char *list,
                                  size_t index, const char *key, struct config_problems *problems)
{
    for (size_t i = 0; i < patterns->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!subject_patterns_overlap(patterns->items[i], patterns->items[j]))
                continue;
            section_add_problem(problems, at_element(list, index, key, i).text,
                                "'%.60s' overlaps with '%.60s'", patterns->items[i],
                                patterns->items[j]);
            break;
        }
    }
}

/* Subjects that an earlier stream has too. */
static void check_overlaps_between(const struct config *config, size_t index,
                                   struct config_problems *problems)
{
    const struct string_list *subjects = &config->streams[index].subjects;
    for (size_t i = 0; i < subjects->count; i++) {
        for (size_t other = 0; other < index; other++) {
            const struct string_list *theirs = &config->streams[other].subjects;
            for (size_t j = 0; j < theirs->count; j++) {
                if (!subject_patterns_overlap(subjects->items[i], theirs->items[j]))
                    continue;
                section_add_problem(problems, at_element("streams", index, "subjects", i).text,
                                    "'%.60s' overlaps with '%.60s' of streams[%zu]; a subject "
                                    "belongs to one stream",
                                    subjects->items[i], theirs->items[j], other + 1);
                return;
            }
        }
    }
}

static void check_stream(const struct config *config, size_t index,
                         struct config_problems *problems)
{
    const struct stream_config *stream = &config->streams[index];
    for (size_t i = 0; i < index && stream->name != NULL; i++) {
        if (config->streams[i].name == NULL || strcmp(stream->name, config->streams[i].name) != 0)
            continue;
        section_add_problem(problems, at("streams", index, "name").text,
                            "'%.60s' is also the name of streams[%zu]", stream->name, i + 1);
        return; /* their subjects would only say it again */
    }
    check_overlaps_within(&stream->subjects, "streams", index, "subjects", problems);
    check_overlaps_between(config, index, problems);
}

/* The stream with this name in `streams`; NULL when it is not there. */
static const struct stream_config *find_stream(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->stream_count; i++) {
        if (config->streams[i].name != NULL && strcmp(config->streams[i].name, name) == 0)
            return &config->streams[i];
    }
    return NULL;
}

/* Filters that can match nothing of their stream, when the stream is configured here. */
static void check_filter_in_stream(const struct config *config, size_t index,
                                   struct config_problems *problems)
{
    const struct source_config *source = &config->sources[index];
    const struct stream_config *stream =
        source->stream != NULL ? find_stream(config, source->stream) : NULL;
    if (stream == NULL || stream->subjects.count == 0)
        return;
    for (size_t i = 0; i < source->filter.count; i++) {
        bool inside = false;
        for (size_t j = 0; j < stream->subjects.count && !inside; j++)
            inside = subject_patterns_overlap(source->filter.items[i], stream->subjects.items[j]);
        if (!inside)
            section_add_problem(problems, at_element("sources", index, "filter", i).text,
                                "'%.60s' matches no subject of the stream %.60s (it has '%.60s'%s)",
                                source->filter.items[i], stream->name, stream->subjects.items[0],
                                stream->subjects.count > 1 ? " and others" : "");
    }
}

static bool same_consumer(const struct source_config *a, const struct source_config *b)
{
    return a->stream != NULL && b->stream != NULL && a->durable != NULL && b->durable != NULL &&
           strcmp(a->stream, b->stream) == 0 && strcmp(a->durable, b->durable) == 0;
}

static void check_source(const struct config *config, size_t index,
                         struct config_problems *problems)
{
    const struct source_config *source = &config->sources[index];
    for (size_t i = 0; i < index; i++) {
        if (!same_consumer(source, &config->sources[i]))
            continue;
        section_add_problem(problems, at("sources", index, "").text,
                            "has the same stream and durable as sources[%zu] (workers = N runs "
                            "one source several times)",
                            i + 1);
        break;
    }
    if (source->ack == ACK_CUMULATIVE && source->workers > 1)
        section_add_problem(problems, at("sources", index, "ack").text,
                            "\"cumulative\" is for one worker, and workers is %d", source->workers);
    check_overlaps_within(&source->filter, "sources", index, "filter", problems);
    check_filter_in_stream(config, index, problems);
}

/* A call must end before the server gives its message to somebody else. */
static void check_timeouts(const struct config *config, struct config_problems *problems)
{
    const struct rules_config *rules = &config->rules;
    char hard[UNITS_DURATION_TEXT], other[UNITS_DURATION_TEXT];
    units_format_duration(rules->hard_timeout_ns, hard);
    if (rules->timeout_ns >= rules->hard_timeout_ns)
        section_add_problem(problems, "rules.timeout",
                            "%s must be less than hard_timeout (%s; where it is not given, at most "
                            "two thirds of the shortest ack_wait)",
                            units_format_duration(rules->timeout_ns, other), hard);
    for (size_t i = 0; i < config->source_count; i++) {
        if (rules->hard_timeout_ns < config->sources[i].ack_wait_ns)
            continue;
        section_add_problem(problems, "rules.hard_timeout",
                            "%s must be less than sources[%zu].ack_wait (%s)", hard, i + 1,
                            units_format_duration(config->sources[i].ack_wait_ns, other));
        return;
    }
}

static void check_nats(const struct nats_config *nats, struct config_problems *problems)
{
    if (nats->user != NULL && nats->password == NULL)
        section_add_problem(problems, "nats.user", "needs a password (or password_file)");
    if (nats->user == NULL && nats->password != NULL)
        section_add_problem(problems, "nats.password", "needs a user");
    if (nats->tls.cert != NULL && nats->tls.key == NULL)
        section_add_problem(problems, "nats.tls.cert", "needs a key");
    if (nats->tls.cert == NULL && nats->tls.key != NULL)
        section_add_problem(problems, "nats.tls.key", "needs a cert");
}

void config_check(const struct config *config, struct config_problems *problems)
{
    check_nats(&config->nats, problems);
    for (size_t i = 0; i < config->stream_count; i++)
        check_stream(config, i, problems);
    for (size_t i = 0; i < config->source_count; i++)
        check_source(config, i, problems);
    check_timeouts(config, problems);
}
