#ifndef TIDEMILL_BASE_LOG_FOLD_H
#define TIDEMILL_BASE_LOG_FOLD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

/*
 * Which of many lines of one kind are written: the first ones of an interval. The others are
 * counted, and what the interval owes, their number and the last of them, can be asked for when it
 * is over. Memory is bounded: FOLD_KINDS kinds are known at a time; the one whose interval began
 * first makes room for a new one, and what it owes is handed out then.
 *
 * Private to the logger. Any thread; the lock is held for copying a line, never for writing one.
 */

enum { FOLD_KINDS = 256, FOLD_MESSAGE_SIZE = 4096 + 4, FOLD_COMPONENT_SIZE = 128 };

/* What an interval owes. */
struct fold_debt {
    enum log_level level;
    uint64_t count; /* of lines that were not written; 0: nothing */
    int64_t during_ns;
    char component[FOLD_COMPONENT_SIZE];
    char message[FOLD_MESSAGE_SIZE]; /* the last of them */
};

struct fold_entry {
    uint64_t key;     /* of the kind; 0: free */
    int64_t began_ns; /* the interval */
    uint64_t written;
    struct fold_debt debt;
};

struct log_fold {
    pthread_mutex_t lock;
    struct log_limits limits;
    struct fold_entry entries[FOLD_KINDS];
};

#define LOG_FOLD_INITIALIZER                                                                       \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* Forgets everything and folds by these limits; NULL: nothing. */
void fold_open(struct log_fold *fold, const struct log_limits *limits);

/*
 * Whether this line is to be written. `debt` (its count may be 0) is what has to be written before:
 * an earlier interval of its kind, or of the kind that made room.
 */
bool fold_admit(struct log_fold *fold, enum log_level level, const char *place,
                const char *component, const char *message, int64_t now_ns, struct fold_debt *debt);

/* What one of the intervals that are over owes (`all`: of all intervals); false: none of them. */
bool fold_next_debt(struct log_fold *fold, int64_t now_ns, bool all, struct fold_debt *debt);

#endif
