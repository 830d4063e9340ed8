#include "rules/blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* The memory of a Lua state. Whether a block is kept can't be told where a sanitizer forbids it. */

static struct blocks blocks;

static int close_blocks(void **state)
{
    (void)state;
    blocks_close(&blocks);
    return 0;
}

static size_t kept(void)
{
    size_t count = 0;
    for (size_t i = 0; i < BLOCKS_SIZES; i++)
        count += blocks.counts[i];
    return count;
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
    void *first = blocks_resize(&blocks, NULL, 0, 50);
    blocks_free(&blocks, first, 50);
    if (kept() == 0)
        skip();                                         /* a sanitizer's build */
    void *second = blocks_resize(&blocks, NULL, 0, 56); /* 41 to 56 bytes are one size */
    assert_ptr_equal(second, first);
    memset(second, 1, 56);
    void *third = blocks_resize(&blocks, NULL, 0, 56);
    assert_ptr_not_equal(third, second);
    blocks_free(&blocks, second, 56);
    blocks_free(&blocks, third, 56);
}

static void test_what_is_kept_is_bounded(void **state)
{
    enum { COUNT = 20000 };
    static void *many[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = blocks_resize(&blocks, NULL, 0, 200);
        assert_non_null(many[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        blocks_free(&blocks, many[i], 200);
    assert_true(kept() * 200 <= BLOCKS_KEPT_BYTES);
}

static void test_large_blocks_are_not_kept(void **state)
{
    (void)state;
    void *block = blocks_resize(&blocks, NULL, 0, BLOCKS_SMALL + 1);
    assert_non_null(block);
    blocks_free(&blocks, block, BLOCKS_SMALL + 1);
    assert_int_equal(kept(), 0);
}

static void test_no_block_can_be_freed(void **state)
{
    (void)state;
    blocks_free(&blocks, NULL, 0);
    assert_int_equal(kept(), 0);
}

#define TEST(test) cmocka_unit_test_teardown(test, close_blocks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_block_keeps_its_bytes_from_size_to_size),
        TEST(test_a_freed_block_serves_for_the_next_of_its_size),
        TEST(test_what_is_kept_is_bounded),
        TEST(test_large_blocks_are_not_kept),
        TEST(test_no_block_can_be_freed),
    };
    return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
