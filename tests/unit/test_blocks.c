#include "rules/blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* The memory of a Lua state. There are no slabs to be seen where a sanitizer forbids them. */

static struct blocks blocks;

static int close_blocks(void **state)
{
    (void)state;
    blocks_close(&blocks);
    return 0;
}

static void *take(size_t size)
{
    void *block = blocks_resize(&blocks, NULL, 0, size);
    assert_non_null(block);
    return block;
}

/* Whether there is a slab in use after a block was taken. */
static bool has_slabs(void)
{
    void *block = take(1);
    bool found = blocks.slabs > 0;
    blocks_free(&blocks, block, 1);
    return found;
}

static uintptr_t slab_of(const void *block)
{
    return (uintptr_t)block / BLOCKS_SLAB;
}

static void test_a_block_keeps_its_bytes_from_size_to_size(void **state)
{
    (void)state;
    unsigned char *block = NULL;
    size_t size = 0;
    for (size_t next = 1; next < 1200; next = next < 600 ? next + 7 : next + 31) {
        block = blocks_resize(&blocks, block, size, next);
        assert_non_null(block);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(block[i], (unsigned char)(i * 7));
        for (size_t i = 0; i < next; i++)
            block[i] = (unsigned char)(i * 7);
        size = next;
    }
    while (size > 1) {
        size_t next = size / 2;
        block = blocks_resize(&blocks, block, size, next);
        assert_non_null(block);
        for (size_t i = 0; i < next; i++)
            assert_int_equal(block[i], (unsigned char)(i * 7));
        size = next;
    }
    blocks_free(&blocks, block, size);
}

static void test_a_freed_block_serves_for_the_next_of_its_size(void **state)
{
    (void)state;
    if (!has_slabs())
        skip();
    void *first = take(50);
    blocks_free(&blocks, first, 50);
    void *second = take(64); /* 49 to 64 bytes are one size */
    assert_ptr_equal(second, first);
    memset(second, 1, 64);
    void *third = take(64);
    assert_ptr_not_equal(third, second);
    blocks_free(&blocks, second, 64);
    blocks_free(&blocks, third, 64);
}

static void test_blocks_of_one_size_fill_a_slab_and_no_other_block_is_in_it(void **state)
{
    enum { SIZE = 32, COUNT = BLOCKS_SLAB / SIZE - 2 };
    void *many[COUNT];
    (void)state;
    if (!has_slabs())
        skip();
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = take(SIZE);
        assert_int_equal((uintptr_t)many[i] % BLOCKS_STEP, 0);
        assert_int_equal(slab_of(many[i]), slab_of(many[0]));
    }
    void *next = take(SIZE), *other = take(SIZE + 1), *large = take(BLOCKS_SMALL + 1);
    assert_true(slab_of(next) != slab_of(many[0]));
    assert_true(slab_of(other) != slab_of(many[0]) && slab_of(other) != slab_of(next));
    assert_true(slab_of(large) != slab_of(many[0]) && slab_of(large) != slab_of(next));
    blocks_free(&blocks, large, BLOCKS_SMALL + 1);
    blocks_free(&blocks, other, SIZE + 1);
    blocks_free(&blocks, next, SIZE);
    for (size_t i = 0; i < COUNT; i++)
        blocks_free(&blocks, many[i], SIZE);
}

/* Every byte is written, so a block that is given out twice shows. */
static void test_blocks_of_all_sizes_come_and_go_in_any_order(void **state)
{
    enum { PLACES = 20000, ROUNDS = 400000 };
    static struct place {
        unsigned char *block;
        size_t size;
    } places[PLACES];
    (void)state;
    uint32_t random = 1;
    memset(places, 0, sizeof(places));
    for (size_t round = 0; round < ROUNDS; round++) {
        random = random * 1664525 + 1013904223; /* Numerical Recipes' generator */
        struct place *place = &places[(random >> 8) % PLACES];
        for (size_t i = 0; i < place->size; i++)
            assert_int_equal(place->block[i], (unsigned char)(place - places));
        blocks_free(&blocks, place->block, place->size);
        size_t phase = round / (ROUNDS / 4); /* many, then few, twice */
        place->size = phase % 2 == 0 || random >> 30 == 0 ? 1 + random % (BLOCKS_SMALL + 40) : 0;
        place->block = place->size > 0 ? take(place->size) : NULL;
        if (place->size > 0)
            memset(place->block, (unsigned char)(place - places), place->size);
    }
    for (size_t i = 0; i < PLACES; i++)
        blocks_free(&blocks, places[i].block, places[i].size);
}

static void test_slabs_that_are_empty_are_given_back(void **state)
{
    enum { SIZE = 200, COUNT = 40000 };
    static void *many[COUNT];
    (void)state;
    if (!has_slabs())
        skip();
    for (size_t i = 0; i < COUNT; i++)
        many[i] = take(SIZE);
    size_t most = blocks.slabs;
    assert_true(most > COUNT * SIZE / BLOCKS_SLAB);
    for (size_t i = 0; i < COUNT; i++)
        blocks_free(&blocks, many[i], SIZE);
    assert_true(blocks.slabs < most / 2);
    assert_true(blocks.spares <= blocks.slabs && blocks.slabs <= BLOCKS_SPARE + BLOCKS_SIZES);
    size_t spares = blocks.spares;
    assert_true(spares > 0);
    void *block = take(17); /* of no slab's size so far */
    assert_int_equal(blocks.spares, spares - 1);
    blocks_free(&blocks, block, 17);
}

static void test_large_blocks_are_of_no_slab(void **state)
{
    (void)state;
    size_t slabs = blocks.slabs;
    void *block = take(BLOCKS_SMALL + 1);
    assert_int_equal(blocks.slabs, slabs);
    blocks_free(&blocks, block, BLOCKS_SMALL + 1);
}

static void test_a_block_can_leave_and_enter_the_slabs(void **state)
{
    (void)state;
    unsigned char *block = take(100);
    memset(block, 7, 100);
    block = blocks_resize(&blocks, block, 100, 5000);
    assert_non_null(block);
    block = blocks_resize(&blocks, block, 5000, 90);
    assert_non_null(block);
    for (size_t i = 0; i < 90; i++)
        assert_int_equal(block[i], 7);
    blocks_free(&blocks, block, 90);
}

static void test_no_block_can_be_freed(void **state)
{
    (void)state;
    blocks_free(&blocks, NULL, 0);
    assert_int_equal(blocks.slabs, 0);
}

/* No address space for another slab. */
static void test_no_memory_is_no_block(void **state)
{
    enum { COUNT = 100000 };
    static void *many[COUNT];
    struct rlimit before, none;
    (void)state;
    if (!has_slabs())
        skip();
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    size_t count = 0;
    while (count < COUNT && (many[count] = blocks_resize(&blocks, NULL, 0, 100)) != NULL)
        count++;
    unsigned char *large = malloc(600); /* from what malloc has left */
    void *shrunk = large != NULL ? blocks_resize(&blocks, large, 600, 200) : NULL;
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_true(count < COUNT);
    assert_null(shrunk); /* no slab for 200 bytes; the block is as it was */
    free(large);
    for (size_t i = 0; i < count; i++)
        blocks_free(&blocks, many[i], 100);
}

#define TEST(test) cmocka_unit_test_teardown(test, close_blocks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_block_keeps_its_bytes_from_size_to_size),
        TEST(test_a_freed_block_serves_for_the_next_of_its_size),
        TEST(test_blocks_of_one_size_fill_a_slab_and_no_other_block_is_in_it),
        TEST(test_blocks_of_all_sizes_come_and_go_in_any_order),
        TEST(test_slabs_that_are_empty_are_given_back),
        TEST(test_large_blocks_are_of_no_slab),
        TEST(test_a_block_can_leave_and_enter_the_slabs),
        TEST(test_no_block_can_be_freed),
        TEST(test_no_memory_is_no_block),
    };
    return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
