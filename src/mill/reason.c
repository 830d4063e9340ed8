#include "mill/reason.h"

#include <string.h>

static const char *const names[REASON_COUNT] = {
    [REASON_ERROR] = "error",     [REASON_TIMEOUT] = "timeout",
    [REASON_MEMORY] = "memory",   [REASON_OUTPUT] = "output",
    [REASON_RETRY] = "retry",     [REASON_REJECTED] = "rejected",
    [REASON_PAYLOAD] = "payload", [REASON_MAX_DELIVER] = "max_deliver",
};

const char *reason_name(enum reason reason)
{
    return names[reason];
}

enum reason reason_named(const char *word)
{
    int reason = 0;
    while (reason < REASON_COUNT && strcmp(names[reason], word) != 0)
        reason++;
    return reason < REASON_COUNT ? (enum reason)reason : REASON_ERROR;
}
