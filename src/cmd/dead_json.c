#include "base/units.h"
#include "cmd/dead.h"
#include "cmd/dead_text.h"
#include "ops/escape.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void write_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, ",\"%s\":", name);
    if (text == NULL)
        fputs("null", out);
    else
        escape_json(out, text);
}

/* A header that should be a number. */
static void write_number(FILE *out, const char *name, const char *text)
{
    char *end = NULL;
    unsigned long long number = text != NULL ? strtoull(text, &end, 10) : 0;
    if (end == NULL || end == text || *end != '\0')
        fprintf(out, ",\"%s\":null", name);
    else
        fprintf(out, ",\"%s\":%llu", name, number);
}

static void write_error(FILE *out, const char *error)
{
    char *text = error != NULL ? dead_text_unescape(error) : NULL;
    write_text(out, "error", text != NULL ? text : error);
    free(text);
}

/* Headers come name by name, so the values of one name follow each other. */
struct headers {
    FILE *out;
    char *last; /* the name whose list is open; NULL: none */
};

static void write_header(void *context, const char *name, const char *value)
{
    struct headers *headers = context;
    if (headers->last != NULL && strcmp(headers->last, name) == 0) {
        fputc(',', headers->out);
    } else {
        if (headers->last != NULL)
            fputs("],", headers->out);
        free(headers->last);
        headers->last = strdup(name);
        escape_json(headers->out, name);
        fputs(":[", headers->out);
    }
    escape_json(headers->out, value);
}

static void write_headers(FILE *out, const struct dead_letter *letter)
{
    struct headers headers = {.out = out};
    fputs(",\"headers\":{", out);
    dead_letter_each_header(letter, write_header, &headers);
    fputs(headers.last != NULL ? "]}" : "}", out);
    free(headers.last);
}

static void write_payload(FILE *out, const struct dead_letter *letter)
{
    if (!dead_text_is_utf8(letter->payload, letter->size)) {
        fputs(",\"payload_base64\":\"", out);
        escape_base64(out, letter->payload, letter->size);
        fputc('"', out);
        return;
    }
    write_text(out, "payload", letter->payload); /* libnats ends payloads with a NUL */
}

void dead_write_json(FILE *out, const struct dead_letter *letter, bool payload)
{
    char when[UNITS_TIME_TEXT];
    fprintf(out, "{\"sequence\":%" PRIu64 ",\"time\":\"%s\"", letter->sequence,
            units_format_time(letter->time_ns, 3, when));
    write_text(out, "reason", letter->reason);
    write_text(out, "rule", letter->rule);
    write_error(out, letter->error);
    write_text(out, "subject", letter->subject);
    write_text(out, "stream", letter->stream);
    write_number(out, "stream_sequence", letter->stream_sequence);
    write_text(out, "consumer", letter->consumer);
    write_number(out, "delivered", letter->delivered);
    write_text(out, "rules_version", letter->rules_version);
    write_headers(out, letter);
    fprintf(out, ",\"size\":%zu", letter->size);
    if (payload)
        write_payload(out, letter);
    fputs("}\n", out);
}
