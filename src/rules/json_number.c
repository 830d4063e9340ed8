#include "rules/json_number.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Both directions do the numbers people send (up to 19 digits, moderate exponents) in integers of
 * 64 and 128 bits, where every step is exact. What is left goes to strtod and snprintf, which are
 * exact in glibc but spell the decimal point as the locale says: they are only given and asked for
 * digits and an exponent ("2345e-2"), which no locale changes.
 */

__extension__ typedef unsigned __int128 uint128;

enum {
    EXACT_POWER_MAX = 22,     /* the largest power of ten a double holds exactly */
    SIGNIFICANT_DIGITS = 800, /* more than the 767 that can matter, before the one for "and more" */
    EXPONENT_BOUND = 1000000000
};

static const double exact_powers[EXACT_POWER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

#define POWER_MAX 19

static const uint64_t powers[POWER_MAX + 1] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

/* A number as it was spelled: mantissa * 10^exponent, and where its digits stand. */
struct spelling {
    uint64_t mantissa; /* of all digits; worthless when there are more than 19 */
    size_t digit_count;
    int64_t exponent;
    const char *digits; /* of the integer part and, behind a point, the fraction */
    const char *digits_end;
    bool negative;
    bool is_integer; /* neither fraction nor exponent */
};

static bool is_digit_at(const char *at, const char *end)
{
    return at < end && *at >= '0' && *at <= '9';
}

/* Takes the digits at `*at` into the mantissa; returns how many. */
static size_t take_digits(const char **at, const char *end, struct spelling *s)
{
    const char *from = *at;
    const char *p = from;
    uint64_t mantissa = s->mantissa;
    for (; is_digit_at(p, end); p++)
        mantissa = mantissa * 10 + (uint64_t)(*p - '0'); /* wraps beyond 19 digits */
    s->mantissa = mantissa;
    s->digit_count += (size_t)(p - from);
    s->digits_end = p;
    *at = p;
    return (size_t)(p - from);
}

/* Reads what follows an `e`. Returns 0, or -1 with `*at` at the byte that is no digit. */
static int take_exponent(const char **at, const char *end, struct spelling *s)
{
    const char *p = *at;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    *at = p;
    if (!is_digit_at(p, end))
        return -1;
    int64_t exponent = 0;
    for (; is_digit_at(p, end); p++)
        if (exponent <
            INT64_C(1000) * EXPONENT_BOUND) /* far beyond what a text could make up for */
            exponent = exponent * 10 + (*p - '0');
    s->exponent += negative ? -exponent : exponent;
    *at = p;
    return 0;
}

/* Reads the grammar of a number. Returns NULL, or what is wrong with the byte at `*at`. */
static const char *take_spelling(const char **at, const char *end, struct spelling *s)
{
    s->negative = **at == '-';
    *at += s->negative;
    s->digits = *at;
    if (!is_digit_at(*at, end))
        return "a digit was expected";
    if (**at == '0' && is_digit_at(*at + 1, end))
        return "a number cannot have a leading zero";
    take_digits(at, end, s);
    if (*at < end && **at == '.') {
        (*at)++;
        s->is_integer = false;
        size_t count = take_digits(at, end, s);
        if (count == 0)
            return "a digit was expected after the point";
        s->exponent = -(int64_t)count;
    }
    if (*at < end && (**at == 'e' || **at == 'E')) {
        (*at)++;
        s->is_integer = false;
        if (take_exponent(at, end, s) < 0)
            return "a digit was expected in the exponent";
    }
    return NULL;
}

/*
 * The nearest double to mantissa / 10^power, for power up to 19: a quotient of 63 or 64 bits, whose
 * last bit also stands for the remainder, so that the conversion to 53 bits rounds right.
 */
static double divide(uint64_t mantissa, int power)
{
    uint64_t divisor = powers[power];
    int mantissa_shift = __builtin_clzll(mantissa);
    int divisor_shift = __builtin_clzll(divisor);
    mantissa <<= mantissa_shift;
    divisor <<= divisor_shift;
    uint128 dividend = (uint128)mantissa << 63;
    uint64_t quotient = (uint64_t)(dividend / divisor);
    if ((uint128)quotient * divisor != dividend)
        quotient |= 1;
    return ldexp((double)quotient, divisor_shift - mantissa_shift - 63);
}

/* Any spelling, by strtod, from a copy of the digits that can matter. May be infinite. */
static double convert_slowly(const struct spelling *s)
{
    char copy[SIGNIFICANT_DIGITS + 32];
    size_t size = 0;
    int64_t exponent = s->exponent;
    bool more = false;
    for (const char *p = s->digits; p < s->digits_end; p++) {
        if (*p == '.' || (size == 0 && *p == '0'))
            continue;
        if (size < SIGNIFICANT_DIGITS) {
            copy[size++] = *p;
        } else {
            exponent++;
            more |= *p != '0';
        }
    }
    if (size == 0)
        return 0.0;
    if (more) {
        copy[size++] = '1'; /* so that it is above a tie when the whole number is */
        exponent--;
    }
    if (exponent > EXPONENT_BOUND)
        exponent = EXPONENT_BOUND;
    if (exponent < -EXPONENT_BOUND)
        exponent = -EXPONENT_BOUND;
    snprintf(copy + size, sizeof copy - size, "e%" PRId64, exponent);
    return strtod(copy, NULL);
}

static double convert(const struct spelling *s)
{
    if (s->digit_count > POWER_MAX)
        return convert_slowly(s);
    if (s->mantissa == 0)
        return 0.0;
    if (s->exponent == 0)
        return (double)s->mantissa;
    if (s->mantissa <= UINT64_C(1) << 53) {
        /* Two exact numbers and one operation: rounded once. */
        if (s->exponent < 0 && s->exponent >= -EXACT_POWER_MAX)
            return (double)s->mantissa / exact_powers[-s->exponent];
        if (s->exponent > 0 && s->exponent <= EXACT_POWER_MAX)
            return (double)s->mantissa * exact_powers[s->exponent];
    }
    if (s->exponent < 0 && s->exponent >= -POWER_MAX)
        return divide(s->mantissa, (int)-s->exponent);
    return convert_slowly(s);
}

int json_number_read(const char **at, const char *end, struct json_number *number)
{
    const char *start = *at;
    struct spelling s = {.is_integer = true};
    number->fault = take_spelling(at, end, &s);
    if (number->fault != NULL)
        return -1;
    if (s.is_integer && s.digit_count <= POWER_MAX) {
        uint64_t limit = s.negative ? UINT64_C(1) << 63 : (uint64_t)INT64_MAX;
        bool minus_zero = s.negative && s.mantissa == 0; /* only a float keeps that sign */
        if (s.mantissa <= limit && !minus_zero) {
            number->is_integer = true;
            number->integer = (int64_t)(s.negative ? 0 - s.mantissa : s.mantissa);
            return 0;
        }
    }
    double value = convert(&s);
    if (isinf(value)) {
        *at = start;
        number->fault = "number out of range";
        return -1;
    }
    number->is_integer = false;
    number->real = s.negative ? -value : value;
    return 0;
}

/* Writes the digits of `value`; returns how many. */
static size_t write_digits(uint64_t value, char *out)
{
    char reversed[20];
    size_t size = 0;
    do {
        reversed[size++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < size; i++)
        out[i] = reversed[size - 1 - i];
    return size;
}

size_t json_integer_write(int64_t value, char *out)
{
    if (value >= 0)
        return write_digits((uint64_t)value, out);
    *out = '-';
    return 1 + write_digits(0 - (uint64_t)value, out + 1);
}

/* digits * 10^exponent; at most 17 digits. */
struct decimal {
    uint64_t digits;
    int exponent;
};

/*
 * The shortest decimal for 1e-5 <= value < 1e15, not an integer. With value = m * 2^e and a power
 * of ten that makes 17 digits of it, x = 2 * m * 10^k stays below 2^128 and is the value in units
 * of 2^(e-1) * 10^-k. In these units one of the 17th digit is 2^(1-e), and half the distance to the
 * next double on either side is 10^k. No decimal tried here is exactly that far (2^(1-e) does not
 * divide 10^k in this range), and where the distance below is half as large, at powers of two, the
 * value itself has at most 12 digits.
 */
static struct decimal shorten_exactly(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t m = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    int e = (int)(bits >> 52) - 1075;
    int unit = 1 - e;
    int k = 16 - (int)floor((e + 52) * 0.30103); /* 10^k * value has 17 digits, or 18 */
    uint128 x = (uint128)(2 * m) * powers[k / 2] * powers[k - k / 2];
    if ((uint64_t)(x >> unit) >= powers[17]) {
        k--;
        x = (uint128)(2 * m) * powers[k / 2] * powers[k - k / 2];
    }
    uint64_t whole = (uint64_t)(x >> unit);
    uint128 half = (uint128)powers[k / 2] * powers[k - k / 2];

    for (int drop = 2; drop >= 1; drop--) {
        uint64_t scale = powers[drop];
        uint64_t digits = whole / scale;
        uint128 to_lower = x - ((uint128)(digits * scale) << unit);
        uint128 to_upper = ((uint128)((digits + 1) * scale) << unit) - x;
        if (to_lower < half && to_lower <= to_upper)
            return (struct decimal){digits, drop - k};
        if (to_upper < half)
            return (struct decimal){digits + 1, drop - k};
    }
    bool round_up = ((x >> (unit - 1)) & 1) != 0;
    return (struct decimal){whole + (round_up ? 1 : 0), -k};
}

static double decimal_value(struct decimal decimal)
{
    char text[48];
    snprintf(text, sizeof text, "%" PRIu64 "e%d", decimal.digits, decimal.exponent);
    return strtod(text, NULL);
}

/* The nearest decimal to `value` with `count` digits. */
static struct decimal decimal_of(double value, int count)
{
    char text[48];
    struct decimal decimal = {0, 0};
    snprintf(text, sizeof text, "%.*e", count - 1, value);
    const char *p = text;
    for (; *p != 'e'; p++) /* what is neither a digit nor the e is the locale's point */
        if (*p >= '0' && *p <= '9')
            decimal.digits = decimal.digits * 10 + (uint64_t)(*p - '0');
    decimal.exponent = (int)strtol(p + 1, NULL, 10) - (count - 1);
    return decimal;
}

/* The shortest decimal for any positive value, by trying. */
static struct decimal shorten_by_trying(double value)
{
    struct decimal decimal;
    int exponent;
    bool power_of_two = frexp(value, &exponent) == 0.5;
    for (int count = value < DBL_MIN ? 1 : 15; count <= 16; count++) {
        decimal = decimal_of(value, count);
        if (decimal_value(decimal) == value)
            return decimal;
        /* The doubles above a power of two are further apart: the next decimal up may do. */
        decimal.digits++;
        if (power_of_two && decimal_value(decimal) == value)
            return decimal;
    }
    return decimal_of(value, 17);
}

/* Writes a decimal as a JSON number that is seen to be no integer. */
static size_t write_decimal(struct decimal decimal, char *out)
{
    char digits[24];
    char *to = out;
    while (decimal.digits % 10 == 0) {
        decimal.digits /= 10;
        decimal.exponent++;
    }
    int count = (int)write_digits(decimal.digits, digits);
    int point = count + decimal.exponent; /* digits before the point, if written without exponent */

    if (point < -4 || point > 15) {
        *to++ = digits[0];
        if (count > 1) {
            *to++ = '.';
            memcpy(to, digits + 1, (size_t)count - 1);
            to += count - 1;
        }
        *to++ = 'e';
        to += json_integer_write(point - 1, to);
    } else if (point <= 0) {
        memcpy(to, "0.0000", (size_t)(2 - point));
        to += 2 - point;
        memcpy(to, digits, (size_t)count);
        to += count;
    } else {
        for (int i = 0; i < point || i < count; i++) {
            if (i == point)
                *to++ = '.';
            *to++ = i < count ? digits[i] : '0';
        }
        if (count <= point) {
            memcpy(to, ".0", 2);
            to += 2;
        }
    }
    return (size_t)(to - out);
}

size_t json_real_write(double value, char *out)
{
    char *to = out;
    if (signbit(value)) {
        *to++ = '-';
        value = -value;
    }
    if (value < 1e15 && value == floor(value)) {
        to += write_digits((uint64_t)value, to);
        memcpy(to, ".0", 2);
        to += 2;
    } else if (value >= 1e-5 && value < 1e15) {
        to += write_decimal(shorten_exactly(value), to);
    } else {
        to += write_decimal(shorten_by_trying(value), to);
    }
    return (size_t)(to - out);
}
