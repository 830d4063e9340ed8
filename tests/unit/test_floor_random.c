/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "mill/floor.h"

/*
 * The floor at random, with a server, and two workers that share its consumer by mistake: whatever
 * gets lost, comes again or goes back, no ack passes what is not settled.
 */

enum { MESSAGES = 60, WORKERS = 2, QUEUE = 4096, MAX_PENDING = 25, STEPS = 1500 };

struct consumer {
    uint64_t next_sequence, next_number;
    uint64_t acked, acked_number;
    size_t pending;
    uint64_t number[MESSAGES + 2]; /* of the first delivery; 0: not pending */
    uint64_t count[MESSAGES + 2];
};

struct answer {
    enum { ANSWER_NONE, ANSWER_ACK, ANSWER_CONSUMER, ANSWER_STREAM } kind;
    bool asked; /* the server has still to answer */
    struct floor_ack ack;
    struct floor_facts facts;
    uint64_t first;
};

struct worker {
    struct floor *floor;
    bool alive;
    struct floor_delivery queue[QUEUE]; /* on their way to it */
    size_t from, to;
    bool open[MESSAGES + 2];
    struct answer answer;
};

struct world {
    uint64_t random;
    uint64_t published, first; /* of the stream */
    struct consumer now, saved;
    bool settled[MESSAGES + 2];
    bool left_out[MESSAGES + 2]; /* filtered away */
    bool replicated;
    struct worker workers[WORKERS];
    unsigned long long violations, acks;
};

static uint64_t draw(struct world *world, uint64_t below)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (world->random >> 11) % below;
}

static void start_worker(struct worker *worker)
{
    floor_free(worker->floor);
    memset(worker, 0, sizeof(*worker));
    worker->floor = floor_new(MESSAGES + 1);
    assert_non_null(worker->floor);
    worker->alive = true;
}

static void deliver(struct world *world, struct worker *worker, uint64_t sequence, bool again)
{
    struct consumer *now = &world->now;
    uint64_t number = now->next_number++;
    if (now->number[sequence] == 0) {
        now->number[sequence] = number;
        now->pending++;
    }
    now->count[sequence] = again ? now->count[sequence] + 1 : 1;
    if (worker->alive)
        worker->queue[worker->to++ % QUEUE] =
            (struct floor_delivery){sequence, number, now->count[sequence]};
}

/* One message to one of those that pull; a redelivery, or the next one. */
static void server_delivers(struct world *world, bool to_first)
{
    struct consumer *now = &world->now;
    struct worker *worker = &world->workers[to_first ? 0 : draw(world, WORKERS)];
    if (!worker->alive || worker->to - worker->from > QUEUE / 2)
        return;
    if (now->pending > 0 && draw(world, 3) == 0) {
        uint64_t sequence = 1 + draw(world, MESSAGES);
        if (now->number[sequence] != 0 && sequence >= world->first)
            deliver(world, worker, sequence, true);
        return;
    }
    if (now->next_sequence < world->first)
        now->next_sequence = world->first;
    while (now->next_sequence <= world->published && world->left_out[now->next_sequence])
        now->next_sequence++;
    if (now->pending < MAX_PENDING && now->next_sequence <= world->published)
        deliver(world, worker, now->next_sequence++, false);
}

static void forget(struct consumer *now, uint64_t sequence)
{
    now->pending -= now->number[sequence] != 0;
    now->number[sequence] = 0;
}

/* AckPolicy all, as in the server. */
static void server_acks(struct world *world, const struct floor_ack *ack)
{
    struct consumer *now = &world->now;
    world->acks++;
    assert_true(ack->number < now->next_number);
    if (ack->number <= now->acked_number || ack->sequence <= now->acked)
        return;
    for (uint64_t s = world->first; s <= ack->sequence; s++)
        world->violations += now->number[s] != 0 && !world->settled[s];
    for (uint64_t s = now->acked + 1; s <= ack->sequence; s++)
        forget(now, s);
    now->acked = ack->sequence;
    now->acked_number = ack->number;
}

static void server_answers(struct world *world, struct worker *worker)
{
    struct answer *answer = &worker->answer;
    const struct consumer *now = &world->now;
    if (!answer->asked)
        return;
    answer->asked = false;
    if (answer->kind == ANSWER_ACK)
        server_acks(world, &answer->ack);
    answer->first = world->first;
    answer->facts = (struct floor_facts){.created_ns = 1,
                                         .acked_sequence = now->acked,
                                         .acked_number = now->acked_number,
                                         .delivered = now->next_sequence - 1,
                                         .delivered_number = now->next_number - 1,
                                         .pending = now->pending,
                                         .replicated = world->replicated};
}

static void worker_hears(struct worker *worker)
{
    struct answer answer = worker->answer;
    if (answer.kind == ANSWER_NONE || answer.asked)
        return;
    worker->answer.kind = ANSWER_NONE;
    if (answer.kind == ANSWER_ACK)
        floor_ack_answered(worker->floor);
    else if (answer.kind == ANSWER_CONSUMER)
        floor_told_consumer(worker->floor, &answer.facts);
    else
        floor_told_stream(worker->floor, answer.first);
}

static void worker_takes(struct worker *worker)
{
    if (worker->from == worker->to)
        return;
    const struct floor_delivery *delivery = &worker->queue[worker->from++ % QUEUE];
    uint64_t slot;
    if (floor_arrived(worker->floor, delivery, &slot) == FLOOR_NEW)
        worker->open[delivery->sequence] = true;
}

static void worker_settles(struct world *world, struct worker *worker)
{
    uint64_t sequence = 1 + draw(world, MESSAGES);
    for (uint64_t i = 0; i < 8 && !worker->open[sequence]; i++)
        sequence = sequence % MESSAGES + 1;
    if (!worker->open[sequence])
        return;
    worker->open[sequence] = false;
    world->settled[sequence] = true;
    floor_settle(worker->floor, sequence, draw(world, 2) << 62);
}

static void worker_sends(struct world *world, struct worker *worker)
{
    struct answer *answer = &worker->answer;
    if (answer->kind != ANSWER_NONE)
        return;
    enum floor_question question = floor_question(worker->floor);
    if (floor_next_ack(worker->floor, &answer->ack) &&
        (question == FLOOR_ASK_NOTHING || draw(world, 2) == 0)) {
        floor_ack_sent(worker->floor, &answer->ack);
        answer->kind = ANSWER_ACK;
    } else if (question != FLOOR_ASK_NOTHING) {
        floor_asked(worker->floor, question);
        answer->kind = question == FLOOR_ASK_CONSUMER ? ANSWER_CONSUMER : ANSWER_STREAM;
    } else {
        return;
    }
    answer->asked = true;
}

/* A new connection: what was on its way is lost, or was processed and not answered. */
static void reconnect(struct world *world, struct worker *worker)
{
    if (draw(world, 2) == 0)
        server_answers(world, worker);
    worker->answer.kind = ANSWER_NONE;
    worker->answer.asked = false;
    worker->from = worker->to;
    floor_doubt(worker->floor);
}

static void server_crashes(struct world *world)
{
    for (size_t i = 0; i < WORKERS; i++) {
        if (world->workers[i].alive)
            reconnect(world, &world->workers[i]);
    }
    world->now = world->saved;
}

/* The oldest messages leave the stream; later, the consumer notices. */
static void expire(struct world *world)
{
    if (world->first < world->published && draw(world, 3) == 0)
        world->first++;
    for (uint64_t s = 1; s < world->first; s++) {
        if (draw(world, 2) == 0)
            forget(&world->now, s);
    }
}

/* What nats-server 2.9 does when a redelivery meets the request of one that is gone. */
static void slip_back(struct world *world)
{
    if (world->now.pending > 0 && world->now.next_sequence > world->first)
        world->now.next_sequence--;
}

static void fault(struct world *world)
{
    struct worker *worker = &world->workers[draw(world, WORKERS)];
    switch (draw(world, 6)) {
    case 0:
        slip_back(world);
        break;
    case 5:
        if (worker->alive)
            reconnect(world, worker);
        break;
    case 1:
        server_crashes(world);
        break;
    case 2:
        expire(world);
        break;
    case 3:
        worker->alive = false;
        break;
    default:
        start_worker(worker);
        break;
    }
}

static void step(struct world *world, bool first_only)
{
    struct worker *worker = &world->workers[first_only ? 0 : draw(world, WORKERS)];
    if (draw(world, 4) == 0 && world->published < MESSAGES)
        world->published++;
    server_delivers(world, first_only);
    if (draw(world, 8) == 0)
        world->saved = world->now; /* what it would go back to */
    if (!worker->alive)
        return;
    switch (draw(world, 6)) {
    case 0:
    case 1:
        worker_takes(worker);
        break;
    case 2:
        worker_settles(world, worker);
        break;
    case 3:
        worker_sends(world, worker);
        break;
    case 4:
        server_answers(world, worker);
        break;
    default:
        worker_hears(worker);
        break;
    }
}

/* Whether anything is pending above the server's floor, or to come. */
static bool has_work(const struct world *world)
{
    const struct consumer *now = &world->now;
    bool work = now->next_sequence <= MESSAGES;
    for (uint64_t s = now->acked + 1; s <= MESSAGES; s++)
        work = work || now->number[s] != 0;
    return work;
}

static void run_world(uint64_t seed, uint64_t faults_of_1000, bool replicated)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->random = seed * 0x9e3779b97f4a7c15u + 1;
    world->replicated = replicated;
    world->first = 1;
    for (uint64_t s = 1; s <= MESSAGES && seed % 2 == 0; s++)
        world->left_out[s] = draw(world, 3) == 0;
    world->now.next_sequence = world->now.next_number = 1;
    world->saved = world->now;
    start_worker(&world->workers[0]);
    for (int i = 0; i < STEPS; i++) {
        step(world, false);
        if (draw(world, 1000) < faults_of_1000)
            fault(world);
    }
    /* The other one stops; the first must get to the end. */
    world->workers[1].alive = false;
    if (!world->workers[0].alive)
        start_worker(&world->workers[0]);
    struct consumer *now = &world->now;
    for (uint64_t s = 1; s < world->first; s++)
        forget(now, s);
    int left = 200000;
    while (has_work(world) && --left > 0)
        step(world, true);
    if (world->violations > 0 || left == 0)
        print_error("seed %d: %llu acks past what was not settled, %zu still pending\n", (int)seed,
                    world->violations, now->pending);
    assert_int_equal(world->violations, 0);
    assert_true(left > 0);
    for (uint64_t s = world->first; s <= MESSAGES; s++)
        assert_true(world->settled[s] || world->left_out[s]);
    for (size_t i = 0; i < WORKERS; i++)
        floor_free(world->workers[i].floor);
    free(world);
}

static void test_whatever_happens_no_ack_passes_what_is_not_settled(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1500; seed++)
        run_world(seed, seed % 30, seed % 3 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_happens_no_ack_passes_what_is_not_settled),
    };
    return cmocka_run_group_tests_name("floor_random", tests, NULL, NULL);
}
