#ifndef TIDEMILL_BASE_LOG_H
#define TIDEMILL_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The logger: one line per event on standard error, text for people or JSON for machines. One of
 * the two globals of the program (the other is the metrics registry). Any thread may log; lines
 * never mix. A message is cut at 4 KiB, between two characters. Control characters and bytes that
 * are no UTF-8 are escaped, so that one event is always one line, and valid JSON where that is
 * asked for. What stands before the @ of a URL is written as ***, whoever logs it.
 *
 * Lines of one kind (the same place in the source, component and level) that come in quick
 * succession are folded, once log_limit has said so: the first of an interval are written, the
 * others counted, and a line at the interval's end gives their number and the last one whole.
 *
 * Nobody waits for a reader of standard error who has stopped (log_sink.h).
 */

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* How many lines of one kind are written in an interval; 0: all. */
struct log_limits {
    unsigned fold;  /* warnings and errors of the program */
    unsigned flood; /* the rest, and all that rules say with mill.log */
    int64_t interval_ns;
};

/* Sets level, format and stream (NULL: standard error); folds nothing yet. Call before the threads
 * start. Text has colours on a terminal, unless NO_COLOR is set or TERM says that it knows none. */
void log_open(enum log_level level, enum log_format format, FILE *stream);

/* Folds from now on. Any thread. */
void log_limit(const struct log_limits *limits);

/* Changes the level of a running program. Any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* "debug", "info", "warn" or "error". */
const char *log_level_name(enum log_level level);

/*
 * Writes what the intervals that are over owe, and what could not be written before. Call it a few
 * times a second. Any thread.
 */
void log_tick(void);

/* Writes what all intervals owe, and waits a second at most for who reads. Before the end. */
void log_flush(void);

/* `component` names the part that speaks ("worker 1", "rule high_value"). Leaves errno alone. */
#define log_write(level, component, ...) log_put(level, LOG_PLACE, component, __VA_ARGS__)
#define log_debug(component, ...)        log_write(LOG_LEVEL_DEBUG, component, __VA_ARGS__)
#define log_info(component, ...)         log_write(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define log_warn(component, ...)         log_write(LOG_LEVEL_WARN, component, __VA_ARGS__)
#define log_error(component, ...)        log_write(LOG_LEVEL_ERROR, component, __VA_ARGS__)

/* What a rule says itself: one kind for each component and level. */
#define log_rule(level, component, ...) log_put(level, log_place_of_rules, component, __VA_ARGS__)

/* What the macros stand for. `place` is compared as a pointer, so it must stay. */
void log_put(enum log_level level, const char *place, const char *component, const char *format,
             ...) __attribute__((format(printf, 4, 5)));
extern const char log_place_of_rules[];
#define LOG_PLACE       __FILE__ ":" LOG_TEXT(__LINE__)
#define LOG_TEXT(line)  LOG_QUOTE(line)
#define LOG_QUOTE(line) #line

#endif
