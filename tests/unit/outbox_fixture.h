#ifndef TIDEMILL_TESTS_UNIT_OUTBOX_FIXTURE_H
#define TIDEMILL_TESTS_UNIT_OUTBOX_FIXTURE_H

#include "base/clock.h"
#include "mill/outbox.h"
#include "unit/bus_fake.h"

/*
 * An outbox on a fake link, with a clock of the test's own; what it reports is kept in `reports`.
 * One test program, one inclusion.
 */

#define ACK_WAIT (30 * NS_PER_S)
#define PATIENCE (5 * NS_PER_S) /* what an ack_wait of 30 s makes of it */

enum { TOKENS = 10000, TRIES = 4, TRIES_INSISTENT = 60 };

struct report {
    unsigned count;
    bool stored, duplicate;
    char error[512];
    int64_t latency_ns;
};

static struct outbox *outbox;
static int64_t now_ns;
static struct report reports[TOKENS]; /* by token */
static int publish_again;             /* so many more times `done` publishes token + 1 */

static inline void publish(size_t token);

static inline void on_done(void *context, void *token, const struct outbox_result *result)
{
    assert_ptr_equal(context, &now_ns);
    struct report *report = token;
    report->count++;
    report->stored = result->stored;
    report->duplicate = result->duplicate;
    report->latency_ns = result->latency_ns;
    if (result->error != NULL)
        snprintf(report->error, sizeof(report->error), "%s", result->error);
    assert_true(result->stored == (result->error == NULL));
    if (publish_again > 0) {
        publish_again--;
        publish((size_t)(report - reports) + 1);
    }
}

static inline int open_outbox(void **state)
{
    (void)state;
    now_ns = 1000 * NS_PER_S;
    publish_again = 0;
    memset(reports, 0, sizeof(reports));
    if (outbox_open(&outbox, &bus.link, ACK_WAIT, on_done, &now_ns, NULL) != 0)
        return -1;
    outbox_tick(outbox, now_ns);
    return 0;
}

static inline int close_outbox(void **state)
{
    (void)state;
    outbox_free(outbox);
    int status = bus.outgoing_live == 0 ? 0 : -1;
    bus_fake_reset();
    return status;
}

static inline void prepare(size_t token, const char *subject, bool insistent)
{
    char id[32];
    snprintf(id, sizeof(id), "id-%zu", token);
    struct publication publication = {
        .subject = subject, .payload = "{}", .payload_size = 2, .id = id, .insistent = insistent};
    assert_non_null(outbox_prepare(outbox, &publication, &reports[token]));
}

static inline void publish_on(size_t token, const char *subject)
{
    prepare(token, subject, false);
    outbox_send(outbox, now_ns);
}

static inline void publish(size_t token)
{
    publish_on(token, "alerts.high");
}

static inline void answer(uint64_t slot, const char *text)
{
    struct wire_message message = {.payload = text, .payload_size = strlen(text)};
    outbox_reply(outbox, slot, &message, false, now_ns);
}

static inline void answer_stored(uint64_t slot)
{
    answer(slot, "{\"stream\":\"alerts\",\"seq\":1}");
}

static inline void answer_no_responders(uint64_t slot)
{
    struct wire_message message = {.payload = ""};
    outbox_reply(outbox, slot, &message, true, now_ns);
}

/* Lets time pass as a worker does: a tick every 100 ms. */
static inline void pass(int64_t duration_ns)
{
    int64_t end_ns = now_ns + duration_ns;
    while (now_ns < end_ns) {
        now_ns += end_ns - now_ns < 100 * NS_PER_MS ? end_ns - now_ns : 100 * NS_PER_MS;
        outbox_tick(outbox, now_ns);
    }
}

static inline void assert_open(size_t token)
{
    assert_int_equal(reports[token].count, 0);
}

static inline void assert_stored(size_t token)
{
    assert_int_equal(reports[token].count, 1);
    assert_true(reports[token].stored);
}

static inline void assert_failed(size_t token, const char *error)
{
    assert_int_equal(reports[token].count, 1);
    assert_false(reports[token].stored);
    assert_string_equal(reports[token].error, error);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_outbox, close_outbox)

#endif
