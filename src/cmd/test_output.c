#include "cmd/test_output.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct test_output {
    FILE *stream;
    void (*add)(struct test_output *output, const struct test_result *result);
    void (*end)(struct test_output *output);
    size_t count, failed, skipped;
    int64_t duration_ns;
    bool colours;
    char *last_file; /* text: whose heading has been written */
    char *cases;     /* junit: what goes between the first line and the last */
    size_t cases_size;
    FILE *cases_stream;
};

static const char *name_of(const struct test_result *result)
{
    return result->name != NULL ? result->name : "cannot be run";
}

/* Writes each line of `text` behind `indent`. */
static void write_lines(FILE *stream, const char *indent, const char *text)
{
    while (*text != '\0') {
        int size = (int)strcspn(text, "\n");
        fprintf(stream, "%s%.*s\n", indent, size, text);
        text += size;
        if (*text == '\n')
            text++;
    }
}

/* --- for people ------------------------------------------------------------------------------- */

static const char *colour(const struct test_output *output, const char *code)
{
    return output->colours ? code : "";
}

static void add_text(struct test_output *output, const struct test_result *result)
{
    static const char *const marks[] = {"ok     ", "FAILED ", "pending"};
    static const char *const colours[] = {"\033[32m", "\033[31m", "\033[33m"};
    if (output->last_file == NULL || strcmp(output->last_file, result->file) != 0) {
        fprintf(output->stream, "%s%s\n", output->last_file != NULL ? "\n" : "", result->file);
        free(output->last_file);
        output->last_file = strdup(result->file);
    }
    fprintf(output->stream, "  %s%s%s %s\n", colour(output, colours[result->outcome]),
            marks[result->outcome], colour(output, "\033[0m"), name_of(result));
    if (result->message != NULL)
        write_lines(output->stream, "      ", result->message);
}

static void end_text(struct test_output *output)
{
    size_t passed = output->count - output->failed - output->skipped;
    fprintf(output->stream, "%s%s%zu passed, %zu failed%s", output->count > 0 ? "\n" : "",
            colour(output, output->failed > 0 ? "\033[31m" : "\033[32m"), passed, output->failed,
            colour(output, "\033[0m"));
    if (output->skipped > 0)
        fprintf(output->stream, ", %zu pending", output->skipped);
    fprintf(output->stream, " (%.2f s)\n", (double)output->duration_ns / 1e9);
}

/* --- TAP -------------------------------------------------------------------------------------- */

/* A name in TAP: no line ends, and no # that would begin a directive. */
static void write_tap_name(FILE *stream, const char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == '#')
            putc('\\', stream);
        putc(*name == '\n' || *name == '\r' ? ' ' : *name, stream);
    }
}

static void add_tap(struct test_output *output, const struct test_result *result)
{
    if (output->count == 1)
        fputs("TAP version 13\n", output->stream);
    fprintf(output->stream, "%s %zu - ", result->outcome == TEST_FAILED ? "not ok" : "ok",
            output->count);
    write_tap_name(output->stream, result->file);
    fputs(": ", output->stream);
    write_tap_name(output->stream, name_of(result));
    fputs(result->outcome == TEST_SKIPPED ? " # SKIP pending\n" : "\n", output->stream);
    if (result->message != NULL)
        write_lines(output->stream, "  # ", result->message);
}

static void end_tap(struct test_output *output)
{
    if (output->count == 0)
        fputs("TAP version 13\n", output->stream);
    fprintf(output->stream, "1..%zu\n", output->count);
}

/* --- JUnit ------------------------------------------------------------------------------------ */

/* XML 1.0 has no place for most control characters, not even escaped. */
static void write_xml(FILE *stream, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '&')
            fputs("&amp;", stream);
        else if (c == '<')
            fputs("&lt;", stream);
        else if (c == '>')
            fputs("&gt;", stream);
        else if (c == '"')
            fputs("&quot;", stream);
        else if (c < 0x20 && c != '\n' && c != '\t')
            putc('?', stream);
        else
            putc(c, stream);
    }
}

static void write_case(FILE *stream, const struct test_result *result)
{
    fputs("  <testcase classname=\"", stream);
    write_xml(stream, result->file);
    fputs("\" name=\"", stream);
    write_xml(stream, name_of(result));
    fprintf(stream, "\" time=\"%.6f\"", (double)result->duration_ns / 1e9);
    if (result->outcome == TEST_PASSED) {
        fputs("/>\n", stream);
    } else if (result->outcome == TEST_SKIPPED) {
        fputs("><skipped/></testcase>\n", stream);
    } else {
        char first[256];
        snprintf(first, sizeof(first), "%.*s", (int)strcspn(result->message, "\n"),
                 result->message);
        fputs("><failure message=\"", stream);
        write_xml(stream, first);
        fputs("\">", stream);
        write_xml(stream, result->message);
        fputs("</failure></testcase>\n", stream);
    }
}

static void add_junit(struct test_output *output, const struct test_result *result)
{
    write_case(output->cases_stream, result);
}

static void end_junit(struct test_output *output)
{
    fflush(output->cases_stream);
    fprintf(output->stream,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuite name=\"tidemill\" tests=\"%zu\" failures=\"%zu\" skipped=\"%zu\" "
            "time=\"%.6f\">\n",
            output->count, output->failed, output->skipped, (double)output->duration_ns / 1e9);
    fwrite(output->cases, 1, output->cases_size, output->stream);
    fputs("</testsuite>\n", output->stream);
}

/* --- all of them ------------------------------------------------------------------------------ */

struct test_output *test_output_open(const char *format, FILE *stream)
{
    struct test_output *output = calloc(1, sizeof(*output));
    if (output == NULL)
        return NULL;
    output->stream = stream;
    const char *no_colour = getenv("NO_COLOR");
    output->colours = isatty(fileno(stream)) && (no_colour == NULL || no_colour[0] == '\0');
    if (strcmp(format, "text") == 0) {
        output->add = add_text;
        output->end = end_text;
    } else if (strcmp(format, "tap") == 0) {
        output->add = add_tap;
        output->end = end_tap;
    } else if (strcmp(format, "junit") == 0) {
        output->add = add_junit;
        output->end = end_junit;
        output->cases_stream = open_memstream(&output->cases, &output->cases_size);
    }
    if (output->add == NULL || (output->add == add_junit && output->cases_stream == NULL)) {
        free(output);
        return NULL;
    }
    return output;
}

void test_output_add(struct test_output *output, const struct test_result *result)
{
    output->count++;
    output->failed += result->outcome == TEST_FAILED;
    output->skipped += result->outcome == TEST_SKIPPED;
    output->duration_ns += result->duration_ns;
    output->add(output, result);
}

size_t test_output_close(struct test_output *output, size_t *count)
{
    size_t failed = output->failed;
    *count = output->count;
    output->end(output);
    fflush(output->stream);
    if (output->cases_stream != NULL)
        fclose(output->cases_stream);
    free(output->cases);
    free(output->last_file);
    free(output);
    return failed;
}
