/*
 * Entries live in chunks that never move; a slot token is `index | generation << 24`, so that a
 * late answer to an earlier use of the slot is recognised. Two lists give the order of what is due:
 * `waiting` (for a PubAck; all wait equally long, so it is a queue) and `resting` (before the next
 * try; sorted).
 */
#include "mill/outbox.h"

#include "base/clock.h"
#include "bus/puback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 256,
    INDEX_BITS = 24,
    TRIES = 4,            /* sendings in all, for a handler's output */
    TRIES_INSISTENT = 60, /* for a timer's, or with an id that is staged: minutes */
    WHY_SIZE = 128,
    ERROR_SIZE = 512 /* with the subject */
};

#define ACK_PATIENCE_LEAST_NS NS_PER_S
#define ACK_PATIENCE_MOST_NS  (5 * NS_PER_S)
#define RETRY_FIRST_NS        (250 * NS_PER_MS) /* a leader election lasts about as long (ADR-22) */
#define RETRY_LONGEST_NS      (5 * NS_PER_S)
#define NAMED_FOR_NS          (60 * NS_PER_S) /* since the last 503: another may follow */
#define HELD_UP_NS            (NS_PER_S / 2) /* between two ticks: the worker was busy or cut off */

enum entry_state { ENTRY_FREE, ENTRY_PREPARED, ENTRY_WAITING, ENTRY_RESTING };

struct entry {
    struct entry *next, *prev; /* in the list of its state; `next` in the free list */
    struct outgoing *outgoing;
    void *token;
    uint32_t index;
    uint32_t generation;
    enum entry_state state;
    bool insistent;
    enum puback_way way;
    int tries;
    int64_t first_sent_ns;
    int64_t due_ns; /* waiting: the answer's deadline; resting: the next sending */
};

struct entry_list {
    struct entry *first, *last;
};

struct outbox {
    struct link *link;
    int64_t ack_patience_ns; /* how long one sending waits for its PubAck */
    int64_t last_tick_ns;
    enum puback_way way;    /* of what is sent from now on */
    int64_t named_until_ns; /* after which it is quick again */
    outbox_done done;
    void *context;
    struct entry **chunks;
    size_t chunk_count;
    struct entry *free_entries;
    struct entry *prepared;
    struct entry_list waiting, resting;
    size_t count;               /* entries not free */
    size_t bytes;               /* payload bytes they hold */
    struct outgoing **finished; /* to be freed in one burst */
    size_t finished_count, finished_capacity;
};

static int64_t ack_patience(int64_t ack_wait_ns)
{
    int64_t patience_ns = ack_wait_ns / 6;
    if (patience_ns < ACK_PATIENCE_LEAST_NS)
        return ACK_PATIENCE_LEAST_NS;
    return patience_ns < ACK_PATIENCE_MOST_NS ? patience_ns : ACK_PATIENCE_MOST_NS;
}

int outbox_open(struct outbox **out, struct link *link, int64_t ack_wait_ns, outbox_done done,
                void *context, struct error *err)
{
    struct outbox *outbox = calloc(1, sizeof(*outbox));
    if (outbox == NULL)
        return error_set(err, "out of memory");
    outbox->link = link;
    outbox->ack_patience_ns = ack_patience(ack_wait_ns);
    outbox->way = PUBACK_QUICK;
    outbox->done = done;
    outbox->context = context;
    *out = outbox;
    return 0;
}

void outbox_free(struct outbox *outbox)
{
    if (outbox == NULL)
        return;
    outbox_collect(outbox);
    for (size_t i = 0; i < outbox->chunk_count; i++) {
        for (size_t j = 0; j < CHUNK; j++)
            outgoing_free(outbox->chunks[i][j].outgoing);
        free(outbox->chunks[i]);
    }
    free((void *)outbox->chunks);
    free((void *)outbox->finished);
    free(outbox);
}

/* --- lists --- */

static void list_remove(struct entry_list *list, struct entry *entry)
{
    *(entry->prev != NULL ? &entry->prev->next : &list->first) = entry->next;
    *(entry->next != NULL ? &entry->next->prev : &list->last) = entry->prev;
    entry->next = entry->prev = NULL;
}

/* Keeps the list sorted by due_ns; a new entry nearly always belongs at the end. */
static void list_insert(struct entry_list *list, struct entry *entry)
{
    struct entry *before = list->last;
    while (before != NULL && before->due_ns > entry->due_ns)
        before = before->prev;
    entry->prev = before;
    entry->next = before != NULL ? before->next : list->first;
    *(entry->prev != NULL ? &entry->prev->next : &list->first) = entry;
    *(entry->next != NULL ? &entry->next->prev : &list->last) = entry;
}

static void leave_list(struct outbox *outbox, struct entry *entry)
{
    if (entry->state == ENTRY_WAITING)
        list_remove(&outbox->waiting, entry);
    else if (entry->state == ENTRY_RESTING)
        list_remove(&outbox->resting, entry);
}

/* --- entries --- */

static int add_chunk(struct outbox *outbox)
{
    if (outbox->chunk_count * CHUNK >= (size_t)1 << INDEX_BITS)
        return -1;
    struct entry **chunks = (struct entry **)realloc((void *)outbox->chunks,
                                                     (outbox->chunk_count + 1) * sizeof(*chunks));
    if (chunks == NULL)
        return -1;
    outbox->chunks = chunks;
    struct entry *chunk = calloc(CHUNK, sizeof(*chunk));
    if (chunk == NULL)
        return -1;
    for (size_t i = CHUNK; i-- > 0;) {
        chunk[i].index = (uint32_t)(outbox->chunk_count * CHUNK + i);
        chunk[i].next = outbox->free_entries;
        outbox->free_entries = &chunk[i];
    }
    chunks[outbox->chunk_count++] = chunk;
    return 0;
}

static uint64_t slot_token_of(const struct entry *entry)
{
    return (uint64_t)entry->generation << INDEX_BITS | entry->index;
}

static struct entry *entry_of(struct outbox *outbox, uint64_t slot_token)
{
    size_t index = slot_token & ((1u << INDEX_BITS) - 1);
    if (index >= outbox->chunk_count * CHUNK)
        return NULL;
    struct entry *entry = &outbox->chunks[index / CHUNK][index % CHUNK];
    bool same = entry->generation == (uint32_t)(slot_token >> INDEX_BITS);
    return same && (entry->state == ENTRY_WAITING || entry->state == ENTRY_RESTING) ? entry : NULL;
}

/* Puts the message aside for outbox_collect; when there is no room for that, frees it now. */
static void put_aside(struct outbox *outbox, struct outgoing *outgoing)
{
    if (outbox->finished_count == outbox->finished_capacity) {
        size_t capacity = outbox->finished_capacity == 0 ? 256 : outbox->finished_capacity * 2;
        struct outgoing **finished =
            (struct outgoing **)realloc((void *)outbox->finished, capacity * sizeof(*finished));
        if (finished == NULL) {
            outgoing_free(outgoing);
            return;
        }
        outbox->finished = finished;
        outbox->finished_capacity = capacity;
    }
    outbox->finished[outbox->finished_count++] = outgoing;
}

static void release(struct outbox *outbox, struct entry *entry)
{
    leave_list(outbox, entry);
    outbox->count--;
    outbox->bytes -= outgoing_size(entry->outgoing);
    put_aside(outbox, entry->outgoing);
    entry->outgoing = NULL;
    entry->state = ENTRY_FREE;
    entry->generation++;
    entry->next = outbox->free_entries;
    outbox->free_entries = entry;
}

/* Frees the entry, then reports; so `done` finds the outbox in order. */
static void finish(struct outbox *outbox, struct entry *entry, const char *error, bool duplicate,
                   int64_t now_ns)
{
    struct outbox_result result = {.stored = error == NULL,
                                   .duplicate = duplicate,
                                   .error = error,
                                   .latency_ns = now_ns - entry->first_sent_ns};
    void *token = entry->token;
    release(outbox, entry);
    outbox->done(outbox->context, token, &result);
}

/* --- sending --- */

struct outgoing *outbox_prepare(struct outbox *outbox, const struct publication *publication,
                                void *token)
{
    if (outbox->free_entries == NULL && add_chunk(outbox) != 0)
        return NULL;
    struct entry *entry = outbox->free_entries;
    struct outgoing *outgoing =
        outgoing_new(outbox->link, outbox->way, slot_token_of(entry), publication->subject,
                     publication->payload, publication->payload_size);
    if (outgoing == NULL || outgoing_header(outgoing, "Nats-Msg-Id", publication->id) != 0) {
        outgoing_free(outgoing);
        return NULL;
    }
    outbox->free_entries = entry->next;
    entry->next = entry->prev = NULL;
    entry->outgoing = outgoing;
    entry->token = token;
    entry->insistent = publication->insistent;
    entry->way = outbox->way;
    entry->tries = 0;
    entry->state = ENTRY_PREPARED;
    outbox->count++;
    outbox->bytes += outgoing_size(outgoing);
    outbox->prepared = entry;
    return outgoing;
}

static void rest(struct outbox *outbox, struct entry *entry, int64_t now_ns)
{
    int64_t delay = RETRY_FIRST_NS;
    for (int i = 1; i < entry->tries && delay < RETRY_LONGEST_NS; i++)
        delay *= 2;
    leave_list(outbox, entry);
    entry->state = ENTRY_RESTING;
    entry->due_ns = now_ns + (delay < RETRY_LONGEST_NS ? delay : RETRY_LONGEST_NS);
    list_insert(&outbox->resting, entry);
}

static void give_up(struct outbox *outbox, struct entry *entry, const char *why, int64_t now_ns)
{
    char error[ERROR_SIZE];
    snprintf(error, sizeof(error), "%s could not be stored: %s", outgoing_subject(entry->outgoing),
             why);
    finish(outbox, entry, error, false, now_ns);
}

/* The last try failed: rest before another, or give up. */
static void try_failed(struct outbox *outbox, struct entry *entry, const char *why, int64_t now_ns)
{
    if (entry->tries < (entry->insistent ? TRIES_INSISTENT : TRIES))
        rest(outbox, entry, now_ns);
    else
        give_up(outbox, entry, why, now_ns);
}

/* When there is no memory for it, the answer comes, or stays out, as before. */
static void name_answer(struct outbox *outbox, struct entry *entry)
{
    struct outgoing *named =
        outgoing_new_again(outbox->link, PUBACK_NAMED, slot_token_of(entry), entry->outgoing);
    if (named == NULL)
        return;
    put_aside(outbox, entry->outgoing);
    entry->outgoing = named;
    entry->way = PUBACK_NAMED;
}

static void send_entry(struct outbox *outbox, struct entry *entry, int64_t now_ns)
{
    struct error err;
    leave_list(outbox, entry);
    if (entry->way == PUBACK_QUICK && outbox->way == PUBACK_NAMED)
        name_answer(outbox, entry);
    entry->state = ENTRY_WAITING;
    entry->due_ns = now_ns + outbox->ack_patience_ns;
    entry->tries++;
    list_insert(&outbox->waiting, entry);
    if (link_send(outbox->link, entry->outgoing, &err) != 0)
        try_failed(outbox, entry, err.text, now_ns);
}

void outbox_discard(struct outbox *outbox)
{
    release(outbox, outbox->prepared);
    outbox->prepared = NULL;
}

void outbox_send(struct outbox *outbox, int64_t now_ns)
{
    struct entry *entry = outbox->prepared;
    outbox->prepared = NULL;
    entry->first_sent_ns = now_ns;
    send_entry(outbox, entry, now_ns);
}

/* --- answers and deadlines --- */

static void answer_by_name(struct outbox *outbox, int64_t now_ns)
{
    outbox->way = PUBACK_NAMED;
    outbox->named_until_ns = now_ns + NAMED_FOR_NS;
}

void outbox_reply(struct outbox *outbox, uint64_t slot_token, const struct wire_message *message,
                  bool no_responders, int64_t now_ns)
{
    struct entry *entry = entry_of(outbox, slot_token);
    if (entry == NULL)
        return;
    if (no_responders) {
        answer_by_name(outbox, now_ns);
        if (entry->state == ENTRY_WAITING)
            try_failed(outbox, entry, "no stream captures the subject", now_ns);
        return;
    }
    char why[WHY_SIZE];
    switch (puback_parse(wire_payload(message), wire_payload_size(message), why, sizeof(why))) {
    case PUBACK_STORED:
        finish(outbox, entry, NULL, false, now_ns);
        break;
    case PUBACK_DUPLICATE:
        finish(outbox, entry, NULL, true, now_ns);
        break;
    case PUBACK_STAGED: /* until the id is out of the duplicate window nothing else would help */
        entry->insistent = true;
        if (entry->state == ENTRY_WAITING)
            try_failed(outbox, entry, why, now_ns);
        break;
    case PUBACK_PASSING:
        if (entry->state == ENTRY_WAITING)
            try_failed(outbox, entry, why, now_ns);
        break;
    case PUBACK_REFUSED: /* for good: no further try */
        give_up(outbox, entry, why, now_ns);
        break;
    }
}

static bool is_denied(const struct entry *entry, const char *subject, size_t length)
{
    const char *own = outgoing_subject(entry->outgoing);
    return strncmp(own, subject, length) == 0 && (own[length] == '\0' || length >= LINK_DENIED_CUT);
}

size_t outbox_denied(struct outbox *outbox, const char *subject, int64_t now_ns)
{
    size_t length = strlen(subject), count = 0;
    struct entry *next;
    for (struct entry *entry = outbox->waiting.first; entry != NULL; entry = next) {
        next = entry->next;
        if (!is_denied(entry, subject, length))
            continue;
        count++;
        give_up(outbox, entry,
                "permission is missing, the server denies this user to publish there", now_ns);
    }
    return count;
}

void outbox_tick(struct outbox *outbox, int64_t now_ns)
{
    if (outbox->way == PUBACK_NAMED && now_ns >= outbox->named_until_ns)
        outbox->way = PUBACK_QUICK;
    if (!link_connected(outbox->link))
        return; /* nothing can be answered; outbox_resend follows */
    bool held_up = now_ns - outbox->last_tick_ns > HELD_UP_NS;
    outbox->last_tick_ns = now_ns;
    if (held_up)
        return; /* what is missing may lie unread, or outbox_resend is about to come */
    while (outbox->waiting.first != NULL && outbox->waiting.first->due_ns <= now_ns)
        try_failed(outbox, outbox->waiting.first, "no PubAck in time", now_ns);
    while (outbox->resting.first != NULL && outbox->resting.first->due_ns <= now_ns)
        send_entry(outbox, outbox->resting.first, now_ns);
}

/* Sends again what waits, or that part of it whose answer may be one that names nobody. */
static void send_waiting_again(struct outbox *outbox, bool quick_only, int64_t now_ns)
{
    struct entry_list unanswered = outbox->waiting;
    outbox->waiting = (struct entry_list){NULL, NULL};
    for (struct entry *entry = unanswered.first, *next; entry != NULL; entry = next) {
        next = entry->next;
        entry->next = entry->prev = NULL;
        if (quick_only && entry->way != PUBACK_QUICK) {
            list_insert(&outbox->waiting, entry);
            continue;
        }
        entry->state = ENTRY_PREPARED; /* in no list */
        entry->tries--;                /* it is not counted */
        send_entry(outbox, entry, now_ns);
    }
}

void outbox_resend(struct outbox *outbox, int64_t now_ns)
{
    send_waiting_again(outbox, false, now_ns);
}

void outbox_unheard(struct outbox *outbox, int64_t now_ns)
{
    answer_by_name(outbox, now_ns);
    send_waiting_again(outbox, true, now_ns);
}

bool outbox_full(const struct outbox *outbox)
{
    return outbox->count >= OUTBOX_ENTRIES_HIGH || outbox->bytes >= OUTBOX_BYTES_HIGH;
}

size_t outbox_count(const struct outbox *outbox)
{
    return outbox->count;
}

void outbox_collect(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->finished_count; i++)
        outgoing_free(outbox->finished[i]);
    outbox->finished_count = 0;
}
