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
 * The pull without a server: this program's own link functions, and its own of the few libnats
 * functions that pull.c calls on a subscription, stand in for the real ones. Messages are libnats'.
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

/* --- what the tests say --- */

static struct pull *pull;
static int64_t now_ns;

static int open_pull(void **state)
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

static int close_pull(void **state)
{
    (void)state;
    pull_free(pull);
    while (bus.first < bus.last)
        natsMsg_Destroy(bus.queue[bus.first++]);
    return bus.destroyed == 1 ? 0 : -1;
}

static natsMsg *arrive(const char *subject, const char *reply)
{
    natsMsg *message = NULL;
    assert_int_equal(natsMsg_Create(&message, subject, reply, "", 0), NATS_OK);
    assert_true(bus.last < QUEUE);
    bus.queue[bus.last++] = message;
    return message;
}

static void arrive_messages(size_t count)
{
    static unsigned sequence;
    for (size_t i = 0; i < count; i++) {
        char reply[80];
        snprintf(reply, sizeof(reply), "$JS.ACK.S.C.1.%u.1.1.0", ++sequence);
        arrive("sensors.value", reply);
    }
}

/* A status for a request of the epoch; `left` negative: it does not say what is left. */
static void arrive_status(unsigned epoch, const char *status, const char *description, int left)
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

static void arrive_503(void)
{
    bus.queue[bus.last++] = NULL;
}

/* Takes what has arrived, then asks for more: how many messages there were. */
static size_t go_round(void)
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

static void settle(size_t count)
{
    for (size_t i = 0; i < count; i++)
        pull_settled(pull);
}

static unsigned doubts(void)
{
    const char *why;
    return pull_doubts(pull, &why);
}

static void assert_why(const char *text)
{
    const char *why;
    pull_doubts(pull, &why);
    assert_string_equal(why, text);
}

/* So many requests were made since the last call. */
static void assert_requests(size_t count)
{
    assert_int_equal(bus.request_count, count);
    bus.request_count = 0;
}

/* Something was asked for since the last look. */
static void assert_asks_again(void)
{
    assert_true(bus.request_count > 0);
    bus.request_count = 0;
}

/* Rounds every 100 ms for so long. */
static void pass(int64_t duration_ns)
{
    for (int64_t end_ns = now_ns + duration_ns; now_ns < end_ns;) {
        now_ns += 100 * NS_PER_MS;
        go_round();
    }
}

/* --- asking --- */

static void test_it_listens_on_an_inbox_of_its_own_without_limits(void **state)
{
    (void)state;
    assert_string_equal(bus.pattern, "_INBOX.x.p7.*");
    assert_int_equal(bus.limits, 1);
}

static void test_it_asks_for_a_window_of_batches(void **state)
{
    (void)state;
    go_round();
    for (size_t i = 0; i < bus.request_count; i++)
        assert_string_equal(bus.requests[i], "_INBOX.x.p7.0 {\"batch\":100,\"expires\":30000000000,"
                                             "\"idle_heartbeat\":5000000000}");
    assert_requests(WINDOW / BATCH);
    go_round();
    assert_requests(0);
}

static void test_delivered_messages_keep_their_place_until_they_are_settled(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_messages(BATCH);
    assert_int_equal(go_round(), BATCH);
    assert_int_equal(pull_in_flight(pull), BATCH);
    assert_requests(0);
    settle(BATCH - 1);
    go_round();
    assert_requests(0);
    settle(1);
    go_round();
    assert_requests(1);
    assert_int_equal(pull_in_flight(pull), 0);
}

static void test_settling_more_than_there_is_changes_nothing(void **state)
{
    (void)state;
    settle(3);
    assert_int_equal(pull_in_flight(pull), 0);
    go_round();
    assert_requests(WINDOW / BATCH);
}

static void test_on_hold_it_asks_for_nothing(void **state)
{
    (void)state;
    pull_round(pull, now_ns, true);
    assert_requests(0);
    pull_round(pull, now_ns, false);
    assert_requests(WINDOW / BATCH);
}

static void test_without_a_connection_it_asks_for_nothing(void **state)
{
    (void)state;
    bus.disconnected = true;
    pass(60 * NS_PER_S);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

static void test_what_could_not_be_sent_is_no_credit(void **state)
{
    (void)state;
    bus.refuses = true;
    pass(60 * NS_PER_S);
    assert_int_equal(doubts(), 0);
    bus.refuses = false;
    go_round();
    assert_requests(WINDOW / BATCH);
}

/* --- a window that follows the pace --- */

/* All that is asked for comes, with so many bytes each, and is settled, in a tenth of a second. */
static size_t work_fast(size_t count, int bytes)
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

/* The window is full at the beginning; so a grown one asks for what it has grown by, too. */
static void test_the_window_grows_to_what_is_settled_in_a_tenth_of_a_second(void **state)
{
    (void)state;
    go_round();
    assert_int_equal(work_fast(WINDOW, 100), WINDOW / BATCH); /* as it was */
    assert_int_equal(work_fast(WINDOW, 100), WINDOW / BATCH);
    assert_int_equal(work_fast(2 * WINDOW, 100), 2 * WINDOW / BATCH); /* late ones came, too */
    assert_int_equal(work_fast(2 * WINDOW, 100), 2 * WINDOW / BATCH);
}

static void test_the_window_grows_to_a_bound(void **state)
{
    (void)state;
    go_round();
    for (int i = 0; i < 3; i++)
        work_fast(9 * WINDOW, 100);
    assert_int_equal(work_fast(PULL_GROWTH * WINDOW, 100), PULL_GROWTH * WINDOW / BATCH);
}

static void test_a_window_of_large_messages_stays(void **state)
{
    (void)state;
    go_round();
    work_fast(9 * WINDOW, 4000); /* twice the window would be 3.2 MB */
    assert_int_equal(work_fast(WINDOW, 4000), WINDOW / BATCH);
}

static void test_the_window_shrinks_when_settling_slows_down(void **state)
{
    (void)state;
    go_round();
    work_fast(9 * WINDOW, 100);
    pass(NS_PER_S);
    bus.request_count = 0;
    arrive_messages(PULL_GROWTH * WINDOW);
    assert_int_equal(go_round(), PULL_GROWTH * WINDOW);
    settle(PULL_GROWTH * WINDOW);
    go_round();
    assert_requests(WINDOW / BATCH);
}

/* --- messages --- */

static void test_a_message_comes_with_its_ack_subject(void **state)
{
    (void)state;
    struct ack_subject ack;
    arrive("sensors.value", "$JS.ACK.S.C.3.42.7.1234.9");
    struct wire_message *message = pull_next(pull, &ack, now_ns);
    assert_non_null(message);
    assert_string_equal(wire_subject(message), "sensors.value");
    assert_int_equal(ack.stream_sequence, 42);
    assert_int_equal(ack.delivered, 3);
    wire_free(message);
    assert_null(pull_next(pull, &ack, now_ns));
}

static void test_a_users_header_named_status_makes_no_status(void **state)
{
    (void)state;
    go_round();
    natsMsgHeader_Set(arrive("sensors.value", "$JS.ACK.S.C.1.1.1.1.0"), "Status", "409");
    assert_int_equal(go_round(), 1);
}

static void test_anything_else_on_the_inbox_is_thrown_away(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive("_INBOX.x.p7.0", NULL);
    arrive("_INBOX.x.p7.0", "elsewhere");
    arrive("_INBOX.x.p7.", NULL);
    arrive("_INBOX", NULL);
    assert_int_equal(go_round(), 0);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

/* --- ends of requests --- */

static void test_the_rest_of_an_expired_request_is_asked_for_again(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_messages(30);
    arrive_status(0, "408", "Request Timeout", BATCH - 30);
    assert_int_equal(go_round(), 30);
    assert_requests(0); /* 30 are in flight: a whole batch does not fit yet */
    settle(30);
    go_round();
    assert_requests(1);
}

static void test_a_rest_larger_than_all_credit_leaves_none(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_status(0, "408", "Request Timeout", 1000000);
    go_round();
    assert_requests(WINDOW / BATCH);
}

static void test_a_status_of_an_earlier_time_means_nothing(void **state)
{
    (void)state;
    go_round();
    pull_restart(pull, now_ns);
    go_round();
    bus.request_count = 0;
    arrive_status(0, "408", "Request Timeout", BATCH);
    arrive_status(0, "409", "Leadership Change", -1);
    arrive_status(0, "409", "Consumer Deleted", -1);
    go_round();
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

static void test_after_a_leadership_change_everything_is_asked_for_again(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    for (int i = 0; i < WINDOW / BATCH; i++)
        arrive_status(0, "409", "Leadership Change", -1);
    go_round();
    assert_string_equal(bus.requests[0], "_INBOX.x.p7.1 {\"batch\":100,\"expires\":30000000000,"
                                         "\"idle_heartbeat\":5000000000}");
    assert_requests(WINDOW / BATCH);
    assert_int_equal(pull_counts(pull)->lost, 1);
}

static void test_late_messages_of_forgotten_requests_are_messages(void **state)
{
    (void)state;
    go_round();
    pull_restart(pull, now_ns);
    arrive_messages(WINDOW);
    assert_int_equal(go_round(), WINDOW);
    assert_int_equal(pull_in_flight(pull), WINDOW);
    bus.request_count = 0;
    settle(WINDOW);
    go_round();
    assert_requests(WINDOW / BATCH);
}

/* --- silence --- */

static void test_two_heartbeats_of_silence_lose_the_requests(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    pass(2 * HEARTBEAT);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
    pass(500 * NS_PER_MS);
    assert_asks_again();
    assert_int_equal(doubts(), 1);
    assert_why("no heartbeat from the consumer");
}

static void test_silence_that_goes_on_counts_on(void **state)
{
    (void)state;
    pass(60 * NS_PER_S);
    assert_in_range(doubts(), 4, 6);
}

static void test_a_heartbeat_is_a_sign_of_life(void **state)
{
    (void)state;
    go_round();
    for (int i = 0; i < 10; i++) {
        pass(2 * HEARTBEAT - 500 * NS_PER_MS);
        arrive_status(0, "100", "Idle Heartbeat", -1);
    }
    assert_int_equal(doubts(), 0);
    assert_requests(WINDOW / BATCH);
    assert_int_equal(pull_counts(pull)->heartbeats, 9);
}

static void test_a_message_is_a_sign_of_life(void **state)
{
    (void)state;
    go_round();
    for (int i = 0; i < 10; i++) {
        pass(2 * HEARTBEAT - 500 * NS_PER_MS);
        arrive_messages(1);
    }
    assert_int_equal(doubts(), 0);
}

static void test_a_sign_of_life_ends_the_doubts(void **state)
{
    (void)state;
    pass(40 * NS_PER_S);
    assert_true(doubts() > 0);
    arrive_messages(1);
    go_round();
    assert_int_equal(doubts(), 0);
}

static void test_with_a_full_window_nobody_has_to_speak(void **state)
{
    (void)state;
    go_round();
    arrive_messages(WINDOW);
    go_round();
    pass(600 * NS_PER_S);
    assert_int_equal(doubts(), 0);
    settle(WINDOW);
    pass(HEARTBEAT);
    assert_int_equal(doubts(), 0);
}

/* --- trouble --- */

static void test_without_jetstream_it_waits_longer_each_time(void **state)
{
    (void)state;
    int64_t waits[] = {250 * NS_PER_MS, 500 * NS_PER_MS, NS_PER_S, 2 * NS_PER_S};
    go_round();
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        bus.request_count = 0;
        for (int k = 0; k < WINDOW / BATCH; k++)
            arrive_503(); /* one for each request, as a server would */
        go_round();
        now_ns += waits[i] - 1;
        go_round();
        assert_requests(0);
        assert_int_equal(doubts(), i + 1);
        now_ns += 1;
        go_round();
        assert_asks_again();
    }
    assert_why("JetStream does not answer (503)");
}

static void test_after_a_sign_of_life_waits_begin_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        go_round();
        arrive_503();
        go_round();
        now_ns += 20 * NS_PER_S;
    }
    go_round();
    arrive_messages(1);
    go_round();
    arrive_503();
    go_round();
    bus.request_count = 0;
    now_ns += 250 * NS_PER_MS;
    go_round();
    assert_true(bus.request_count > 0);
}

static void test_a_deleted_consumer_is_not_asked_in_a_hurry(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    for (int i = 0; i < WINDOW / BATCH; i++)
        arrive_status(0, "409", "Consumer Deleted", -1);
    go_round();
    assert_requests(0);
    assert_int_equal(doubts(), 1);
    assert_why("the consumer was deleted");
    assert_true(pull_counts(pull)->lost > 0);
    now_ns += 250 * NS_PER_MS;
    go_round();
    assert_asks_again();
}

static void test_a_refusal_is_told_with_the_servers_words(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    arrive_status(0, "409", "Consumer is push based", -1);
    go_round();
    assert_requests(0);
    assert_why("the server refuses the pull: 409 Consumer is push based");
    assert_int_equal(doubts(), 1);
    assert_int_equal(pull_counts(pull)->refused, 1);
}

static void test_a_restart_asks_again_at_once(void **state)
{
    (void)state;
    go_round();
    arrive_503();
    go_round();
    bus.request_count = 0;
    pull_restart(pull, now_ns);
    go_round();
    assert_asks_again();
}

/* The server refuses the requests of `epoch`; then a message comes, so that there is no doubt. */
static void refuse(unsigned epoch, const char *description)
{
    arrive_status(epoch, "409", description, -1);
    go_round();
    bus.request_count = 0;
    now_ns += 20 * NS_PER_S;
    arrive_messages(1);
    go_round();
    settle(1);
    go_round();
}

static void test_where_too_many_wait_it_asks_fewer_times(void **state)
{
    (void)state;
    go_round();
    for (unsigned epoch = 0; epoch < 8; epoch++) {
        refuse(epoch, "Exceeded MaxWaiting");
        if (epoch == 0)
            assert_int_equal(bus.request_count, WINDOW / BATCH / 2);
    }
    assert_non_null(strstr(bus.requests[0], "\"batch\":100,"));
    assert_requests(1);
}

/* The growth goes for good, the window of before stays. */
static void test_where_too_many_wait_for_a_grown_window_it_grows_no_more(void **state)
{
    (void)state;
    go_round();
    work_fast(9 * WINDOW, 100);
    refuse(0, "Exceeded MaxWaiting");
    assert_requests(WINDOW / BATCH);
    assert_int_equal(work_fast(WINDOW, 100), WINDOW / BATCH);
    assert_int_equal(work_fast(9 * WINDOW, 100), WINDOW / BATCH);
}

static void test_where_batches_are_too_large_it_asks_for_less_not_more_often(void **state)
{
    (void)state;
    go_round();
    for (unsigned epoch = 0; epoch < 12; epoch++) {
        refuse(epoch, "Exceeded MaxRequestBatch of 1");
        if (epoch == 0)
            assert_non_null(strstr(bus.requests[0], "\"batch\":50,"));
        assert_int_equal(bus.request_count, WINDOW / BATCH);
    }
    assert_non_null(strstr(bus.requests[0], "\"batch\":1,"));
}

static void test_where_requests_may_not_last_so_long_it_asks_for_shorter_ones(void **state)
{
    (void)state;
    go_round();
    for (unsigned epoch = 0; epoch < 3; epoch++)
        refuse(epoch, "Exceeded MaxRequestExpires of 5s");
    assert_string_equal(bus.requests[0], "_INBOX.x.p7.3 {\"batch\":100,\"expires\":3750000000,"
                                         "\"idle_heartbeat\":1875000000}");
    assert_requests(WINDOW / BATCH);
}

static void test_a_request_over_the_consumers_limits_is_a_doubt(void **state)
{
    (void)state;
    go_round();
    arrive_status(0, "409", "Exceeded MaxRequestBatch of 10", -1);
    go_round();
    assert_int_equal(doubts(), 1);
    assert_why("the server refuses the request: 409 Exceeded MaxRequestBatch of 10");
    assert_int_equal(pull_counts(pull)->refused, 1);
    assert_int_equal(pull_counts(pull)->ended, 0);
}

/* --- the end --- */

static void wait_ms(int64_t ms)
{
    now_ns += ms * NS_PER_MS;
    go_round();
}

static void drain(void)
{
    pull_drain(pull, now_ns);
    pull_drain(pull, now_ns);
}

static void test_a_draining_pull_asks_for_nothing_and_still_takes_messages(void **state)
{
    (void)state;
    go_round();
    bus.request_count = 0;
    drain();
    arrive_messages(3);
    assert_int_equal(go_round(), 3);
    settle(3);
    pass(60 * NS_PER_S);
    assert_requests(0);
    assert_int_equal(doubts(), 0);
}

static void test_a_draining_pull_unsubscribes_once_when_it_has_become_quiet(void **state)
{
    (void)state;
    go_round();
    drain();
    wait_ms(40);
    arrive_messages(1);
    go_round();
    wait_ms(40);
    assert_int_equal(bus.drained, 0);
    assert_false(pull_unsubscribed(pull));
    wait_ms(20);
    wait_ms(20);
    assert_int_equal(bus.drained, 1);
    assert_true(pull_unsubscribed(pull));
}

static void test_a_draining_pull_that_never_becomes_quiet_unsubscribes_all_the_same(void **state)
{
    (void)state;
    go_round();
    drain();
    for (int i = 0; i < 13; i++) {
        arrive_messages(1);
        wait_ms(40);
    }
    assert_int_equal(bus.drained, 1);
}

static void test_a_draining_pull_with_nothing_asked_for_unsubscribes_at_once(void **state)
{
    (void)state;
    drain();
    go_round();
    assert_int_equal(bus.drained, 1);
}

static void test_what_happened_is_counted(void **state)
{
    (void)state;
    go_round();
    arrive_messages(2);
    arrive_status(0, "408", "Request Timeout", 98);
    go_round();
    const struct pull_counts *counts = pull_counts(pull);
    assert_int_equal(counts->messages, 2);
    assert_int_equal(counts->ended, 1);
    assert_int_equal(counts->requests, WINDOW / BATCH);
}

/* --- opening --- */

static void test_a_subscription_that_fails_is_an_error(void **state)
{
    (void)state;
    struct pull_options options = {.stream = "S", .durable = "C", .batch = 1, .window = 1};
    struct pull *failed = NULL;
    struct error err;
    bus.subscribe_status = NATS_CONNECTION_CLOSED;
    assert_int_equal(pull_open(&failed, NULL, 0, &options, &err), -1);
    assert_string_equal(err.text, "cannot subscribe for pulls from S/C: Connection Closed");
    assert_null(failed);
}

static void test_names_too_long_for_a_subject_are_an_error(void **state)
{
    (void)state;
    char name[400];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct pull_options options = {.stream = name, .durable = "C", .batch = 1, .window = 1};
    struct pull *failed = NULL;
    struct error err;
    assert_int_equal(pull_open(&failed, NULL, 0, &options, &err), -1);
    assert_null(failed);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_pull, close_pull)

static FILE *nowhere;

static int open_library(void **state)
{
    (void)state;
    nowhere = fopen("/dev/null", "w");
    if (nowhere == NULL)
        return -1;
    log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, nowhere);
    return library_open(NULL);
}

static int close_library(void **state)
{
    (void)state;
    library_close();
    fclose(nowhere);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_listens_on_an_inbox_of_its_own_without_limits),
        TEST(test_it_asks_for_a_window_of_batches),
        TEST(test_delivered_messages_keep_their_place_until_they_are_settled),
        TEST(test_settling_more_than_there_is_changes_nothing),
        TEST(test_on_hold_it_asks_for_nothing),
        TEST(test_without_a_connection_it_asks_for_nothing),
        TEST(test_what_could_not_be_sent_is_no_credit),
        TEST(test_the_window_grows_to_what_is_settled_in_a_tenth_of_a_second),
        TEST(test_the_window_grows_to_a_bound),
        TEST(test_a_window_of_large_messages_stays),
        TEST(test_the_window_shrinks_when_settling_slows_down),
        TEST(test_a_message_comes_with_its_ack_subject),
        TEST(test_a_users_header_named_status_makes_no_status),
        TEST(test_anything_else_on_the_inbox_is_thrown_away),
        TEST(test_the_rest_of_an_expired_request_is_asked_for_again),
        TEST(test_a_rest_larger_than_all_credit_leaves_none),
        TEST(test_a_status_of_an_earlier_time_means_nothing),
        TEST(test_after_a_leadership_change_everything_is_asked_for_again),
        TEST(test_late_messages_of_forgotten_requests_are_messages),
        TEST(test_two_heartbeats_of_silence_lose_the_requests),
        TEST(test_silence_that_goes_on_counts_on),
        TEST(test_a_heartbeat_is_a_sign_of_life),
        TEST(test_a_message_is_a_sign_of_life),
        TEST(test_a_sign_of_life_ends_the_doubts),
        TEST(test_with_a_full_window_nobody_has_to_speak),
        TEST(test_without_jetstream_it_waits_longer_each_time),
        TEST(test_after_a_sign_of_life_waits_begin_anew),
        TEST(test_a_deleted_consumer_is_not_asked_in_a_hurry),
        TEST(test_a_refusal_is_told_with_the_servers_words),
        TEST(test_a_restart_asks_again_at_once),
        TEST(test_where_too_many_wait_it_asks_fewer_times),
        TEST(test_where_too_many_wait_for_a_grown_window_it_grows_no_more),
        TEST(test_where_batches_are_too_large_it_asks_for_less_not_more_often),
        TEST(test_where_requests_may_not_last_so_long_it_asks_for_shorter_ones),
        TEST(test_a_request_over_the_consumers_limits_is_a_doubt),
        TEST(test_a_draining_pull_asks_for_nothing_and_still_takes_messages),
        TEST(test_a_draining_pull_unsubscribes_once_when_it_has_become_quiet),
        TEST(test_a_draining_pull_that_never_becomes_quiet_unsubscribes_all_the_same),
        TEST(test_a_draining_pull_with_nothing_asked_for_unsubscribes_at_once),
        TEST(test_what_happened_is_counted),
        TEST(test_a_subscription_that_fails_is_an_error),
        TEST(test_names_too_long_for_a_subject_are_an_error),
    };
    return cmocka_run_group_tests_name("pull", tests, open_library, close_library);
}
