#include "bus/provision_compare.h"

#include "base/subject.h"
#include "base/units.h"
#include "bus/json_scan.h"
#include "bus/json_write.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A growing list of differences in a caller's text. */
struct differences {
    char *text;
    size_t used;
    int count;
};

static void add(struct differences *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct differences *list, const char *format, ...)
{
    size_t room = DIFFERENCES_SIZE - list->used;
    va_list args;
    va_start(args, format);
    int separator = snprintf(list->text + list->used, room, "%s", list->count > 0 ? ", " : "");
    if (separator >= 0 && (size_t)separator < room) {
        int written =
            vsnprintf(list->text + list->used + separator, room - (size_t)separator, format, args);
        list->used += (size_t)separator + (written > 0 ? (size_t)written : 0);
        if (list->used >= DIFFERENCES_SIZE)
            list->used = DIFFERENCES_SIZE - 1;
    }
    va_end(args);
    list->count++;
}

static struct differences start(char text[DIFFERENCES_SIZE])
{
    text[0] = '\0';
    return (struct differences){.text = text};
}

/* An integer of the reply; what is left out there has its Go zero value. */
static int64_t integer_at(const char *info, size_t size, const char *path)
{
    int64_t value;
    return json_scan_integer(info, size, path, &value) ? value : 0;
}

static void compare_integer(struct differences *list, const char *field, int64_t here,
                            int64_t there)
{
    if (here != there)
        add(list, "%s is %" PRId64 " in the configuration and %" PRId64 " in the server", field,
            here, there);
}

static void compare_duration(struct differences *list, const char *field, int64_t here,
                             int64_t there)
{
    char a[UNITS_DURATION_TEXT], b[UNITS_DURATION_TEXT];
    if (here != there)
        add(list, "%s is %s in the configuration and %s in the server", field,
            units_format_duration(here, a), units_format_duration(there < 0 ? 0 : there, b));
}

/* Writes up to `size` bytes of "a, b, c". */
static void join(const struct string_list *list, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, "%s", list->count == 0 ? "the whole stream" : "");
    for (size_t i = 0; i < list->count && used < size; i++) {
        int written = snprintf(text + used, size - used, "%s%s", i > 0 ? " " : "", list->items[i]);
        used += written > 0 ? (size_t)written : 0;
    }
}

static bool holds(const struct string_list *list, const char *item)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], item) == 0)
            return true;
    return false;
}

/* Whether the array of strings at `path` holds the same set as `list`, which has no item twice. */
static bool same_set(const struct string_list *list, const char *info, size_t size,
                     const char *path)
{
    int count = json_scan_count(info, size, path);
    if ((size_t)(count < 0 ? 0 : count) != list->count)
        return false;
    for (int i = 0; i < count; i++) {
        char item_path[64], item[SUBJECT_SIZE_MAX + 1];
        snprintf(item_path, sizeof(item_path), "%s.%d", path, i);
        if (!json_scan_string(info, size, item_path, item, sizeof(item)) || !holds(list, item))
            return false;
    }
    return true;
}

/* Writes the strings at `path` as join does. */
static void join_array(const char *info, size_t size, const char *path, char *text,
                       size_t text_size)
{
    size_t used = 0;
    int count = json_scan_count(info, size, path);
    text[0] = '\0';
    for (int i = 0; i < count && used < text_size; i++) {
        char item_path[64], item[SUBJECT_SIZE_MAX + 1];
        snprintf(item_path, sizeof(item_path), "%s.%d", path, i);
        json_scan_string(info, size, item_path, item, sizeof(item));
        int written = snprintf(text + used, text_size - used, "%s%s", i > 0 ? " " : "", item);
        used += written > 0 ? (size_t)written : 0;
    }
}

/* No duplicate window may be longer than max_age; the server refuses such a stream. */
static int64_t duplicate_window(const struct stream_config *stream)
{
    int64_t window = stream->duplicate_window_ns;
    if (stream->max_age_ns > 0 && window > stream->max_age_ns)
        return stream->max_age_ns;
    return window;
}

static int64_t no_limit_below_one(int64_t limit)
{
    return limit < 1 ? -1 : limit;
}

char *stream_create_body(const struct stream_config *stream)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        fputs("{\"name\":", out);
        json_write_string(out, stream->name);
        fputs(",\"subjects\":", out);
        json_write_strings(out, &stream->subjects);
        fprintf(out, ",\"retention\":\"limits\",\"discard\":\"old\",\"storage\":\"%s\"",
                stream->memory_storage ? "memory" : "file");
        fprintf(out, ",\"max_consumers\":-1,\"max_msg_size\":-1,\"max_age\":%" PRId64,
                stream->max_age_ns);
        fprintf(out, ",\"max_bytes\":%" PRId64 ",\"max_msgs\":%" PRId64,
                no_limit_below_one(stream->max_bytes), no_limit_below_one(stream->max_msgs));
        fprintf(out, ",\"duplicate_window\":%" PRId64 ",\"num_replicas\":%d}",
                duplicate_window(stream), stream->replicas);
    }
    return json_write_close(out, &text) == 0 ? text : NULL;
}

int stream_differences(const struct stream_config *stream, const char *info, size_t size,
                       char text[DIFFERENCES_SIZE])
{
    struct differences list = start(text);
    char storage[16] = "";
    if (!same_set(&stream->subjects, info, size, "config.subjects")) {
        char here[160], there[160];
        join(&stream->subjects, here, sizeof(here));
        join_array(info, size, "config.subjects", there, sizeof(there));
        add(&list, "subjects are %s in the configuration and %s in the server", here, there);
    }
    json_scan_string(info, size, "config.storage", storage, sizeof(storage));
    if (strcmp(storage, stream->memory_storage ? "memory" : "file") != 0)
        add(&list, "storage is %s in the configuration and %s in the server",
            stream->memory_storage ? "memory" : "file", storage);
    compare_duration(&list, "max_age", stream->max_age_ns,
                     integer_at(info, size, "config.max_age"));
    compare_integer(&list, "max_bytes", no_limit_below_one(stream->max_bytes),
                    no_limit_below_one(integer_at(info, size, "config.max_bytes")));
    compare_integer(&list, "max_msgs", no_limit_below_one(stream->max_msgs),
                    no_limit_below_one(integer_at(info, size, "config.max_msgs")));
    if (stream->duplicate_window_ns > 0)
        compare_duration(&list, "duplicate_window", duplicate_window(stream),
                         integer_at(info, size, "config.duplicate_window"));
    compare_integer(&list, "replicas", stream->replicas,
                    integer_at(info, size, "config.num_replicas"));
    return list.count;
}

bool pattern_covers(const char *outer, const char *inner)
{
    for (;;) {
        size_t outer_size = strcspn(outer, "."), inner_size = strcspn(inner, ".");
        if (*outer == '>')
            return true;
        if (*inner == '>')
            return false;
        bool wildcard = outer_size == 1 && *outer == '*';
        if (!wildcard && (outer_size != inner_size || memcmp(outer, inner, outer_size) != 0))
            return false;
        outer += outer_size;
        inner += inner_size;
        if (*outer == '\0' || *inner == '\0')
            return *outer == *inner;
        outer++;
        inner++;
    }
}

bool stream_takes(const char *info, size_t size, const char *pattern)
{
    int count = json_scan_count(info, size, "config.subjects");
    for (int i = 0; i < count; i++) {
        char path[64], subject[SUBJECT_SIZE_MAX + 1];
        snprintf(path, sizeof(path), "config.subjects.%d", i);
        if (json_scan_string(info, size, path, subject, sizeof(subject)) &&
            pattern_covers(subject, pattern))
            return true;
    }
    return false;
}

static const char *deliver_policy(enum start_at start_at)
{
    static const char *const names[] = {
        [START_ALL] = "all",
        [START_NEW] = "new",
        [START_LAST] = "last",
        [START_SEQUENCE] = "by_start_sequence",
        [START_TIME] = "by_start_time",
    };
    return names[start_at];
}

static const char *ack_policy(enum ack_mode ack)
{
    return ack == ACK_CUMULATIVE ? "all" : "explicit";
}

/* The fields that an update may change, each preceded by a comma. */
static void write_changeable(FILE *out, const struct source_config *source)
{
    fprintf(out, ",\"ack_wait\":%" PRId64 ",\"max_deliver\":-1,\"max_ack_pending\":%d",
            source->ack_wait_ns, source->max_ack_pending);
    if (source->filter.count == 1) {
        fputs(",\"filter_subject\":", out);
        json_write_string(out, source->filter.items[0]);
    } else if (source->filter.count > 1) {
        fputs(",\"filter_subjects\":", out);
        json_write_strings(out, &source->filter);
    }
}

/* The description of a consumer that does not start where the file says. */
static const char CONTINUED[] = "created again by tidemill behind what had been settled";

static void write_start(FILE *out, const struct source_config *source)
{
    fprintf(out, ",\"deliver_policy\":\"%s\"", deliver_policy(source->start));
    if (source->start == START_SEQUENCE)
        fprintf(out, ",\"opt_start_seq\":%" PRIu64, source->start_sequence);
    if (source->start == START_TIME) {
        char time[UNITS_TIME_TEXT];
        fprintf(out, ",\"opt_start_time\":\"%s\"",
                units_format_time(source->start_time_ns, 9, time));
    }
}

static char *create_body(const struct source_config *source, const uint64_t *settled)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL) {
        fputs("{\"stream_name\":", out);
        json_write_string(out, source->stream);
        fputs(",\"config\":{\"durable_name\":", out);
        json_write_string(out, source->durable);
        if (settled == NULL)
            write_start(out, source);
        else
            fprintf(out,
                    ",\"description\":\"%s\",\"deliver_policy\":\"by_start_sequence\","
                    "\"opt_start_seq\":%" PRIu64,
                    CONTINUED, *settled + 1);
        fprintf(out, ",\"ack_policy\":\"%s\",\"replay_policy\":\"instant\"",
                ack_policy(source->ack));
        write_changeable(out, source);
        fputs("}}", out);
    }
    return json_write_close(out, &text) == 0 ? text : NULL;
}

char *consumer_create_body(const struct source_config *source)
{
    return create_body(source, NULL);
}

char *consumer_continue_body(const struct source_config *source, uint64_t settled)
{
    return create_body(source, &settled);
}

/* Copies a member of the consumer's configuration, unless the file has its say on it. */
static void copy_member(const char *key, size_t key_size, const char *raw, size_t raw_size,
                        void *context)
{
    static const char *const ours[] = {"ack_wait",        "max_deliver", "max_ack_pending",
                                       "filter_subject",  "backoff",     "inactive_threshold",
                                       "filter_subjects", "durable_name"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strlen(ours[i]) == key_size && memcmp(ours[i], key, key_size) == 0)
            return;
    fprintf(context, ",\"%.*s\":%.*s", (int)key_size, key, (int)raw_size, raw);
}

char *consumer_update_body(const struct source_config *source, const char *info, size_t size)
{
    char *text = NULL;
    size_t text_size;
    FILE *out = open_memstream(&text, &text_size);
    if (out != NULL) {
        fputs("{\"stream_name\":", out);
        json_write_string(out, source->stream);
        fputs(",\"config\":{\"durable_name\":", out);
        json_write_string(out, source->durable);
        json_scan_members(info, size, "config", copy_member, out);
        write_changeable(out, source);
        fputs("}}", out);
    }
    return json_write_close(out, &text) == 0 ? text : NULL;
}

static int fixed_error(struct error *err, const char *field, const char *here, const char *there)
{
    return error_set(
        err,
        "%s is %s in the configuration and %s in the existing consumer, which the "
        "server cannot change: make the configuration agree, choose another durable, or "
        "delete the consumer (it then starts anew)",
        field, here, there);
}

static int check_start(const struct source_config *source, const char *info, size_t size,
                       struct error *err)
{
    char policy[32] = "", here[64], there[64] = "", description[sizeof(CONTINUED) + 1] = "";
    json_scan_string(info, size, "config.description", description, sizeof(description));
    if (strcmp(description, CONTINUED) == 0)
        return 0;
    json_scan_string(info, size, "config.deliver_policy", policy, sizeof(policy));
    if (strcmp(policy, deliver_policy(source->start)) != 0)
        return fixed_error(err, "start (deliver_policy)", deliver_policy(source->start), policy);
    if (source->start == START_SEQUENCE) {
        int64_t sequence = integer_at(info, size, "config.opt_start_seq");
        if (source->start_sequence == (uint64_t)sequence)
            return 0;
        snprintf(here, sizeof(here), "%" PRIu64, source->start_sequence);
        snprintf(there, sizeof(there), "%" PRId64, sequence);
        return fixed_error(err, "start.sequence (opt_start_seq)", here, there);
    }
    if (source->start == START_TIME) {
        int64_t time_ns = 0;
        json_scan_string(info, size, "config.opt_start_time", there, sizeof(there));
        if (units_parse_time(there, &time_ns, NULL) == 0 && time_ns == source->start_time_ns)
            return 0;
        units_format_time(source->start_time_ns, 9, here);
        return fixed_error(err, "start.time (opt_start_time)", here, there);
    }
    return 0;
}

int stream_check_cumulative(const char *info, size_t size, struct error *err)
{
    static const char why[] = "a message that leaves it before older ones would acknowledge those";
    char retention[32] = "";
    bool message_ttl = false;
    int64_t most = integer_at(info, size, "config.max_msgs_per_subject");
    json_scan_string(info, size, "config.retention", retention, sizeof(retention));
    json_scan_bool(info, size, "config.allow_msg_ttl", &message_ttl);
    if (strcmp(retention, "workqueue") == 0)
        return error_set(err, "ack is \"cumulative\", which a stream with the retention workqueue "
                              "does not take: use \"each\"");
    if (most > 0)
        return error_set(
            err,
            "ack is \"cumulative\", and the stream keeps max_msgs_per_subject = %" PRId64
            ": %s: use \"each\"",
            most, why);
    if (message_ttl)
        return error_set(
            err, "ack is \"cumulative\", and the stream has allow_msg_ttl: %s: use \"each\"", why);
    return 0;
}

int consumer_check_fixed(const struct source_config *source, const char *info, size_t size,
                         struct error *err)
{
    char policy[32] = "";
    if (json_scan_has(info, size, "config.deliver_subject"))
        return error_set(err,
                         "the existing consumer is a push consumer, and only pull consumers "
                         "can be worked with: choose another durable, or delete that consumer");
    /* From nats-server 2.11 on. It then answers no request that does not name a group. */
    if (json_scan_has(info, size, "config.priority_groups.0"))
        return error_set(err,
                         "the existing consumer has priority_groups, which tidemill does not ask "
                         "by: choose another durable, or delete that consumer");
    if (check_start(source, info, size, err) != 0)
        return -1;
    json_scan_string(info, size, "config.ack_policy", policy, sizeof(policy));
    if (strcmp(policy, ack_policy(source->ack)) != 0)
        return fixed_error(err, "ack (ack_policy)", ack_policy(source->ack), policy);
    return 0;
}

/* The reply gives one filter as `filter_subject`, several as `filter_subjects`. */
static void compare_filter(struct differences *list, const struct source_config *source,
                           const char *info, size_t size)
{
    char here[160], there[160] = "", one[SUBJECT_SIZE_MAX + 1];
    if (json_scan_count(info, size, "config.filter_subjects") > 0) {
        if (same_set(&source->filter, info, size, "config.filter_subjects"))
            return;
        join_array(info, size, "config.filter_subjects", there, sizeof(there));
    } else if (json_scan_string(info, size, "config.filter_subject", one, sizeof(one)) &&
               *one != '\0') {
        if (source->filter.count == 1 && strcmp(source->filter.items[0], one) == 0)
            return;
        snprintf(there, sizeof(there), "%.*s", (int)sizeof(there) - 1, one);
    } else {
        if (source->filter.count == 0)
            return;
        snprintf(there, sizeof(there), "the whole stream");
    }
    join(&source->filter, here, sizeof(here));
    add(list, "filter is %s in the configuration and %s in the server", here, there);
}

int consumer_differences(const struct source_config *source, const char *info, size_t size,
                         char text[DIFFERENCES_SIZE])
{
    struct differences list = start(text);
    compare_filter(&list, source, info, size);
    if (json_scan_count(info, size, "config.backoff") > 0)
        add(&list, "backoff is kept by tidemill and set in the server");
    else
        compare_duration(&list, "ack_wait", source->ack_wait_ns,
                         integer_at(info, size, "config.ack_wait"));
    compare_integer(&list, "max_ack_pending", source->max_ack_pending,
                    integer_at(info, size, "config.max_ack_pending"));
    /* The limit of deliveries is enforced here, so that the server drops no message silently. */
    compare_integer(&list, "max_deliver (of the server)", -1,
                    integer_at(info, size, "config.max_deliver"));
    compare_duration(&list, "inactive_threshold", 0,
                     integer_at(info, size, "config.inactive_threshold"));
    return list.count;
}
