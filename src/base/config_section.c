#include "base/config_section.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "base/units.h"

/* How much of a wrong value a message shows. */
#define SHOWN "%.60s"

/* 2^53. */
#define FLOAT_WHOLE_MAX 9007199254740992.0

/* A key or an element of the configuration as people write it: "nats.tls.ca". */
struct key_path {
    char text[2 * SECTION_PATH_MAX + 64];
};

static void add_problem(struct config_problems *problems, const char *path, const char *format,
                        va_list args)
{
    size_t index = problems->count++;
    if (index >= CONFIG_PROBLEMS_MAX)
        return;
    struct error *item = &problems->items[index];
    int used = snprintf(item->text, sizeof(item->text), "%s: ", path);
    if (used >= 0 && (size_t)used < sizeof(item->text))
        vsnprintf(item->text + used, sizeof(item->text) - (size_t)used, format, args);
    for (char *c = item->text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
}

void section_add_problem(struct config_problems *problems, const char *path, const char *format,
                         ...)
{
    va_list args;
    va_start(args, format);
    add_problem(problems, path, format, args);
    va_end(args);
}

static struct key_path path_of(const struct section *section, const char *key)
{
    struct key_path path;
    snprintf(path.text, sizeof(path.text), "%s%s" SHOWN, section->path,
             *section->path != '\0' ? "." : "", key);
    return path;
}

void section_problem(const struct section *section, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_problem(section->problems, path_of(section, key).text, format, args);
    va_end(args);
}

/* "a number": what was found, for "... is wanted, not a number". */
static struct key_path found_type(const struct value *value)
{
    struct key_path type;
    snprintf(type.text, sizeof(type.text), "%s" SHOWN, value->type == VALUE_NIL ? "" : "a ",
             value_type_name(value));
    return type;
}

const struct value *section_value(struct section *section, const char *key)
{
    if (section->known_count < SECTION_KEYS_MAX)
        section->known[section->known_count++] = key;
    const struct value *value = value_get(section->table, key);
    return value != NULL && value->type != VALUE_NIL ? value : NULL;
}

bool section_enter(struct section *section, const char *key, struct section *inner)
{
    const struct value *value = section_value(section, key);
    *inner = (struct section){.problems = section->problems};
    snprintf(inner->path, sizeof(inner->path), "%.*s", SECTION_PATH_MAX - 1,
             path_of(section, key).text);
    if (value == NULL)
        return false;
    if (value->type != VALUE_TABLE) {
        section_problem(section, key, "a table is wanted, not %s", found_type(value).text);
        return false;
    }
    inner->table = value;
    return true;
}

size_t section_list(struct section *section, const char *key, size_t max)
{
    const struct value *value = section_value(section, key);
    if (value == NULL)
        return 0;
    if (value->type != VALUE_TABLE)
        section_problem(section, key, "a list of tables is wanted, not %s", found_type(value).text);
    else if (value->pair_count != value->length)
        section_problem(section, key, "a list of tables is wanted: { { ... }, { ... } }");
    else if (value->length > max)
        section_problem(section, key, "more than %zu", max);
    else
        return value->length;
    return 0;
}

void section_element(struct section *section, const char *key, size_t index, struct section *inner)
{
    const struct value *element = &value_get(section->table, key)->pairs[index].value;
    *inner = (struct section){.problems = section->problems};
    snprintf(inner->path, sizeof(inner->path), "%.40s[%zu]", path_of(section, key).text, index + 1);
    if (element->type == VALUE_TABLE)
        inner->table = element;
    else
        section_add_problem(section->problems, inner->path, "a table is wanted, not %s",
                            found_type(element).text);
}

void section_require(struct section *section)
{
    section->required[section->known_count - 1] = true;
}

/* Reports a key that nobody asked for. A key near to it is not missing but misspelt. */
static void report_unknown(struct section *section, const char *key)
{
    const char *nearest = suggest_nearest(key, section->known, section->known_count);
    if (nearest == NULL) {
        section_problem(section, key, "unknown key");
        return;
    }
    section_problem(section, key, "unknown key (did you mean %s?)", nearest);
    for (size_t i = 0; i < section->known_count; i++) {
        if (section->known[i] == nearest)
            section->required[i] = false;
    }
}

static bool is_known(const struct section *section, const char *key)
{
    for (size_t i = 0; i < section->known_count; i++) {
        if (strcmp(key, section->known[i]) == 0)
            return true;
    }
    return false;
}

void section_end(struct section *section)
{
    if (section->table == NULL)
        return;
    for (size_t i = 0; i < section->table->pair_count; i++) {
        const struct value *key = &section->table->pairs[i].key;
        if (key->type != VALUE_STRING) {
            section_add_problem(section->problems,
                                *section->path != '\0' ? section->path : "the configuration",
                                "a value without a name (every value needs one: name = ...)");
            break; /* one such line says it all */
        }
        if (!is_known(section, key->string))
            report_unknown(section, key->string);
    }
    for (size_t i = 0; i < section->known_count; i++) {
        if (section->required[i] && value_get(section->table, section->known[i]) == NULL)
            section_problem(section, section->known[i], "is missing");
    }
}

/* Whether the value is a string that may be used as one; else a problem under `path`. */
static bool check_string(struct config_problems *problems, const char *path,
                         const struct value *value)
{
    if (value->type != VALUE_STRING) {
        section_add_problem(problems, path, "a string is wanted, not %s", found_type(value).text);
        return false;
    }
    if (value->size == 0) {
        section_add_problem(problems, path, "must not be empty");
        return false;
    }
    for (size_t i = 0; i < value->size; i++) {
        unsigned char c = (unsigned char)value->string[i];
        if (c < 0x20 || c == 0x7f) {
            section_add_problem(problems, path, "has a control character (byte %zu)", i + 1);
            return false;
        }
    }
    return true;
}

void section_string(struct section *section, const char *key, char **string)
{
    const struct value *value = section_value(section, key);
    if (value == NULL || !check_string(section->problems, path_of(section, key).text, value))
        return;
    char *copy = strdup(value->string);
    if (copy == NULL) {
        section_problem(section, key, "out of memory");
        return;
    }
    free(*string);
    *string = copy;
}

void section_append(struct config_problems *problems, const char *path, struct string_list *list,
                    const char *string)
{
    if (string_list_append(list, string) != 0)
        section_add_problem(problems, path, "out of memory");
}

/*
 * The elements of a list, or the one value that stands for a list of one. Returns how many; 0 after
 * a problem. `what` is what they are: "strings".
 */
static size_t elements(struct section *section, const char *key, const struct value *value,
                       const char *what)
{
    if (value->type != VALUE_TABLE)
        return 1;
    if (value->pair_count != value->length)
        section_problem(section, key, "a list of %s is wanted, without names", what);
    else if (value->length == 0)
        section_problem(section, key, "must not be empty (leave it out for the default)");
    else
        return value->length;
    return 0;
}

/* Element `index` of what elements() counted, and its path. */
static const struct value *element_at(const struct section *section, const char *key,
                                      const struct value *value, size_t index,
                                      struct key_path *path)
{
    *path = path_of(section, key);
    if (value->type != VALUE_TABLE)
        return value;
    size_t used = strlen(path->text);
    snprintf(path->text + used, sizeof(path->text) - used, "[%zu]", index + 1);
    return &value->pairs[index].value;
}

void section_strings(struct section *section, const char *key, struct string_list *list)
{
    const struct value *value = section_value(section, key);
    size_t count = value != NULL ? elements(section, key, value, "strings") : 0;
    if (count == 0)
        return;
    struct string_list read = {0};
    for (size_t i = 0; i < count; i++) {
        struct key_path path;
        const struct value *element = element_at(section, key, value, i, &path);
        if (check_string(section->problems, path.text, element))
            section_append(section->problems, path.text, &read, element->string);
    }
    string_list_free(list);
    *list = read;
}

void section_boolean(struct section *section, const char *key, bool *boolean)
{
    const struct value *value = section_value(section, key);
    if (value == NULL)
        return;
    if (value->type == VALUE_BOOLEAN)
        *boolean = value->boolean;
    else
        section_problem(section, key, "true or false is wanted, not %s", found_type(value).text);
}

static double as_double(const struct value *value)
{
    return value->type == VALUE_INTEGER ? (double)value->integer : value->number;
}

static bool is_number(const struct value *value)
{
    return value->type == VALUE_INTEGER || value->type == VALUE_NUMBER;
}

void section_integer(struct section *section, const char *key, int64_t min, int64_t max,
                     int64_t *integer)
{
    const struct value *value = section_value(section, key);
    if (value == NULL)
        return;
    if (!is_number(value)) {
        section_problem(section, key, "a number is wanted, not %s%s", found_type(value).text,
                        value->type == VALUE_STRING ? " (tonumber(...) makes one of it)" : "");
        return;
    }
    /* A float like 5.0 is as good as 5; beyond 2^53 floats have gaps. */
    double number = as_double(value);
    bool whole = value->type == VALUE_INTEGER ||
                 (fabs(number) <= FLOAT_WHOLE_MAX && number == (double)(int64_t)number);
    if (!whole) {
        section_problem(section, key, "a whole number is wanted, not %g", number);
        return;
    }
    int64_t found = value->type == VALUE_INTEGER ? value->integer : (int64_t)number;
    if (found >= min && found <= max)
        *integer = found;
    else if (max == INT64_MAX)
        section_problem(section, key, "%" PRId64 " is too small (at least %" PRId64 ")", found,
                        min);
    else
        section_problem(section, key, "%" PRId64 " is out of range (%" PRId64 " to %" PRId64 ")",
                        found, min, max);
}

/* Reads one duration. Returns whether it is good; else there is a problem under `path`. */
static bool read_duration(struct config_problems *problems, const char *path,
                          const struct value *value, int64_t min, int64_t *ns)
{
    struct error err;
    int result;
    if (value->type == VALUE_STRING)
        result = units_parse_duration(value->string, ns, &err);
    else if (is_number(value))
        result = units_duration_from_seconds(as_double(value), ns, &err);
    else
        result =
            error_set(&err, "a duration is wanted, like \"30s\" or a number of seconds, not %s",
                      found_type(value).text);
    char text[UNITS_DURATION_TEXT];
    if (result == 0 && *ns < min)
        result = min == 1
                     ? error_set(&err, "must be more than 0")
                     : error_set(&err, "must be at least %s", units_format_duration(min, text));
    if (result != 0)
        section_add_problem(problems, path, "%s", err.text);
    return result == 0;
}

void section_duration(struct section *section, const char *key, int64_t min, int64_t *ns)
{
    const struct value *value = section_value(section, key);
    int64_t found;
    if (value != NULL &&
        read_duration(section->problems, path_of(section, key).text, value, min, &found))
        *ns = found;
}

void section_durations(struct section *section, const char *key, int64_t **ns, size_t *count)
{
    const struct value *value = section_value(section, key);
    size_t found = value != NULL ? elements(section, key, value, "durations") : 0;
    int64_t *list = found > 0 ? calloc(found, sizeof(*list)) : NULL;
    if (list == NULL) {
        if (found > 0)
            section_problem(section, key, "out of memory");
        return;
    }
    for (size_t i = 0; i < found; i++) {
        struct key_path path;
        const struct value *element = element_at(section, key, value, i, &path);
        read_duration(section->problems, path.text, element, 0, &list[i]);
    }
    free(*ns);
    *ns = list;
    *count = found;
}

void section_size(struct section *section, const char *key, int64_t min, bool or_unlimited,
                  int64_t *bytes)
{
    const struct value *value = section_value(section, key);
    struct error err;
    int64_t found = 0;
    int result;
    if (value == NULL)
        return;
    if (or_unlimited && is_number(value) && as_double(value) == -1) {
        *bytes = -1;
        return;
    }
    if (value->type == VALUE_STRING)
        result = units_parse_size(value->string, &found, &err);
    else if (is_number(value))
        result = units_size_from_number(as_double(value), &found, &err);
    else
        result = error_set(&err, "a size is wanted, like \"64MB\" or a number of bytes, not %s",
                           found_type(value).text);
    if (result == 0 && found < min)
        result = error_set(&err, "%" PRId64 " bytes are too few (at least %" PRId64 "%s)", found,
                           min, or_unlimited ? ", or -1 for no limit" : "");
    if (result != 0)
        section_problem(section, key, "%s", err.text);
    else
        *bytes = found;
}

void section_choice(struct section *section, const char *key, const char *const *names,
                    size_t count, int *choice)
{
    const struct value *value = section_value(section, key);
    if (value == NULL || !check_string(section->problems, path_of(section, key).text, value))
        return;
    char all[128] = "";
    for (size_t i = 0, used = 0; i < count; i++) {
        if (strcmp(value->string, names[i]) == 0) {
            *choice = (int)i;
            return;
        }
        used += (size_t)snprintf(all + used, used < sizeof(all) ? sizeof(all) - used : 0, "%s%s",
                                 i == 0           ? ""
                                 : i + 1 == count ? " or "
                                                  : ", ",
                                 names[i]);
    }
    const char *nearest = suggest_nearest(value->string, names, count);
    if (nearest != NULL)
        section_problem(section, key, "'" SHOWN "' is unknown (did you mean %s?)", value->string,
                        nearest);
    else
        section_problem(section, key, "'" SHOWN "' is unknown (%s)", value->string, all);
}
