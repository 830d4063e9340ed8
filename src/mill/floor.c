/*
 * The ledger is a ring of entries sorted by sequence, addressed by positions that only grow; a slot
 * is the position an entry had when it came, right as long as nothing was inserted below it. New
 * messages are appended. What comes out of order (delivered again, to a process that does not know
 * it) is inserted by moving the shorter side.
 */
#include "mill/floor.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 256, GHOSTS_MAX = 64 };

struct entry {
    uint64_t sequence;
    uint64_t number; /* of its first delivery; 0: that was not seen */
    uint32_t touched_ms;
    bool settled;
};

/* What the server was asked, and has told. */
struct snapshot {
    bool valid;
    bool first_known;
    uint64_t first; /* of the stream: what is below is not pending, and may yet arrive */
    bool matched;   /* all that was pending is in the ledger */
    struct floor_facts facts;
};

struct floor {
    struct entry *entries;
    size_t mask; /* capacity - 1 */
    size_t limit;
    uint64_t head, tail;     /* positions: entries are in [head, tail) */
    uint64_t settled_prefix; /* the first position that is not known to be settled */
    size_t settled;          /* entries that are */
    uint32_t now_ms;

    uint64_t covered;
    bool complete; /* each delivery since `covered` was established has arrived */
    bool doubt;
    bool ask; /* an ack has had no effect */
    int64_t created_ns;
    bool has_run;
    uint64_t run_first, run_last; /* numbers of the deliveries that arrived without a gap */
    uint64_t arrived;             /* the highest sequence that has, since the last doubt */
    uint64_t delivered;           /* the highest the server has told of or delivered since */
    uint64_t acked, acked_number; /* the server's own floor */
    bool ack_under_way;
    struct floor_ack ack;
    enum floor_question asked;
    struct snapshot snapshot;
    enum { RECALL_NOT_YET, RECALL_NEXT, RECALL_DUE, RECALL_DONE } recall;
    uint64_t recall_to; /* delivered when the first answer since the doubt was given */
    uint64_t told_acked, told_number; /* the server's floor, and its last delivery then */
    uint64_t ghosts[GHOSTS_MAX];      /* pending at or below told_acked */
    size_t ghost_count;
};

struct floor *floor_new(size_t limit)
{
    struct floor *floor = calloc(1, sizeof(*floor));
    if (floor == NULL)
        return NULL;
    floor->entries = malloc(CAPACITY_FIRST * sizeof(*floor->entries));
    if (floor->entries == NULL) {
        free(floor);
        return NULL;
    }
    floor->mask = CAPACITY_FIRST - 1;
    floor->limit = limit;
    floor_reset(floor);
    return floor;
}

void floor_free(struct floor *floor)
{
    if (floor == NULL)
        return;
    free(floor->entries);
    free(floor);
}

void floor_doubt(struct floor *floor)
{
    floor->doubt = true;
    floor->complete = false;
    floor->has_run = false;
    floor->arrived = floor->delivered = 0;
    floor->ack_under_way = false;
    floor->asked = FLOOR_ASK_NOTHING;
    floor->snapshot.valid = false;
    floor->told_acked = 0;
    floor->ghost_count = 0;
    floor->recall = RECALL_NOT_YET;
}

void floor_reset(struct floor *floor)
{
    /* Far from 0, so that entries can be inserted below. */
    floor->head = floor->tail = floor->settled_prefix = UINT64_C(1) << 62;
    floor->settled = 0;
    floor->covered = floor->acked = floor->acked_number = 0;
    floor->created_ns = 0;
    floor->ask = false;
    floor_doubt(floor);
}

void floor_tick(struct floor *floor, uint32_t now_ms)
{
    floor->now_ms = now_ms;
}

/* --- the ring --- */

static struct entry *at(const struct floor *floor, uint64_t position)
{
    return &floor->entries[position & floor->mask];
}

/* The first position whose sequence is not less. */
static uint64_t lower_bound(const struct floor *floor, uint64_t sequence)
{
    uint64_t low = floor->head, high = floor->tail;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (at(floor, middle)->sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *find(const struct floor *floor, uint64_t sequence, uint64_t hint)
{
    if (hint >= floor->head && hint < floor->tail && at(floor, hint)->sequence == sequence)
        return at(floor, hint);
    uint64_t position = lower_bound(floor, sequence);
    if (position < floor->tail && at(floor, position)->sequence == sequence)
        return at(floor, position);
    return NULL;
}

static int grow(struct floor *floor)
{
    size_t capacity = floor->mask + 1;
    struct entry *entries = malloc(2 * capacity * sizeof(*entries));
    if (entries == NULL)
        return -1;
    for (uint64_t i = floor->head; i < floor->tail; i++)
        entries[i & (2 * capacity - 1)] = *at(floor, i);
    free(floor->entries);
    floor->entries = entries;
    floor->mask = 2 * capacity - 1;
    return 0;
}

/* Makes a hole at `position` (or one below) and returns where it is. */
static uint64_t open_hole(struct floor *floor, uint64_t position)
{
    if (position - floor->head < floor->tail - position) {
        floor->head--;
        position--;
        for (uint64_t i = floor->head; i < position; i++)
            *at(floor, i) = *at(floor, i + 1);
        if (floor->settled_prefix <= position)
            floor->settled_prefix--;
    } else {
        for (uint64_t i = floor->tail; i > position; i--)
            *at(floor, i) = *at(floor, i - 1);
        floor->tail++;
    }
    return position;
}

/* Returns 0, or -1: there is no room. */
static int insert(struct floor *floor, const struct entry *entry, uint64_t *slot)
{
    size_t count = floor_count(floor);
    if (count >= floor->limit || (count > floor->mask && grow(floor) != 0))
        return -1;
    uint64_t position = floor->tail;
    if (count > 0 && at(floor, floor->tail - 1)->sequence > entry->sequence)
        position = open_hole(floor, lower_bound(floor, entry->sequence));
    else
        floor->tail++;
    *at(floor, position) = *entry;
    if (floor->settled_prefix > position)
        floor->settled_prefix = position; /* found anew, entry by entry */
    floor->settled += entry->settled;
    *slot = position;
    return 0;
}

static void drop_below(struct floor *floor, uint64_t sequence)
{
    while (floor->head < floor->tail && at(floor, floor->head)->sequence < sequence)
        floor->settled -= at(floor, floor->head++)->settled;
    if (floor->settled_prefix < floor->head)
        floor->settled_prefix = floor->head;
}

/* --- arrival --- */

static void cover(struct floor *floor, uint64_t sequence)
{
    if (floor->covered < sequence)
        floor->covered = sequence;
}

/* What is behind `covered` without a gap between the sequences is known, too. */
static void cover_neighbours(struct floor *floor)
{
    uint64_t position = lower_bound(floor, floor->covered + 1);
    while (position < floor->tail && at(floor, position++)->sequence == floor->covered + 1)
        floor->covered++;
}

/* What the delivery's number says about those before it. */
static void follow(struct floor *floor, const struct floor_delivery *delivery)
{
    if (floor->has_run && delivery->number <= floor->run_last)
        floor_doubt(floor); /* numbers do not go back, unless the consumer has */
    if (!floor->has_run || delivery->number != floor->run_last + 1) {
        floor->run_first = delivery->number;
        floor->complete = false;
    }
    floor->has_run = true;
    floor->run_last = delivery->number;
    if (delivery->count > 1 && delivery->sequence > floor->covered)
        floor->complete = false; /* its first delivery was not seen, so there is more unseen */
    if (floor->arrived < delivery->sequence)
        floor->arrived = delivery->sequence;
    if (floor->delivered < delivery->sequence)
        floor->delivered = delivery->sequence;
    if (floor->complete)
        cover(floor, delivery->sequence);
}

/* A message is delivered again that the server's floor had passed before. */
static void note_ghost(struct floor *floor, const struct floor_delivery *delivery)
{
    if (delivery->sequence > floor->told_acked || delivery->number <= floor->told_number ||
        floor->ghost_count == GHOSTS_MAX)
        return;
    for (size_t i = 0; i < floor->ghost_count; i++) {
        if (floor->ghosts[i] == delivery->sequence)
            return;
    }
    floor->ghosts[floor->ghost_count++] = delivery->sequence;
}

static size_t count_ghosts(const struct floor *floor, uint64_t first)
{
    size_t count = 0;
    for (size_t i = 0; i < floor->ghost_count; i++)
        count += floor->ghosts[i] >= first;
    return count;
}

static void match(struct floor *floor);

enum floor_arrival floor_arrived(struct floor *floor, const struct floor_delivery *delivery,
                                 uint64_t *slot)
{
    uint64_t covered = floor->covered;
    *slot = 0;
    follow(floor, delivery);
    struct entry *entry = NULL;
    if (floor->head < floor->tail && delivery->sequence <= at(floor, floor->tail - 1)->sequence)
        entry = find(floor, delivery->sequence, 0);
    if (entry != NULL) {
        entry->touched_ms = floor->now_ms;
        if (delivery->count == 1) /* the consumer had gone back */
            entry->number = delivery->number;
        return entry->settled ? FLOOR_SETTLED : FLOOR_OPEN;
    }
    bool known = delivery->sequence <= covered; /* and no longer in the ledger: it was settled */
    if (known && delivery->sequence <= floor->acked) {
        floor->ask = true; /* was it acknowledged meanwhile, or has the server forgotten? */
        note_ghost(floor, delivery);
        if (floor->snapshot.valid)
            match(floor);
        return FLOOR_SETTLED;
    }
    struct entry new = {.sequence = delivery->sequence,
                        .number = delivery->count == 1 ? delivery->number : 0,
                        .touched_ms = floor->now_ms,
                        .settled = known};
    if (insert(floor, &new, slot) != 0) {
        floor_doubt(floor);
        floor->covered = covered;
        return known ? FLOOR_SETTLED : FLOOR_FULL;
    }
    if (new.sequence == floor->covered + 1)
        cover_neighbours(floor);
    if (floor->snapshot.valid)
        match(floor);
    return known ? FLOOR_SETTLED : FLOOR_NEW;
}

void floor_settle(struct floor *floor, uint64_t sequence, uint64_t slot)
{
    struct entry *entry = find(floor, sequence, slot);
    if (entry == NULL || entry->settled)
        return;
    entry->settled = true;
    floor->settled++;
}

/* --- acks --- */

bool floor_next_ack(struct floor *floor, struct floor_ack *ack)
{
    uint64_t most = floor->covered < floor->delivered ? floor->covered : floor->delivered;
    if (floor->doubt || floor->ack_under_way || floor->asked != FLOOR_ASK_NOTHING)
        return false;
    while (floor->settled_prefix < floor->tail && at(floor, floor->settled_prefix)->settled &&
           at(floor, floor->settled_prefix)->sequence <= most)
        floor->settled_prefix++;
    if (floor->settled_prefix == floor->head)
        return false;
    const struct entry *last = at(floor, floor->settled_prefix - 1);
    ack->sequence = last->sequence;
    ack->number = last->number > floor->acked_number ? last->number : floor->acked_number + 1;
    return ack->sequence > floor->acked && ack->number <= floor->run_last;
}

void floor_ack_sent(struct floor *floor, const struct floor_ack *ack)
{
    floor->ack = *ack;
    floor->ack_under_way = true;
}

void floor_ack_answered(struct floor *floor)
{
    if (!floor->ack_under_way)
        return;
    floor->ack_under_way = false;
    floor->acked = floor->ack.sequence;
    floor->acked_number = floor->ack.number;
    drop_below(floor, floor->acked + 1);
}

/* --- questions --- */

enum floor_question floor_question(const struct floor *floor)
{
    if (floor->ack_under_way || floor->asked != FLOOR_ASK_NOTHING)
        return FLOOR_ASK_NOTHING;
    if (floor->snapshot.valid && !floor->snapshot.first_known)
        return FLOOR_ASK_STREAM;
    return floor->complete && !floor->doubt && !floor->ask ? FLOOR_ASK_NOTHING : FLOOR_ASK_CONSUMER;
}

void floor_asked(struct floor *floor, enum floor_question question)
{
    floor->asked = question;
}

void floor_unanswered(struct floor *floor)
{
    floor->asked = FLOOR_ASK_NOTHING;
    floor->snapshot.valid = false;
}

/* All that was pending at the time of these facts is known. */
static void establish(struct floor *floor, const struct floor_facts *facts)
{
    cover(floor, facts->delivered);
    if (floor->run_first <= facts->delivered_number + 1) {
        floor->complete = true;
        cover(floor, floor->arrived); /* all after it have come, too */
    }
    cover_neighbours(floor);
    floor->snapshot.valid = false;
}

/* Counts the entries that were pending when the server told so. */
static void match(struct floor *floor)
{
    struct snapshot *snapshot = &floor->snapshot;
    const struct floor_facts *facts = &snapshot->facts;
    if (!snapshot->first_known || snapshot->matched)
        return;
    uint64_t above = facts->acked_sequence + 1;
    uint64_t from = lower_bound(floor, above > snapshot->first ? above : snapshot->first);
    uint64_t to = lower_bound(floor, facts->delivered + 1);
    if (to - from + count_ghosts(floor, snapshot->first) != facts->pending)
        return;
    snapshot->matched = true;
    if (!facts->replicated)
        establish(floor, facts);
}

/* Where the consumer has gone back, deliveries that it has forgotten will have other numbers. */
static void forget_numbers(struct floor *floor, uint64_t delivered)
{
    for (uint64_t i = floor->tail; i > floor->head && at(floor, i - 1)->sequence > delivered; i--) {
        if (at(floor, i - 1)->number > floor->run_last)
            at(floor, i - 1)->number = 0;
    }
}

void floor_told_consumer(struct floor *floor, const struct floor_facts *facts)
{
    if (floor->asked != FLOOR_ASK_CONSUMER)
        return; /* asked before the last doubt */
    floor->asked = FLOOR_ASK_NOTHING;
    if (floor->created_ns != 0 && floor->created_ns != facts->created_ns) {
        floor_doubt(floor); /* floor_reset follows, from whoever looks after consumers */
        return;
    }
    /*
     * In a cluster the floor told may be an older one than the pending messages belong to. When the
     * next answer, a while later, has the same floor, then it was the right one.
     */
    struct snapshot before = floor->snapshot;
    bool was_complete = floor_is_complete(floor);
    bool confirmed = before.valid && before.matched && facts->replicated &&
                     before.facts.acked_sequence == facts->acked_sequence;
    floor->created_ns = facts->created_ns;
    floor->doubt = floor->ask = false;
    floor->acked = facts->acked_sequence;
    floor->acked_number = facts->acked_number;
    floor->told_acked = facts->acked_sequence;
    floor->told_number = facts->delivered_number;
    if (facts->pending == 0)
        floor->ghost_count = 0;
    drop_below(floor, floor->acked + 1);
    cover(floor, floor->acked);
    cover_neighbours(floor);
    if (floor->delivered < facts->delivered)
        floor->delivered = facts->delivered;
    if (!floor->has_run) {
        floor->has_run = true;
        floor->run_first = facts->delivered_number + 1;
        floor->run_last = facts->delivered_number;
    }
    forget_numbers(floor, facts->delivered);
    floor->snapshot = (struct snapshot){.valid = !was_complete, .facts = *facts};
    if (floor->run_last <= facts->delivered_number && floor->arrived > facts->delivered)
        floor->snapshot.facts.delivered = floor->arrived; /* it has slipped back */
    if (was_complete)
        return;
    if (facts->pending == 0)
        establish(floor, &floor->snapshot.facts);
    else if (confirmed)
        establish(floor, &before.facts);
    if (floor->snapshot.valid && floor->recall == RECALL_NOT_YET) {
        floor->recall = RECALL_NEXT;
        floor->recall_to = floor->snapshot.facts.delivered;
    } else if (floor->snapshot.valid && floor->recall == RECALL_NEXT) {
        floor->recall = RECALL_DUE;
    }
}

void floor_told_stream(struct floor *floor, uint64_t first_sequence)
{
    if (floor->asked != FLOOR_ASK_STREAM || !floor->snapshot.valid)
        return;
    floor->asked = FLOOR_ASK_NOTHING;
    drop_below(floor, first_sequence);
    floor->snapshot.first_known = true;
    floor->snapshot.first = first_sequence;
    match(floor);
}

void floor_visit_missing(struct floor *floor, size_t most, floor_visit *visit, void *context)
{
    const struct snapshot *snapshot = &floor->snapshot;
    if (floor->recall != RECALL_DUE || !snapshot->valid || !snapshot->first_known)
        return;
    floor->recall = RECALL_DONE;
    uint64_t sequence = snapshot->facts.acked_sequence + 1;
    if (sequence < snapshot->first)
        sequence = snapshot->first;
    if (snapshot->matched || sequence > floor->recall_to || floor->recall_to - sequence >= most)
        return;
    uint64_t next = lower_bound(floor, sequence);
    for (; sequence <= floor->recall_to; sequence++) {
        if (next < floor->tail && at(floor, next)->sequence == sequence)
            next++;
        else
            visit(context, sequence, floor->told_number);
    }
}

/* --- what is known --- */

bool floor_is_complete(const struct floor *floor)
{
    return floor->complete && !floor->doubt;
}

size_t floor_count(const struct floor *floor)
{
    return (size_t)(floor->tail - floor->head);
}

size_t floor_settled_count(const struct floor *floor)
{
    return floor->settled;
}

bool floor_is_full(const struct floor *floor, size_t window)
{
    return floor_count(floor) + window > floor->limit;
}

void floor_visit_settled(struct floor *floor, uint32_t age_ms, floor_visit *visit, void *context)
{
    for (uint64_t i = floor->head; i < floor->tail; i++) {
        struct entry *entry = at(floor, i);
        if (!entry->settled || floor->now_ms - entry->touched_ms < age_ms)
            continue;
        entry->touched_ms = floor->now_ms;
        visit(context, entry->sequence, entry->number != 0 ? entry->number : floor->run_last);
    }
}
