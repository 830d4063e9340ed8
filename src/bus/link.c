/*
 * libnats' own threads (delivery of the reply subscriptions, asynchronous connection callbacks)
 * must not touch the worker. They append to `inbound`, a locked list, and wake the loop; the loop
 * takes the whole list at once. The lock is held for a few instructions only.
 *
 * A line that breaks is replaced by a new one here, and the other one with it, not by libnats' own
 * reconnecting. In loop mode that keeps the state of its parser (3.4.1 to 3.13): a message that the
 * server's death has cut off is completed with the first bytes of the next connection, and handed
 * on.
 */
#include "bus/link.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/closed_gate.h"
#include "bus/denial.h"
#include "bus/inbound.h"
#include "bus/line.h"
#include "bus/link_internal.h"
#include "bus/options.h"
#include "bus/outgoing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INBOX_SIZE = 64,
    ROLE_SIZE = 48,
    SUBJECT_SIZE = LINK_REPLY_SIZE,
    WHY_SIZE = 512,
    REFUSALS_MAX = 2 /* then the credentials are wrong */
};

struct link {
    const struct nats_config *config;
    char role[ROLE_SIZE];
    natsOptions *options;
    struct line *intake, *outlet; /* both or none: NULL, the next attempt is due */
    natsSubscription *intake_replies, *outlet_replies;
    natsSubscription *quick; /* on the outlet: PubAcks that the loop takes by itself */
    uv_loop_t *loop;
    uv_async_t wake;
    uv_prepare_t prepare; /* looks after lines that are watched no more */
    uv_timer_t retry;
    int attempts; /* in a row, to connect again */
    int refusals; /* of these, in a row, for lack of the right credentials */
    struct link_handler handler;
    char inbox[INBOX_SIZE];
    size_t reply_prefix_size; /* of "<inbox>.r.", and of "<inbox>.i." */

    struct closed_gate gate; /* lines and subscriptions that may still call back */

    struct inbound_list taken; /* reused */

    pthread_mutex_t lock;        /* guards the rest */
    bool closing;                /* `wake` must not be touched any more */
    struct inbound_list inbound; /* filled by libnats' threads */
    struct line *lost;           /* likewise: have closed, and are to be freed */
    char why[WHY_SIZE];          /* the last error libnats told */
};

/* --- from libnats' threads to the loop --- */

static void append(struct link *link, struct inbound item)
{
    pthread_mutex_lock(&link->lock);
    /* A lost reply is repaired by its deadline; the same goes for any lost message. */
    if (link->closing || inbound_push(&link->inbound, &item) != 0)
        inbound_drop(&item);
    else if (link->inbound.count == 1)
        uv_async_send(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

/* What makes the inbox and the names of consumers this link's own. */
static const char *unique_part(const struct link *link)
{
    const char *dot = strrchr(link->inbox, '.');
    return dot != NULL ? dot + 1 : link->inbox;
}

/*
 * "<kind>.<token>" at the end of a reply's subject, or "<kind>-<token>" at the end of the name of
 * the consumer that has delivered it; NULL: it is neither.
 */
static const char *reply_tail(const struct link *link, natsMsg *message)
{
    const char *subject = natsMsg_GetSubject(message);
    if (strncmp(subject, link->inbox, link->reply_prefix_size - strlen(".r.")) == 0)
        return strlen(subject) >= link->reply_prefix_size + 3 ? subject + link->reply_prefix_size
                                                              : NULL;
    struct ack_subject ack;
    const char *unique = unique_part(link);
    size_t size = strlen(unique);
    if (ack_subject_parse(natsMsg_GetReply(message), &ack) != 0 || ack.consumer_size < size + 4 ||
        strncmp(ack.consumer, unique, size) != 0)
        return NULL;
    return ack.consumer + size + 1;
}

/* Of a subject that begins with the inbox: whether it is "<inbox>.i.", that of the intake. */
static bool is_of_intake(const struct link *link, const char *subject)
{
    size_t letter = link->reply_prefix_size - strlen("i.");
    return strlen(subject) > letter && subject[letter] == 'i' && subject[letter - 1] == '.';
}

static void on_reply_message(natsConnection *connection, natsSubscription *subscription,
                             natsMsg *message, void *closure)
{
    (void)connection;
    (void)subscription;
    struct link *link = closure;
    const char *tail = reply_tail(link, message);
    if (tail == NULL || (tail[1] != '.' && tail[1] != '-')) {
        natsMsg_Destroy(message);
        return;
    }
    append(link, (struct inbound){.kind = (enum reply_kind)tail[0],
                                  .token = strtoull(tail + 2, NULL, 10),
                                  .message = message,
                                  .no_responders = natsMsg_IsNoResponders(message),
                                  .halfway = tail[0] == REPLY_BARRIER &&
                                             is_of_intake(link, natsMsg_GetSubject(message))});
}

static void on_closed(void *context, struct line *line, const char *why)
{
    struct link *link = context;
    pthread_mutex_lock(&link->lock);
    if (why[0] != '\0')
        snprintf(link->why, sizeof(link->why), "%s", why);
    line_push(&link->lost, line);
    if (!link->closing)
        uv_async_send(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

/*
 * A barrier is denied where the user may not publish to an inbox. That says as much as its coming
 * round: the server has seen all that was sent before.
 */
static bool is_barrier(const struct link *link, const struct denial *denial)
{
    const char *subject = denial->subject;
    return !denial->subscribe &&
           strncmp(subject, link->inbox, link->reply_prefix_size - strlen(".r.")) == 0 &&
           strlen(subject) > link->reply_prefix_size &&
           subject[link->reply_prefix_size] == REPLY_BARRIER;
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *closure)
{
    (void)subscription;
    struct link *link = closure;
    struct denial denial;
    struct error err;
    const char *text = denial_text(connection, status);
    bool denied = status == NATS_NOT_PERMITTED && denial_read(&denial, text);
    char *subject = denied && !denial.subscribe ? strdup(denial.subject) : NULL;
    if (denied && is_barrier(link, &denial)) {
        free(subject);
        const char *tail = denial.subject + link->reply_prefix_size;
        append(link, (struct inbound){.kind = REPLY_BARRIER,
                                      .token = strtoull(tail + strlen("b."), NULL, 10),
                                      .halfway = is_of_intake(link, denial.subject)});
        return;
    }
    if (subject != NULL) {
        append(link, (struct inbound){.denied = subject});
        return;
    }
    denial_text_error(text, &err);
    pthread_mutex_lock(&link->lock);
    snprintf(link->why, sizeof(link->why), "%s", err.text);
    pthread_mutex_unlock(&link->lock);
    log_write(denied ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "nats", "%s", err.text);
}

/* --- opening and closing --- */

static void make_inbox(struct link *link)
{
    natsInbox *inbox = NULL;
    if (natsInbox_Create(&inbox) == NATS_OK)
        snprintf(link->inbox, sizeof(link->inbox), "%s", inbox);
    natsInbox_Destroy(inbox);
    link->reply_prefix_size = strlen(link->inbox) + strlen(".r.");
}

/* Replies to what leaves by this line: their subjects, `<inbox>.<letter>.<kind>.<token>`. */
static natsStatus subscribe_replies(struct link *link, natsSubscription **subscription,
                                    const struct line *line, char letter)
{
    char subject[SUBJECT_SIZE];
    snprintf(subject, sizeof(subject), "%s.%c.*.*", link->inbox, letter);
    natsStatus s = natsConnection_Subscribe(subscription, line_connection(line), subject,
                                            on_reply_message, link);
    if (s != NATS_OK)
        return s;
    closed_gate_opened(&link->gate);
    s = natsSubscription_SetOnCompleteCB(*subscription, closed_gate_on_complete, &link->gate);
    if (s != NATS_OK)
        closed_gate_on_complete(&link->gate);
    if (s == NATS_OK) /* one for each question, and whoever asks bounds how many are open */
        s = natsSubscription_SetPendingLimits(*subscription, -1, -1);
    return s;
}

static natsStatus subscribe_quick(struct link *link)
{
    char subject[SUBJECT_SIZE];
    snprintf(subject, sizeof(subject), "%s.q.*", link->inbox);
    natsStatus s =
        natsConnection_SubscribeSync(&link->quick, line_connection(link->outlet), subject);
    if (s == NATS_OK) /* bounded like the other replies */
        s = natsSubscription_SetPendingLimits(link->quick, -1, -1);
    return s;
}

static natsStatus open_line(struct link *link, struct line **line, const char *which)
{
    char role[ROLE_SIZE + sizeof(" intake")];
    snprintf(role, sizeof(role), "%s %s", link->role, which);
    natsStatus s = nats_options_name(link->options, link->config, role);
    return s == NATS_OK ? line_open(line, link->options, link->loop, &link->gate, on_closed, link)
                        : s;
}

static natsStatus connect_and_subscribe(struct link *link)
{
    natsStatus s = open_line(link, &link->intake, "intake");
    if (s == NATS_OK)
        s = open_line(link, &link->outlet, "outlet");
    if (s == NATS_OK)
        s = subscribe_replies(link, &link->intake_replies, link->intake, 'i');
    if (s == NATS_OK)
        s = subscribe_replies(link, &link->outlet_replies, link->outlet, 'r');
    return s == NATS_OK ? subscribe_quick(link) : s;
}

/* --- connecting again --- */

static void drop_subscriptions(struct link *link)
{
    natsSubscription_Destroy(link->intake_replies);
    natsSubscription_Destroy(link->outlet_replies);
    natsSubscription_Destroy(link->quick);
    link->intake_replies = link->outlet_replies = link->quick = NULL;
}

/* The lines are freed when they have closed, see free_lost. */
static void drop_lines(struct link *link)
{
    drop_subscriptions(link);
    line_close(link->intake);
    line_close(link->outlet);
    link->intake = link->outlet = NULL;
}

static void tell(struct link *link, enum link_event event)
{
    char why[WHY_SIZE];
    pthread_mutex_lock(&link->lock);
    memcpy(why, link->why, sizeof(why));
    pthread_mutex_unlock(&link->lock);
    link->handler.on_event(link->handler.context, event, why);
}

static void on_retry(uv_timer_t *timer);

/* Waits before the next attempt, with some jitter, so that a fleet does not come back at once. */
static void retry_later(struct link *link, int64_t wait_ns)
{
    int most = link->config->max_reconnects;
    if (link->closing)
        return;
    if ((most >= 0 && link->attempts >= most) || link->refusals >= REFUSALS_MAX) {
        tell(link, LINK_CLOSED);
        return;
    }
    uint64_t wait_ms = (uint64_t)(wait_ns / NS_PER_MS);
    uint64_t jitter_ms =
        uv_hrtime() % (uint64_t)(link->config->reconnect_wait_ns / NS_PER_MS / 4 + 1);
    uv_timer_start(&link->retry, on_retry, wait_ms + jitter_ms, 0);
}

/* Blocks up to connect_timeout for each server: without one there is little else to do. */
static void on_retry(uv_timer_t *timer)
{
    struct link *link = timer->data;
    link->attempts++;
    natsStatus s = connect_and_subscribe(link);
    if (s == NATS_OK) {
        link->attempts = link->refusals = 0;
        tell(link, LINK_UP);
        return;
    }
    struct error err;
    nats_connect_error(s, link->config, &err);
    pthread_mutex_lock(&link->lock);
    snprintf(link->why, sizeof(link->why), "%s", err.text);
    pthread_mutex_unlock(&link->lock);
    drop_lines(link);
    bool refused = s == NATS_CONNECTION_AUTH_FAILED || s == NATS_NOT_PERMITTED;
    link->refusals = refused ? link->refusals + 1 : 0;
    retry_later(link, link->config->reconnect_wait_ns);
}

/* With one line the other one goes, so that all above have one event for both. */
static void on_lost(struct link *link, const struct line *line)
{
    bool others = nats_options_keep_servers(link->options, link->config, line_connection(line)) > 1;
    drop_lines(link);
    tell(link, LINK_DOWN);
    retry_later(link, others ? 0 : link->config->reconnect_wait_ns);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct link *link = handle->data;
    line_read_rest(link->intake);
    line_read_rest(link->outlet);
}

/* Where replies to what leaves by the line of this letter come to. */
static void format_reply(const struct link *link, char *out, size_t size, char letter,
                         enum reply_kind kind, uint64_t token)
{
    snprintf(out, size, "%s.%c.%c.%llu", link->inbox, letter, (char)kind,
             (unsigned long long)token);
}

static int publish_barrier(struct link *link, const struct line *line, char letter, uint64_t token)
{
    char subject[SUBJECT_SIZE];
    format_reply(link, subject, sizeof(subject), letter, REPLY_BARRIER, token);
    natsStatus s = natsConnection_Publish(line_connection(line), subject, "", 0);
    return s == NATS_OK ? 0 : -1;
}

static void take(struct link *link, struct inbound *item)
{
    if (link->closing) {
        inbound_drop(item);
    } else if (item->denied != NULL) {
        link->handler.on_denied(link->handler.context, item->denied);
        free(item->denied);
    } else if (item->halfway) {
        publish_barrier(link, link->outlet, 'r', item->token);
        inbound_drop(item);
    } else {
        link->handler.on_reply(link->handler.context, item->kind, item->token,
                               (struct wire_message *)item->message, item->no_responders);
    }
}

/* Frees those that were given up before; of the others `on_lost` is told. */
static void free_lost(struct link *link, struct line *lost)
{
    struct line *line;
    while ((line = line_pop(&lost)) != NULL) {
        if (!link->closing && (line == link->intake || line == link->outlet))
            on_lost(link, line);
        line_free(line);
    }
}

/* On the loop: takes all that libnats' threads have left, and hands it on. */
static void on_wake(uv_async_t *handle)
{
    struct link *link = handle->data;
    pthread_mutex_lock(&link->lock);
    struct inbound_list full = link->inbound;
    struct line *lost = link->lost;
    link->lost = NULL;
    link->inbound = link->taken;
    link->inbound.count = 0;
    link->taken = full;
    pthread_mutex_unlock(&link->lock);

    for (size_t i = 0; i < full.count; i++)
        take(link, &full.items[i]);
    free_lost(link, lost);
}

void link_take_pubacks(struct link *link)
{
    while (link->quick != NULL) {
        natsMsg *message = NULL;
        natsStatus s = natsSubscription_NextMsg(&message, link->quick, 0);
        if (s == NATS_NO_RESPONDERS) {
            link->handler.on_unheard(link->handler.context);
            continue;
        }
        if (s != NATS_OK)
            return;
        const char *token = strrchr(natsMsg_GetSubject(message), '.') + 1; /* "<inbox>.q.<token>" */
        link->handler.on_reply(link->handler.context, REPLY_PUBLISH, strtoull(token, NULL, 10),
                               (struct wire_message *)message, false);
    }
}

int link_open(struct link **out, uv_loop_t *loop, const struct nats_config *config,
              const char *role, const struct link_handler *handler, struct error *err)
{
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return error_set(err, "out of memory");
    *out = NULL;
    link->handler = *handler;
    link->config = config;
    snprintf(link->role, sizeof(link->role), "%s", role);
    link->loop = loop;
    if (nats_options_build(&link->options, config, role, err) != 0) {
        free(link);
        return -1;
    }
    pthread_mutex_init(&link->lock, NULL);
    closed_gate_init(&link->gate);
    make_inbox(link);
    uv_async_init(loop, &link->wake, on_wake);
    uv_prepare_init(loop, &link->prepare);
    uv_timer_init(loop, &link->retry);
    link->wake.data = link->prepare.data = link->retry.data = link;
    uv_prepare_start(&link->prepare, on_prepare);

    natsStatus s = natsOptions_SetErrorHandler(link->options, on_error, link);
    if (s == NATS_OK)
        s = connect_and_subscribe(link);
    if (s != NATS_OK) {
        nats_connect_error(s, config, err);
        link_close(link);
        *out = link; /* the handle must still close on the loop */
        return -1;
    }
    *out = link;
    return 0;
}

void link_close(struct link *link)
{
    if (link == NULL || link->closing)
        return;
    pthread_mutex_lock(&link->lock);
    link->closing = true;
    pthread_mutex_unlock(&link->lock);
    line_close(link->intake);
    line_close(link->outlet);
    uv_close((uv_handle_t *)&link->wake, NULL);
    uv_close((uv_handle_t *)&link->prepare, NULL);
    uv_close((uv_handle_t *)&link->retry, NULL);
}

void link_free(struct link *link)
{
    if (link == NULL)
        return;
    if (!closed_gate_wait(&link->gate))
        return; /* rather a leak than a callback into freed memory */
    drop_subscriptions(link);
    free_lost(link, link->lost);
    natsOptions_Destroy(link->options);
    inbound_free(&link->inbound);
    free(link->taken.items); /* they were handed on */
    pthread_mutex_destroy(&link->lock);
    free(link);
}

/* --- what is known of it --- */

natsConnection *link_connection(struct link *link)
{
    return line_connection(link->intake);
}

bool link_connected(const struct link *link)
{
    return line_connected(link->intake) && line_connected(link->outlet);
}

const char *link_inbox(const struct link *link)
{
    return link->inbox;
}

size_t link_buffered(const struct link *link)
{
    return line_buffered(link->intake) + line_buffered(link->outlet);
}

size_t link_max_payload(const struct link *link)
{
    int64_t size = natsConnection_GetMaxPayload(line_connection(link->outlet));
    return size > 0 ? (size_t)size : 0;
}

/* --- publishing --- */

int link_publish(struct link *link, const char *subject, const char *payload, size_t size)
{
    natsStatus s =
        natsConnection_Publish(line_connection(link->intake), subject, payload, (int)size);
    return s == NATS_OK ? 0 : -1;
}

static int publish_reply(const struct line *line, const char *subject, const char *reply,
                         const char *payload, size_t size)
{
    natsStatus s =
        natsConnection_PublishRequest(line_connection(line), subject, reply, payload, (int)size);
    return s == NATS_OK ? 0 : -1;
}

int link_publish_reply(struct link *link, const char *subject, const char *reply,
                       const char *payload, size_t size)
{
    return publish_reply(link->intake, subject, reply, payload, size);
}

void link_format_reply(const struct link *link, char *out, size_t size, enum reply_kind kind,
                       uint64_t token)
{
    format_reply(link, out, size, 'r', kind, token);
}

void link_format_quick_reply(const struct link *link, char *out, size_t size, uint64_t token)
{
    snprintf(out, size, "%s.q.%llu", link->inbox, (unsigned long long)token);
}

int link_request(struct link *link, enum reply_kind kind, uint64_t token, const char *subject,
                 const char *payload, size_t size)
{
    char reply[SUBJECT_SIZE];
    link_format_reply(link, reply, sizeof(reply), kind, token);
    return publish_reply(link->outlet, subject, reply, payload, size);
}

int link_request_in_order(struct link *link, enum reply_kind kind, uint64_t token,
                          const char *subject, const char *payload, size_t size)
{
    char reply[SUBJECT_SIZE];
    format_reply(link, reply, sizeof(reply), 'i', kind, token);
    return publish_reply(link->intake, subject, reply, payload, size);
}

void link_consumer_name(const struct link *link, char *name, size_t size, enum reply_kind kind,
                        uint64_t token)
{
    snprintf(name, size, "%s-%c-%llu", unique_part(link), (char)kind, (unsigned long long)token);
}

int link_barrier(struct link *link, uint64_t token)
{
    return publish_barrier(link, link->intake, 'i', token);
}

int link_send(struct link *link, struct outgoing *outgoing, struct error *err)
{
    natsStatus s = natsConnection_PublishMsg(line_connection(link->outlet), (natsMsg *)outgoing);
    if (s == NATS_OK)
        return 0;
    return error_set(err, "cannot publish to %s: %s", outgoing_subject(outgoing),
                     natsStatus_GetText(s));
}
