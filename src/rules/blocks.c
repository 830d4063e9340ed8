/*
 * A size here is what malloc can give in one of its chunks: 24 bytes, and 16 more for each next one
 * (glibc, 64 bit). Blocks are always asked for in whole sizes, so any of a size can serve for
 * another.
 */
#include "rules/blocks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(MEMCHECK)
static const bool keeps = false;
#else
static const bool keeps = true;
#endif

struct block {
    struct block *next;
};

static bool is_small(size_t size)
{
    return keeps && size <= BLOCKS_SMALL;
}

/* The number of the size that holds so many bytes, and its bytes. */
static size_t size_number(size_t size)
{
    return (size + 7) / 16;
}

static size_t size_bytes(size_t number)
{
    return number * 16 + 8;
}

static void *take(struct blocks *blocks, size_t size)
{
    if (!is_small(size))
        return malloc(size);
    size_t number = size_number(size);
    struct block *block = blocks->kept[number];
    if (block == NULL)
        return malloc(size_bytes(number));
    blocks->kept[number] = block->next;
    blocks->counts[number]--;
    return block;
}

void blocks_free(struct blocks *blocks, void *pointer, size_t size)
{
    struct block *block = pointer;
    size_t number = size_number(size);
    if (block == NULL)
        return;
    if (!is_small(size) || blocks->counts[number] >= BLOCKS_KEPT_BYTES / size_bytes(number)) {
        free(block);
        return;
    }
    block->next = blocks->kept[number];
    blocks->kept[number] = block;
    blocks->counts[number]++;
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

void blocks_close(struct blocks *blocks)
{
    for (size_t i = 0; i < BLOCKS_SIZES; i++) {
        while (blocks->kept[i] != NULL) {
            struct block *block = blocks->kept[i];
            blocks->kept[i] = block->next;
            free(block);
        }
        blocks->counts[i] = 0;
    }
}
