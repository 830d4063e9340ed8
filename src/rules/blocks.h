#ifndef TIDEMILL_RULES_BLOCKS_H
#define TIDEMILL_RULES_BLOCKS_H

#include <stddef.h>

/*
 * The memory of one Lua state, by slab allocation: small blocks come from slabs of BLOCKS_SLAB
 * bytes, each for blocks of one size, which are the state's alone and are taken from the system and
 * given back whole. So the blocks of rules, some of which live for days, lie nowhere between the
 * messages, which live for milliseconds, and a state that is closed leaves no holes. Larger blocks
 * are malloc's.
 *
 * Of slabs without a block in use BLOCKS_SPARE are kept, or a quarter of those in use where that is
 * more: a collection frees many at once and the rules want them again.
 *
 * Under AddressSanitizer, ThreadSanitizer and in the build for valgrind every block is malloc's:
 * they would not see a use of what was freed.
 *
 * Thread: the state's.
 */

enum {
    BLOCKS_SLAB = 64 << 10, /* bytes, and the alignment in memory */
    BLOCKS_STEP = 16,       /* the sizes are its multiples */
    BLOCKS_SMALL = 256,     /* the largest block from a slab, in bytes */
    BLOCKS_SPARE = 16,
    BLOCKS_SIZES = BLOCKS_SMALL / BLOCKS_STEP
};

struct blocks {                      /* all zero: no memory yet */
    struct slab *open[BLOCKS_SIZES]; /* those with room; blocks are taken from the first */
    struct slab *spare;
    size_t slabs, spares; /* their numbers; the first counts all */
};

/*
 * As realloc, but the caller says the old size; `block` may be NULL, then it is 0. NULL: there is
 * no memory, the block is as it was. `new_size` is not 0.
 */
void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t new_size);

/* Takes a block of that size back; NULL is fine. */
void blocks_free(struct blocks *blocks, void *block, size_t size);

/* Gives back what is kept. No block is in use any more. */
void blocks_close(struct blocks *blocks);

#endif
