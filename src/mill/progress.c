#include "mill/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096 };

struct done_rule {
    struct done_rule *next;
    char name[];
};

struct message_progress {
    struct message_progress *next_in_bucket;
    struct message_progress *older, *newer;
    unsigned source;
    uint64_t sequence;
    struct done_rule *rules;
};

struct progress {
    pthread_mutex_t lock;
    struct message_progress *buckets[BUCKETS];
    struct message_progress *oldest, *newest;
    size_t count;
};

struct progress *progress_new(void)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    if (progress != NULL)
        pthread_mutex_init(&progress->lock, NULL);
    return progress;
}

/* The link that points to the message's record, or the end of its bucket. */
static struct message_progress **find(struct progress *progress, unsigned source, uint64_t sequence)
{
    struct message_progress **at = &progress->buckets[(sequence * 31 + source) % BUCKETS];
    while (*at != NULL && ((*at)->sequence != sequence || (*at)->source != source))
        at = &(*at)->next_in_bucket;
    return at;
}

static bool has_rule(const struct message_progress *message, const char *rule)
{
    for (const struct done_rule *done = message->rules; done != NULL; done = done->next) {
        if (strcmp(done->name, rule) == 0)
            return true;
    }
    return false;
}

static void remove_at(struct progress *progress, struct message_progress **at)
{
    struct message_progress *message = *at;
    *at = message->next_in_bucket;
    *(message->older != NULL ? &message->older->newer : &progress->oldest) = message->newer;
    *(message->newer != NULL ? &message->newer->older : &progress->newest) = message->older;
    for (struct done_rule *done = message->rules, *next; done != NULL; done = next) {
        next = done->next;
        free(done);
    }
    free(message);
    progress->count--;
}

static void make_room(struct progress *progress)
{
    if (progress->count < PROGRESS_MESSAGES_MAX)
        return;
    struct message_progress *oldest = progress->oldest;
    remove_at(progress, find(progress, oldest->source, oldest->sequence));
}

static struct message_progress *add(struct progress *progress, unsigned source, uint64_t sequence)
{
    struct message_progress *message = calloc(1, sizeof(*message));
    if (message == NULL)
        return NULL;
    message->source = source;
    message->sequence = sequence;
    *find(progress, source, sequence) = message;
    message->older = progress->newest;
    *(message->older != NULL ? &message->older->newer : &progress->oldest) = message;
    progress->newest = message;
    progress->count++;
    return message;
}

void progress_note(struct progress *progress, unsigned source, uint64_t sequence, const char *rule)
{
    pthread_mutex_lock(&progress->lock);
    struct message_progress *message = *find(progress, source, sequence);
    if (message == NULL) {
        make_room(progress);
        message = add(progress, source, sequence);
    }
    if (message != NULL && !has_rule(message, rule)) {
        size_t size = strlen(rule) + 1;
        struct done_rule *done = malloc(sizeof(*done) + size);
        if (done != NULL) {
            memcpy(done->name, rule, size);
            done->next = message->rules;
            message->rules = done;
        }
    }
    pthread_mutex_unlock(&progress->lock);
}

bool progress_has(struct progress *progress, unsigned source, uint64_t sequence, const char *rule)
{
    pthread_mutex_lock(&progress->lock);
    struct message_progress *message = *find(progress, source, sequence);
    bool found = message != NULL && has_rule(message, rule);
    pthread_mutex_unlock(&progress->lock);
    return found;
}

void progress_forget(struct progress *progress, unsigned source, uint64_t sequence)
{
    pthread_mutex_lock(&progress->lock);
    struct message_progress **at = find(progress, source, sequence);
    if (*at != NULL)
        remove_at(progress, at);
    pthread_mutex_unlock(&progress->lock);
}

void progress_forget_source(struct progress *progress, unsigned source)
{
    pthread_mutex_lock(&progress->lock);
    for (struct message_progress *message = progress->oldest, *next; message != NULL;
         message = next) {
        next = message->newer;
        if (message->source == source)
            remove_at(progress, find(progress, source, message->sequence));
    }
    pthread_mutex_unlock(&progress->lock);
}

void progress_free(struct progress *progress)
{
    if (progress == NULL)
        return;
    while (progress->oldest != NULL)
        remove_at(progress, find(progress, progress->oldest->source, progress->oldest->sequence));
    pthread_mutex_destroy(&progress->lock);
    free(progress);
}
