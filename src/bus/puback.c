#include "bus/puback.h"

#include "bus/api.h"
#include "bus/json_scan.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/*
 * Every fault of the server's own (500 and above) may pass: no leader, short of resources, stream
 * full. By number those that an old server may send without such a code.
 */
static bool is_passing(int64_t code, int64_t err_code)
{
    switch (err_code) {
    case API_UNAVAILABLE:
    case API_INSUFFICIENT:
    case API_MEMORY_EXCEEDED:
    case API_MESSAGE_MISSING: /* raft */
    case API_NOT_ENABLED_FOR_ACCOUNT:
    case API_STORAGE_EXCEEDED:
    case API_STORE_FAILED:
    case API_STREAM_OFFLINE:
    case API_TOO_MANY_REQUESTS:
        return true;
    default:
        return code >= 500;
    }
}

enum puback puback_parse(const char *text, size_t size, char *why, size_t why_size)
{
    static const char duplicate_key[] = "\"duplicate\"";
    int64_t code = 0, err_code = 0, sequence;
    if (json_scan_has(text, size, "error")) {
        char description[160];
        json_scan_integer(text, size, "error.code", &code);
        json_scan_integer(text, size, "error.err_code", &err_code);
        if (!json_scan_string(text, size, "error.description", description, sizeof(description)))
            snprintf(description, sizeof(description), "refused");
        snprintf(why, why_size, "%s (%" PRId64 ")", description, err_code != 0 ? err_code : code);
        if (err_code == API_ID_IN_PROCESS)
            return PUBACK_STAGED;
        return is_passing(code, err_code) ? PUBACK_PASSING : PUBACK_REFUSED;
    }
    if (!json_scan_integer(text, size, "seq", &sequence)) {
        snprintf(why, why_size,
                 "the answer is no PubAck: is a responder listening on the subject?");
        return PUBACK_REFUSED;
    }
    if (sequence <= 0) {
        snprintf(why, why_size, "the stream's leader knows the id, but has not stored the message");
        return PUBACK_STAGED;
    }
    bool duplicate = false;
    if (memmem(text, size, duplicate_key, sizeof(duplicate_key) - 1) != NULL)
        json_scan_bool(text, size, "duplicate", &duplicate);
    return duplicate ? PUBACK_DUPLICATE : PUBACK_STORED;
}
