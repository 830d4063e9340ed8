#include "base/log.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MESSAGE_MAX = 4096,
    COMPONENT_MAX = 512,
    UTF8_MAX = 4,
    LINE_SIZE = (MESSAGE_MAX + COMPONENT_MAX) * 6 + 128 /* every byte escaped as \\u0000 */
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colors[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

static struct {
    pthread_mutex_t lock;
    atomic_int level;
    enum log_format format;
    FILE *stream;
    bool color;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_LEVEL_INFO};

void log_open(enum log_level level, enum log_format format, FILE *stream)
{
    logger.level = (int)level;
    logger.format = format;
    logger.stream = stream;
    logger.color = isatty(fileno(stream != NULL ? stream : stderr));
}

void log_set_level(enum log_level level)
{
    logger.level = (int)level;
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&logger.level, memory_order_relaxed);
}

int log_level_parse(const char *word, enum log_level *level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
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
    unsigned char c = (unsigned char)text[size == 2 ? 1 : 0];
    bool is_control =
        size == 1 ? c < 0x20 || c == 0x7f : size == 2 && text[0] == '\xc2' && c < 0xa0;
    char piece[8] = "";
    if (size == 0)
        snprintf(piece, sizeof(piece), json ? "\\ufffd" : "\\x%02x", c);
    else if (c == '\n' || c == '\t')
        snprintf(piece, sizeof(piece), "\\%c", c == '\n' ? 'n' : 't');
    else if (is_control)
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
        size_t size = utf8_size(text);
        if (size > (size_t)(end - text))
            return;
        put_character(line, text, size, json);
        text += size > 0 ? size : 1;
    }
}

static void put_time(struct line *line)
{
    char text[40];
    int64_t now = clock_wall_ns();
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t used = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, sizeof(text) - used, ".%03dZ", (int)(now % NS_PER_S / NS_PER_MS));
    put(line, text);
}

static void put_json(struct line *line, enum log_level level, const char *component,
                     const char *message)
{
    put(line, "{\"time\":\"");
    put_time(line);
    put(line, "\",\"level\":\"");
    put(line, level_names[level]);
    put(line, "\",\"component\":\"");
    put_escaped(line, component, COMPONENT_MAX, true);
    put(line, "\",\"message\":\"");
    put_escaped(line, message, MESSAGE_MAX, true);
    put(line, "\"}\n");
}

static void put_text(struct line *line, enum log_level level, const char *component,
                     const char *message)
{
    char word[8];
    snprintf(word, sizeof(word), "%-5s", level_names[level]);
    put_time(line);
    put(line, " ");
    put(line, logger.color ? level_colors[level] : "");
    put(line, word);
    put(line, logger.color ? "\033[0m " : " ");
    put_escaped(line, component, COMPONENT_MAX, false);
    put(line, ": ");
    put_escaped(line, message, MESSAGE_MAX, false);
    put(line, "\n");
}

void log_write(enum log_level level, const char *component, const char *format, ...)
{
    if (level < log_get_level())
        return;
    int saved_errno = errno;
    char message[MESSAGE_MAX + UTF8_MAX] = ""; /* so that a character at the cut is seen whole */
    struct line line;
    line.size = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (logger.format == LOG_FORMAT_JSON)
        put_json(&line, level, component, message);
    else
        put_text(&line, level, component, message);

    /* One write for the whole line: other processes may write to the same file. */
    pthread_mutex_lock(&logger.lock);
    FILE *out = logger.stream != NULL ? logger.stream : stderr;
    fwrite(line.text, 1, line.size, out);
    fflush(out);
    pthread_mutex_unlock(&logger.lock);
    errno = saved_errno;
}
