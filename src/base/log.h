#ifndef TIDEMILL_BASE_LOG_H
#define TIDEMILL_BASE_LOG_H

#include <stdio.h>

/*
 * The logger: one line per event on standard error, text for people or JSON for machines. One of
 * the two globals of the program (the other is the metrics registry). Any thread may log; lines
 * never mix. A message is cut at 4 KiB, between two characters. Control characters and bytes that are
 * no UTF-8 are escaped, so that one event is always one line, and valid JSON where that is asked for.
 */

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Sets level, format and stream (NULL: standard error). Call before the threads start. */
void log_open(enum log_level level, enum log_format format, FILE *stream);

/* Changes the level of a running program. Any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* "debug", "info", "warn", "error" -> level. Returns 0, or -1 for another word. */
int log_level_parse(const char *word, enum log_level *level);

/* `component` names the part that speaks ("worker 1", "rule high_value"). Leaves errno alone. */
void log_write(enum log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(component, ...) log_write(LOG_LEVEL_DEBUG, component, __VA_ARGS__)
#define log_info(component, ...)  log_write(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define log_warn(component, ...)  log_write(LOG_LEVEL_WARN, component, __VA_ARGS__)
#define log_error(component, ...) log_write(LOG_LEVEL_ERROR, component, __VA_ARGS__)

#endif
