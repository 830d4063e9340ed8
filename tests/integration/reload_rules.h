#ifndef TIDEMILL_TESTS_INTEGRATION_RELOAD_RULES_H
#define TIDEMILL_TESTS_INTEGRATION_RELOAD_RULES_H

#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What the tests of reloading share: every message of the stream "in" carries a number, and the
 * rules publish it to "out" with the version that they are.
 */

static const char config[] =
    "return { streams = { { name = 'in', subjects = { 'in.>' } },\n"
    "                     { name = 'out', subjects = { 'out.>' } } },\n"
    "  sources = { { stream = 'in', durable = 'd', ack_wait = '20s', backoff = { '100ms' } } },\n"
    "  rules = { timeout = '300ms' } }";

enum { PATIENCE_MS = 15000, RULE_SIZE = 2048 };

/* A rule that publishes { v = version, n = the message's number }. */
static inline const char *rule_of(struct harness *h, int version)
{
    char *text = malloc(RULE_SIZE);
    assert_non_null(text);
    harness_defer(h, free, text);
    snprintf(text, RULE_SIZE,
             "return { subjects = { 'in.a' }, on_message = function(msg)\n"
             "  mill.publish('out.a', { v = %d, n = msg.data.n })\n"
             "end }",
             version);
    return text;
}

static inline struct process *start(struct harness *h, const char *flag)
{
    harness_write_file(h, "tidemill.lua", config);
    struct process *mill =
        flag != NULL ? harness_tidemill(h, "run", flag) : harness_tidemill(h, "run");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    return mill;
}

static inline void publish_number(struct harness *h, int n)
{
    char payload[32];
    snprintf(payload, sizeof(payload), "{\"n\":%d}", n);
    harness_publish(h, "in.a", payload);
}

/* Publishes message n, which must be the n-th, and tells the version of the rule that ran it. */
static inline int version_at_work(struct harness *h, int n)
{
    int v = -1, number = -1;
    publish_number(h, n);
    harness_wait_count(h, "out", (uint64_t)n, PATIENCE_MS);
    const struct harness_messages *out = harness_read(h, "out");
    const char *last = out->items[out->count - 1].payload;
    if (sscanf(last, "{\"v\":%d,\"n\":%d}", &v, &number) != 2 &&
        sscanf(last, "{\"n\":%d,\"v\":%d}", &number, &v) != 2)
        harness_fail(h, "not what the rule publishes: %s", last);
    assert_int_equal(number, n);
    return v;
}

#endif
