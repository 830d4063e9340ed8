/*
 * Durations, sizes and times: what is taken and what is refused is what a regular expression says,
 * the value is the one that exact arithmetic and the C library's calendar give, and what
 * units_format_duration writes reads back as the same.
 */
#include "base/units.h"

#include <math.h>
#include <regex.h>
#include <strings.h>
#include <time.h>

#include "fuzz.h"

typedef __int128 wide;

static const wide second = 1000000000;

struct unit {
    const char *name;
    wide factor;
};

static const struct unit duration_units[] = {
    {"us", 1000},         {"ms", 1000000},       {"s", 1000000000}, {"m", 60000000000},
    {"h", 3600000000000}, {"d", 86400000000000}, {"", 1000000000},  {NULL, 0}};
static const struct unit size_units[] = {
    {"B", 1},         {"K", 1 << 10},    {"KB", 1 << 10},    {"KiB", 1 << 10}, {"M", 1 << 20},
    {"MB", 1 << 20},  {"MiB", 1 << 20},  {"G", 1 << 30},     {"GB", 1 << 30},  {"GiB", 1 << 30},
    {"T", 1LL << 40}, {"TB", 1LL << 40}, {"TiB", 1LL << 40}, {"", 1},          {NULL, 0}};

/* Whether the whole text matches; the expressions are compiled once. */
static bool matches(regex_t *compiled, const char *expression, const char *text, size_t count,
                    regmatch_t *groups)
{
    if (compiled->re_nsub == 0)
        must(regcomp(compiled, expression, REG_EXTENDED) == 0);
    return regexec(compiled, text, count, groups, 0) == 0;
}

static wide factor_of(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcasecmp(units->name, name) == 0)
            return units->factor;
    return 0;
}

/* What "12.5 MB" stands for, rounded; `*on_the_edge` when it is so near to two numbers that only
 * digits beyond the eighteenth tell which. More than int64_t holds is INT64_MAX + 1. */
static wide exact_value(const char *number, size_t size, wide factor, bool *on_the_edge)
{
    const wide too_much = (wide)INT64_MAX + 1;
    wide whole = 0, part = 0, scale = 1;
    const char *end = number + size;
    for (; number < end && *number != '.'; number++)
        whole = whole < too_much ? whole * 10 + (*number - '0') : whole;
    for (number++; number < end && scale < (wide)1e18; number++, scale *= 10)
        part = part * 10 + (*number - '0');
    wide twice = part * factor * 2;
    wide rest = (twice + scale) % (2 * scale); /* how far above the half below */
    *on_the_edge = scale > 1 && (rest < scale / 1000 + 2 || rest > 2 * scale - scale / 1000 - 2);
    wide value = whole >= too_much ? too_much : whole * factor + (twice + scale) / (2 * scale);
    return value < too_much ? value : too_much;
}

/*
 * Checks a parser of quantities against `grammar`: the number is its first group, the unit the
 * third.
 */
static void check_quantity(int (*parse)(const char *, int64_t *, struct error *), const char *text,
                           regex_t *compiled, const char *grammar, const struct unit *units)
{
    int64_t value = -7;
    struct error err = {""};
    regmatch_t groups[4];
    int status = parse(text, &value, &err);
    if (!matches(compiled, grammar, text, 4, groups)) {
        must(status == -1 && value == -7);
        must_be_a_message(err.text);
        return;
    }
    bool on_the_edge;
    const char *unit = groups[3].rm_so >= 0 ? text + groups[3].rm_so : "";
    wide wanted = exact_value(text + groups[1].rm_so, (size_t)(groups[1].rm_eo - groups[1].rm_so),
                              factor_of(units, unit), &on_the_edge);
    wide off = status == 0 ? value - wanted : 0;
    if (wanted > INT64_MAX)
        must(status == -1 || (on_the_edge && off >= -1));
    else
        must(status == 0 && (off == 0 || (on_the_edge && off >= -1 && off <= 1)));
    must(value >= 0 || status != 0);
}

static void check_time(const char *text)
{
    static regex_t compiled;
    static const char grammar[] = "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}"
                                  "(\\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
    int64_t value = -7;
    struct error err = {""};
    regmatch_t groups[3];
    int status = units_parse_time(text, &value, &err);
    bool good = matches(&compiled, grammar, text, 3, groups);
    wide wanted = -1;
    if (good) {
        struct tm given = {.tm_isdst = 0};
        sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &given.tm_year, &given.tm_mon, &given.tm_mday,
               &given.tm_hour, &given.tm_min, &given.tm_sec);
        good = given.tm_year > 0 && given.tm_sec <= 60;
        given.tm_year -= 1900;
        given.tm_mon -= 1;
        int leap = given.tm_sec == 60;
        given.tm_sec -= leap;
        struct tm again = given;
        wanted = timegm(&again); /* a day that is none becomes another one */
        good = good && again.tm_mon == given.tm_mon && again.tm_mday == given.tm_mday &&
               again.tm_hour == given.tm_hour && again.tm_min == given.tm_min;
        const char *offset = text + groups[2].rm_so;
        int east = atoi(offset) * 3600 + (offset[1] != '\0' ? atoi(offset + 4) * 60 : 0);
        if (*offset == '-')
            east = -atoi(offset + 1) * 3600 - atoi(offset + 4) * 60;
        wanted = (wanted + leap - east) * second;
        good = good && wanted >= 0;
        int64_t digit = 100000000;
        for (regoff_t i = groups[1].rm_so + 1; i > 0 && i < groups[1].rm_eo; i++, digit /= 10)
            wanted += digit * (text[i] - '0');
    }
    if (good && wanted <= INT64_MAX) {
        must(status == 0 && value == (int64_t)wanted);
    } else {
        must(status == -1 && value == -7);
        must_be_a_message(err.text);
    }
}

/* Numbers that come as numbers. */
static void check_number(double number)
{
    int64_t ns, bytes;
    struct error err = {""};
    bool fits = isfinite(number) && number >= 0;
    long double exact = (long double)number * 1e9L;
    if (units_duration_from_seconds(number, &ns, &err) == 0)
        must(fits && ns >= 0 && fabsl((long double)ns - exact) <= 0.5L + exact * 0x1p-60L);
    else
        must(!fits || exact >= 0x1p63L - 1);
    if (units_size_from_number(number, &bytes, &err) == 0)
        must(fits && (double)bytes == number && number == floor(number));
    else
        must(!fits || number >= 0x1p63 || number != floor(number));
}

static void check_format(int64_t ns)
{
    char text[UNITS_DURATION_TEXT];
    int64_t again = -1;
    ns &= INT64_MAX;
    units_format_duration(ns, text);
    must(strlen(text) < sizeof(text));
    if (ns % 1000 == 0) /* there are no units below a microsecond to read */
        must(units_parse_duration(text, &again, NULL) == 0 && again == ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static regex_t durations, sizes;
    struct choices choices = {.at = data, .end = data + size};
    double number;
    int64_t ns;
    choose_bytes(&choices, &number, sizeof(number));
    memcpy(&ns, &number, sizeof(ns));
    check_number(number);
    check_number((double)ns);
    check_format(ns);
    check_format(ns / 1000 * 1000);
    check_format(ns % 100000 * 1000000);

    char *text = copy_text(data, size);
    check_quantity(units_parse_duration, text, &durations,
                   "^([0-9]+\\.?[0-9]*|\\.[0-9]+)( ?(us|ms|s|m|h|d))?$", duration_units);
    check_quantity(units_parse_size, text, &sizes,
                   "^([0-9]+\\.?[0-9]*|\\.[0-9]+)( ?([bB]|[kKmMgGtT]([iI]?[bB])?))?$", size_units);
    check_time(text);
    free(text);
    return 0;
}
