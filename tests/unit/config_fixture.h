#ifndef TIDEMILL_TESTS_UNIT_CONFIG_FIXTURE_H
#define TIDEMILL_TESTS_UNIT_CONFIG_FIXTURE_H

#include "base/clock.h"
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rules/luafile.h"

/* A configuration built from a text, and the problems that were found in it. */

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define S            INT64_C(1000000000)

/* A source that is good, for files whose subject is something else. */
#define SOURCE "sources = { { stream = 's', durable = 'd' } }, "

/* A file of one source that is good but for what the text says. */
#define IN_SOURCE(text) "return { sources = { { stream = 's', durable = 'd', " text " } } }"

static struct config config;
static struct config_problems problems;

static inline int build_with(const char *text, const struct config_overrides *overrides)
{
    struct value root;
    struct error err = {""};
    if (luafile_eval_text("tidemill.lua", text, strlen(text), &root, &err) != 0)
        fail_msg("%s", err.text);
    int result = config_build(&config, &root, overrides, &problems);
    value_free(&root);
    assert_int_equal(result, problems.count == 0 ? 0 : -1);
    return result;
}

/* Builds from a text that must be good; the test's teardown frees. */
static inline void build(const char *text)
{
    if (build_with(text, NULL) != 0)
        fail_msg("refused: %s", problems.items[0].text);
}

static inline int teardown(void **state)
{
    (void)state;
    config_free(&config);
    return 0;
}

/* The text must have exactly these problems, in this order. */
static inline void assert_problems(const char *text, const char *const *messages, size_t count)
{
    build_with(text, NULL);
    for (size_t i = 0; i < count && i < problems.count; i++)
        assert_string_equal(problems.items[i].text, messages[i]);
    if (problems.count > count)
        fail_msg("one more: %s", problems.items[count].text);
    assert_int_equal(problems.count, count);
    config_free(&config);
}

struct fault_case {
    const char *text;
    const char *message;
};

static inline void assert_faults(const struct fault_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_problems(cases[i].text, &cases[i].message, 1);
}

#define CONFIG_TEST(test) cmocka_unit_test_teardown(test, teardown)

#endif
