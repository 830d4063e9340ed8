#include "rules/activity.h"

#include <string.h>

/* Written by hand, without printf, because it is written for every message. */

/* Appends at most what fits; keeps one byte for the NUL. */
static char *append(char *to, const char *end, const char *text, size_t length)
{
    size_t room = (size_t)(end - to);
    if (length > room)
        length = room;
    memcpy(to, text, length);
    return to + length;
}

static char *append_number(char *to, const char *end, uint64_t number)
{
    char digits[20];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return append(to, end, digits + first, sizeof(digits) - first);
}

void activity_begin(struct engine_activity *activity, const struct call *call, int64_t now)
{
    static const char *const kinds[] = {[CALL_CHUNK] = "loading",
                                        [CALL_LOAD] = "on_load",
                                        [CALL_TIMER] = "timer",
                                        [CALL_UNLOAD] = "on_unload"};
    char *to = activity->text;
    const char *end = activity->text + sizeof(activity->text) - 1;
    const char *name = call->rule->file->name;
    to = append(to, end, name, strnlen(name, 100));
    to = append(to, end, ": ", 2);
    if (call->kind == CALL_MESSAGE) {
        const char *subject = call->input->subject;
        to = append(to, end, subject, strnlen(subject, 120));
        to = append(to, end, " seq ", 5);
        to = append_number(to, end, call->input->sequence);
    } else {
        to = append(to, end, kinds[call->kind], strlen(kinds[call->kind]));
    }
    *to = '\0';
    atomic_store_explicit(&activity->started_ns, now, memory_order_release);
}

void activity_end(struct engine_activity *activity)
{
    atomic_store_explicit(&activity->started_ns, 0, memory_order_release);
}
