#ifndef TIDEMILL_TESTS_UNIT_PULL_FIXTURE_H
#define TIDEMILL_TESTS_UNIT_PULL_FIXTURE_H

#include "base/clock.h"
#include "base/log.h"
#include "bus/library.h"
#include "bus/link_internal.h"
#include "bus/pull.h"

#include <nats/nats.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * The pull without a server: the link functions here, and the few of libnats that pull.c calls on a
 * subscription, stand in for the real ones in a test that includes this. Messages are libnats'. One
 * test program, one inclusion.
 */

#define HEARTBEAT (5 * NS_PER_S)
#define EXPIRES   (30 * NS_PER_S)

enum { QUEUE = 4096, BATCH = 100, WINDOW = 400 };

static struct {
    natsMsg *queue[QUEUE]; /* NULL: a 503 */
    size_t first, last;
    char requests[QUEUE][160]; /* "<reply> <body>" of what was asked for */
    size_t request_count;
    char pattern[256];
    int limits; /* SetPendingLimits(-1, -1) was called */
    unsigned drained, destroyed;
    natsStatus subscribe_status;
    bool disconnected, refuses;
} bus;

natsConnection *link_connection(struct link *link)
{
    (void)link;
    return NULL;
}

bool link_connected(const struct link *link)
{
    (void)link;
    return !bus.disconnected;
}

const char *link_inbox(const struct link *link)
{
    (void)link;
    return "_INBOX.x";
}

int link_publish_reply(struct link *link, const char *subject, const char *reply,
                       const char *payload, size_t size)
{
    (void)link;
    if (bus.refuses)
        return -1;
    assert_string_equal(subject, "$JS.API.CONSUMER.MSG.NEXT.S.C");
    assert_true(bus.request_count < QUEUE);
    snprintf(bus.requests[bus.request_count++], sizeof(bus.requests[0]), "%s %.*s", reply,
             (int)size, payload);
    return 0;
}

natsStatus natsConnection_SubscribeSync(natsSubscription **subscription, natsConnection *connection,
                                        const char *subject)
{
    (void)connection;
    if (bus.subscribe_status == NATS_OK)
        *subscription = (natsSubscription *)(void *)&bus;
    snprintf(bus.pattern, sizeof(bus.pattern), "%s", subject);
    return bus.subscribe_status;
}

natsStatus natsSubscription_SetPendingLimits(natsSubscription *subscription, int messages,
                                             int bytes)
{
    (void)subscription;
    bus.limits += messages == -1 && bytes == -1;
    return NATS_OK;
}

natsStatus natsSubscription_NextMsg(natsMsg **message, natsSubscription *subscription,
                                    int64_t timeout)
{
    (void)subscription;
    assert_int_equal(timeout, 0);
    if (bus.first == bus.last)
        return NATS_TIMEOUT;
    *message = bus.queue[bus.first++];
    return *message != NULL ? NATS_OK : NATS_NO_RESPONDERS;
}

natsStatus natsSubscription_Drain(natsSubscription *subscription)
{
    (void)subscription;
    bus.drained++;
    return NATS_OK;
}

void natsSubscription_Destroy(natsSubscription *subscription)
{
    bus.destroyed += subscription != NULL;
}

static struct pull *pull;
static int64_t now_ns;

static inline int open_pull(void **state)
{
    (void)state;
    struct pull_options options = {.stream = "S",
                                   .durable = "C",
                                   .batch = BATCH,
                                   .window = WINDOW,
                                   .expires_ns = EXPIRES,
                                   .heartbeat_ns = HEARTBEAT};
    memset(&bus, 0, sizeof(bus));
    now_ns = 1000 * NS_PER_S;
    return pull_open(&pull, NULL, 7, &options, NULL);
}

static inline int close_pull(void **state)
{
    (void)state;
    pull_free(pull);
    while (bus.first < bus.last)
        natsMsg_Destroy(bus.queue[bus.first++]);
    return bus.destroyed == 1 ? 0 : -1;
}

static inline natsMsg *arrive(const char *subject, const char *reply)
{
    natsMsg *message = NULL;
    assert_int_equal(natsMsg_Create(&message, subject, reply, "", 0), NATS_OK);
    assert_true(bus.last < QUEUE);
    bus.queue[bus.last++] = message;
    return message;
}

static inline void arrive_messages(size_t count)
{
    static unsigned sequence;
    for (size_t i = 0; i < count; i++) {
        char reply[80];
        snprintf(reply, sizeof(reply), "$JS.ACK.S.C.1.%u.1.1.0", ++sequence);
        arrive("sensors.value", reply);
    }
}

/* A status for a request of the epoch; `left` negative: it does not say what is left. */
static inline void arrive_status(unsigned epoch, const char *status, const char *description,
                                 int left)
{
    char text[64];
    snprintf(text, sizeof(text), "_INBOX.x.p7.%u", epoch);
    natsMsg *message = arrive(text, NULL);
    natsMsgHeader_Set(message, "Status", status);
    if (description != NULL)
        natsMsgHeader_Set(message, "Description", description);
    snprintf(text, sizeof(text), "%d", left);
    if (left >= 0)
        natsMsgHeader_Set(message, "Nats-Pending-Messages", text);
}

/* Takes what has arrived, then asks for more: how many messages there were. */
static inline size_t go_round(void)
{
    size_t count = 0;
    struct ack_subject ack;
    struct wire_message *message;
    while ((message = pull_next(pull, &ack, now_ns)) != NULL) {
        count++;
        wire_free(message);
    }
    pull_round(pull, now_ns, false);
    return count;
}

static inline void settle(size_t count)
{
    for (size_t i = 0; i < count; i++)
        pull_settled(pull);
}

static inline unsigned doubts(void)
{
    const char *why;
    return pull_doubts(pull, &why);
}

/* So many requests were made since the last call. */
static inline void assert_requests(size_t count)
{
    assert_int_equal(bus.request_count, count);
    bus.request_count = 0;
}

/* Rounds every 100 ms for so long. */
static inline void pass(int64_t duration_ns)
{
    for (int64_t end_ns = now_ns + duration_ns; now_ns < end_ns;) {
        now_ns += 100 * NS_PER_MS;
        go_round();
    }
}

static FILE *nowhere;

static inline int open_library(void **state)
{
    (void)state;
    nowhere = fopen("/dev/null", "w");
    if (nowhere == NULL)
        return -1;
    log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, nowhere);
    return library_open(NULL);
}

static inline int close_library(void **state)
{
    (void)state;
    library_close();
    fclose(nowhere);
    return 0;
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_pull, close_pull)

/* All that is asked for comes, with so many bytes each, and is settled, in a tenth of a second. */
static inline size_t work_fast(size_t count, int bytes)
{
    char payload[4096] = "";
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        char reply[80];
        natsMsg *message = NULL;
        snprintf(reply, sizeof(reply), "$JS.ACK.S.C.1.%zu.1.1.0", i + 1);
        assert_int_equal(natsMsg_Create(&message, "sensors.value", reply, payload, bytes), NATS_OK);
        bus.queue[bus.last++] = message;
    }
    assert_int_equal(go_round(), count);
    settle(count);
    now_ns += 100 * NS_PER_MS;
    bus.request_count = 0;
    go_round();
    asked = bus.request_count;
    bus.first = bus.last = bus.request_count = 0;
    return asked;
}

#endif
