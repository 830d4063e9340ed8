#include "rules/outputs.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Copies never move: full blocks stay where they are and a new one is put in front. */
struct outputs_block {
    struct outputs_block *next;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

enum {
    BLOCK_SIZE = 16 << 10, /* the usual block, kept between calls */
    ITEMS_KEPT = 256       /* a list no longer than this is kept between calls */
};

static void *reserve(struct outputs *outputs, size_t size)
{
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct outputs_block *block = outputs->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = malloc(sizeof(*block) + room);
        if (block == NULL)
            return NULL;
        *block = (struct outputs_block){.next = outputs->blocks, .size = room};
        outputs->blocks = block;
    }
    void *place = block->bytes + block->used;
    block->used += size;
    return place;
}

/* Appends `size` bytes and a NUL at `*cursor` and moves it on. */
static const char *copy(char **cursor, const char *bytes, size_t size)
{
    char *place = *cursor;
    if (size > 0)
        memcpy(place, bytes, size);
    place[size] = '\0';
    *cursor += size + 1;
    return place;
}

static size_t text_size(const struct output *output)
{
    size_t size = strlen(output->subject) + 1 + output->payload_size + 1;
    if (output->id != NULL)
        size += strlen(output->id) + 1;
    for (size_t i = 0; i < output->header_count; i++)
        size += strlen(output->headers[i].name) + 1 + strlen(output->headers[i].value) + 1;
    return size;
}

static int reserve_item(struct outputs *outputs)
{
    if (outputs->count < outputs->size)
        return 0;
    size_t size = outputs->size == 0 ? 16 : outputs->size * 2;
    struct output *items = realloc(outputs->items, size * sizeof(items[0]));
    if (items == NULL)
        return -1;
    outputs->items = items;
    outputs->size = size;
    return 0;
}

int outputs_add(struct outputs *outputs, const struct output *output, struct error *err)
{
    if (outputs->count == OUTPUTS_MAX)
        return error_set(err, "more than %d messages published in one call", OUTPUTS_MAX);
    size_t headers_size = output->header_count * sizeof(struct header);
    size_t size = headers_size + text_size(output);
    if (size > OUTPUTS_BYTES_MAX || outputs->bytes > OUTPUTS_BYTES_MAX - size)
        return error_set(err, "more than %d MiB published in one call", OUTPUTS_BYTES_MAX >> 20);
    char *cursor = NULL;
    if (reserve_item(outputs) != 0 || (cursor = reserve(outputs, size)) == NULL)
        return error_set(err, "no memory to keep a message of %zu bytes", size);

    struct header *headers = (struct header *)(void *)cursor;
    cursor += headers_size;
    struct output *item = &outputs->items[outputs->count++];
    *item = *output;
    item->subject = copy(&cursor, output->subject, strlen(output->subject));
    item->payload = copy(&cursor, output->payload, output->payload_size);
    if (output->id != NULL)
        item->id = copy(&cursor, output->id, strlen(output->id));
    for (size_t i = 0; i < output->header_count; i++) {
        const struct header *from = &output->headers[i];
        headers[i].name = copy(&cursor, from->name, strlen(from->name));
        headers[i].value = copy(&cursor, from->value, strlen(from->value));
    }
    item->headers = output->header_count == 0 ? NULL : headers;
    outputs->bytes += size;
    return 0;
}

void outputs_clear(struct outputs *outputs)
{
    outputs->count = 0;
    outputs->bytes = 0;
    struct outputs_block *kept = NULL;
    while (outputs->blocks != NULL) {
        struct outputs_block *block = outputs->blocks;
        outputs->blocks = block->next;
        if (kept == NULL && block->size == BLOCK_SIZE)
            kept = block;
        else
            free(block);
    }
    if (kept != NULL) {
        kept->next = NULL;
        kept->used = 0;
    }
    outputs->blocks = kept;
    if (outputs->size > ITEMS_KEPT) {
        free(outputs->items);
        outputs->items = NULL;
        outputs->size = 0;
    }
}

void outputs_free(struct outputs *outputs)
{
    outputs_clear(outputs);
    free(outputs->blocks);
    free(outputs->items);
    *outputs = (struct outputs){0};
}
