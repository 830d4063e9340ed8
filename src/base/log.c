#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MAX = 4096 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colors[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

static struct {
    pthread_mutex_t lock;
    atomic_int level;
    enum log_format format;
    FILE *stream;
    int color;
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

/* Prints `text` with control characters escaped; quotes and backslashes too when it goes into JSON.
 */
static void put_escaped(FILE *out, const char *text, int json)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (json && (*c == '"' || *c == '\\'))
            fprintf(out, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", out);
        else if (*c == '\t')
            fputs("\\t", out);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, json ? "\\u%04x" : "\\x%02x", *c);
        else
            putc_unlocked(*c, out);
    }
}

void log_write(enum log_level level, const char *component, const char *format, ...)
{
    if (level < log_get_level())
        return;
    int saved_errno = errno;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    int64_t now = clock_wall_ns();
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm utc;
    char time_text[32];
    gmtime_r(&seconds, &utc);
    strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &utc);
    int ms = (int)(now % NS_PER_S / NS_PER_MS);

    pthread_mutex_lock(&logger.lock);
    FILE *out = logger.stream != NULL ? logger.stream : stderr;
    if (logger.format == LOG_FORMAT_JSON) {
        fprintf(out, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"component\":\"", time_text, ms,
                level_names[level]);
        put_escaped(out, component, 1);
        fputs("\",\"message\":\"", out);
        put_escaped(out, message, 1);
        fputs("\"}\n", out);
    } else {
        fprintf(out, "%s.%03dZ %s%-5s%s ", time_text, ms, logger.color ? level_colors[level] : "",
                level_names[level], logger.color ? "\033[0m" : "");
        put_escaped(out, component, 0);
        fputs(": ", out);
        put_escaped(out, message, 0);
        putc('\n', out);
    }
    fflush(out);
    pthread_mutex_unlock(&logger.lock);
    errno = saved_errno;
}
