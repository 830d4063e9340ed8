#ifndef TIDEMILL_RULES_BLOCKS_H
#define TIDEMILL_RULES_BLOCKS_H

#include <stddef.h>

/*
 * The memory of one Lua state: malloc, with the small blocks that Lua has freed kept for its next
 * ones. Lua frees in sweeps, hundreds of one size at a time, and malloc's own store holds seven of
 * each. What is kept is bounded (BLOCKS_KEPT_BYTES of each size); larger blocks are malloc's.
 *
 * Under AddressSanitizer and in the build for valgrind nothing is kept: they would not see a use
 * of what was freed.
 *
 * Thread: the state's.
 */

enum {
    BLOCKS_SMALL = 264,            /* the largest block that is kept, in bytes */
    BLOCKS_KEPT_BYTES = 128 << 10, /* of each size */
    BLOCKS_SIZES = (BLOCKS_SMALL + 7) / 16 + 1
};

struct blocks { /* all zero: nothing kept */
    struct block *kept[BLOCKS_SIZES];
    unsigned counts[BLOCKS_SIZES];
};

/*
 * As realloc, but the caller says the old size; `block` may be NULL, then it is 0. NULL: there is
 * no memory, the block is as it was. `new_size` is not 0.
 */
void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t new_size);

/* Takes a block of that size back; NULL is fine. */
void blocks_free(struct blocks *blocks, void *block, size_t size);

/* Frees what is kept. */
void blocks_close(struct blocks *blocks);

#endif
