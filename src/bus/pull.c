#include "bus/pull.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/link_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUBJECT_SIZE = 256, REQUEST_SIZE = 160, WHY_SIZE = 160 };

/* After 503 or a refusal the next request waits this long, doubling up to the maximum. */
#define BACKOFF_MIN_NS (NS_PER_S / 4)
#define BACKOFF_MAX_NS (2 * NS_PER_S)

/* A draining pull waits for this much quiet before it unsubscribes, and not longer than that. */
#define DRAIN_QUIET_NS (50 * NS_PER_MS)
#define DRAIN_MOST_NS  (500 * NS_PER_MS)

#define EXPIRES_MIN_NS (NS_PER_S / 4) /* of a request, where the consumer wants them short */

#define PACE_NS (100 * NS_PER_MS) /* the window is what is settled in so long ... */
enum { GROWN_BYTES = 2 << 20 };   /* ... as long as that much holds it */

struct pull {
    struct link *link;
    struct pull_options options;
    natsSubscription *subscription;
    natsConnection *connection; /* that of the subscription, which keeps it from being freed */
    char inbox[SUBJECT_SIZE]; /* "<link inbox>.p<index>"; a request's reply is "<inbox>.<epoch>" */
    char subject[SUBJECT_SIZE]; /* $JS.API.CONSUMER.MSG.NEXT.<stream>.<durable> */
    uint64_t epoch;             /* counts restarts; a status of an earlier one means nothing */
    uint64_t credit;            /* requested and not yet delivered */
    uint32_t in_flight;
    uint32_t growth;        /* of the window: 1 to growth_most */
    uint32_t growth_most;   /* PULL_GROWTH, or 1 where the server refused so many requests */
    int64_t paced_ns;       /* since when the next three count */
    uint64_t paced_settled; /* messages */
    uint64_t paced_arrived, paced_bytes;
    int64_t last_traffic_ns;
    int64_t not_before_ns; /* backing off until then */
    int64_t backoff_ns;
    int64_t last_message_ns;
    bool denied; /* the last request was */
    bool draining, unsubscribed;
    int64_t drain_started_ns;
    unsigned doubts;
    char why[WHY_SIZE];
    struct pull_counts counts;
};

static natsStatus subscribe(struct pull *pull)
{
    char wildcard[SUBJECT_SIZE + 2];
    snprintf(wildcard, sizeof(wildcard), "%s.*", pull->inbox);
    pull->connection = link_connection(pull->link);
    natsStatus s = natsConnection_SubscribeSync(&pull->subscription, pull->connection, wildcard);
    if (s == NATS_OK) /* bounded by the window; a limit here would drop messages silently */
        s = natsSubscription_SetPendingLimits(pull->subscription, -1, -1);
    return s;
}

int pull_open(struct pull **out, struct link *link, unsigned index,
              const struct pull_options *options, struct error *err)
{
    struct pull *pull = calloc(1, sizeof(*pull));
    if (pull == NULL)
        return error_set(err, "out of memory");
    pull->link = link;
    pull->options = *options;
    pull->backoff_ns = BACKOFF_MIN_NS;
    pull->growth = 1;
    pull->growth_most = PULL_GROWTH;
    snprintf(pull->inbox, sizeof(pull->inbox), "%s.p%u", link_inbox(link), index);
    int used = snprintf(pull->subject, sizeof(pull->subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s",
                        options->stream, options->durable);

    natsStatus s = used < (int)sizeof(pull->subject) ? NATS_OK : NATS_INVALID_ARG;
    if (s == NATS_OK)
        s = subscribe(pull);
    if (s != NATS_OK) {
        error_set(err, "cannot subscribe for pulls from %s/%s: %s", options->stream,
                  options->durable, natsStatus_GetText(s));
        pull_free(pull);
        return -1;
    }
    *out = pull;
    return 0;
}

void pull_free(struct pull *pull)
{
    if (pull == NULL)
        return;
    natsSubscription_Destroy(pull->subscription);
    free(pull);
}

/* --- what arrives --- */

static void doubt(struct pull *pull, const char *why)
{
    pull->doubts++;
    snprintf(pull->why, sizeof(pull->why), "%s", why);
}

static void forget_requests(struct pull *pull)
{
    pull->credit = 0;
    pull->epoch++;
}

static void back_off(struct pull *pull, int64_t now_ns)
{
    pull->not_before_ns = now_ns + pull->backoff_ns;
    pull->backoff_ns *= 2;
    if (pull->backoff_ns > BACKOFF_MAX_NS)
        pull->backoff_ns = BACKOFF_MAX_NS;
}

/* The consumer has shown that it lives. */
static void trust(struct pull *pull, int64_t now_ns)
{
    pull->last_traffic_ns = now_ns;
    pull->doubts = 0;
    pull->denied = false;
    pull->backoff_ns = BACKOFF_MIN_NS;
}

static void return_credit(struct pull *pull, uint64_t left)
{
    pull->credit -= left < pull->credit ? left : pull->credit;
}

static void on_unavailable(struct pull *pull, int64_t now_ns)
{
    pull->counts.unavailable++;
    if (pull->credit == 0)
        return; /* each open request gets one: the first of them has said it */
    forget_requests(pull);
    back_off(pull, now_ns);
    doubt(pull, "JetStream does not answer (503)");
}

/* The consumer's own limits (max_batch, max_expires): asks for less, not more often. */
static void ask_for_less(struct pull *pull, const char *description)
{
    struct pull_options *options = &pull->options;
    if (strcasestr(description, "Expires") != NULL) {
        if (options->expires_ns / 2 >= EXPIRES_MIN_NS)
            options->expires_ns /= 2;
        if (options->heartbeat_ns > options->expires_ns / 2)
            options->heartbeat_ns = options->expires_ns / 2;
    } else if (options->batch > 1) {
        uint32_t requests = options->window / options->batch;
        options->batch /= 2;
        options->window = options->batch * requests;
    }
}

/* max_waiting is used up, by all who pull from this consumer. */
static void ask_fewer_times(struct pull *pull)
{
    uint32_t requests = pull->options.window / pull->options.batch;
    if (pull->growth > 1)
        pull->growth = pull->growth_most = 1;
    else if (requests > 1)
        pull->options.window = pull->options.batch * (requests / 2);
}

static void on_limit(struct pull *pull, int code, const char *description, int64_t now_ns)
{
    pull->counts.refused++;
    forget_requests(pull);
    back_off(pull, now_ns);
    pull->doubts++;
    snprintf(pull->why, sizeof(pull->why), "the server refuses the request: %d %s", code,
             description);
    log_warn("pull", "%s/%s: %s", pull->options.stream, pull->options.durable, pull->why);
}

static void on_status(struct pull *pull, const struct wire_message *message, int64_t now_ns)
{
    const char *subject = wire_subject(message);
    size_t inbox_size = strlen(pull->inbox);
    if (strlen(subject) <= inbox_size + 1 ||
        strtoull(subject + inbox_size + 1, NULL, 10) != pull->epoch)
        return; /* of a request that was given up long ago */

    int code;
    const char *description;
    uint64_t left;
    switch (wire_pull_status(message, &code, &description, &left)) {
    case PULL_STATUS_NONE:
        break;
    case PULL_STATUS_HEARTBEAT:
        pull->counts.heartbeats++;
        trust(pull, now_ns);
        break;
    case PULL_STATUS_ENDED:
        pull->counts.ended++;
        trust(pull, now_ns);
        return_credit(pull, left);
        break;
    case PULL_STATUS_ALL_ENDED:
        pull->counts.lost++;
        forget_requests(pull);
        break;
    case PULL_STATUS_TOO_MANY:
        ask_fewer_times(pull);
        on_limit(pull, code, description, now_ns);
        break;
    case PULL_STATUS_LIMIT:
        ask_for_less(pull, description);
        on_limit(pull, code, description, now_ns);
        break;
    case PULL_STATUS_DELETED:
        pull->counts.lost++;
        forget_requests(pull);
        back_off(pull, now_ns);
        doubt(pull, "the consumer was deleted");
        break;
    case PULL_STATUS_UNAVAILABLE:
        on_unavailable(pull, now_ns);
        break;
    case PULL_STATUS_REFUSED:
        pull->counts.refused++;
        forget_requests(pull);
        back_off(pull, now_ns);
        snprintf(pull->why, sizeof(pull->why), "the server refuses the pull: %d %s", code,
                 description != NULL ? description : "");
        pull->doubts++;
        break;
    }
}

bool pull_denied(struct pull *pull, const char *subject, int64_t now_ns)
{
    if (strncmp(subject, pull->subject, strlen(subject)) != 0 ||
        (strlen(subject) < LINK_DENIED_CUT && strcmp(subject, pull->subject) != 0))
        return false;
    pull->denied = true;
    if (pull->credit == 0)
        return true; /* each open request is denied: the first of them has said it */
    pull->counts.refused++;
    forget_requests(pull);
    back_off(pull, now_ns);
    doubt(pull, "permission is missing");
    return true;
}

bool pull_is_denied(const struct pull *pull)
{
    return pull->denied;
}

struct wire_message *pull_next(struct pull *pull, struct ack_subject *ack, int64_t now_ns)
{
    for (;;) {
        natsMsg *raw = NULL;
        natsStatus s = natsSubscription_NextMsg(&raw, pull->subscription, 0);
        if (s == NATS_NO_RESPONDERS) { /* the 503 itself is gone */
            on_unavailable(pull, now_ns);
            continue;
        }
        if (s != NATS_OK)
            return NULL;
        struct wire_message *message = (struct wire_message *)raw;
        if (ack_subject_parse(wire_reply(message), ack) == 0) {
            trust(pull, now_ns);
            pull->counts.messages++;
            pull->last_message_ns = now_ns;
            pull->in_flight++;
            pull->paced_arrived++;
            pull->paced_bytes += wire_payload_size(message);
            return_credit(pull, 1);
            return message;
        }
        on_status(pull, message, now_ns);
        wire_free(message);
    }
}

void pull_settled(struct pull *pull)
{
    if (pull->in_flight == 0)
        return;
    pull->in_flight--;
    pull->paced_settled++;
}

/* --- what is asked for --- */

static void send_request(struct pull *pull, uint32_t batch, int64_t now_ns)
{
    char body[REQUEST_SIZE];
    char reply[SUBJECT_SIZE + 24];
    int size =
        snprintf(body, sizeof(body),
                 "{\"batch\":%" PRIu32 ",\"expires\":%" PRId64 ",\"idle_heartbeat\":%" PRId64 "}",
                 batch, pull->options.expires_ns, pull->options.heartbeat_ns);
    snprintf(reply, sizeof(reply), "%s.%" PRIu64, pull->inbox, pull->epoch);
    if (link_publish_reply(pull->link, pull->subject, reply, body, (size_t)size) != 0)
        return; /* no connection: pull_restart follows when it is back */
    if (pull->credit == 0)
        pull->last_traffic_ns = now_ns; /* silence counts from the first open request */
    pull->credit += batch;
    pull->counts.requests++;
}

/* Whether an open request has been silent for two heartbeats (and a little, for a busy server). */
static bool is_silent(const struct pull *pull, int64_t now_ns)
{
    return pull->credit > 0 &&
           now_ns - pull->last_traffic_ns > 2 * pull->options.heartbeat_ns + NS_PER_S / 4;
}

/*
 * While there is doubt, one message at a time is asked for: requests to a server that is only slow
 * are kept there, and all of them would be answered one day.
 */
static void probe(struct pull *pull, int64_t now_ns)
{
    if (pull->credit == 0 && pull->in_flight < pull->options.window)
        send_request(pull, 1, now_ns);
}

static void go_on_draining(struct pull *pull, int64_t now_ns)
{
    int64_t quiet_since_ns = pull->last_message_ns > pull->drain_started_ns
                                 ? pull->last_message_ns
                                 : pull->drain_started_ns;
    if (pull->unsubscribed)
        return;
    if (!link_connected(pull->link)) {
        pull->unsubscribed = true; /* nothing can come */
        return;
    }
    if (pull->credit > 0 && now_ns - quiet_since_ns < DRAIN_QUIET_NS &&
        now_ns - pull->drain_started_ns < DRAIN_MOST_NS)
        return;
    natsSubscription_Drain(pull->subscription);
    pull->unsubscribed = true;
}

/* Lets the window follow the pace at which messages are settled. */
static void keep_pace(struct pull *pull, int64_t now_ns)
{
    int64_t passed_ns = now_ns - pull->paced_ns;
    if (passed_ns < PACE_NS)
        return;
    double settled = (double)pull->paced_settled * (double)PACE_NS / (double)passed_ns;
    uint64_t bytes = pull->paced_arrived > 0 ? pull->paced_bytes / pull->paced_arrived : 0;
    uint32_t growth = pull->growth_most;
    while (growth > 1 && (settled < (double)growth * pull->options.window ||
                          bytes * growth * pull->options.window > GROWN_BYTES))
        growth--;
    pull->growth = growth;
    pull->paced_ns = now_ns;
    pull->paced_settled = pull->paced_arrived = pull->paced_bytes = 0;
}

void pull_round(struct pull *pull, int64_t now_ns, bool hold)
{
    keep_pace(pull, now_ns);
    if (pull->draining) {
        go_on_draining(pull, now_ns);
        return;
    }
    if (!link_connected(pull->link)) {
        pull->last_traffic_ns = now_ns; /* this silence is the connection's; pull_restart follows */
        return;
    }
    if (is_silent(pull, now_ns)) {
        pull->counts.lost++;
        forget_requests(pull);
        doubt(pull, "no heartbeat from the consumer");
    }
    if (hold || now_ns < pull->not_before_ns)
        return;
    if (pull->doubts > 0) {
        probe(pull, now_ns);
        return;
    }
    uint64_t taken = pull->credit + pull->in_flight;
    while (taken + pull->options.batch <= (uint64_t)pull->options.window * pull->growth) {
        send_request(pull, pull->options.batch, now_ns);
        taken += pull->options.batch;
    }
}

void pull_restart(struct pull *pull, int64_t now_ns)
{
    forget_requests(pull);
    pull->not_before_ns = 0;
    pull->backoff_ns = BACKOFF_MIN_NS;
    pull->last_traffic_ns = now_ns;
    bool listens = pull->subscription != NULL && pull->connection == link_connection(pull->link);
    if (listens || pull->draining)
        return;
    natsSubscription_Destroy(pull->subscription);
    pull->subscription = NULL;
    if (subscribe(pull) != NATS_OK) /* that connection is gone too: the next brings us here again */
        log_warn("pull", "%s/%s: no subscription on the new connection", pull->options.stream,
                 pull->options.durable);
}

void pull_drain(struct pull *pull, int64_t now_ns)
{
    if (pull->draining)
        return;
    pull->draining = true;
    pull->drain_started_ns = now_ns;
}

void pull_dismiss(struct pull *pull)
{
    char subject[SUBJECT_SIZE];
    char reply[SUBJECT_SIZE + 24];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", pull->options.stream,
             pull->options.durable);
    snprintf(reply, sizeof(reply), "%s.%" PRIu64, pull->inbox, pull->epoch);
    link_publish_reply(pull->link, subject, reply, "", 0);
}

bool pull_unsubscribed(const struct pull *pull)
{
    return pull->unsubscribed;
}

/* --- what is known --- */

unsigned pull_doubts(const struct pull *pull, const char **why)
{
    *why = pull->why;
    return pull->doubts;
}

uint32_t pull_in_flight(const struct pull *pull)
{
    return pull->in_flight;
}

const struct pull_counts *pull_counts(const struct pull *pull)
{
    return &pull->counts;
}
