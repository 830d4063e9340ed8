#include "base/clock.h"
#include "base/units.h"
#include "cmd/command.h"
#include "cmd/dead.h"
#include "cmd/dead_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct show {
    const struct dead_letters *letters;
    const struct dead_words *words;
    bool headed; /* a header has been printed */
};

static void print_text(const char *text)
{
    if (text == NULL)
        text = "-";
    dead_text_write(stdout, text, strlen(text), false);
}

/* A line about the letter; `between` and `second` only where there is a second. */
static void print_line(const char *label, const char *first, const char *between,
                       const char *second)
{
    printf("%-10s", label);
    print_text(first);
    if (second != NULL) {
        fputs(between, stdout);
        print_text(second);
    }
    putchar('\n');
}

static void print_header(void *context, const char *name, const char *value)
{
    struct show *show = context;
    if (!show->headed)
        puts("headers:");
    show->headed = true;
    fputs("  ", stdout);
    print_text(name);
    fputs(": ", stdout);
    print_text(value);
    putchar('\n');
}

/* The error and its traceback, each line set in. */
static void print_error(const char *error)
{
    char *text = error != NULL ? dead_text_unescape(error) : NULL;
    const char *at = text != NULL ? text : error;
    if (at == NULL)
        return;
    puts("error:");
    for (;;) {
        size_t size = strcspn(at, "\n");
        fputs("  ", stdout);
        dead_text_write(stdout, at, size, true);
        putchar('\n');
        if (at[size] == '\0')
            break;
        at += size + 1;
    }
    free(text);
}

/* Byte for byte, except that a terminal is not sent what it would obey. */
static void print_payload(const struct dead_letter *letter)
{
    printf("payload:  %zu bytes\n", letter->size);
    if (isatty(STDOUT_FILENO) == 1)
        dead_text_write(stdout, letter->payload, letter->size, true);
    else
        fwrite(letter->payload, 1, letter->size, stdout);
    if (letter->size > 0 && letter->payload[letter->size - 1] != '\n')
        putchar('\n');
}

static void print_letter(struct show *show, const struct dead_letter *letter)
{
    char when[UNITS_TIME_TEXT], age[DEAD_TEXT_AGE];
    printf("dead letter %" PRIu64 " of stream %s, stored %s (%s ago)\n", letter->sequence,
           show->letters->stream, units_format_time(letter->time_ns, 3, when),
           dead_text_age(letter->time_ns, clock_wall_ns(), age));
    print_line("subject:", letter->subject, "", NULL);
    print_line("input:", letter->stream, " sequence ", letter->stream_sequence);
    print_line("consumer:", letter->consumer, ", tries: ", letter->delivered);
    print_line("reason:", letter->reason, "", NULL);
    print_line("rule:", letter->rule, ", rules version ", letter->rules_version);
    dead_letter_each_header(letter, print_header, show);
    print_error(letter->error);
    print_payload(letter);
}

static int visit(void *context, const struct dead_letter *letter, struct error *err)
{
    struct show *show = context;
    (void)err;
    if (show->words->payload)
        fwrite(letter->payload, 1, letter->size, stdout);
    else if (show->words->json)
        dead_write_json(stdout, letter, true);
    else
        print_letter(show, letter);
    return 0;
}

int dead_show(struct dead_letters *letters, const struct dead_words *words, struct error *err)
{
    struct show show = {.letters = letters, .words = words};
    int found = dead_letters_one(letters, words->sequences[0], false, visit, &show, err);
    if (found == 0)
        return error_set(err, "stream %s has no dead letter %" PRIu64, letters->stream,
                         words->sequences[0]);
    return found < 0 || dead_end_output(err) != 0 ? -1 : EXIT_DONE;
}
