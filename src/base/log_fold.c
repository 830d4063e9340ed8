#include "base/log_fold.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

void fold_open(struct log_fold *fold, const struct log_limits *limits)
{
    pthread_mutex_lock(&fold->lock);
    fold->limits = limits != NULL ? *limits : (struct log_limits){0};
    for (size_t i = 0; i < FOLD_KINDS; i++) {
        fold->entries[i].key = 0;
        fold->entries[i].debt.count = 0;
    }
    pthread_mutex_unlock(&fold->lock);
}

/* FNV-1a over what makes a kind; never 0. */
static uint64_t key_of(enum log_level level, const char *place, const char *component)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    uint64_t parts = (uint64_t)(uintptr_t)place * 4 + (uint64_t)level;
    for (; *component != '\0'; component++)
        hash = (hash ^ (unsigned char)*component) * UINT64_C(1099511628211);
    hash = (hash ^ parts) * UINT64_C(1099511628211);
    return hash != 0 ? hash : 1;
}

static unsigned limit_of(const struct log_fold *fold, enum log_level level, const char *place)
{
    bool is_plain = level <= LOG_LEVEL_INFO || place == log_place_of_rules;
    return is_plain ? fold->limits.flood : fold->limits.fold;
}

/* Hands out what an entry owes, if anything. */
static void settle_debt(struct fold_entry *entry, int64_t now_ns, struct fold_debt *debt)
{
    debt->count = 0;
    if (entry->debt.count == 0)
        return;
    entry->debt.during_ns = now_ns - entry->began_ns;
    *debt = entry->debt;
    entry->debt.count = 0;
}

/* The entry of a kind; a new kind takes the place of the one whose interval began first. */
static struct fold_entry *find(struct log_fold *fold, uint64_t key)
{
    struct fold_entry *oldest = &fold->entries[0];
    for (size_t i = 0; i < FOLD_KINDS; i++) {
        struct fold_entry *entry = &fold->entries[i];
        if (entry->key == key || entry->key == 0)
            return entry; /* entries are never freed one by one: no kind is behind a free one */
        if (entry->began_ns < oldest->began_ns)
            oldest = entry;
    }
    return oldest;
}

bool fold_admit(struct log_fold *fold, enum log_level level, const char *place,
                const char *component, const char *message, int64_t now_ns, struct fold_debt *debt)
{
    debt->count = 0;
    pthread_mutex_lock(&fold->lock);
    unsigned limit = limit_of(fold, level, place);
    if (limit == 0) {
        pthread_mutex_unlock(&fold->lock);
        return true;
    }
    uint64_t key = key_of(level, place, component);
    struct fold_entry *entry = find(fold, key);
    if (entry->key != key || now_ns - entry->began_ns >= fold->limits.interval_ns) {
        settle_debt(entry, now_ns, debt);
        entry->key = key;
        entry->began_ns = now_ns;
        entry->written = 0;
    }
    bool admitted = entry->written < limit;
    if (admitted) {
        entry->written++;
    } else {
        entry->debt.level = level;
        entry->debt.count++;
        snprintf(entry->debt.component, sizeof(entry->debt.component), "%s", component);
        snprintf(entry->debt.message, sizeof(entry->debt.message), "%s", message);
    }
    pthread_mutex_unlock(&fold->lock);
    return admitted;
}

bool fold_next_debt(struct log_fold *fold, int64_t now_ns, bool all, struct fold_debt *debt)
{
    debt->count = 0;
    pthread_mutex_lock(&fold->lock);
    for (size_t i = 0; i < FOLD_KINDS && fold->entries[i].key != 0 && debt->count == 0; i++) {
        struct fold_entry *entry = &fold->entries[i];
        if (all || now_ns - entry->began_ns >= fold->limits.interval_ns)
            settle_debt(entry, now_ns, debt);
    }
    pthread_mutex_unlock(&fold->lock);
    return debt->count > 0;
}
