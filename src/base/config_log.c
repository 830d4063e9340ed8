#include "base/config_log.h"

#include <limits.h>

#include "base/clock.h"

void config_read_level(struct section *section, const char *key, enum log_level *level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int choice = (int)*level;
    section_choice(section, key, names, sizeof(names) / sizeof(names[0]), &choice);
    *level = (enum log_level)choice;
}

/* How many lines of one kind are written, before the rest of an interval is counted. */
static void read_limits(struct section *section, struct log_limits *limits)
{
    int64_t fold = 10, flood = 10000;
    limits->interval_ns = 10 * NS_PER_S;
    section_integer(section, "fold", 0, INT_MAX, &fold);
    section_integer(section, "flood", 0, INT_MAX, &flood);
    section_duration(section, "interval", 100 * NS_PER_MS, &limits->interval_ns);
    limits->fold = (unsigned)fold;
    limits->flood = (unsigned)flood;
}

void config_read_log(struct section *root, struct config *config)
{
    static const char *const formats[] = {"text", "json"};
    struct section section;
    int format = LOG_FORMAT_TEXT;
    config->log_level = LOG_LEVEL_INFO;
    section_enter(root, "log", &section);
    config_read_level(&section, "level", &config->log_level);
    section_choice(&section, "format", formats, sizeof(formats) / sizeof(formats[0]), &format);
    config->log_format = (enum log_format)format;
    read_limits(&section, &config->log_limits);
    section_end(&section);
}
