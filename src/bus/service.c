/*
 * Three subscriptions take the nine subjects: $SRV.*, $SRV.*.<name> and $SRV.*.<name>.<id>. Each
 * request is answered on the thread that libnats calls back on. libnats subscribes again when its
 * connection comes back; when control puts another connection in its place, service_tick does.
 */
#include "bus/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "bus/closed_gate.h"
#include "bus/control_internal.h"
#include "bus/denial.h"
#include "bus/json_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "$SRV."

enum { SUBSCRIPTIONS = 3, NAME_SIZE = 128, ID_SIZE = 64, SUBJECT_SIZE = 256 };

struct service {
    struct control *control;
    struct service_options options;
    char name[NAME_SIZE];
    char id[ID_SIZE];
    char started[UNITS_TIME_TEXT];
    natsSubscription *subscriptions[SUBSCRIPTIONS];
    unsigned generation; /* of the connection they are on */
    atomic_flag told;    /* that something is not permitted */
    struct closed_gate gate;
};

/* ADR-32 allows letters, digits, '-' and '_' in names. */
static void make_name(char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (char *at = name; *at != '\0'; at++) {
        if (strchr(allowed, *at) == NULL)
            *at = '-';
    }
}

/* --- answers --- */

static void write_member(FILE *out, const char *name, const char *text)
{
    fprintf(out, ",\"%s\":", name);
    json_write_text(out, text);
}

static void write_identity(const struct service *service, const char *type, FILE *out)
{
    fprintf(out, "{\"type\":\"io.nats.micro.v1.%s_response\"", type);
    write_member(out, "name", service->name);
    write_member(out, "id", service->id);
    write_member(out, "version", service->options.version);
    fputs(",\"metadata\":", out);
    service->options.host.metadata(service->options.host.context, out);
}

static void write_endpoint(const struct service *service, size_t index, bool stats, FILE *out)
{
    const struct service_host *host = &service->options.host;
    struct service_endpoint endpoint = {.subject = "", .queue_group = ""};
    host->endpoint(host->context, index, &endpoint);
    make_name(endpoint.name);
    fputs(index > 0 ? ",{\"name\":" : "{\"name\":", out);
    json_write_text(out, endpoint.name);
    write_member(out, "subject", endpoint.subject);
    write_member(out, "queue_group", endpoint.queue_group);
    if (stats) {
        uint64_t requests = endpoint.requests > 0 ? endpoint.requests : 1;
        fprintf(out, ",\"num_requests\":%" PRIu64 ",\"num_errors\":%" PRIu64, endpoint.requests,
                endpoint.errors);
        write_member(out, "last_error", endpoint.last_error);
        fprintf(out, ",\"processing_time\":%" PRId64 ",\"average_processing_time\":%" PRId64,
                endpoint.processing_ns, endpoint.processing_ns / (int64_t)requests);
        fputs(",\"data\":", out);
        host->endpoint_data(host->context, index, out);
    } else {
        fputs(",\"metadata\":", out);
        host->endpoint_metadata(host->context, index, out);
    }
    fputc('}', out);
}

static void write_endpoints(const struct service *service, bool stats, FILE *out)
{
    fputs(",\"endpoints\":[", out);
    for (size_t i = 0; i < service->options.host.endpoint_count; i++)
        write_endpoint(service, i, stats, out);
    fputc(']', out);
}

/* Writes the answer to a verb. False: there is no such verb. */
static bool write_answer(const struct service *service, const char *verb, size_t size, FILE *out)
{
    if (size == 4 && strncmp(verb, "PING", size) == 0) {
        write_identity(service, "ping", out);
    } else if (size == 4 && strncmp(verb, "INFO", size) == 0) {
        write_identity(service, "info", out);
        write_member(out, "description", service->options.description);
        write_endpoints(service, false, out);
    } else if (size == 5 && strncmp(verb, "STATS", size) == 0) {
        write_identity(service, "stats", out);
        write_member(out, "started", service->started);
        write_endpoints(service, true, out);
    } else {
        return false;
    }
    fputc('}', out);
    return true;
}

static void on_request(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *context)
{
    struct service *service = context;
    const char *subject = natsMsg_GetSubject(message);
    const char *reply = natsMsg_GetReply(message);
    char *text = NULL;
    size_t size = 0;
    (void)subscription;
    if (reply != NULL && *reply != '\0' && strncmp(subject, PREFIX, strlen(PREFIX)) == 0) {
        const char *verb = subject + strlen(PREFIX);
        FILE *out = open_memstream(&text, &size);
        bool known = out != NULL && write_answer(service, verb, strcspn(verb, "."), out);
        /* An answer that cannot be had or sent is one that the asker waits for in vain. */
        if (json_write_close(out, &text) == 0 && known)
            natsConnection_Publish(connection, reply, text, (int)size);
        free(text);
    }
    natsMsg_Destroy(message);
}

/* --- subscribing --- */

/* A denial that concerns the discovery is told once, and is nobody else's. */
static bool on_denial(void *context, const struct denial *denial)
{
    struct service *service = context;
    const char *prefix = denial->subscribe ? PREFIX : "_INBOX."; /* all that answers go to */
    struct error err;
    if (strncmp(denial->subject, prefix, strlen(prefix)) != 0)
        return false;
    if (!atomic_flag_test_and_set(&service->told)) {
        denial_error(denial, &err);
        log_warn("nats", "no service discovery: %s; nats.discovery = false switches it off",
                 err.text);
    }
    return true;
}

static natsStatus subscribe_to(struct service *service, natsSubscription **subscription,
                               const char *subject)
{
    natsStatus s = control_subscribe(service->control, subscription, subject, on_request, service);
    if (s != NATS_OK)
        return s;
    closed_gate_opened(&service->gate);
    s = natsSubscription_SetOnCompleteCB(*subscription, closed_gate_on_complete, &service->gate);
    if (s != NATS_OK)
        closed_gate_on_complete(&service->gate);
    return s;
}

static void unsubscribe(struct service *service)
{
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        natsSubscription_Destroy(service->subscriptions[i]);
        service->subscriptions[i] = NULL;
    }
}

static natsStatus subscribe(struct service *service)
{
    char subjects[SUBSCRIPTIONS][SUBJECT_SIZE];
    natsStatus s = NATS_OK;
    service->generation = control_generation(service->control);
    snprintf(subjects[0], SUBJECT_SIZE, PREFIX "*");
    snprintf(subjects[1], SUBJECT_SIZE, PREFIX "*.%s", service->name);
    snprintf(subjects[2], SUBJECT_SIZE, PREFIX "*.%s.%s", service->name, service->id);
    for (size_t i = 0; i < SUBSCRIPTIONS && s == NATS_OK; i++)
        s = subscribe_to(service, &service->subscriptions[i], subjects[i]);
    if (s != NATS_OK)
        unsubscribe(service);
    return s;
}

void service_tick(struct service *service)
{
    if (service->generation == control_generation(service->control))
        return;
    unsubscribe(service);
    subscribe(service); /* one that fails is on a connection that has ended: another comes */
}

/* --- opening and closing --- */

/* The unique part of an inbox, which libnats draws from the system's random numbers. */
static void draw_id(char *id)
{
    natsInbox *inbox = NULL;
    if (natsInbox_Create(&inbox) == NATS_OK) {
        const char *dot = strrchr(inbox, '.');
        snprintf(id, ID_SIZE, "%s", dot != NULL ? dot + 1 : inbox);
    }
    natsInbox_Destroy(inbox);
    make_name(id);
}

int service_open(struct service **service, struct control *control,
                 const struct service_options *options, struct error *err)
{
    *service = NULL;
    struct service *opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        return error_set(err, "service discovery: out of memory");
    opened->control = control;
    opened->options = *options;
    atomic_flag_clear(&opened->told);
    closed_gate_init(&opened->gate);
    snprintf(opened->name, sizeof(opened->name), "%s", options->name);
    make_name(opened->name);
    draw_id(opened->id);
    units_format_time(clock_wall_ns(), 3, opened->started);
    control_on_denial(control, on_denial, opened);
    natsStatus s = subscribe(opened);
    if (s == NATS_NO_MEMORY || opened->id[0] == '\0') {
        service_close(opened);
        return error_set(err, "service discovery: %s", natsStatus_GetText(s));
    }
    *service = opened;
    return 0;
}

void service_close(struct service *service)
{
    if (service == NULL)
        return;
    control_on_denial(service->control, NULL, NULL);
    unsubscribe(service);
    if (!closed_gate_wait(&service->gate))
        return; /* rather a leak than a callback into freed memory */
    free(service);
}
