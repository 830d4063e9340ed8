/*
 * The loop of a worker. libnats' poll callback fills the pulls' queues; the check handle, which
 * runs after each poll, does a round of the pipeline; an idle handle keeps the loop from sleeping
 * while a round has left work behind. Timers only mark things due, so that a round first takes what
 * has arrived: a worker that was held up does not mistake its own delay for the server's silence.
 *
 * Stopping: DRAIN asks for nothing more, unsubscribes when it has become quiet, and sends a
 * barrier; when that comes round, all that the server had sent is here. When nothing is in flight
 * any more, the rules are unloaded; then a second barrier makes sure that the server has seen every
 * ack, the link closes and the loop runs out.
 */
#include "mill/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "mill/telemetry.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

enum {
    TICK_MS = 100,
    LAST_BARRIER_MS = 1000 /* wait for the server to have seen the last acks */
};

_Static_assert(CONFIG_SOURCES_MAX <= 64, "a source is a bit of `restarts`");

enum stage {
    STAGE_CONNECTING, /* the pipeline has neither link nor engine yet */
    STAGE_RUNNING,
    STAGE_DRAINING,  /* nothing more is asked for; what was asked for may come for a moment */
    STAGE_ARRIVING,  /* unsubscribed, the first barrier is out: messages may still arrive */
    STAGE_FINISHING, /* all has arrived: waiting until nothing is in flight */
    STAGE_UNLOADING, /* the rules' on_unload runs, and what it publishes is stored */
    STAGE_LEAVING,   /* the second barrier is out */
    STAGE_CLOSED
};

enum { BARRIER_ARRIVED = 1, BARRIER_LEAVING = 2 };

struct worker {
    struct pipeline_options options;
    char name[32];
    worker_notify notify;
    void *context;
    struct pipeline *pipeline;
    struct engine *first_engine;
    pthread_t thread;
    bool thread_started;

    /* between the supervisor and the worker */
    atomic_int state;
    atomic_int offer_state;
    struct engine *offered; /* written before OFFER_MADE; read after */
    int64_t offer_pause_ns; /* written before the worker's answer; read after */
    atomic_bool wants_drain, wants_give_up;
    atomic_ullong restarts; /* a bit for each source whose pull starts anew */
    atomic_ullong replaced; /* likewise, and whose consumer is another one */
    atomic_ullong stream_ids[CONFIG_SOURCES_MAX];
    atomic_bool connected;
    struct error error;

    /* the loop's */
    uv_loop_t loop;
    uv_async_t poke;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t tick, due, last_barrier;
    struct link *link;
    enum stage stage;
};

int worker_new(struct worker **out, const struct pipeline_options *options, worker_notify notify,
               void *context, struct error *err)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        return error_set(err, "out of memory");
    worker->options = *options;
    worker->notify = notify;
    worker->context = context;
    snprintf(worker->name, sizeof(worker->name), "worker %d", options->worker_id);
    if (pipeline_open(&worker->pipeline, options, err) != 0) {
        free(worker);
        return -1;
    }
    *out = worker;
    return 0;
}

void worker_engine_options(struct worker *worker, struct engine_options *options)
{
    pipeline_engine_options(worker->pipeline, options);
}

void worker_set_term_reasons(struct worker *worker, bool term_reasons)
{
    pipeline_set_term_reasons(worker->pipeline, term_reasons);
}

static void set_state(struct worker *worker, enum worker_state state)
{
    atomic_store(&worker->state, (int)state);
    worker->notify(worker->context);
}

static void set_offer(struct worker *worker, enum offer_state state)
{
    atomic_store(&worker->offer_state, (int)state);
    worker->notify(worker->context);
}

/* --- stopping --- */

static void close_all(struct worker *worker)
{
    if (worker->stage == STAGE_CLOSED)
        return;
    worker->stage = STAGE_CLOSED;
    pipeline_detach(worker->pipeline);
    link_close(worker->link);
    uv_close((uv_handle_t *)&worker->poke, NULL);
    uv_close((uv_handle_t *)&worker->check, NULL);
    uv_close((uv_handle_t *)&worker->idle, NULL);
    uv_close((uv_handle_t *)&worker->tick, NULL);
    uv_close((uv_handle_t *)&worker->due, NULL);
    uv_close((uv_handle_t *)&worker->last_barrier, NULL);
}

static void on_last_barrier_timeout(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    log_warn(worker->name, "the server did not answer the last barrier: some messages may be "
                           "delivered again");
    close_all(worker);
}

/* Goes on with stopping when the stage's condition has come true. */
static void advance(struct worker *worker)
{
    if (worker->stage == STAGE_DRAINING && pipeline_unsubscribed(worker->pipeline)) {
        worker->stage = STAGE_ARRIVING;
        link_barrier(worker->link, BARRIER_ARRIVED);
    }
    if (worker->stage == STAGE_FINISHING && pipeline_idle(worker->pipeline)) {
        worker->stage = STAGE_UNLOADING;
        pipeline_unload(worker->pipeline);
    }
    if (worker->stage == STAGE_UNLOADING && pipeline_idle(worker->pipeline)) {
        worker->stage = STAGE_LEAVING;
        pipeline_leave(worker->pipeline);
        link_barrier(worker->link, BARRIER_LEAVING);
        uv_timer_start(&worker->last_barrier, on_last_barrier_timeout, LAST_BARRIER_MS, 0);
    }
}

static void begin_drain(struct worker *worker)
{
    if (worker->stage != STAGE_RUNNING)
        return;
    worker->stage = STAGE_DRAINING;
    pipeline_drain(worker->pipeline);
}

static void give_up(struct worker *worker)
{
    begin_drain(worker);
    if (worker->stage >= STAGE_LEAVING)
        return;
    pipeline_give_up(worker->pipeline);
    worker->stage = STAGE_LEAVING;
    pipeline_leave(worker->pipeline);
    link_barrier(worker->link, BARRIER_LEAVING);
    uv_timer_start(&worker->last_barrier, on_last_barrier_timeout, LAST_BARRIER_MS, 0);
}

/* --- what the link tells --- */

static void on_barrier(struct worker *worker, uint64_t token)
{
    if (token == BARRIER_ARRIVED && worker->stage == STAGE_ARRIVING)
        worker->stage = STAGE_FINISHING;
    else if (token == BARRIER_LEAVING && worker->stage == STAGE_LEAVING)
        close_all(worker);
}

static void on_reply(void *context, enum reply_kind kind, uint64_t token,
                     struct wire_message *message, bool no_responders)
{
    struct worker *worker = context;
    if (kind == REPLY_BARRIER) {
        wire_free(message);
        on_barrier(worker, token);
    } else if (worker->stage == STAGE_CLOSED) {
        wire_free(message);
    } else {
        pipeline_reply(worker->pipeline, kind, token, message, no_responders);
    }
}

static void on_event(void *context, enum link_event event, const char *why)
{
    struct worker *worker = context;
    if (worker->stage == STAGE_CLOSED)
        return;
    switch (event) {
    case LINK_DOWN:
        atomic_store(&worker->connected, false);
        log_warn(worker->name, "disconnected from NATS; reconnecting");
        break;
    case LINK_UP:
        atomic_store(&worker->connected, true);
        log_info(worker->name, "connected again");
        pipeline_reconnected(worker->pipeline);
        if (worker->stage == STAGE_ARRIVING) /* the barrier went with the old connection */
            link_barrier(worker->link, BARRIER_ARRIVED);
        break;
    case LINK_CLOSED:
        atomic_store(&worker->connected, false);
        error_set(&worker->error, "the connection to NATS is closed for good: %s",
                  why[0] != '\0' ? why : "no more attempts to reconnect are allowed");
        close_all(worker);
        set_state(worker, WORKER_FAILED);
        break;
    }
    worker->notify(worker->context);
}

static void on_unheard(void *context)
{
    struct worker *worker = context;
    if (worker->stage != STAGE_CLOSED)
        pipeline_unheard(worker->pipeline);
}

static void on_denied(void *context, const char *subject)
{
    struct worker *worker = context;
    if (worker->stage != STAGE_CLOSED)
        pipeline_denied(worker->pipeline, subject);
}

/* --- what the supervisor wants --- */

static void try_offer(struct worker *worker)
{
    int64_t start_ns = clock_monotonic_ns();
    int status = pipeline_try_swap(worker->pipeline, worker->offered, &worker->error);
    worker->offer_pause_ns = clock_monotonic_ns() - start_ns;
    telemetry_paused("trial", worker->offer_pause_ns);
    set_offer(worker, status == 0 ? OFFER_READY : OFFER_REFUSED);
}

static void take_offer(struct worker *worker)
{
    int64_t start_ns = clock_monotonic_ns();
    struct engine *engine = worker->offered;
    worker->offered = NULL;
    if (pipeline_swap(worker->pipeline, engine, &worker->error) != 0) {
        log_error(worker->name, "the old rules stay in this worker: %s", worker->error.text);
        engine_close(engine);
    }
    int64_t pause_ns = clock_monotonic_ns() - start_ns;
    if (pause_ns > worker->offer_pause_ns)
        worker->offer_pause_ns = pause_ns;
    telemetry_paused("swap", pause_ns);
    set_offer(worker, OFFER_SWAPPED);
}

static void consider_offer(struct worker *worker)
{
    int state = atomic_load(&worker->offer_state);
    if (state == OFFER_MADE)
        try_offer(worker);
    else if (state == OFFER_COMMITTED)
        take_offer(worker);
}

static void restart_pulls(struct worker *worker)
{
    unsigned long long restarts = atomic_exchange(&worker->restarts, 0);
    /* Only of those: a bit is set here before there. */
    unsigned long long replaced = atomic_fetch_and(&worker->replaced, ~restarts);
    for (unsigned i = 0; restarts != 0; i++, restarts >>= 1, replaced >>= 1) {
        if (restarts & 1)
            pipeline_restart_pull(worker->pipeline, i, replaced & 1,
                                  atomic_load(&worker->stream_ids[i]));
    }
}

static void on_poke(uv_async_t *handle)
{
    struct worker *worker = handle->data;
    if (worker->stage == STAGE_CONNECTING || worker->stage == STAGE_CLOSED)
        return;
    consider_offer(worker);
    restart_pulls(worker);
    if (atomic_load(&worker->wants_drain))
        begin_drain(worker);
    if (atomic_load(&worker->wants_give_up))
        give_up(worker);
}

/* --- the loop --- */

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its being active is what keeps the poll from waiting */
}

static void on_due(uv_timer_t *timer)
{
    (void)timer; /* the round that follows runs what is due */
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    pipeline_tick(worker->pipeline);
}

static void arm_due_timer(struct worker *worker)
{
    int64_t due_ns = pipeline_due_ns(worker->pipeline);
    if (due_ns < 0) {
        uv_timer_stop(&worker->due);
        return;
    }
    int64_t wait_ns = due_ns - clock_monotonic_ns();
    uint64_t wait_ms = wait_ns > 0 ? (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
    uv_timer_start(&worker->due, on_due, wait_ms, 0);
}

static void on_check(uv_check_t *handle)
{
    struct worker *worker = handle->data;
    if (worker->stage == STAGE_CLOSED)
        return;
    bool more = pipeline_round(worker->pipeline);
    arm_due_timer(worker);
    if (more)
        uv_idle_start(&worker->idle, on_idle);
    else
        uv_idle_stop(&worker->idle);
    advance(worker);
}

static void open_handles(struct worker *worker)
{
    uv_check_init(&worker->loop, &worker->check);
    uv_idle_init(&worker->loop, &worker->idle);
    uv_timer_init(&worker->loop, &worker->tick);
    uv_timer_init(&worker->loop, &worker->due);
    uv_timer_init(&worker->loop, &worker->last_barrier);
    worker->check.data = worker->tick.data = worker->due.data = worker->last_barrier.data = worker;
    uv_ref((uv_handle_t *)&worker->poke);
    uv_check_start(&worker->check, on_check);
    uv_timer_start(&worker->tick, on_tick, TICK_MS, TICK_MS);
}

/* Waits before another attempt to connect; false: stop. */
static bool pause_before_retry(struct worker *worker)
{
    int64_t until_ns = clock_monotonic_ns() + worker->options.config->nats.reconnect_wait_ns;
    while (clock_monotonic_ns() < until_ns) {
        if (atomic_load(&worker->wants_drain) || atomic_load(&worker->wants_give_up))
            return false;
        struct timespec moment = {.tv_nsec = 20 * NS_PER_MS};
        nanosleep(&moment, NULL);
    }
    return true;
}

/*
 * Connects; tries again when the server has gone since the control connection found it. Returns -1
 * when the worker is to stop before that.
 */
static int connect_link(struct worker *worker)
{
    struct link_handler handler = {worker, on_reply, on_unheard, on_event, on_denied};
    bool told = false;
    for (;;) {
        struct error err;
        if (link_open(&worker->link, &worker->loop, &worker->options.config->nats, worker->name,
                      &handler, &err) == 0)
            return 0;
        if (worker->link != NULL) {
            uv_run(&worker->loop, UV_RUN_DEFAULT); /* only lets the handles close */
            link_free(worker->link);
            worker->link = NULL;
        }
        if (!told)
            log_warn(worker->name, "%s; trying again", err.text);
        told = true;
        if (!pause_before_retry(worker))
            return -1;
    }
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct engine *engine = worker->first_engine;
    worker->first_engine = NULL;
    if (connect_link(worker) != 0) {
        engine_close(engine);
        uv_close((uv_handle_t *)&worker->poke, NULL);
        uv_run(&worker->loop, UV_RUN_DEFAULT);
        set_state(worker, WORKER_STOPPED);
        return NULL;
    }
    open_handles(worker);
    if (pipeline_attach(worker->pipeline, worker->link, engine, &worker->error) != 0) {
        close_all(worker);
        atomic_store(&worker->state, WORKER_FAILED);
    } else {
        worker->stage = STAGE_RUNNING;
        atomic_store(&worker->connected, true);
        set_state(worker, WORKER_RUNNING);
        on_poke(&worker->poke); /* what was wanted meanwhile */
    }
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    link_free(worker->link);
    worker->link = NULL;
    atomic_store(&worker->connected, false);
    set_state(worker,
              atomic_load(&worker->state) == WORKER_FAILED ? WORKER_FAILED : WORKER_STOPPED);
    return NULL;
}

/* --- the supervisor's side --- */

int worker_start(struct worker *worker, struct engine *engine, struct error *err)
{
    worker->first_engine = engine;
    if (uv_loop_init(&worker->loop) != 0) {
        engine_close(engine);
        atomic_store(&worker->state, WORKER_FAILED);
        return error_set(err, "cannot make an event loop");
    }
    uv_async_init(&worker->loop, &worker->poke, on_poke);
    worker->poke.data = worker;
    uv_unref((uv_handle_t *)&worker->poke); /* until the other handles are there */
    if (pthread_create(&worker->thread, NULL, run, worker) != 0) {
        engine_close(engine);
        atomic_store(&worker->state, WORKER_FAILED);
        return error_set(err, "cannot start a thread");
    }
    worker->thread_started = true;
    return 0;
}

enum worker_state worker_state(const struct worker *worker)
{
    return (enum worker_state)atomic_load(&worker->state);
}

const char *worker_error(const struct worker *worker)
{
    return worker->error.text;
}

bool worker_connected(const struct worker *worker)
{
    return atomic_load(&worker->connected);
}

/* Wakes the loop while it lives. */
static void poke(struct worker *worker)
{
    enum worker_state state = worker_state(worker);
    if (worker->thread_started && (state == WORKER_STARTING || state == WORKER_RUNNING))
        uv_async_send(&worker->poke);
}

void worker_restart_pull(struct worker *worker, unsigned source, bool replaced, uint64_t stream_id)
{
    if (source < CONFIG_SOURCES_MAX) {
        atomic_store(&worker->stream_ids[source], stream_id);
        if (replaced)
            atomic_fetch_or(&worker->replaced, 1ULL << source);
        atomic_fetch_or(&worker->restarts, 1ULL << source);
    }
    poke(worker);
}

void worker_offer(struct worker *worker, struct engine *engine)
{
    worker->offered = engine;
    atomic_store(&worker->offer_state, OFFER_MADE);
    poke(worker);
}

void worker_commit(struct worker *worker)
{
    atomic_store(&worker->offer_state, OFFER_COMMITTED);
    poke(worker);
}

void worker_decline(struct worker *worker)
{
    worker->offered = NULL;
    atomic_store(&worker->offer_state, OFFER_NONE);
}

enum offer_state worker_offer_state(const struct worker *worker)
{
    return (enum offer_state)atomic_load(&worker->offer_state);
}

int64_t worker_offer_pause_ns(const struct worker *worker)
{
    return worker->offer_pause_ns;
}

void worker_drain(struct worker *worker)
{
    atomic_store(&worker->wants_drain, true);
    poke(worker);
}

void worker_give_up(struct worker *worker)
{
    atomic_store(&worker->wants_give_up, true);
    poke(worker);
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    if (worker->thread_started) {
        pthread_join(worker->thread, NULL);
        uv_loop_close(&worker->loop);
    }
    if (worker_offer_state(worker) == OFFER_COMMITTED) /* it ended before it could take it */
        engine_close(worker->offered);
    pipeline_free(worker->pipeline);
    free(worker);
}
