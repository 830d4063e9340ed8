#include "base/log.h"

#include "base/clock.h"
#include "base/log_fold.h"
#include "base/log_sink.h"
#include "base/redact.h"
#include "base/units.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MESSAGE_MAX = 4096,
    COMPONENT_MAX = 512,
    UTF8_MAX = 4,
    DEBT_TEXT_MAX = 80,
    LINE_SIZE =
        (MESSAGE_MAX + DEBT_TEXT_MAX + COMPONENT_MAX) * 6 + 256 /* every byte escaped as \\u0000 */
};

#define FLUSH_NS NS_PER_S

const char log_place_of_rules[] = "mill.log";

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colors[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

static struct {
    atomic_int level;
    enum log_format format;
    bool color;
    struct log_fold fold;
    struct log_sink sink;
} logger = {.level = LOG_LEVEL_INFO, .fold = LOG_FOLD_INITIALIZER, .sink = LOG_SINK_INITIALIZER};

static bool wants_color(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color != NULL && *no_color != '\0')
        return false;
    return isatty(fileno(stream)) && (term == NULL || strcmp(term, "dumb") != 0);
}

void log_open(enum log_level level, enum log_format format, FILE *stream)
{
    logger.level = (int)level;
    logger.format = format;
    logger.color = wants_color(stream != NULL ? stream : stderr);
    fold_open(&logger.fold, NULL);
    sink_open(&logger.sink, stream);
}

void log_limit(const struct log_limits *limits)
{
    fold_open(&logger.fold, limits);
}

void log_set_level(enum log_level level)
{
    logger.level = (int)level;
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&logger.level, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

/* A line being built; what does not fit is left out. */
struct line {
    char text[LINE_SIZE];
    size_t size;
};

static void put(struct line *line, const char *text)
{
    size_t size = strlen(text);
    if (size > sizeof(line->text) - line->size)
        size = sizeof(line->text) - line->size;
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

/* Puts one character of `size` bytes; 0: a byte that is no UTF-8. */
static void put_character(struct line *line, const char *text, size_t size, bool json)
{
    unsigned char c = (unsigned char)text[size == 2 ? 1 : 0]; /* of C1, the one that tells */
    char piece[8] = "";
    if (size == 0)
        snprintf(piece, sizeof(piece), json ? "\\ufffd" : "\\x%02x", c);
    else if (c == '\n' || c == '\t')
        snprintf(piece, sizeof(piece), "\\%c", c == '\n' ? 'n' : 't');
    else if (utf8_is_control(text))
        snprintf(piece, sizeof(piece), json ? "\\u%04x" : "\\x%02x", c);
    else if (json && (c == '"' || c == '\\'))
        snprintf(piece, sizeof(piece), "\\%c", c);
    else
        memcpy(piece, text, size);
    put(line, piece);
}

/*
 * Puts at most `max` bytes of `text`, whole characters, with control characters escaped; when it
 * goes into JSON, quotes and backslashes too, and what is no UTF-8 becomes U+FFFD.
 */
static void put_escaped(struct line *line, const char *text, size_t max, bool json)
{
    const char *end = text + strnlen(text, max);
    while (text < end) {
        size_t size = utf8_size(text, UTF8_SIZE_MAX);
        if (size > (size_t)(end - text))
            return; /* cut off by `max` */
        put_character(line, text, size, json);
        text += size > 0 ? size : 1;
    }
}

static void put_time(struct line *line)
{
    char text[UNITS_TIME_TEXT];
    put(line, units_format_time(clock_wall_ns(), 3, text));
}

/* An event on its way to its line. */
struct event {
    enum log_level level;
    const char *component, *message;
    uint64_t repeated; /* of so many others this is the last; 0: it stands for itself */
    int64_t during_ns;
};

static void put_json(struct line *line, const struct event *event)
{
    put(line, "{\"time\":\"");
    put_time(line);
    put(line, "\",\"level\":\"");
    put(line, level_names[event->level]);
    put(line, "\",\"component\":\"");
    put_escaped(line, event->component, COMPONENT_MAX, true);
    put(line, "\",\"message\":\"");
    put_escaped(line, event->message, MESSAGE_MAX, true);
    put(line, "\"");
    if (event->repeated > 0) {
        char text[DEBT_TEXT_MAX];
        snprintf(text, sizeof(text), ",\"repeated\":%" PRIu64 ",\"seconds\":%.1f", event->repeated,
                 (double)event->during_ns / (double)NS_PER_S);
        put(line, text);
    }
    put(line, "}\n");
}

static void put_text(struct line *line, const struct event *event)
{
    char word[8];
    snprintf(word, sizeof(word), "%-5s", level_names[event->level]);
    put_time(line);
    put(line, " ");
    put(line, logger.color ? level_colors[event->level] : "");
    put(line, word);
    put(line, logger.color ? "\033[0m " : " ");
    put_escaped(line, event->component, COMPONENT_MAX, false);
    put(line, ": ");
    if (event->repeated > 0) {
        char text[DEBT_TEXT_MAX];
        snprintf(text, sizeof(text),
                 "%" PRIu64 " more like this in %.1f s; the last: ", event->repeated,
                 (double)event->during_ns / (double)NS_PER_S);
        put(line, text);
    }
    put_escaped(line, event->message, MESSAGE_MAX, false);
    put(line, "\n");
}

static void write_event(const struct event *event)
{
    struct line line;
    line.size = 0;
    if (logger.format == LOG_FORMAT_JSON)
        put_json(&line, event);
    else
        put_text(&line, event);
    sink_write(&logger.sink, line.text, line.size);
}

static void write_debt(const struct fold_debt *debt)
{
    if (debt->count == 0)
        return;
    write_event(&(struct event){.level = debt->level,
                                .component = debt->component,
                                .message = debt->message,
                                .repeated = debt->count,
                                .during_ns = debt->during_ns});
}

/* Says that lines are missing, as soon as somebody reads again. */
static void write_lost(void)
{
    char message[DEBT_TEXT_MAX];
    unsigned long long lost = sink_take_lost(&logger.sink);
    if (lost == 0)
        return;
    snprintf(message, sizeof(message), "%llu lines are lost here: nobody read them", lost);
    write_event(&(struct event){.level = LOG_LEVEL_WARN, .component = "log", .message = message});
}

void log_put(enum log_level level, const char *place, const char *component, const char *format,
             ...)
{
    if (level < log_get_level())
        return;
    int saved_errno = errno;
    char message[MESSAGE_MAX + UTF8_MAX] = ""; /* so that a character at the cut is seen whole */
    struct fold_debt debt;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    redact_urls(message, sizeof(message));
    bool admitted =
        fold_admit(&logger.fold, level, place, component, message, clock_monotonic_ns(), &debt);
    write_lost();
    write_debt(&debt);
    if (admitted)
        write_event(&(struct event){.level = level, .component = component, .message = message});
    errno = saved_errno;
}

static void write_debts(bool all)
{
    struct fold_debt debt;
    /* At most so many times: other threads may go on to log. */
    for (int i = 0; i < FOLD_KINDS; i++) {
        if (!fold_next_debt(&logger.fold, clock_monotonic_ns(), all, &debt))
            break;
        write_debt(&debt);
    }
    write_lost();
}

void log_tick(void)
{
    int saved_errno = errno;
    sink_flush(&logger.sink, 0);
    write_debts(false);
    errno = saved_errno;
}

void log_flush(void)
{
    int saved_errno = errno;
    sink_flush(&logger.sink, FLUSH_NS);
    write_debts(true);
    sink_flush(&logger.sink, FLUSH_NS);
    errno = saved_errno;
}
