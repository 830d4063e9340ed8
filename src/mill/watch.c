#include "mill/watch.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    QUIET_MS = 200, /* editors write in several steps */
    POLL_MS = 2000,
    PATH_SIZE = 4096,
    HANDLES = 4
};

struct watch {
    uv_fs_event_t dir, lib;
    uv_timer_t quiet, poll;
    int open_handles;
    void (*changed)(void *context);
    void *context;
};

static void on_quiet(uv_timer_t *timer)
{
    struct watch *watch = timer->data;
    watch->changed(watch->context);
}

static void on_file_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct watch *watch = handle->data;
    (void)name;
    (void)events;
    (void)status;
    uv_timer_start(&watch->quiet, on_quiet, QUIET_MS, 0);
}

int watch_open(struct watch **out, uv_loop_t *loop, const char *dir, void (*changed)(void *context),
               void *context, struct error *err)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return error_set(err, "out of memory");
    watch->changed = changed;
    watch->context = context;
    watch->open_handles = HANDLES;
    uv_fs_event_init(loop, &watch->dir);
    uv_fs_event_init(loop, &watch->lib);
    uv_timer_init(loop, &watch->quiet);
    uv_timer_init(loop, &watch->poll);
    watch->dir.data = watch->lib.data = watch->quiet.data = watch->poll.data = watch;

    char lib[PATH_SIZE];
    snprintf(lib, sizeof(lib), "%s/lib", dir);
    /* Neither has to work: there may be no lib/, or no inotify; the poll is always there. */
    uv_fs_event_start(&watch->dir, on_file_event, dir, 0);
    uv_fs_event_start(&watch->lib, on_file_event, lib, 0);
    uv_timer_start(&watch->poll, on_quiet, POLL_MS, POLL_MS);
    *out = watch;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    if (--watch->open_handles == 0)
        free(watch);
}

void watch_close(struct watch *watch)
{
    if (watch == NULL)
        return;
    uv_close((uv_handle_t *)&watch->dir, on_closed);
    uv_close((uv_handle_t *)&watch->lib, on_closed);
    uv_close((uv_handle_t *)&watch->quiet, on_closed);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}
