#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rules/json_number.h"
#include "sanitizer.h"

/* What test_json.c shows by example, here against strtod and printf on many numbers from a fixed
 * seed. */

enum { ROUNDS = 100000 / SLOWNESS };

/* xorshift64*: small, and the same numbers everywhere. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

static double next_real(uint64_t *seed)
{
    return (double)(next_random(seed) >> 11) * 0x1p-53;
}

static int setup(void **state)
{
    static uint64_t seed;
    seed = UINT64_C(20241123);
    *state = &seed;
    return 0;
}

static void assert_same_double(const char *text, double got, double wanted)
{
    uint64_t got_bits, wanted_bits; /* -0.0 is not 0.0 here */
    memcpy(&got_bits, &got, sizeof got);
    memcpy(&wanted_bits, &wanted, sizeof wanted);
    if (got_bits != wanted_bits)
        fail_msg("%s is read as %.17g, not %.17g", text, got, wanted);
}

/* The text must be read as strtod reads it. */
static void assert_read(const char *text)
{
    const char *at = text;
    struct json_number number;
    if (json_number_read(&at, text + strlen(text), &number) < 0)
        fail_msg("%s: %s", text, number.fault);
    assert_int_equal(*at, '\0');
    if (number.is_integer) {
        assert_null(strpbrk(text, ".eE"));
        assert_int_equal(number.integer, strtoll(text, NULL, 10));
    } else {
        assert_same_double(text, number.real, strtod(text, NULL));
    }
}

/* How many digits the mantissa of a number has, without zeros at either end. */
static int significant_digits(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0' && count > 0)
            zeros++;
        if (*text >= '1' && *text <= '9') {
            count += zeros + 1;
            zeros = 0;
        }
    }
    return count;
}

/*
 * Writing must give a JSON float that reads back the same, with no more digits than printf needs.
 */
static void assert_write(double value)
{
    char text[JSON_NUMBER_SIZE + 1], tried[40];
    size_t size = json_real_write(value, text);
    assert_in_range(size, 3, JSON_NUMBER_SIZE);
    text[size] = '\0';
    assert_non_null(strpbrk(text, ".e"));
    assert_same_double(text, strtod(text, NULL), value);
    assert_read(text);
    int digits = 0;
    do {
        snprintf(tried, sizeof tried, "%.*e", digits++, value);
    } while (strtod(tried, NULL) != value);
    if (significant_digits(text) > significant_digits(tried))
        fail_msg("%s is written for %s", text, tried);
}

static void test_decimals_are_read_as_the_nearest_double(void **state)
{
    for (int i = 0; i < ROUNDS; i++) {
        char text[80];
        int decimals = (int)(next_random(*state) % 20);
        double value = (next_real(*state) - 0.5) * pow(10, (double)(next_random(*state) % 18));
        snprintf(text, sizeof text, "%.*f", decimals, value);
        if (strcmp(text, "-0") == 0) /* read as a float on purpose */
            continue;
        if (strpbrk(text, ".") != NULL || fabs(value) < 9e18)
            assert_read(text);
    }
}

static void test_numbers_with_exponents_are_read_as_the_nearest_double(void **state)
{
    for (int i = 0; i < ROUNDS; i++) {
        char text[80];
        uint64_t digits = next_random(*state) >> next_random(*state) % 64;
        int exponent = (int)(next_random(*state) % (i % 2 == 0 ? 600 : 60));
        snprintf(text, sizeof text, "%" PRIu64 "e%d", digits, exponent - (i % 2 == 0 ? 330 : 30));
        if (isinf(strtod(text, NULL)))
            continue;
        assert_read(text);
    }
}

static void test_ties_are_read_as_the_even_double(void **state)
{
    for (int i = 0; i < ROUNDS / 10; i++) {
        char text[80];
        /* 54 bits with the last one set: half way between two doubles. */
        uint64_t odd = next_random(*state) >> 10 | UINT64_C(1) << 53 | 1;
        snprintf(text, sizeof text, "%" PRIu64 "%s", odd,
                 i % 3 == 0   ? ".0"
                 : i % 3 == 1 ? "e0"
                              : ".0000000000000000000000000001");
        assert_read(text);
    }
}

static void test_any_double_is_written_shortest(void **state)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t bits = next_random(*state);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            assert_write(value);
    }
}

static void test_doubles_of_moderate_size_are_written_shortest(void **state)
{
    for (int i = 0; i < ROUNDS; i++)
        assert_write(next_real(*state) * pow(10, (double)(next_random(*state) % 24) - 7));
}

static void test_decimals_are_written_as_they_were_given(void **state)
{
    for (int i = 0; i < ROUNDS; i++) {
        char text[40], written[JSON_NUMBER_SIZE + 1];
        int64_t digits = (int64_t)(next_random(*state) % UINT64_C(1000000000000));
        snprintf(text, sizeof text, "%" PRId64 ".%d%d", digits, (int)(next_random(*state) % 10),
                 (int)(next_random(*state) % 9) + 1);
        size_t size = json_real_write(strtod(text, NULL), written);
        written[size] = '\0';
        assert_string_equal(written, text);
    }
}

static void test_powers_of_two_and_of_ten_and_their_neighbours_are_written_shortest(void **state)
{
    (void)state;
    for (int exponent = -1074; exponent <= 1023; exponent++) {
        double power = ldexp(1, exponent);
        assert_write(power);
        assert_write(-nextafter(power, INFINITY));
        if (exponent > -1074)
            assert_write(nextafter(power, 0));
    }
    for (int exponent = -323; exponent <= 308; exponent++) {
        char text[16];
        snprintf(text, sizeof text, "1e%d", exponent);
        double power = strtod(text, NULL);
        assert_write(power);
        assert_write(nextafter(power, INFINITY));
        assert_write(nextafter(power, 0) > 0 ? nextafter(power, 0) : power);
    }
    assert_write(DBL_MAX);
}

static void test_integers_are_written_as_printf_writes_them(void **state)
{
    for (int i = 0; i < ROUNDS; i++) {
        char text[JSON_NUMBER_SIZE + 1], wanted[40];
        int64_t value = (int64_t)next_random(*state) >> next_random(*state) % 64;
        text[json_integer_write(value, text)] = '\0';
        snprintf(wanted, sizeof wanted, "%" PRId64, value);
        assert_string_equal(text, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_decimals_are_read_as_the_nearest_double, setup),
        cmocka_unit_test_setup(test_numbers_with_exponents_are_read_as_the_nearest_double, setup),
        cmocka_unit_test_setup(test_ties_are_read_as_the_even_double, setup),
        cmocka_unit_test_setup(test_any_double_is_written_shortest, setup),
        cmocka_unit_test_setup(test_doubles_of_moderate_size_are_written_shortest, setup),
        cmocka_unit_test_setup(test_decimals_are_written_as_they_were_given, setup),
        cmocka_unit_test_setup(
            test_powers_of_two_and_of_ten_and_their_neighbours_are_written_shortest, setup),
        cmocka_unit_test_setup(test_integers_are_written_as_printf_writes_them, setup),
    };
    return cmocka_run_group_tests_name("json_number", tests, NULL, NULL);
}
