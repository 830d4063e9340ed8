#include "base/clock.h"
#include "base/units.h"
#include "cmd/command.h"
#include "cmd/dead.h"
#include "cmd/dead_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * The table is printed in pieces, so that a long list starts at once and needs little memory: the
 * columns of a piece are as wide as its widest cell, and never narrower than in the piece before.
 */

enum { COLUMNS = 7, PIECE = 500 };

struct row {
    char *cells[COLUMNS]; /* malloc'ed */
    size_t widths[COLUMNS];
};

struct table {
    struct row rows[PIECE];
    size_t count;
    size_t widths[COLUMNS];
    bool headed;    /* the names of the columns are printed */
    bool terminal;  /* ages instead of times, lines cut at `columns` */
    size_t columns; /* of the terminal; 0: do not cut */
    int64_t now_ns;
    bool json;
    bool unread; /* nobody reads the output any more (head) */
};

/* NULL or empty text is "-". */
static int put_cell(struct row *row, size_t column, const char *text, size_t size)
{
    size_t length;
    FILE *out = open_memstream(&row->cells[column], &length);
    if (out == NULL)
        return -1;
    if (text == NULL || size == 0)
        row->widths[column] = dead_text_write(out, "-", 1, false);
    else
        row->widths[column] = dead_text_write(out, text, size, false);
    if (fclose(out) == 0)
        return 0;
    free(row->cells[column]);
    row->cells[column] = NULL;
    return -1;
}

static int put_text(struct row *row, size_t column, const char *text)
{
    return put_cell(row, column, text, text != NULL ? strlen(text) : 0);
}

static void free_rows(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        for (size_t column = 0; column < COLUMNS; column++)
            free(table->rows[i].cells[column]);
    table->count = 0;
}

/* Adds `text`, padded, to the line as far as the terminal is wide; false when the line is full. */
static bool print_cut(const struct table *table, const char *text, size_t padding, size_t *used)
{
    for (const char *at = text; *at != '\0';) {
        size_t length = dead_text_character(at, strlen(at));
        if (length == 0)
            length = 1;
        if (table->columns > 0 && *used + 1 >= table->columns && at[length] != '\0') {
            fputs("\xE2\x80\xA6", stdout); /* an ellipsis: more follows */
            return false;
        }
        if (table->columns > 0 && *used >= table->columns)
            return false;
        fwrite(at, 1, length, stdout);
        at += length;
        ++*used;
    }
    for (size_t i = 0; i < padding && (table->columns == 0 || *used < table->columns); i++) {
        putchar(' ');
        ++*used;
    }
    return true;
}

static void print_row(const struct table *table, const char *const *cells, const size_t *widths)
{
    size_t used = 0;
    for (size_t column = 0; column < COLUMNS; column++) {
        size_t padding = column + 1 < COLUMNS ? table->widths[column] - widths[column] + 2 : 0;
        if (!print_cut(table, cells[column], padding, &used))
            break;
    }
    putchar('\n');
}

static void print_piece(struct table *table)
{
    const char *names[COLUMNS] = {
        "SEQUENCE", table->terminal ? "AGE" : "TIME", "REASON", "RULE", "SUBJECT", "TRIES",
        "ERROR"};
    size_t name_widths[COLUMNS];
    for (size_t column = 0; column < COLUMNS; column++) {
        name_widths[column] = strlen(names[column]);
        if (table->widths[column] < name_widths[column])
            table->widths[column] = name_widths[column];
        for (size_t i = 0; i < table->count; i++)
            if (table->widths[column] < table->rows[i].widths[column])
                table->widths[column] = table->rows[i].widths[column];
    }
    if (!table->headed)
        print_row(table, names, name_widths);
    table->headed = true;
    for (size_t i = 0; i < table->count; i++)
        print_row(table, (const char *const *)table->rows[i].cells, table->rows[i].widths);
    free_rows(table);
}

/* The error up to its first line end, which is written as an escape. */
static size_t first_line(const char *error)
{
    const char *end = error != NULL ? strstr(error, "\\n") : NULL;
    return error == NULL ? 0 : end != NULL ? (size_t)(end - error) : strlen(error);
}

static int add_row(struct table *table, const struct dead_letter *letter)
{
    char sequence[24], age[DEAD_TEXT_AGE], time[UNITS_TIME_TEXT];
    struct row *row = &table->rows[table->count++];
    memset(row, 0, sizeof(*row));
    snprintf(sequence, sizeof(sequence), "%llu", (unsigned long long)letter->sequence);
    int failed = put_text(row, 0, sequence);
    failed |= put_text(row, 1,
                       table->terminal ? dead_text_age(letter->time_ns, table->now_ns, age)
                                       : units_format_time(letter->time_ns, 0, time));
    failed |= put_text(row, 2, letter->reason);
    failed |= put_text(row, 3, letter->rule);
    failed |= put_text(row, 4, letter->subject);
    failed |= put_text(row, 5, letter->delivered);
    failed |= put_cell(row, 6, letter->error, first_line(letter->error));
    return failed;
}

static int visit(void *context, const struct dead_letter *letter, struct error *err)
{
    struct table *table = context;
    if (table->json)
        dead_write_json(stdout, letter, true);
    else if (add_row(table, letter) != 0)
        return error_set(err, "out of memory");
    else if (table->count == PIECE)
        print_piece(table);
    if (!ferror(stdout))
        return 0;
    table->unread = errno == EPIPE;
    return table->unread ? 1 : error_set(err, "cannot write: %s", strerror(errno));
}

int dead_list(struct dead_letters *letters, const struct dead_words *words, struct error *err)
{
    struct table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return error_set(err, "out of memory");
    struct winsize window;
    table->now_ns = clock_wall_ns();
    table->json = words->json;
    table->terminal = isatty(STDOUT_FILENO) == 1;
    if (table->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0)
        table->columns = window.ws_col;
    int64_t listed = dead_letters_each(letters, &words->filter, !words->json, visit, table, err);
    if (table->count > 0)
        print_piece(table);
    bool unread = table->unread;
    free(table);
    if (listed == 0)
        dead_say_none(letters, words);
    return listed < 0 || (!unread && dead_end_output(err) != 0) ? -1 : EXIT_DONE;
}
