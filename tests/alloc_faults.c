#include "alloc_faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sanitizer.h"

enum {
    PLACES = 1 << 15, /* for blocks; a power of two */
    THIN = 64         /* of many allocations, late ones are much like their neighbours */
};

static struct {
    bool tracking, armed;
    size_t calls, first, count, failed;
    uintptr_t blocks[PLACES]; /* a hash table with open addressing; 0: free */
    size_t held;
} faults;

/* --- the blocks ------------------------------------------------------------------------------- */

static size_t home_of(uintptr_t block)
{
    return (size_t)((block >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (PLACES - 1);
}

static void remember(const void *pointer)
{
    uintptr_t block = (uintptr_t)pointer;
    if (!faults.tracking || block == 0)
        return;
    size_t place = home_of(block);
    while (faults.blocks[place] != 0)
        place = (place + 1) & (PLACES - 1);
    faults.blocks[place] = block;
    if (++faults.held == PLACES / 2)
        abort(); /* of no use with that many */
}

static void forget(uintptr_t block)
{
    size_t place = home_of(block);
    while (faults.blocks[place] != block) {
        if (faults.blocks[place] == 0)
            return; /* from before, or a library's */
        place = (place + 1) & (PLACES - 1);
    }
    faults.held--;
    /* Those behind it that would not be found across the gap move up. */
    for (size_t next = (place + 1) & (PLACES - 1); faults.blocks[next] != 0;
         next = (next + 1) & (PLACES - 1)) {
        size_t way = (next - home_of(faults.blocks[next])) & (PLACES - 1);
        if (way >= ((next - place) & (PLACES - 1))) {
            faults.blocks[place] = faults.blocks[next];
            place = next;
        }
    }
    faults.blocks[place] = 0;
}

void faults_track(void)
{
    memset(&faults, 0, sizeof(faults));
    faults.tracking = true;
}

size_t faults_held(void)
{
    return faults.held;
}

/* --- the faults ------------------------------------------------------------------------------- */

void faults_arm(size_t first, size_t count)
{
    faults.first = first;
    faults.count = count;
    faults.calls = faults.failed = 0;
    faults.armed = true;
}

size_t faults_disarm(void)
{
    faults.armed = false;
    return faults.failed;
}

/* Whether the allocation that is asked for fails. */
static bool strikes(void)
{
    if (!faults.armed)
        return false;
    faults.calls++;
    if (faults.calls < faults.first ||
        (faults.count != FAULTS_ALL && faults.calls - faults.first >= faults.count))
        return false;
    faults.failed++;
    errno = ENOMEM;
    return true;
}

static void *remembered(void *block)
{
    remember(block);
    return block;
}

/* The linker's names: what the program calls, and what would have been called. */
#define WRAPPED(type, name, ...)                                                                   \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAPPED(void *, malloc, size_t size)
{
    return strikes() ? NULL : remembered(__real_malloc(size));
}

WRAPPED(void *, calloc, size_t count, size_t size)
{
    return strikes() ? NULL : remembered(__real_calloc(count, size));
}

WRAPPED(void *, aligned_alloc, size_t alignment, size_t size)
{
    return strikes() ? NULL : remembered(__real_aligned_alloc(alignment, size));
}

WRAPPED(void *, realloc, void *block, size_t size)
{
    uintptr_t old = (uintptr_t)block;
    if (strikes())
        return NULL;
    void *moved = __real_realloc(block, size);
    if (moved != NULL && old != 0)
        forget(old);
    return remembered(moved);
}

WRAPPED(void, free, void *block)
{
    if (block != NULL)
        forget((uintptr_t)block);
    __real_free(block);
}

WRAPPED(char *, strdup, const char *text)
{
    return strikes() ? NULL : remembered(__real_strdup(text));
}

WRAPPED(char *, strndup, const char *text, size_t size)
{
    return strikes() ? NULL : remembered(__real_strndup(text, size));
}

WRAPPED(DIR *, opendir, const char *path)
{
    return strikes() ? NULL : __real_opendir(path);
}

WRAPPED(FILE *, fopen, const char *path, const char *mode)
{
    return strikes() ? NULL : __real_fopen(path, mode);
}

/* (The text is allocated by the library and freed by the program: not counted.) */
WRAPPED(FILE *, open_memstream, char **text, size_t *size)
{
    return strikes() ? NULL : __real_open_memstream(text, size);
}

static int print(char **text, const char *format, va_list args)
{
    if (strikes()) {
        *text = (char *)(uintptr_t)1; /* it is undefined then */
        return -1;
    }
    int size = vasprintf(text, format, args);
    remember(*text);
    return size;
}

__attribute__((format(printf, 2, 3))) int __wrap_asprintf(char **text, const char *format, ...);
int __wrap_asprintf(char **text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = print(text, format, args);
    va_end(args);
    return size;
}

/* What asprintf becomes with _FORTIFY_SOURCE. */
__attribute__((format(printf, 3, 4))) int __wrap___asprintf_chk(char **text, int flag,
                                                                const char *format, ...);
int __wrap___asprintf_chk(char **text, int flag, const char *format, ...)
{
    (void)flag;
    va_list args;
    va_start(args, format);
    int size = print(text, format, args);
    va_end(args);
    return size;
}

/* --- sweeps ----------------------------------------------------------------------------------- */

/* The steps get longer with each `thin` calls; 0: never. */
static size_t sweep(faults_scenario *scenario, void *context, size_t count, size_t thin)
{
    size_t unsuccessful = 0;
    for (size_t first = 1;; first += 1 + (thin > 0 ? first / thin : 0)) {
        size_t failed = 0;
        faults_track();
        int status = scenario(context, first, count, &failed);
        faults_disarm();
        if (faults_held() != 0)
            fail_msg("fault %zu (%zu at a time): %zu blocks are not freed", first, count,
                     faults_held());
        if (failed > 0) {
            unsuccessful += status != 0;
            continue;
        }
        if (status != 0)
            fail_msg("without a fault (%zu is too many) it does not succeed", first);
        assert_true(first > 1);
        return unsuccessful;
    }
}

size_t faults_sweep(faults_scenario *scenario, void *context)
{
    size_t thin = SANITIZED ? THIN : 0;
    size_t unsuccessful = sweep(scenario, context, 1, thin);
    unsuccessful += sweep(scenario, context, 2, thin);
    return unsuccessful + sweep(scenario, context, FAULTS_ALL, THIN);
}

void faults_check_line(const char *text)
{
    assert_non_null(text);
    if (strlen(text) < 5 || strpbrk(text, "\r\n") != NULL)
        fail_msg("no line of words: \"%s\"", text);
}
