#include "pace.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "traffic.h"

struct pace {
    pthread_mutex_t lock;
    struct collector *collector;
    size_t due; /* never shrinks */
    bool stopped;
    double per_second; /* 0: full speed */
    int64_t slow_ns;   /* since when, and from which number on */
    size_t slow_from;
};

struct pace *pace_open(struct collector *collector)
{
    struct pace *pace = calloc(1, sizeof(*pace));
    if (pace == NULL)
        return NULL;
    pace->collector = collector;
    pthread_mutex_init(&pace->lock, NULL);
    return pace;
}

void pace_close(struct pace *pace)
{
    if (pace == NULL)
        return;
    pthread_mutex_destroy(&pace->lock);
    free(pace);
}

void pace_slow(struct pace *pace, double per_second)
{
    pthread_mutex_lock(&pace->lock);
    pace->per_second = per_second;
    pace->slow_ns = clock_monotonic_ns();
    pace->slow_from = pace->due;
    pthread_mutex_unlock(&pace->lock);
}

size_t pace_stop(struct pace *pace)
{
    pthread_mutex_lock(&pace->lock);
    pace->stopped = true;
    size_t count = pace->due;
    pthread_mutex_unlock(&pace->lock);
    return count;
}

static size_t due_now(const struct pace *pace)
{
    size_t bound = collector_complete(pace->collector) + traffic_silent(pace->due) + PACE_BACKLOG;
    if (pace->per_second <= 0)
        return bound;
    double seconds = (double)(clock_monotonic_ns() - pace->slow_ns) / (double)NS_PER_S;
    size_t wanted = pace->slow_from + (size_t)(seconds * pace->per_second);
    return wanted < bound ? wanted : bound;
}

size_t pace_due(void *context, int64_t ms)
{
    struct pace *pace = context;
    (void)ms;
    pthread_mutex_lock(&pace->lock);
    size_t now = pace->stopped ? 0 : due_now(pace);
    if (now > pace->due)
        pace->due = now;
    now = pace->due;
    pthread_mutex_unlock(&pace->lock);
    return now;
}
