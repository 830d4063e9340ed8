#include "mill/retries.h"

#include <stddef.h>

void retries_add(struct retries *retries, struct delivery *delivery, int64_t due_ns)
{
    struct delivery *before = retries->last;
    while (before != NULL && before->retry_due_ns > due_ns) /* delays are alike: mostly at once */
        before = before->retried_before;
    struct delivery *after = before != NULL ? before->retried_after : retries->first;
    delivery->phase = PHASE_WAITING;
    delivery->retry_due_ns = due_ns;
    delivery->retried_before = before;
    delivery->retried_after = after;
    *(before != NULL ? &before->retried_after : &retries->first) = delivery;
    *(after != NULL ? &after->retried_before : &retries->last) = delivery;
}

struct delivery *retries_take(struct retries *retries, int64_t now_ns)
{
    struct delivery *delivery = retries->first;
    if (delivery == NULL || delivery->retry_due_ns > now_ns)
        return NULL;
    retries->first = delivery->retried_after;
    *(retries->first != NULL ? &retries->first->retried_before : &retries->last) = NULL;
    return delivery;
}

int64_t retries_due_ns(const struct retries *retries)
{
    return retries->first != NULL ? retries->first->retry_due_ns : -1;
}
