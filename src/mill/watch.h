#ifndef TIDEMILL_MILL_WATCH_H
#define TIDEMILL_MILL_WATCH_H

#include <uv.h>

#include "base/error.h"

/*
 * The watch on the rules directory: says, a moment after things have gone quiet, that files may
 * have changed. It does not look at single files, so every way of saving works: in place, by
 * rename, by swapping a symbolic link (Kubernetes' ConfigMaps). Where the file system tells
 * nothing, a slow poll does. The callee compares the rules version.
 *
 * Thread: the loop's.
 */

struct watch;

int watch_open(struct watch **watch, uv_loop_t *loop, const char *dir,
               void (*changed)(void *context), void *context, struct error *err);

/* The memory is freed when its handles have closed on the loop. NULL is fine. */
void watch_close(struct watch *watch);

#endif
