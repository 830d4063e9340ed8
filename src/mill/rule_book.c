/*
 * Rows are found by an open hash table, under a lock, and read without one: a row is filled before
 * the count that includes it is raised, and then stays.
 */
#include "mill/rule_book.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2048 }; /* a power of two, twice the rows */

struct row {
    char *name;
    struct rule_counters *workers;
};

struct rule_book {
    size_t worker_count;
    pthread_mutex_t lock;  /* the slots, and adding */
    uint16_t slots[SLOTS]; /* a row's number; 0: empty */
    atomic_bool overflowed;
    atomic_size_t count;
    struct row rows[RULE_BOOK_ROWS + 1]; /* the first is the overflow's */
};

/* Makes the next row. NULL name: the overflow's. -1: out of memory. */
static int add_row(struct rule_book *book, const char *name)
{
    size_t count = atomic_load_explicit(&book->count, memory_order_relaxed);
    size_t size = book->worker_count * sizeof(struct rule_counters);
    struct row *row = &book->rows[count];
    char *copy = name != NULL ? strdup(name) : NULL;
    struct rule_counters *workers = aligned_alloc(_Alignof(struct rule_counters), size);
    if (workers == NULL || (name != NULL && copy == NULL)) {
        free(workers);
        free(copy);
        return -1;
    }
    memset(workers, 0, size);
    row->name = copy;
    row->workers = workers;
    atomic_store_explicit(&book->count, count + 1, memory_order_release);
    return 0;
}

struct rule_book *rule_book_new(size_t worker_count)
{
    struct rule_book *book = calloc(1, sizeof(*book));
    if (book == NULL)
        return NULL;
    book->worker_count = worker_count;
    if (add_row(book, NULL) != 0) {
        free(book);
        return NULL;
    }
    pthread_mutex_init(&book->lock, NULL);
    return book;
}

void rule_book_free(struct rule_book *book)
{
    if (book == NULL)
        return;
    for (size_t i = 0; i < rule_book_count(book); i++) {
        free(book->rows[i].name);
        free(book->rows[i].workers);
    }
    pthread_mutex_destroy(&book->lock);
    free(book);
}

static size_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return (size_t)(hash ^ hash >> 32);
}

/* Under the lock. The row of the name, a new one if need be; 0 when there can be none. */
static size_t row_named(struct rule_book *book, const char *name)
{
    size_t slot = hash_of(name) % SLOTS;
    while (book->slots[slot] != 0) {
        size_t row = book->slots[slot];
        if (strcmp(book->rows[row].name, name) == 0)
            return row;
        slot = (slot + 1) % SLOTS;
    }
    size_t row = rule_book_count(book);
    if (row > RULE_BOOK_ROWS || strcmp(name, RULE_BOOK_OVERFLOW) == 0 || add_row(book, name) != 0)
        return 0;
    book->slots[slot] = (uint16_t)row;
    return row;
}

struct rule_counters *rule_book_counters(struct rule_book *book, const char *rule, size_t worker)
{
    pthread_mutex_lock(&book->lock);
    size_t row = row_named(book, rule);
    pthread_mutex_unlock(&book->lock);
    if (row == 0)
        atomic_store(&book->overflowed, true);
    return &book->rows[row].workers[worker];
}

size_t rule_book_count(const struct rule_book *book)
{
    return atomic_load_explicit(&book->count, memory_order_acquire);
}

const char *rule_book_name(const struct rule_book *book, size_t row)
{
    if (row == 0)
        return atomic_load(&book->overflowed) ? RULE_BOOK_OVERFLOW : NULL;
    return book->rows[row].name;
}

const struct rule_counters *rule_book_row(const struct rule_book *book, size_t row, size_t worker)
{
    return &book->rows[row].workers[worker];
}
