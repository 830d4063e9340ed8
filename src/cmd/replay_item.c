#include "cmd/replay_item.h"

#include "bus/json_scan.h"
#include "bus/json_write.h"
#include "cmd/dead_text.h"
#include "ops/escape.h"

#include <stdlib.h>
#include <string.h>

/* --- JSON with its keys in order -------------------------------------------------------------- */

/*
 * Lua tables have no order, and each engine has another one: the same table may come as
 * {"a":1,"b":2} and as {"b":2,"a":1}. The text is valid here.
 */

struct span {
    const char *at, *end;
};

struct member {
    struct span key, value;
};

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* Behind the string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : end;
}

/* Behind the value that begins at `at`. */
static const char *skip_value(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else {
            at++;
            if (depth == 0)
                while (at < end && strchr(",]} \t\r\n", *at) == NULL)
                    at++;
        }
        if (depth == 0)
            break;
    }
    return at;
}

static int compare_members(const void *left, const void *right)
{
    const struct span *a = &((const struct member *)left)->key;
    const struct span *b = &((const struct member *)right)->key;
    size_t a_size = (size_t)(a->end - a->at), b_size = (size_t)(b->end - b->at);
    int order = memcmp(a->at, b->at, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static void write_ordered(FILE *out, struct span value);

static void write_object(FILE *out, struct span object)
{
    struct member few[32], *members = few;
    size_t count = 0, capacity = sizeof(few) / sizeof(few[0]);
    const char *at = skip_space(object.at + 1, object.end);
    while (at < object.end && *at == '"') {
        if (count == capacity) {
            struct member *more = malloc(2 * capacity * sizeof(*more));
            if (more == NULL)
                break;
            memcpy(more, members, count * sizeof(*more));
            if (members != few)
                free(members);
            members = more;
            capacity *= 2;
        }
        struct member *member = &members[count++];
        member->key = (struct span){at, skip_string(at, object.end)};
        at = skip_space(skip_space(member->key.end, object.end) + 1, object.end);
        member->value = (struct span){at, skip_value(at, object.end)};
        at = skip_space(member->value.end, object.end);
        if (at < object.end && *at == ',')
            at = skip_space(at + 1, object.end);
    }
    qsort(members, count, sizeof(*members), compare_members);
    for (size_t i = 0; i < count; i++) {
        fputc(i == 0 ? '{' : ',', out);
        fwrite(members[i].key.at, 1, (size_t)(members[i].key.end - members[i].key.at), out);
        fputc(':', out);
        write_ordered(out, members[i].value);
    }
    fputs(count == 0 ? "{}" : "}", out);
    if (members != few)
        free(members);
}

static void write_array(FILE *out, struct span array)
{
    const char *at = skip_space(array.at + 1, array.end);
    fputc('[', out);
    while (at < array.end && *at != ']') {
        struct span value = {at, skip_value(at, array.end)};
        write_ordered(out, value);
        at = skip_space(value.end, array.end);
        if (at < array.end && *at == ',') {
            fputc(',', out);
            at = skip_space(at + 1, array.end);
        }
    }
    fputc(']', out);
}

/* Without white space, too. Nested no deeper than what json_scan_valid lets pass. */
static void write_ordered(FILE *out, struct span value)
{
    if (*value.at == '{')
        write_object(out, value);
    else if (*value.at == '[')
        write_array(out, value);
    else
        fwrite(value.at, 1, (size_t)(value.end - value.at), out);
}

/* --- the parts of an item --- */

static void write_payload(FILE *out, const char *payload, size_t size)
{
    bool is_text = dead_text_is_utf8(payload, size);
    if (is_text && json_scan_valid(payload, size)) {
        const char *at = skip_space(payload, payload + size);
        fputs("\"data\":", out);
        write_ordered(out, (struct span){at, skip_value(at, payload + size)});
    } else if (is_text) {
        char *text = strndup(payload, size);
        fputs("\"raw\":", out);
        escape_json(out, text != NULL ? text : "");
        free(text);
    } else {
        fputs("\"raw_base64\":\"", out);
        escape_base64(out, payload, size);
        fputc('"', out);
    }
}

static int compare_headers(const void *a, const void *b)
{
    const struct header *left = *(const struct header *const *)a;
    const struct header *right = *(const struct header *const *)b;
    return strcmp(left->name, right->name);
}

/* In order, for they come from a table. */
static void write_headers(FILE *out, const struct output *output)
{
    const struct header **headers =
        (const struct header **)malloc(output->header_count * sizeof(*headers));
    if (headers == NULL)
        return;
    for (size_t i = 0; i < output->header_count; i++)
        headers[i] = &output->headers[i];
    qsort((void *)headers, output->header_count, sizeof(*headers), compare_headers);
    for (size_t i = 0; i < output->header_count; i++) {
        fputs(i == 0 ? ",\"headers\":{" : ",", out);
        escape_json(out, headers[i]->name);
        fputc(':', out);
        escape_json(out, headers[i]->value);
    }
    fputc('}', out);
    free((void *)headers);
}

static void write_output(FILE *out, const void *what)
{
    const struct output *output = what;
    fputs("\"subject\":", out);
    escape_json(out, output->subject);
    fputc(',', out);
    write_payload(out, output->payload, output->payload_size);
    if (output->header_count > 0)
        write_headers(out, output);
    if (output->ttl_ns > 0)
        fprintf(out, ",\"ttl\":%.9g", (double)output->ttl_ns / 1e9);
    if (!output->durable)
        fputs(",\"durable\":false", out);
    if (output->id != NULL) {
        fputs(",\"id\":", out);
        escape_json(out, output->id);
    }
}

static void write_verdict(FILE *out, const void *what)
{
    const struct call_result *result = what;
    if (result->outcome == OUTCOME_RETRY) {
        fprintf(out, "\"verdict\":\"retry\",\"delay\":%.9g", (double)result->retry_ns / 1e9);
        return;
    }
    fprintf(out, "\"verdict\":\"%s\",\"reason\":\"%s\"",
            result->outcome == OUTCOME_REJECT ? "reject" : "error", cause_name(result->cause));
}

/* --- items --- */

void replay_items_init(struct replay_items *items)
{
    items->first = NULL;
    items->last = &items->first;
    items->count = 0;
}

static void free_item(struct replay_item *item)
{
    free(item->rule);
    free(item->members);
    free(item->key);
    free(item->text);
    free(item);
}

void replay_items_clear(struct replay_items *items)
{
    while (items->first != NULL) {
        struct replay_item *item = items->first;
        items->first = item->next;
        free_item(item);
    }
    replay_items_init(items);
}

/* Appends an item whose texts are still missing. */
static struct replay_item *add(struct replay_items *items, const struct call_result *result,
                               size_t number, bool timer, int64_t time_ns)
{
    struct replay_item *item = calloc(1, sizeof(*item));
    if (item == NULL)
        return NULL;
    item->rule = strdup(result->rule);
    item->number = number;
    item->timer = timer;
    item->time_ns = time_ns;
    *items->last = item;
    items->last = &item->next;
    items->count++;
    return item;
}

/* What `write` makes of `what`; malloc'ed. NULL: out of memory. */
static char *text_of(void (*write)(FILE *out, const void *what), const void *what)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL)
        write(out, what);
    json_write_close(out, &text);
    return text;
}

static void write_output_text(FILE *out, const void *what)
{
    const struct output *output = what;
    fprintf(out, "%s ", output->subject);
    bool is_text = dead_text_is_utf8(output->payload, output->payload_size);
    if (is_text && json_scan_valid(output->payload, output->payload_size)) {
        const char *end = output->payload + output->payload_size;
        const char *at = skip_space(output->payload, end);
        write_ordered(out, (struct span){at, skip_value(at, end)});
    } else {
        dead_text_write(out, output->payload, output->payload_size, false);
    }
    for (size_t i = 0; i < output->header_count; i++) {
        fprintf(out, " [%s: ", output->headers[i].name);
        dead_text_write(out, output->headers[i].value, strlen(output->headers[i].value), false);
        fputc(']', out);
    }
    if (output->id != NULL)
        fprintf(out, " [id %s]", output->id);
    if (output->ttl_ns > 0)
        fprintf(out, " [ttl %.9g s]", (double)output->ttl_ns / 1e9);
    if (!output->durable)
        fputs(" [not durable]", out);
}

static int add_output(struct replay_items *items, const struct call_result *result, size_t index,
                      bool timer, int64_t time_ns, bool texts)
{
    const struct output *output = &result->outputs[index];
    struct replay_item *item = add(items, result, index + 1, timer, time_ns);
    if (item == NULL)
        return -1;
    item->own_id = output->id != NULL;
    item->members = text_of(write_output, output);
    if (texts)
        item->text = text_of(write_output_text, output);
    bool complete = item->rule != NULL && item->members != NULL && (!texts || item->text != NULL);
    return complete ? 0 : -1;
}

static void write_verdict_members(FILE *out, const void *what)
{
    const struct call_result *result = what;
    write_verdict(out, result);
    if (result->error != NULL) {
        fputs(",\"error\":", out);
        escape_json(out, result->error);
    }
}

static void write_verdict_text(FILE *out, const void *what)
{
    const struct call_result *result = what;
    if (result->outcome == OUTCOME_RETRY) {
        fprintf(out, "retry in %.9g s", (double)result->retry_ns / 1e9);
        return;
    }
    fputs(result->outcome == OUTCOME_REJECT ? "reject: " : "error: ", out);
    const char *error = result->error != NULL ? result->error : cause_name(result->cause);
    dead_text_write(out, error, strlen(error), false);
}

/* Of an error only its kind counts: its words name a file and a line, which move. */
static int add_verdict(struct replay_items *items, const struct call_result *result, bool timer,
                       int64_t time_ns, bool texts)
{
    struct replay_item *item = add(items, result, 0, timer, time_ns);
    if (item == NULL)
        return -1;
    item->members = text_of(write_verdict_members, result);
    item->key = text_of(write_verdict, result);
    if (texts)
        item->text = text_of(write_verdict_text, result);
    bool complete = item->rule != NULL && item->members != NULL && item->key != NULL &&
                    (!texts || item->text != NULL);
    return complete ? 0 : -1;
}

int replay_items_add(struct replay_items *items, const struct call_result *result, bool timer,
                     int64_t time_ns, bool texts)
{
    if (result->outcome != OUTCOME_DONE)
        return add_verdict(items, result, timer, time_ns, texts);
    for (size_t i = 0; i < result->output_count; i++)
        if (add_output(items, result, i, timer, time_ns, texts) != 0)
            return -1;
    return 0;
}

static bool same(const struct replay_item *a, const struct replay_item *b)
{
    return a->timer == b->timer && a->time_ns == b->time_ns &&
           (a->key == NULL) == (b->key == NULL) &&
           strcmp(a->key != NULL ? a->key : a->members, b->key != NULL ? b->key : b->members) == 0;
}

/* Takes the item at `at` out of its list and frees it. */
static void take_out(struct replay_items *items, struct replay_item **at)
{
    struct replay_item *item = *at;
    *at = item->next;
    if (items->last == &item->next)
        items->last = at;
    items->count--;
    free_item(item);
}

void replay_items_cancel(struct replay_items *a, struct replay_items *b)
{
    struct replay_item **left = &a->first;
    while (*left != NULL) {
        struct replay_item **right = &b->first;
        while (*right != NULL && !same(*left, *right))
            right = &(*right)->next;
        if (*right == NULL) {
            left = &(*left)->next;
            continue;
        }
        take_out(b, right);
        take_out(a, left);
    }
}
