#define BUS_FAKE_LINK_ONLY
#include "base/clock.h"
#include "base/log.h"
#include "bus/link_internal.h"
#include "mill/worker.h"
#include "unit/bus_fake.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <uv.h>

/*
 * A worker whose server is never there: what it must bear before it has a connection. The way of
 * messages through a worker is in the integration tests.
 */

static sem_t connecting, answer, changed;
static uv_async_t handle; /* as a link has: it must close on the loop after a failed attempt */

int link_open(struct link **link, uv_loop_t *loop, const struct nats_config *config,
              const char *role, const struct link_handler *handler, struct error *err)
{
    (void)config;
    (void)role;
    (void)handler;
    uv_async_init(loop, &handle, NULL);
    uv_close((uv_handle_t *)&handle, NULL);
    *link = &bus.link;
    sem_post(&connecting);
    sem_wait(&answer);
    return error_set(err, "cannot connect");
}

void link_close(struct link *link)
{
    (void)link;
}

void link_free(struct link *link)
{
    (void)link;
}

void link_take_pubacks(struct link *link)
{
    (void)link;
}

natsConnection *link_connection(struct link *link)
{
    (void)link;
    return NULL;
}

const char *link_inbox(const struct link *link)
{
    (void)link;
    return "_INBOX.x";
}

size_t link_buffered(const struct link *link)
{
    (void)link;
    return 0;
}

size_t link_max_payload(const struct link *link)
{
    (void)link;
    return 0;
}

int link_publish_reply(struct link *link, const char *subject, const char *reply,
                       const char *payload, size_t size)
{
    (void)reply;
    return link_publish(link, subject, payload, size);
}

int link_barrier(struct link *link, uint64_t token)
{
    (void)link;
    (void)token;
    fail_msg("a barrier without a connection");
    return -1;
}

/* --- the tests --- */

static struct source_config source = {.stream = "S", .durable = "C", .batch = 1};
static struct config config = {
    .nats = {.reconnect_wait_ns = NS_PER_S / 100}, .sources = &source, .source_count = 1};
static const unsigned sources[] = {0};
static struct worker_counters worker_counters;
static struct source_counters source_counters;
static struct engine_activity activity;
static struct worker *worker;

static void on_change(void *context)
{
    (void)context;
    sem_post(&changed);
}

static int start_worker(void **state)
{
    (void)state;
    struct pipeline_options options = {.config = &config,
                                       .worker_id = 1,
                                       .worker_count = 1,
                                       .sources = sources,
                                       .source_count = 1,
                                       .counters = &worker_counters,
                                       .source_counters = &source_counters,
                                       .activity = &activity};
    sem_init(&connecting, 0, 0);
    sem_init(&answer, 0, 0);
    sem_init(&changed, 0, 0);
    if (worker_new(&worker, &options, on_change, NULL, NULL) != 0 ||
        worker_start(worker, NULL, NULL) != 0)
        return -1;
    sem_wait(&connecting); /* every test begins while the worker tries to connect */
    return 0;
}

static int stop_worker(void **state)
{
    (void)state;
    worker_free(worker);
    bus_fake_reset();
    return 0;
}

static void await(sem_t *semaphore)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    assert_int_equal(sem_timedwait(semaphore, &end), 0);
}

/* Lets all attempts fail until the worker has ended. */
static void await_end(void)
{
    for (int i = 0; i < 100; i++)
        sem_post(&answer);
    await(&changed);
    assert_int_equal(worker_state(worker), WORKER_STOPPED);
    assert_int_equal(bus.sent_count, 0);
}

static void test_it_tries_again_until_it_is_told_to_stop(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        sem_post(&answer);
        await(&connecting);
        assert_int_equal(worker_state(worker), WORKER_STARTING);
    }
    worker_drain(worker);
    await_end();
}

static void test_a_drain_while_it_connects_ends_it(void **state)
{
    (void)state;
    worker_drain(worker);
    await_end();
}

static void test_giving_up_while_it_connects_ends_it(void **state)
{
    (void)state;
    worker_drain(worker);
    worker_give_up(worker);
    await_end();
}

static void test_an_offer_while_it_connects_waits(void **state)
{
    (void)state;
    struct engine *engine = (struct engine *)(void *)&bus; /* nobody may look into it */
    worker_offer(worker, engine);
    sem_post(&answer);
    await(&connecting);
    assert_int_equal(worker_offer_state(worker), OFFER_MADE);
    worker_drain(worker);
    await_end();
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, start_worker, stop_worker)

int main(void)
{
    FILE *nowhere = fopen("/dev/null", "w");
    if (nowhere == NULL)
        return 1;
    log_open(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, nowhere);
    const struct CMUnitTest tests[] = {
        TEST(test_it_tries_again_until_it_is_told_to_stop),
        TEST(test_a_drain_while_it_connects_ends_it),
        TEST(test_giving_up_while_it_connects_ends_it),
        TEST(test_an_offer_while_it_connects_waits),
    };
    int status = cmocka_run_group_tests_name("worker", tests, NULL, NULL);
    fclose(nowhere);
    return status;
}
