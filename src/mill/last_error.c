#include "mill/last_error.h"

#include <sched.h>
#include <stdio.h>

void last_error_note(struct last_error *last, int64_t now_ns, const char *reason, const char *rule,
                     const char *error)
{
    if (atomic_exchange_explicit(&last->busy, true, memory_order_acquire))
        return;
    last->at_ns = now_ns;
    snprintf(last->text, sizeof(last->text), "%s%s%s%s%s", reason, rule != NULL ? " in rule " : "",
             rule != NULL ? rule : "", error != NULL ? ": " : "", error != NULL ? error : "");
    atomic_store_explicit(&last->busy, false, memory_order_release);
}

int64_t last_error_read(struct last_error *last, int64_t after_ns, char *text, size_t size)
{
    while (atomic_exchange_explicit(&last->busy, true, memory_order_acquire))
        sched_yield();
    if (last->at_ns > after_ns) {
        after_ns = last->at_ns;
        snprintf(text, size, "%s", last->text);
    }
    atomic_store_explicit(&last->busy, false, memory_order_release);
    return after_ns;
}
