#include "base/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"

struct unit {
    const char *name;
    int64_t factor;
};

#define MINUTE (60 * NS_PER_S)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static const struct unit duration_units[] = {
    {"us", NS_PER_US}, {"ms", NS_PER_MS}, {"s", NS_PER_S}, {"m", MINUTE},
    {"h", HOUR},       {"d", DAY},        {"", NS_PER_S},  {NULL, 0},
};

#define KIB (INT64_C(1) << 10)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)
#define TIB (INT64_C(1) << 40)

static const struct unit size_units[] = {
    {"B", 1},    {"K", KIB},   {"KB", KIB},  {"KiB", KIB}, {"M", MIB},
    {"MB", MIB}, {"MiB", MIB}, {"G", GIB},   {"GB", GIB},  {"GiB", GIB},
    {"T", TIB},  {"TB", TIB},  {"TiB", TIB}, {"", 1},      {NULL, 0},
};

/* What is to be read, and how its faults are worded. */
struct quantity {
    const char *name;
    const char *example;
    const char *unit_names;
    const char *too_large;
    const struct unit *units;
    bool units_fold_case;
};

static const struct quantity duration = {
    .name = "duration",
    .example = "30s",
    .unit_names = "us, ms, s, m, h, d",
    .too_large = "is too long (at most 106751 days)",
    .units = duration_units,
};

static const struct quantity size = {
    .name = "size",
    .example = "64MB",
    .unit_names = "B, KB, MB, GB, TB",
    .too_large = "is too large (less than 8388608 TB)",
    .units = size_units,
    .units_fold_case = true,
};

enum { SHOWN_MAX = 40 };

struct shown {
    char text[SHOWN_MAX + 4];
};

/* The text as an error message may show it: one line, bounded. */
static struct shown show(const char *text)
{
    struct shown shown;
    size_t i = 0;
    for (; text[i] != '\0' && i < SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        shown.text[i] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
    }
    snprintf(shown.text + i, sizeof(shown.text) - i, "%s", text[i] != '\0' ? "..." : "");
    return shown;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Adds `digit` at the end of the decimal number *value. False when it no longer fits. */
static bool append_digit(int64_t *value, char digit)
{
    return !__builtin_mul_overflow(*value, 10, value) &&
           !__builtin_add_overflow(*value, digit - '0', value);
}

/*
 * Reads "12", "12.5" or ".5" from *text and moves *text behind it. Digits of the fraction beyond
 * the 18th can't change the result and are passed over. Returns false when there is no number at
 * all; *fits says whether the whole part fits.
 */
static bool read_decimal(const char **text, int64_t *whole, long double *fraction, bool *fits)
{
    const char *c = *text;
    size_t digits = 0;
    *whole = 0;
    *fits = true;
    for (; is_digit(*c); c++, digits++)
        *fits = *fits && append_digit(whole, *c);
    int64_t part = 0;
    long double scale = 1;
    if (*c == '.') {
        for (c++; is_digit(*c); c++, digits++) {
            if (scale >= 1e18L)
                continue;
            append_digit(&part, *c);
            scale *= 10;
        }
    }
    *fraction = (long double)part / scale;
    *text = c;
    return digits > 0;
}

static const struct unit *find_unit(const struct quantity *quantity, const char *name)
{
    for (const struct unit *unit = quantity->units; unit->name != NULL; unit++) {
        if ((quantity->units_fold_case ? strcasecmp : strcmp)(name, unit->name) == 0)
            return unit;
    }
    return NULL;
}

static int parse_quantity(const struct quantity *quantity, const char *text, int64_t *result,
                          struct error *err)
{
    if (*text == '\0')
        return error_set(err, "a %s is wanted, like \"%s\", not an empty string", quantity->name,
                         quantity->example);
    const char *end = text;
    int64_t whole, value;
    long double fraction;
    bool fits;
    if (*text == '-' && (is_digit(text[1]) || text[1] == '.'))
        return error_set(err, "'%s' is negative", show(text).text);
    if (!read_decimal(&end, &whole, &fraction, &fits))
        return error_set(err,
                         "'%s' is no %s: it does not start with a number (write it like \"%s\")",
                         show(text).text, quantity->name, quantity->example);
    if (*end == ' ' && end[1] != '\0')
        end++;
    const struct unit *unit = find_unit(quantity, end);
    if (unit == NULL)
        return error_set(err, "'%s' is no %s: unknown unit '%s' (%s)", show(text).text,
                         quantity->name, show(end).text, quantity->unit_names);
    if (!fits || __builtin_mul_overflow(whole, unit->factor, &value) ||
        __builtin_add_overflow(value, (int64_t)llroundl(fraction * (long double)unit->factor),
                               &value))
        return error_set(err, "'%s' %s", show(text).text, quantity->too_large);
    *result = value;
    return 0;
}

int units_parse_duration(const char *text, int64_t *ns, struct error *err)
{
    return parse_quantity(&duration, text, ns, err);
}

int units_parse_size(const char *text, int64_t *bytes, struct error *err)
{
    return parse_quantity(&size, text, bytes, err);
}

/* A number that comes as a number: finite, not negative, and `number * factor` fits. */
static int scale_number(const struct quantity *quantity, double number, int64_t factor,
                        int64_t *result, struct error *err)
{
    if (!isfinite(number))
        return error_set(err, "%g is no %s (write it like \"%s\")", number, quantity->name,
                         quantity->example);
    if (number < 0)
        return error_set(err, "%g is negative", number);
    long double value = roundl((long double)number * (long double)factor);
    if (value >= 0x1p63L)
        return error_set(err, "%g %s", number, quantity->too_large);
    *result = (int64_t)value;
    return 0;
}

int units_duration_from_seconds(double seconds, int64_t *ns, struct error *err)
{
    return scale_number(&duration, seconds, NS_PER_S, ns, err);
}

int units_size_from_number(double number, int64_t *bytes, struct error *err)
{
    if (isfinite(number) && number >= 0 && number != floor(number))
        return error_set(err, "%g is no whole number of bytes", number);
    return scale_number(&size, number, 1, bytes, err);
}

char *units_format_duration(int64_t ns, char text[UNITS_DURATION_TEXT])
{
    static const struct unit units[] = {{"d", DAY},      {"h", HOUR},       {"m", MINUTE},
                                        {"s", NS_PER_S}, {"ms", NS_PER_MS}, {"us", NS_PER_US},
                                        {"ns", 1}};
    size_t i = 3; /* zero is "0s" */
    if (ns != 0) {
        for (i = 0; ns % units[i].factor != 0; i++)
            ;
    }
    snprintf(text, UNITS_DURATION_TEXT, "%" PRId64 "%s", ns / units[i].factor, units[i].name);
    return text;
}

char *units_format_time(int64_t ns, unsigned digits, char text[UNITS_TIME_TEXT])
{
    time_t seconds = (time_t)(ns / NS_PER_S);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t end = strftime(text, UNITS_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &utc);
    if (digits > 0) {
        snprintf(text + end, UNITS_TIME_TEXT - end, ".%09d", (int)(ns % NS_PER_S));
        end += 1 + digits;
    }
    snprintf(text + end, UNITS_TIME_TEXT - end, "Z");
    return text;
}

/* Reads exactly `count` digits and, when `after` is not 0, that byte behind them. */
static bool read_field(const char **text, int count, char after, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (!is_digit(**text))
            return false;
        *value = *value * 10 + (**text - '0');
    }
    if (after == '\0')
        return true;
    return *(*text)++ == after;
}

/* The offset at the end: "Z" or "+hh:mm", in seconds east of UTC. Nothing may follow. */
static bool read_offset(const char *text, int64_t *seconds)
{
    *seconds = 0;
    if (*text == 'Z' || *text == 'z')
        return text[1] == '\0';
    if (*text != '+' && *text != '-')
        return false;
    int sign = *text++ == '-' ? -1 : 1;
    int hours, minutes;
    if (!read_field(&text, 2, ':', &hours) || !read_field(&text, 2, '\0', &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return *text == '\0' && hours < 24 && minutes < 60;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days from 1970-01-01 to the given day of the Gregorian calendar; negative before. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t before = year - 1; /* the last complete year */
    int64_t days = before * 365 + before / 4 - before / 100 + before / 400 - 719162;
    for (int m = 1; m < month; m++)
        days += days_in_month(year, m);
    return days + day - 1;
}

/* The fields of a time, split but not yet put together. */
struct time_fields {
    int year, month, day, hour, minute, second;
    int64_t nanosecond;
    int64_t offset;
};

/* Splits the text. False when it has not the form of RFC 3339. */
static bool read_time(const char *text, struct time_fields *fields)
{
    if (!read_field(&text, 4, '-', &fields->year) || !read_field(&text, 2, '-', &fields->month) ||
        !read_field(&text, 2, '\0', &fields->day))
        return false;
    if (*text != 'T' && *text != 't' && *text != ' ')
        return false;
    text++;
    if (!read_field(&text, 2, ':', &fields->hour) || !read_field(&text, 2, ':', &fields->minute) ||
        !read_field(&text, 2, '\0', &fields->second))
        return false;
    fields->nanosecond = 0;
    if (*text == '.') {
        if (!is_digit(*++text))
            return false;
        for (int64_t unit = NS_PER_S / 10; is_digit(*text); text++, unit /= 10)
            fields->nanosecond += (*text - '0') * unit;
    }
    return read_offset(text, &fields->offset);
}

/* The field that no calendar or clock has; NULL when all are good. */
static const char *bad_field(const struct time_fields *fields)
{
    if (fields->month < 1 || fields->month > 12)
        return "month";
    if (fields->day < 1 || fields->year < 1 ||
        fields->day > days_in_month(fields->year, fields->month))
        return "day";
    if (fields->hour > 23)
        return "hour";
    if (fields->minute > 59)
        return "minute";
    return fields->second > 60 ? "second" : NULL;
}

int units_parse_time(const char *text, int64_t *ns, struct error *err)
{
    struct time_fields fields;
    if (!read_time(text, &fields))
        return error_set(err, "'%s' is no time (write it like \"2026-01-01T00:00:00Z\")",
                         show(text).text);
    const char *fault = bad_field(&fields);
    if (fault != NULL)
        return error_set(err, "'%s' is no time: there is no such %s", show(text).text, fault);
    int64_t seconds = days_since_1970(fields.year, fields.month, fields.day) * 86400 +
                      fields.hour * 3600 + fields.minute * 60 + fields.second - fields.offset;
    int64_t value;
    if (seconds < 0)
        return error_set(err, "'%s' is before 1970", show(text).text);
    if (__builtin_mul_overflow(seconds, NS_PER_S, &value) ||
        __builtin_add_overflow(value, fields.nanosecond, &value))
        return error_set(err, "'%s' is too late (until 2262)", show(text).text);
    *ns = value;
    return 0;
}
