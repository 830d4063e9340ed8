#include "bus/api.h"

#include "base/clock.h"
#include "bus/control_internal.h"
#include "bus/json_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t CALL_TIMEOUT_NS = 5 * NS_PER_S;
static const int64_t PATIENCE_NS = 10 * NS_PER_S;
static const int64_t PAUSE_NS = 250 * NS_PER_MS;

int api_reply_read(struct api_reply *reply, const char *text, size_t size, struct error *err)
{
    memset(reply, 0, sizeof(*reply));
    if (!json_scan_valid(text, size))
        return error_set(err, "the answer is no JSON");
    if (json_scan_has(text, size, "error")) {
        json_scan_string(text, size, "error.description", reply->description,
                         sizeof(reply->description));
        /* Servers before 2.4 gave no err_code: the HTTP-like code is better than nothing. */
        if (!json_scan_integer(text, size, "error.err_code", &reply->code) &&
            !json_scan_integer(text, size, "error.code", &reply->code))
            reply->code = -1;
        if (reply->code == API_NOT_ENABLED)
            return error_set(err, "the server has JetStream switched off: start it with -js");
        if (reply->code == API_NOT_ENABLED_FOR_ACCOUNT)
            return error_set(err, "JetStream is not enabled for this account");
    }
    reply->text = malloc(size + 1);
    if (reply->text == NULL)
        return error_set(err, "out of memory");
    memcpy(reply->text, text, size);
    reply->text[size] = '\0';
    reply->size = size;
    return 0;
}

/* One try. `*again` tells whether another may help. */
static int call_once(struct control *control, struct api_reply *reply, const char *subject,
                     const char *body, bool *again, struct error *err)
{
    natsMsg *message = NULL;
    size_t body_size = body != NULL ? strlen(body) : 0;
    memset(reply, 0, sizeof(*reply));
    natsStatus s =
        control_request(control, subject, body, body_size, CALL_TIMEOUT_NS, &message, err);
    if (s == NATS_NO_RESPONDERS && !control_has_jetstream(control)) {
        *again = false;
        return error_set(err, "the server has no JetStream: start it with -js");
    }
    if (s != NATS_OK) {
        *again = s == NATS_NO_RESPONDERS || s == NATS_TIMEOUT || s == NATS_CONNECTION_CLOSED ||
                 s == NATS_CONNECTION_DISCONNECTED;
        if (s == NATS_NO_RESPONDERS)
            error_set(err,
                      "JetStream does not answer (not enabled for this account, or no leader)");
        return -1;
    }
    int result = api_reply_read(reply, natsMsg_GetData(message),
                                (size_t)natsMsg_GetDataLength(message), err);
    natsMsg_Destroy(message);
    *again = result == 0 && reply->code == API_UNAVAILABLE;
    return result;
}

int api_subject(char subject[API_SUBJECT_SIZE], struct error *err, const char *operation,
                va_list args)
{
    static const char prefix[] = "$JS.API.";
    size_t room = API_SUBJECT_SIZE - (sizeof(prefix) - 1);
    memcpy(subject, prefix, sizeof(prefix));
    int written = vsnprintf(subject + sizeof(prefix) - 1, room, operation, args);
    if (written < 0 || (size_t)written >= room)
        return error_set(err, "the name is too long");
    return 0;
}

int api_call(struct control *control, struct api_reply *reply, const char *body, struct error *err,
             const char *operation, ...)
{
    char subject[API_SUBJECT_SIZE];
    va_list args;
    va_start(args, operation);
    int named = api_subject(subject, err, operation, args);
    va_end(args);
    if (named != 0)
        return -1;

    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        bool again;
        int result = call_once(control, reply, subject, body, &again, err);
        if (!again || control_cancelled(control) || clock_monotonic_ns() >= end_ns)
            return result == 0 ? 0 : error_prefix(err, "%s", subject);
        api_reply_free(reply);
        control_pause(control, PAUSE_NS);
    }
}

void api_reply_free(struct api_reply *reply)
{
    free(reply->text);
    reply->text = NULL;
    reply->size = 0;
}
