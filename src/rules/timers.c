#include "rules/timers.h"

#include <stdbool.h>
#include <stdlib.h>

void timers_free(struct timers *timers)
{
    free(timers->heap);
    *timers = (struct timers){0};
}

int timers_reserve(struct timers *timers)
{
    if (timers->owners == timers->size) {
        size_t size = timers->size == 0 ? 64 : timers->size * 2;
        struct moment **heap = realloc(timers->heap, size * sizeof(heap[0]));
        if (heap == NULL)
            return -1;
        timers->heap = heap;
        timers->size = size;
    }
    timers->owners++;
    return 0;
}

void timers_release(struct timers *timers)
{
    timers->owners--;
}

static bool before(const struct moment *a, const struct moment *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

/* `place` counts from 1, so that the children of n are 2n and 2n + 1. */
static void put(struct timers *timers, struct moment *moment, size_t place)
{
    timers->heap[place - 1] = moment;
    moment->place = place;
}

static void rise(struct timers *timers, struct moment *moment, size_t place)
{
    while (place > 1 && before(moment, timers->heap[place / 2 - 1])) {
        put(timers, timers->heap[place / 2 - 1], place);
        place /= 2;
    }
    put(timers, moment, place);
}

static void sink(struct timers *timers, struct moment *moment, size_t place)
{
    for (size_t child = place * 2; child <= timers->count; child = place * 2) {
        if (child < timers->count && before(timers->heap[child], timers->heap[child - 1]))
            child++;
        if (!before(timers->heap[child - 1], moment))
            break;
        put(timers, timers->heap[child - 1], place);
        place = child;
    }
    put(timers, moment, place);
}

void timers_add(struct timers *timers, struct moment *moment, int64_t at_ns)
{
    moment->at_ns = at_ns;
    moment->order = timers->next_order++;
    timers->count++;
    rise(timers, moment, timers->count);
}

void timers_remove(struct timers *timers, struct moment *moment)
{
    if (moment->place == 0)
        return;
    size_t place = moment->place;
    moment->place = 0;
    struct moment *last = timers->heap[timers->count - 1];
    timers->count--;
    if (last == moment)
        return;
    if (place > 1 && before(last, timers->heap[place / 2 - 1]))
        rise(timers, last, place);
    else
        sink(timers, last, place);
}

struct moment *timers_first(const struct timers *timers)
{
    return timers->count == 0 ? NULL : timers->heap[0];
}
