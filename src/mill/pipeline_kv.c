/*
 * Most calls are one question and one answer. Three are more:
 *
 *   create  is a put that wants the key to have no message. When it has one, and that is the marker
 *           of a deletion, the put is done again with the marker's revision (ADR-8).
 *   keys    makes a consumer that has each key's last message, reads it to the end, removes it.
 *   a put   that nobody takes asks whether the bucket exists, to tell its absence from the
 *   server's.
 */
#include "mill/pipeline_kv.h"

#include "base/clock.h"
#include "bus/kv.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOT_BITS = 20,
    CALLS_MAX = 1 << SLOT_BITS,
    KEYS_BATCH = 5000,    /* listed by one request: some 2 MB are on their way then */
    KEYS_BYTES = 16 << 20 /* of all names of a list */
};

static const int64_t FORGET_NS = 10 * NS_PER_S; /* longer than a rule waits (rules/kv.c) */

enum step {
    STEP_STORE,
    STEP_GET,
    STEP_LOOK_FOR_MARKER, /* of a create that found the key taken */
    STEP_LOOK_FOR_BUCKET, /* of a put that nobody took */
    STEP_LIST,            /* the consumer is being made */
    STEP_LISTING
};

/* One call under way. `bucket`, `key` and `value` point behind the struct. */
struct kv_call {
    struct kv_call *previous, *next; /* by age */
    uint64_t token;
    uint32_t generation;
    uint64_t wait;
    int64_t begun_ns;
    enum step step;
    bool second_try; /* of a create */
    enum kv_operation operation;
    const char *bucket, *key, *value;
    size_t size;
    uint64_t revision;
    bool listing;   /* there is a consumer to be removed */
    uint64_t left;  /* messages of the list that are still to come */
    uint64_t asked; /* of these, by the request under way */
    char *keys;     /* what has come, a line each; at most KEYS_BYTES */
    size_t keys_size, keys_capacity;
};

struct kv_calls {
    struct link *link;
    kv_calls_answered *answered;
    void *context;
    struct kv_call **slots; /* slot_count, NULL where free */
    size_t slot_count, next_slot;
    uint64_t serial;
    struct kv_call *oldest, *newest;
    size_t count;
};

/* --- the calls under way --- */

struct kv_calls *kv_calls_new(struct link *link, kv_calls_answered *answered, void *context)
{
    struct kv_calls *calls = calloc(1, sizeof(*calls));
    if (calls == NULL)
        return NULL;
    calls->link = link;
    calls->answered = answered;
    calls->context = context;
    return calls;
}

/* Takes a call out: what still comes for it is ignored. */
static void take_out(struct kv_calls *calls, struct kv_call *call)
{
    if (call->listing)
        kv_end_list(calls->link, call->token, call->bucket);
    calls->slots[call->token & (CALLS_MAX - 1)] = NULL;
    *(call->previous != NULL ? &call->previous->next : &calls->oldest) = call->next;
    *(call->next != NULL ? &call->next->previous : &calls->newest) = call->previous;
    calls->count--;
}

static void forget(struct kv_calls *calls, struct kv_call *call)
{
    take_out(calls, call);
    free(call->keys);
    free(call);
}

void kv_calls_free(struct kv_calls *calls)
{
    if (calls == NULL)
        return;
    while (calls->oldest != NULL)
        forget(calls, calls->oldest);
    free((void *)calls->slots);
    free(calls);
}

size_t kv_calls_count(const struct kv_calls *calls)
{
    return calls->count;
}

/* Finds a free slot, making more where half of them are taken. Returns -1: no room. */
static int find_slot(struct kv_calls *calls, size_t *slot)
{
    if (calls->count * 2 >= calls->slot_count) {
        size_t count = calls->slot_count == 0 ? 16 : calls->slot_count * 2;
        struct kv_call **slots =
            count <= CALLS_MAX
                ? (struct kv_call **)realloc((void *)calls->slots, count * sizeof(*slots))
                : NULL;
        if (slots == NULL)
            return -1;
        memset((void *)(slots + calls->slot_count), 0,
               (count - calls->slot_count) * sizeof(*slots));
        calls->slots = slots;
        calls->slot_count = count;
    }
    while (calls->slots[calls->next_slot % calls->slot_count] != NULL)
        calls->next_slot++;
    *slot = calls->next_slot++ % calls->slot_count;
    return 0;
}

static const char *copy(char **at, const char *text, size_t size)
{
    char *place = *at;
    if (size > 0)
        memcpy(place, text, size);
    place[size] = '\0';
    *at += size + 1;
    return place;
}

static struct kv_call *add(struct kv_calls *calls, const struct kv_request *request, int64_t now_ns)
{
    size_t slot;
    const char *key = request->key != NULL ? request->key : "";
    size_t kept = request->operation == KV_CREATE ? request->size : 0; /* others are sent once */
    struct kv_call *call = malloc(sizeof(*call) + strlen(request->bucket) + strlen(key) + kept + 3);
    if (call == NULL || find_slot(calls, &slot) != 0) {
        free(call);
        return NULL;
    }
    char *at = (char *)(call + 1);
    *call = (struct kv_call){.token = ++calls->serial << SLOT_BITS | slot,
                             .begun_ns = now_ns,
                             .operation = request->operation,
                             .size = request->size,
                             .revision = request->revision};
    call->bucket = copy(&at, request->bucket, strlen(request->bucket));
    call->key = copy(&at, key, strlen(key));
    call->value = copy(&at, request->value, kept);
    call->previous = calls->newest;
    *(calls->newest != NULL ? &calls->newest->next : &calls->oldest) = call;
    calls->newest = call;
    calls->slots[slot] = call;
    calls->count++;
    return call;
}

/* --- the first question --- */

static int ask(struct kv_calls *calls, struct kv_call *call, const struct kv_request *request,
               struct error *err)
{
    struct link *link = calls->link;
    int64_t expected = KV_ANY_REVISION;
    switch (request->operation) {
    case KV_GET:
        call->step = STEP_GET;
        return kv_ask_get(link, call->token, call->bucket, call->key, err);
    case KV_KEYS:
        call->step = STEP_LIST;
        return kv_ask_list(link, call->token, call->bucket, err);
    case KV_DELETE:
        call->step = STEP_STORE;
        return kv_ask_delete(link, call->token, call->bucket, call->key, err);
    case KV_CREATE:
        expected = 0;
        break;
    case KV_UPDATE:
        expected = (int64_t)request->revision;
        break;
    case KV_PUT:
        break;
    }
    call->step = STEP_STORE;
    return kv_ask_put(link, call->token, call->bucket, call->key, request->value, request->size,
                      expected, err);
}

int kv_calls_begin(struct kv_calls *calls, uint32_t generation, uint64_t wait,
                   const struct kv_request *request, int64_t now_ns, struct error *err)
{
    while (calls->oldest != NULL && calls->oldest->begun_ns + FORGET_NS <= now_ns)
        forget(calls, calls->oldest);
    struct kv_call *call = add(calls, request, now_ns);
    if (call == NULL)
        return error_set(err, "out of memory");
    call->generation = generation;
    call->wait = wait;
    if (ask(calls, call, request, err) != 0) {
        forget(calls, call);
        return -1;
    }
    return 0;
}

/* --- the answers --- */

/* Ends a call. The reply may point into it. The rule that goes on may begin others meanwhile. */
static void finish(struct kv_calls *calls, struct kv_call *call, const struct reply *reply)
{
    take_out(calls, call);
    calls->answered(calls->context, call->generation, call->wait, reply);
    free(call->keys);
    free(call);
}

static void fail(struct kv_calls *calls, struct kv_call *call, const char *why)
{
    finish(calls, call, &(struct reply){.error = why});
}

static void on_get(struct kv_calls *calls, struct kv_call *call, const char *text, size_t size)
{
    char why[KV_WHY_SIZE];
    struct kv_entry entry = {0};
    switch (kv_read_entry(text, size, &entry, why)) {
    case KV_ANSWER_DONE:
        finish(calls, call,
               &(struct reply){.payload = entry.deleted ? NULL : entry.value,
                               .payload_size = entry.deleted ? 0 : entry.size,
                               .revision = entry.revision});
        free(entry.value);
        break;
    case KV_ANSWER_NONE:
        finish(calls, call, &(struct reply){.payload = NULL});
        break;
    default:
        fail(calls, call, why);
    }
}

static void ask_or_fail(struct kv_calls *calls, struct kv_call *call, int status,
                        const struct error *err)
{
    if (status != 0)
        fail(calls, call, err->text);
}

static void on_stored(struct kv_calls *calls, struct kv_call *call, const char *text, size_t size)
{
    char why[KV_WHY_SIZE];
    struct error err;
    uint64_t revision = 0;
    switch (kv_read_stored(text, size, &revision, why)) {
    case KV_ANSWER_DONE:
        finish(calls, call, &(struct reply){.revision = revision});
        break;
    case KV_ANSWER_CONFLICT:
        if (call->operation == KV_UPDATE) {
            fail(calls, call, "wrong revision");
        } else if (call->second_try) {
            fail(calls, call, "exists");
        } else {
            call->step = STEP_LOOK_FOR_MARKER;
            ask_or_fail(calls, call,
                        kv_ask_get(calls->link, call->token, call->bucket, call->key, &err), &err);
        }
        break;
    default:
        fail(calls, call, why);
    }
}

/* A create that found a message under its key: it may be a marker, or have vanished since. */
static void on_marker(struct kv_calls *calls, struct kv_call *call, const char *text, size_t size)
{
    char why[KV_WHY_SIZE];
    struct error err;
    struct kv_entry entry = {0};
    enum kv_answer answer = kv_read_entry(text, size, &entry, why);
    free(entry.value);
    if (answer == KV_ANSWER_FAILED) {
        fail(calls, call, why);
    } else if (answer == KV_ANSWER_DONE && !entry.deleted) {
        fail(calls, call, "exists");
    } else {
        call->step = STEP_STORE;
        call->second_try = true;
        ask_or_fail(calls, call,
                    kv_ask_put(calls->link, call->token, call->bucket, call->key, call->value,
                               call->size, (int64_t)entry.revision, &err),
                    &err);
    }
}

static void ask_for_keys(struct kv_calls *calls, struct kv_call *call)
{
    struct error err;
    call->step = STEP_LISTING;
    call->asked = call->left < KEYS_BATCH ? call->left : KEYS_BATCH;
    ask_or_fail(calls, call,
                kv_ask_list_next(calls->link, call->token, call->bucket, call->asked, &err), &err);
}

static void on_list(struct kv_calls *calls, struct kv_call *call, const char *text, size_t size)
{
    char why[KV_WHY_SIZE];
    if (kv_read_list(text, size, &call->left, why) != KV_ANSWER_DONE) {
        fail(calls, call, why);
        return;
    }
    call->listing = true;
    if (call->left == 0)
        finish(calls, call, &(struct reply){.payload = ""});
    else
        ask_for_keys(calls, call);
}

/* Returns 0, or -1 with why. */
static int add_key(struct kv_call *call, const char *key, const char **why)
{
    size_t size = strlen(key);
    if (call->keys_size + size + 1 > KEYS_BYTES) {
        *why = "the bucket has too many keys: their names take more than 16 MB";
        return -1;
    }
    if (call->keys_size + size + 1 > call->keys_capacity) {
        size_t capacity = call->keys_capacity * 2 + size + 256;
        char *keys = realloc(call->keys, capacity);
        if (keys == NULL) {
            *why = "out of memory";
            return -1;
        }
        call->keys = keys;
        call->keys_capacity = capacity;
    }
    memcpy(call->keys + call->keys_size, key, size);
    call->keys[call->keys_size + size] = '\n';
    call->keys_size += size + 1;
    return 0;
}

static void on_listed(struct kv_calls *calls, struct kv_call *call,
                      const struct wire_message *message)
{
    bool deleted = true;
    uint64_t left = 0;
    const char *why, *key = kv_read_listed(message, call->bucket, &deleted, &left);
    if (key != NULL && !deleted && add_key(call, key, &why) != 0) {
        fail(calls, call, why);
        return;
    }
    call->left--;
    call->asked--;
    if (key != NULL && left > 0 && call->left > 0) {
        if (call->asked == 0)
            ask_for_keys(calls, call);
        return;
    }
    finish(calls, call,
           &(struct reply){.payload = call->keys != NULL ? call->keys : "",
                           .payload_size = call->keys_size});
}

/* Nobody listens where the question went. */
static void on_no_responders(struct kv_calls *calls, struct kv_call *call)
{
    struct error err;
    if (call->step != STEP_STORE) {
        fail(calls, call, "no responders");
        return;
    }
    call->step = STEP_LOOK_FOR_BUCKET;
    ask_or_fail(calls, call, kv_ask_bucket(calls->link, call->token, call->bucket, &err), &err);
}

static void on_bucket(struct kv_calls *calls, struct kv_call *call, const char *text, size_t size)
{
    char why[KV_WHY_SIZE];
    bool exists = kv_read_bucket(text, size, why) == KV_ANSWER_DONE;
    fail(calls, call, exists ? "no responders" : why);
}

void kv_calls_reply(struct kv_calls *calls, uint64_t token, const struct wire_message *message,
                    bool no_responders)
{
    size_t slot = token & (CALLS_MAX - 1);
    struct kv_call *call = slot < calls->slot_count ? calls->slots[slot] : NULL;
    if (call == NULL || call->token != token)
        return;
    const char *text = wire_payload(message);
    size_t size = wire_payload_size(message);
    if (no_responders) {
        on_no_responders(calls, call);
        return;
    }
    switch (call->step) {
    case STEP_STORE:
        on_stored(calls, call, text, size);
        break;
    case STEP_GET:
        on_get(calls, call, text, size);
        break;
    case STEP_LOOK_FOR_MARKER:
        on_marker(calls, call, text, size);
        break;
    case STEP_LOOK_FOR_BUCKET:
        on_bucket(calls, call, text, size);
        break;
    case STEP_LIST:
        on_list(calls, call, text, size);
        break;
    case STEP_LISTING:
        on_listed(calls, call, message);
        break;
    }
}
