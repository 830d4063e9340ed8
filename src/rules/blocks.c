#include "rules/blocks.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(MEMCHECK)
static const bool has_slabs = false;
#else
static const bool has_slabs = true;
#endif

struct block {
    struct block *next;
};

/* The head of a slab. The blocks follow up to its end; those from `fresh` on were never in use. */
struct slab {
    struct slab *next, *previous; /* in `open`; of a spare one, `next` alone */
    struct block *freed;
    char *fresh;
    unsigned used, capacity; /* blocks */
};

enum { HEAD_SIZE = 64 }; /* a cache line, so that blocks of 64 bytes touch one each */
_Static_assert(sizeof(struct slab) <= HEAD_SIZE, "the first block begins behind the head");

static bool is_small(size_t size)
{
    return has_slabs && size <= BLOCKS_SMALL;
}

/* The number of the size that holds so many bytes, and its bytes. */
static size_t size_number(size_t size)
{
    return (size - 1) / BLOCKS_STEP;
}

static size_t size_bytes(size_t number)
{
    return (number + 1) * BLOCKS_STEP;
}

/* ---- slabs ---- */

/* The mapping is twice as large as needed at first: somewhere in it a slab is aligned. */
static struct slab *map_slab(void)
{
    char *area = mmap(NULL, 2 * (size_t)BLOCKS_SLAB, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)area % BLOCKS_SLAB;
    if (before > 0)
        munmap(area, before);
    munmap(area + before + BLOCKS_SLAB, BLOCKS_SLAB - before);
    return (struct slab *)(area + before);
}

static void unlink_slab(struct blocks *blocks, struct slab *slab, size_t number)
{
    if (slab->previous != NULL)
        slab->previous->next = slab->next;
    else
        blocks->open[number] = slab->next;
    if (slab->next != NULL)
        slab->next->previous = slab->previous;
}

/* Behind the first, which blocks are taken from until it is full. */
static void link_slab(struct blocks *blocks, struct slab *slab, size_t number)
{
    struct slab *first = blocks->open[number];
    slab->previous = first;
    slab->next = first != NULL ? first->next : NULL;
    if (slab->next != NULL)
        slab->next->previous = slab;
    if (first != NULL)
        first->next = slab;
    else
        blocks->open[number] = slab;
}

static struct slab *open_slab(struct blocks *blocks, size_t number)
{
    struct slab *slab = blocks->spare;
    if (slab != NULL) {
        blocks->spare = slab->next;
        blocks->spares--;
    } else {
        slab = map_slab();
        if (slab == NULL)
            return NULL;
        blocks->slabs++;
    }
    *slab = (struct slab){
        .fresh = (char *)slab + HEAD_SIZE,
        .capacity = (unsigned)((BLOCKS_SLAB - HEAD_SIZE) / size_bytes(number)),
    };
    link_slab(blocks, slab, number);
    return slab;
}

static void retire_slab(struct blocks *blocks, struct slab *slab)
{
    size_t in_use = blocks->slabs - blocks->spares - 1;
    if (blocks->spares < BLOCKS_SPARE || blocks->spares < in_use / 4) {
        slab->next = blocks->spare;
        blocks->spare = slab;
        blocks->spares++;
        return;
    }
    munmap(slab, BLOCKS_SLAB);
    blocks->slabs--;
}

void blocks_close(struct blocks *blocks)
{
    for (size_t i = 0; i < BLOCKS_SIZES; i++) {
        if (blocks->open[i] != NULL)
            munmap(blocks->open[i], BLOCKS_SLAB);
    }
    while (blocks->spare != NULL) {
        struct slab *slab = blocks->spare;
        blocks->spare = slab->next;
        munmap(slab, BLOCKS_SLAB);
    }
    *blocks = (struct blocks){0};
}

/* ---- blocks ---- */

static void *take_small(struct blocks *blocks, size_t number)
{
    struct slab *slab = blocks->open[number];
    if (slab == NULL && (slab = open_slab(blocks, number)) == NULL)
        return NULL;
    struct block *block = slab->freed;
    if (block != NULL) {
        slab->freed = block->next;
    } else {
        block = (struct block *)slab->fresh;
        slab->fresh += size_bytes(number);
    }
    if (++slab->used == slab->capacity)
        unlink_slab(blocks, slab, number);
    return block;
}

/* An empty slab stays where it is while blocks are taken from it. */
static void free_small(struct blocks *blocks, struct block *block, size_t number)
{
    struct slab *slab = (struct slab *)((uintptr_t)block & ~(uintptr_t)(BLOCKS_SLAB - 1));
    block->next = slab->freed;
    slab->freed = block;
    if (slab->used-- == slab->capacity)
        link_slab(blocks, slab, number);
    else if (slab->used == 0 && slab != blocks->open[number]) {
        unlink_slab(blocks, slab, number);
        retire_slab(blocks, slab);
    }
}

static void *take(struct blocks *blocks, size_t size)
{
    return is_small(size) ? take_small(blocks, size_number(size)) : malloc(size);
}

void blocks_free(struct blocks *blocks, void *block, size_t size)
{
    if (block != NULL && is_small(size))
        free_small(blocks, block, size_number(size));
    else
        free(block);
}

void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t new_size)
{
    if (block == NULL)
        return take(blocks, new_size);
    if (!is_small(old_size) && !is_small(new_size))
        return realloc(block, new_size);
    if (is_small(old_size) && is_small(new_size) && size_number(old_size) == size_number(new_size))
        return block;
    void *moved = take(blocks, new_size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    blocks_free(blocks, block, old_size);
    return moved;
}
