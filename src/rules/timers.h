#ifndef TIDEMILL_RULES_TIMERS_H
#define TIDEMILL_RULES_TIMERS_H

#include <stddef.h>
#include <stdint.h>

/*
 * What is due when: a binary heap of moments, for timers, sleepers and the patience of requests. A
 * moment is part of its owner's struct; the heap only points at it. Equal moments come in the order
 * in which they were added. One thread; nothing but the two _reserve and _free calls allocates.
 */

struct moment {
    int64_t at_ns;
    uint64_t order;
    size_t place; /* in the heap, from 1; 0: not in it */
    void (*arrive)(struct moment *moment);
};

struct timers {
    struct moment **heap;
    size_t count, size;
    size_t owners; /* moments that may have to be held at once */
    uint64_t next_order;
};

void timers_free(struct timers *timers);

/* Makes room for one more owner, so that timers_add cannot fail. Returns 0 or -1 (no memory). */
int timers_reserve(struct timers *timers);

/* Gives the room of one owner back. */
void timers_release(struct timers *timers);

/* Adds a moment that is not in the heap. */
void timers_add(struct timers *timers, struct moment *moment, int64_t at_ns);

/* Takes a moment out; does nothing when it is not in. */
void timers_remove(struct timers *timers, struct moment *moment);

/* The next moment, or NULL. */
struct moment *timers_first(const struct timers *timers);

#endif
