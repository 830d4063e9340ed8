#include "bus/requests.h"

#include "base/clock.h"
#include "bus/closed_gate.h"
#include "bus/denial.h"
#include "bus/inbox.h"
#include "bus/options.h"
#include "bus/requests_internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Every request has a slot and a serial number; its reply subject is `<inbox>.<serial>-<slot>`, so
 * that an answer which comes after its slot was given away is known and dropped. A slot is free
 * before its answer is handed out: whoever gets an answer can send one request without waiting.
 */

struct slot {
    uint64_t serial; /* 0: free */
    int64_t deadline_ns;
    request_answered *answered;
    void *context;
    uint64_t number;
};

struct requests {
    natsOptions *options;
    natsConnection *connection;
    struct closed_gate gate; /* the connection's last callback */
    struct inbox *inbox;
    char url[256];
    uint64_t last_serial;
    struct slot slots[REQUESTS_WINDOW];
    size_t free_slots[REQUESTS_WINDOW]; /* a stack */
    size_t free_count;

    pthread_mutex_t lock; /* guards `refusal` */
    char refusal[256];    /* the last permission violation, "": none */
};

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *context)
{
    struct requests *requests = context;
    struct error err;
    (void)subscription;
    if (status != NATS_NOT_PERMITTED)
        return; /* the others show in answers that do not come */
    denial_text_error(denial_text(connection, status), &err);
    pthread_mutex_lock(&requests->lock);
    snprintf(requests->refusal, sizeof(requests->refusal), "%.255s", err.text);
    pthread_mutex_unlock(&requests->lock);
}

static int connect_once(struct requests *requests, const struct nats_config *config,
                        const char *role, struct error *err)
{
    if (nats_options_build(&requests->options, config, role, err) != 0)
        return -1;
    natsStatus s = natsOptions_SetErrorHandler(requests->options, on_error, requests);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(requests->options, closed_gate_on_closed, &requests->gate);
    if (s == NATS_OK)
        s = nats_connect(&requests->connection, requests->options);
    if (s != NATS_OK)
        return nats_connect_error(s, config, err);
    closed_gate_opened(&requests->gate);
    return 0;
}

int requests_open(struct requests **requests, const struct nats_config *config, const char *role,
                  struct error *err)
{
    *requests = NULL;
    struct requests *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "out of memory");
    closed_gate_init(&opened->gate);
    pthread_mutex_init(&opened->lock, NULL);
    nats_config_servers(config, opened->url, sizeof(opened->url));
    for (size_t i = 0; i < REQUESTS_WINDOW; i++)
        opened->free_slots[opened->free_count++] = i;
    if (connect_once(opened, config, role, err) != 0 ||
        inbox_open(&opened->inbox, opened->connection, err) != 0) {
        requests_close(opened);
        return -1;
    }
    *requests = opened;
    return 0;
}

void requests_close(struct requests *requests)
{
    if (requests == NULL)
        return;
    inbox_close(requests->inbox);
    natsConnection_Destroy(requests->connection);
    if (!closed_gate_wait(&requests->gate))
        return; /* rather a leak than a callback into freed memory */
    natsOptions_Destroy(requests->options);
    pthread_mutex_destroy(&requests->lock);
    free(requests);
}

natsConnection *requests_connection(struct requests *requests)
{
    return requests->connection;
}

/* Frees the slot, then hands the answer out. */
static void settle(struct requests *requests, size_t index, const struct answer *answer)
{
    struct slot slot = requests->slots[index];
    requests->slots[index].serial = 0;
    requests->free_slots[requests->free_count++] = index;
    slot.answered(slot.context, slot.number, answer);
}

static void take_answer(struct requests *requests, natsMsg *message)
{
    uint64_t serial;
    size_t index;
    const char *token = strrchr(natsMsg_GetSubject(message), '.');
    if (token != NULL && sscanf(token, ".%" SCNu64 "-%zu", &serial, &index) == 2 &&
        index < REQUESTS_WINDOW && serial != 0 && requests->slots[index].serial == serial) {
        struct answer answer = {.text = natsMsg_GetData(message),
                                .size = (size_t)natsMsg_GetDataLength(message)};
        if (natsMsg_IsNoResponders(message) || answer.text == NULL)
            answer = (struct answer){.why = "nobody answers there"};
        settle(requests, index, &answer);
    }
    natsMsg_Destroy(message);
}

/* The deadline of the request that has waited longest; INT64_MAX when none waits. */
static int64_t next_deadline(const struct requests *requests)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < REQUESTS_WINDOW; i++)
        if (requests->slots[i].serial != 0 && requests->slots[i].deadline_ns < next)
            next = requests->slots[i].deadline_ns;
    return next;
}

static void give_up_late_ones(struct requests *requests)
{
    int64_t now_ns = clock_monotonic_ns();
    char why[320];
    pthread_mutex_lock(&requests->lock);
    snprintf(why, sizeof(why), "no answer within %d s%s%s", REQUESTS_TIMEOUT_S,
             *requests->refusal != '\0' ? ": " : "", requests->refusal);
    pthread_mutex_unlock(&requests->lock);
    struct answer late = {.why = why, .late = true};
    for (size_t i = 0; i < REQUESTS_WINDOW; i++)
        if (requests->slots[i].serial != 0 && requests->slots[i].deadline_ns <= now_ns)
            settle(requests, i, &late);
}

/* Waits for one answer at least, and deals with all that have come. */
static void wait_for_answers(struct requests *requests)
{
    natsMsg *message = inbox_next(requests->inbox, 0);
    if (message == NULL)
        message = inbox_next(requests->inbox, next_deadline(requests));
    if (message == NULL)
        give_up_late_ones(requests);
    for (; message != NULL; message = inbox_next(requests->inbox, 0))
        take_answer(requests, message);
}

static natsStatus publish(struct requests *requests, const struct request *request,
                          const char *reply)
{
    if (request->size > INT32_MAX)
        return NATS_MAX_PAYLOAD;
    if (request->header_count == 0)
        return natsConnection_PublishRequest(requests->connection, request->subject, reply,
                                             request->payload, (int)request->size);
    natsMsg *message = NULL;
    natsStatus s =
        natsMsg_Create(&message, request->subject, reply, request->payload, (int)request->size);
    for (size_t i = 0; s == NATS_OK && i < request->header_count; i++)
        s = natsMsgHeader_Add(message, request->headers[i].name, request->headers[i].value);
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(requests->connection, message);
    natsMsg_Destroy(message);
    return s;
}

int requests_send(struct requests *requests, const struct request *request, struct error *err)
{
    char reply[192];
    while (requests->free_count == 0)
        wait_for_answers(requests);
    size_t index = requests->free_slots[--requests->free_count];
    struct slot *slot = &requests->slots[index];
    *slot = (struct slot){.serial = ++requests->last_serial,
                          .deadline_ns = clock_monotonic_ns() + REQUESTS_TIMEOUT_S * NS_PER_S,
                          .answered = request->answered,
                          .context = request->context,
                          .number = request->number};
    snprintf(reply, sizeof(reply), "%s.%" PRIu64 "-%zu", inbox_subject(requests->inbox),
             slot->serial, index);
    natsStatus s = publish(requests, request, reply);
    if (s == NATS_OK)
        return 0;
    slot->serial = 0;
    requests->free_slots[requests->free_count++] = index;
    if (s == NATS_MAX_PAYLOAD)
        return error_set(err, "a payload of %zu bytes, and the server takes %" PRId64 " at most",
                         request->size, natsConnection_GetMaxPayload(requests->connection));
    return error_set(err, "%s: %s", requests->url, natsStatus_GetText(s));
}

void requests_wait(struct requests *requests)
{
    while (requests->free_count < REQUESTS_WINDOW)
        wait_for_answers(requests);
}

struct call {
    struct api_reply *reply;
    struct error *err;
    int result; /* 1: not answered yet */
};

static void on_call_answered(void *context, uint64_t number, const struct answer *answer)
{
    struct call *call = context;
    (void)number;
    if (answer->text != NULL)
        call->result = api_reply_read(call->reply, answer->text, answer->size, call->err);
    else if (answer->late)
        call->result = error_set(call->err, "%s", answer->why);
    else
        call->result = error_set(call->err, "JetStream does not answer: it is not enabled on this "
                                            "server or for this account");
}

int requests_call(struct requests *requests, struct api_reply *reply, const char *body,
                  struct error *err, const char *operation, ...)
{
    char subject[API_SUBJECT_SIZE];
    va_list args;
    va_start(args, operation);
    int named = api_subject(subject, err, operation, args);
    va_end(args);
    if (named != 0)
        return -1;

    struct call call = {.reply = reply, .err = err, .result = 1};
    struct request request = {.subject = subject,
                              .payload = body,
                              .size = body != NULL ? strlen(body) : 0,
                              .answered = on_call_answered,
                              .context = &call};
    if (requests_send(requests, &request, err) != 0)
        return -1;
    while (call.result == 1)
        wait_for_answers(requests);
    return call.result == 0 ? 0 : error_prefix(err, "%s", subject);
}
