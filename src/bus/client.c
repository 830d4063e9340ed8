#include "bus/client.h"

#include "base/clock.h"
#include "base/string_list.h"
#include "bus/closed_gate.h"
#include "bus/denial.h"
#include "bus/json_scan.h"
#include "bus/options.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Publishes live in a ring of slots, in the order they were sent; the reply subject of each is
 * `<inbox>.<sequence>`, and the slot is the sequence modulo the window. A slot is free again when
 * its own answer has come, so a new publish waits for the one a window before it, which is the
 * oldest. libnats' delivery thread fills in the answers; failures are handed out on the caller's
 * thread.
 */

/* No sequence gets that far. */
static const uint64_t NOBODY = UINT64_MAX;

enum slot_state { SLOT_FREE, SLOT_WAITING, SLOT_FAILED };

struct slot {
    enum slot_state state;
    uint64_t sequence;
    uint64_t number;
    int64_t deadline_ns;
    char *reason; /* SLOT_FAILED: malloc'ed, or NULL when there was no memory */
};

struct client {
    natsOptions *options;
    natsConnection *connection;
    struct closed_gate gate; /* what may still call back */
    natsSubscription *answers;
    natsSubscription *messages;
    char url[256];
    char inbox[128];
    struct string_list header_names, header_values;

    client_failed *failed;
    void *context;
    int64_t timeout_ns;
    size_t window;
    uint64_t next_sequence;
    uint64_t oldest; /* all before this one are answered */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct slot *slots;
    size_t unreported; /* slots in SLOT_FAILED */
    uint64_t wanted;   /* the answer that the caller sleeps for; NOBODY: it is awake */
    uint64_t acked;
    char refusal[256]; /* the last permission violation, "": none */
};

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *context)
{
    struct client *client = context;
    struct error err;
    (void)subscription;
    if (status != NATS_NOT_PERMITTED)
        return; /* the others show where they are met: a timeout, a lost message */
    denial_text_error(denial_text(connection, status), &err);
    pthread_mutex_lock(&client->lock);
    snprintf(client->refusal, sizeof(client->refusal), "%.255s", err.text);
    pthread_mutex_unlock(&client->lock);
}

int client_open(struct client **client, const struct nats_config *config, const char *role,
                struct error *err)
{
    *client = NULL;
    struct client *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "out of memory");
    closed_gate_init(&opened->gate);
    pthread_mutex_init(&opened->lock, NULL);
    clock_condition_init(&opened->changed);
    nats_config_servers(config, opened->url, sizeof(opened->url));
    if (nats_options_build(&opened->options, config, role, err) != 0)
        goto failed;
    natsStatus s = natsOptions_SetErrorHandler(opened->options, on_error, opened);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(opened->options, closed_gate_on_closed, &opened->gate);
    if (s == NATS_OK)
        s = nats_connect(&opened->connection, opened->options);
    if (s != NATS_OK) {
        nats_connect_error(s, config, err);
        goto failed;
    }
    closed_gate_opened(&opened->gate);
    *client = opened;
    return 0;
failed:
    client_close(opened);
    return -1;
}

void client_close(struct client *client)
{
    if (client == NULL)
        return;
    natsSubscription_Destroy(client->answers);
    natsSubscription_Destroy(client->messages);
    natsConnection_Destroy(client->connection);
    if (!closed_gate_wait(&client->gate))
        return; /* rather a leak than a callback into freed memory */
    natsOptions_Destroy(client->options);
    for (size_t i = 0; client->slots != NULL && i < client->window; i++)
        free(client->slots[i].reason);
    free(client->slots);
    string_list_free(&client->header_names);
    string_list_free(&client->header_values);
    pthread_cond_destroy(&client->changed);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

static struct slot *slot_of(struct client *client, uint64_t sequence)
{
    return &client->slots[sequence % client->window];
}

/* With the lock. `reason` goes into the slot until the caller's thread hands it out. */
static void fail(struct client *client, struct slot *slot, const char *reason)
{
    slot->state = SLOT_FAILED;
    slot->reason = strdup(reason);
    client->unreported++;
}

/* With the lock: what the answer means for its slot. */
static void settle(struct client *client, struct slot *slot, natsMsg *answer)
{
    const char *text = natsMsg_GetData(answer);
    size_t size = (size_t)natsMsg_GetDataLength(answer);
    int64_t sequence;
    char reason[sizeof(((struct client_failure *)NULL)->reason)];
    if (natsMsg_IsNoResponders(answer)) {
        fail(client, slot, "no stream stores this subject");
    } else if (json_scan_string(text, size, "error.description", reason, sizeof(reason))) {
        fail(client, slot, reason);
    } else if (!json_scan_integer(text, size, "seq", &sequence)) {
        fail(client, slot, "the answer is no acknowledgement of a stream");
    } else {
        slot->state = SLOT_FREE;
        client->acked++;
    }
}

/* On libnats' thread. */
static void on_answer(natsConnection *connection, natsSubscription *subscription, natsMsg *answer,
                      void *context)
{
    struct client *client = context;
    (void)connection;
    (void)subscription;
    const char *token = strrchr(natsMsg_GetSubject(answer), '.');
    uint64_t sequence = token != NULL ? strtoull(token + 1, NULL, 10) : NOBODY;
    pthread_mutex_lock(&client->lock);
    struct slot *slot = slot_of(client, sequence);
    if (slot->state == SLOT_WAITING && slot->sequence == sequence)
        settle(client, slot, answer);
    if (client->wanted == sequence)
        pthread_cond_signal(&client->changed);
    pthread_mutex_unlock(&client->lock);
    natsMsg_Destroy(answer);
}

int client_start_publishing(struct client *client, size_t window, int64_t timeout_ns,
                            client_failed *failed, void *context, struct error *err)
{
    natsInbox *inbox = NULL;
    char pattern[sizeof(client->inbox) + 2];
    client->slots = calloc(window, sizeof(*client->slots));
    if (client->slots == NULL)
        return error_set(err, "out of memory");
    client->window = window;
    client->timeout_ns = timeout_ns;
    client->failed = failed;
    client->context = context;
    client->wanted = NOBODY;
    natsStatus s = natsInbox_Create(&inbox);
    if (s == NATS_OK) {
        snprintf(client->inbox, sizeof(client->inbox), "%s", inbox);
        snprintf(pattern, sizeof(pattern), "%s.*", inbox);
        s = natsConnection_Subscribe(&client->answers, client->connection, pattern, on_answer,
                                     client);
    }
    if (s == NATS_OK) {
        closed_gate_opened(&client->gate);
        s = natsSubscription_SetOnCompleteCB(client->answers, closed_gate_on_complete,
                                             &client->gate);
        if (s != NATS_OK)
            closed_gate_on_complete(&client->gate);
    }
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(client->answers, -1, -1);
    natsInbox_Destroy(inbox);
    return s == NATS_OK ? 0 : error_set(err, "%s: %s", client->url, natsStatus_GetText(s));
}

int client_add_header(struct client *client, const char *name, const char *value, struct error *err)
{
    if (string_list_append(&client->header_names, name) != 0 ||
        string_list_append(&client->header_values, value) != 0)
        return error_set(err, "out of memory");
    return 0;
}

/* With the lock: moves on over what is answered, and gives up what is late. */
static void pass_answered(struct client *client)
{
    int64_t now_ns = clock_monotonic_ns();
    for (; client->oldest < client->next_sequence; client->oldest++) {
        struct slot *slot = slot_of(client, client->oldest);
        if (slot->state != SLOT_WAITING || slot->sequence != client->oldest)
            continue;
        if (slot->deadline_ns > now_ns)
            return;
        char reason[320];
        snprintf(reason, sizeof(reason), "no acknowledgement within %g s%s%s",
                 (double)client->timeout_ns / NS_PER_S, *client->refusal != '\0' ? ": " : "",
                 client->refusal);
        fail(client, slot, reason);
    }
}

/* With the lock, which it lets go while the caller is told. */
static void report_failures(struct client *client)
{
    uint64_t first =
        client->next_sequence > client->window ? client->next_sequence - client->window : 0;
    for (uint64_t at = first; at < client->next_sequence && client->unreported > 0; at++) {
        struct slot *slot = slot_of(client, at);
        if (slot->state != SLOT_FAILED)
            continue;
        struct client_failure failure = {.number = slot->number};
        snprintf(failure.reason, sizeof(failure.reason), "%s",
                 slot->reason != NULL ? slot->reason : "out of memory");
        free(slot->reason);
        slot->reason = NULL;
        slot->state = SLOT_FREE;
        client->unreported--;
        pthread_mutex_unlock(&client->lock);
        client->failed(client->context, &failure);
        pthread_mutex_lock(&client->lock);
    }
}

/*
 * With the lock, when the oldest is still waiting: sleeps until `sequence` is answered (or the
 * oldest, when that one has been overtaken), or the oldest is late.
 */
static void sleep_for(struct client *client, uint64_t sequence)
{
    int64_t end_ns = slot_of(client, client->oldest)->deadline_ns;
    if (slot_of(client, sequence)->state != SLOT_WAITING)
        sequence = client->oldest;
    client->wanted = sequence;
    while (slot_of(client, sequence)->state == SLOT_WAITING)
        if (!clock_condition_wait(&client->changed, &client->lock, end_ns))
            break;
    client->wanted = NOBODY;
}

/* Takes the next slot. When the window is full, waits until half of it is free: fewer wake-ups. */
static uint64_t take_slot(struct client *client, uint64_t number)
{
    pthread_mutex_lock(&client->lock);
    pass_answered(client);
    if (client->next_sequence - client->oldest >= client->window) {
        uint64_t middle = client->oldest + client->window / 2;
        while (pass_answered(client), client->oldest < middle)
            sleep_for(client, middle);
    }
    if (client->unreported > 0)
        report_failures(client);
    uint64_t sequence = client->next_sequence++;
    *slot_of(client, sequence) =
        (struct slot){.state = SLOT_WAITING,
                      .sequence = sequence,
                      .number = number,
                      .deadline_ns = clock_monotonic_ns() + client->timeout_ns};
    pthread_mutex_unlock(&client->lock);
    return sequence;
}

/* Takes back a slot whose message was not sent. */
static void return_slot(struct client *client, uint64_t sequence)
{
    pthread_mutex_lock(&client->lock);
    struct slot *slot = slot_of(client, sequence);
    if (slot->state == SLOT_WAITING && slot->sequence == sequence) {
        slot->state = SLOT_FREE;
    }
    pthread_mutex_unlock(&client->lock);
}

static natsStatus publish_with_headers(struct client *client, const char *subject,
                                       const char *reply, const char *payload, size_t size)
{
    natsMsg *message = NULL;
    natsStatus s = natsMsg_Create(&message, subject, reply, payload, (int)size);
    for (size_t i = 0; s == NATS_OK && i < client->header_names.count; i++)
        s = natsMsgHeader_Add(message, client->header_names.items[i],
                              client->header_values.items[i]);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(client->connection, message);
    natsMsg_Destroy(message);
    return s;
}

int client_publish(struct client *client, uint64_t number, const char *subject, const char *payload,
                   size_t size, struct error *err)
{
    char reply[sizeof(client->inbox) + 24];
    uint64_t sequence = take_slot(client, number);
    snprintf(reply, sizeof(reply), "%s.%" PRIu64, client->inbox, sequence);
    natsStatus s =
        size > INT32_MAX ? NATS_MAX_PAYLOAD
        : client->header_names.count > 0
            ? publish_with_headers(client, subject, reply, payload, size)
            : natsConnection_PublishRequest(client->connection, subject, reply, payload, (int)size);
    if (s == NATS_OK)
        return 0;
    return_slot(client, sequence);
    if (s == NATS_MAX_PAYLOAD)
        return error_set(err, "a payload of %zu bytes, and the server takes %" PRId64 " at most",
                         size, natsConnection_GetMaxPayload(client->connection));
    return error_set(err, "%s: %s", client->url, natsStatus_GetText(s));
}

void client_wait(struct client *client)
{
    pthread_mutex_lock(&client->lock);
    while (pass_answered(client), client->oldest < client->next_sequence)
        sleep_for(client, client->next_sequence - 1);
    report_failures(client);
    pthread_mutex_unlock(&client->lock);
}

uint64_t client_acked(const struct client *client)
{
    struct client *unlocked = (struct client *)(uintptr_t)client; /* only its lock is touched */
    pthread_mutex_lock(&unlocked->lock);
    uint64_t acked = unlocked->acked;
    pthread_mutex_unlock(&unlocked->lock);
    return acked;
}

int client_subscribe(struct client *client, const char *pattern, struct error *err)
{
    /* What a slow terminal may leave lying: beyond it messages are lost; client_next says so. */
    enum { MESSAGES_MAX = 1000000, BYTES_MAX = 256 * 1024 * 1024, PATIENCE_MS = 5000 };
    natsStatus s = natsConnection_SubscribeSync(&client->messages, client->connection, pattern);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(client->messages, MESSAGES_MAX, BYTES_MAX);
    if (s == NATS_OK)
        s = natsConnection_FlushTimeout(client->connection, PATIENCE_MS);
    if (s != NATS_OK)
        return error_set(err, "%s: cannot subscribe to %s: %s", client->url, pattern,
                         natsStatus_GetText(s));
    /* A refusal came before the flush's answer. */
    const char *refusal = NULL;
    if (natsConnection_GetLastError(client->connection, &refusal) == NATS_NOT_PERMITTED)
        return error_prefix((denial_text_error(refusal, err), err), "%s", client->url);
    return 0;
}

int client_next(struct client *client, int64_t timeout_ns, struct client_message *message,
                struct error *err)
{
    natsMsg *received = NULL;
    natsStatus s = natsSubscription_NextMsg(&received, client->messages, timeout_ns / NS_PER_MS);
    if (s == NATS_TIMEOUT)
        return 0;
    if (s == NATS_SLOW_CONSUMER)
        return error_set(err, "messages come faster than they are taken: some were lost");
    if (s != NATS_OK)
        return error_set(err, "%s: %s", client->url, natsStatus_GetText(s));
    *message = (struct client_message){.subject = natsMsg_GetSubject(received),
                                       .payload = natsMsg_GetData(received),
                                       .size = (size_t)natsMsg_GetDataLength(received),
                                       .opaque = received};
    return 1;
}

void client_message_free(struct client_message *message)
{
    natsMsg_Destroy(message->opaque);
    message->opaque = NULL;
}

void client_message_headers(const struct client_message *message,
                            void (*visit)(void *context, const char *name, const char *value),
                            void *context)
{
    const char **names = NULL;
    int count = 0;
    if (natsMsgHeader_Keys(message->opaque, &names, &count) != NATS_OK)
        return;
    for (int i = 0; i < count; i++) {
        const char *value = NULL;
        if (natsMsgHeader_Get(message->opaque, names[i], &value) == NATS_OK)
            visit(context, names[i], value != NULL ? value : "");
    }
    free((void *)names);
}

const char *client_library_version(void)
{
    return nats_GetVersion();
}
