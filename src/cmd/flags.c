#include "cmd/flags.h"

#include "base/suggest.h"
#include "base/units.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KNOWN_MAX = 32 };

int flags_wrong_usage(const struct command *command, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "tidemill %s: %s; see: tidemill help %s\n", command->name, text, command->name);
    return EXIT_USAGE;
}

static void unknown_flag(const struct command *command, const struct flag *flags, size_t count,
                         const char *word)
{
    const char *known[KNOWN_MAX];
    char name[64];
    size_t known_count = 0;
    for (size_t i = 0; i < count && known_count < KNOWN_MAX; i++)
        known[known_count++] = flags[i].name;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
    const char *nearest = suggest_nearest(name, known, known_count);
    if (nearest != NULL)
        flags_wrong_usage(command, "unknown flag %s: did you mean %s?", name, nearest);
    else
        flags_wrong_usage(command, "unknown flag %s", name);
}

/* The flag that `word` names; `*value` is what follows a '=', else NULL. */
static const struct flag *find(const struct flag *flags, size_t count, const char *word,
                               const char **value)
{
    *value = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct flag *flag = &flags[i];
        size_t size = strlen(flag->name);
        if (flag->short_name != NULL && strcmp(word, flag->short_name) == 0)
            return flag;
        if (strncmp(word, flag->name, size) == 0 && (word[size] == '\0' || word[size] == '=')) {
            if (word[size] == '=')
                *value = word + size + 1;
            return flag;
        }
    }
    return NULL;
}

static int store_count(const struct command *command, const struct flag *flag, const char *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < 1) {
        flags_wrong_usage(command, "%s %s: a whole number from 1 on is expected", flag->name,
                          value);
        return -1;
    }
    *flag->count = number;
    return 0;
}

static int store(const struct command *command, const struct flag *flag, const char *value)
{
    struct error err;
    if (flag->value != NULL)
        *flag->value = value;
    if (flag->count != NULL)
        return store_count(command, flag, value);
    if (flag->duration_ns != NULL && units_parse_duration(value, flag->duration_ns, &err) != 0) {
        flags_wrong_usage(command, "%s: %s", flag->name, err.text);
        return -1;
    }
    if (flag->list != NULL) {
        if (flag->list->count == FLAG_LIST_MAX) {
            flags_wrong_usage(command, "%s comes more than %d times", flag->name, FLAG_LIST_MAX);
            return -1;
        }
        flag->list->items[flag->list->count++] = value;
    }
    return 0;
}

/* Reads the flag at argv[i] and its value. Returns how many words that took, or -1. */
static int read_flag(const struct command *command, const struct flag *flags, size_t count,
                     int words, char **argv)
{
    const char *value;
    const struct flag *flag = find(flags, count, argv[0], &value);
    if (flag == NULL) {
        unknown_flag(command, flags, count, argv[0]);
        return -1;
    }
    if (flag->given != NULL) {
        if (value != NULL) {
            flags_wrong_usage(command, "%s takes no value", flag->name);
            return -1;
        }
        *flag->given = true;
        return 1;
    }
    if (value != NULL)
        return store(command, flag, value) == 0 ? 1 : -1;
    if (words < 2) {
        flags_wrong_usage(command, "%s wants a value", argv[0]);
        return -1;
    }
    return store(command, flag, argv[1]) == 0 ? 2 : -1;
}

int flags_read(const struct command *command, const struct flag *flags, size_t count, int argc,
               char **argv)
{
    int left = 1;
    bool ended = false;
    for (int i = 1; i < argc;) {
        char *word = argv[i];
        if (ended || word[0] != '-' || word[1] == '\0') {
            argv[left++] = word;
            i++;
        } else if (strcmp(word, "--") == 0) {
            ended = true;
            i++;
        } else {
            int taken = read_flag(command, flags, count, argc - i, argv + i);
            if (taken < 0)
                return -1;
            i += taken;
        }
    }
    return left;
}
