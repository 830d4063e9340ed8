#ifndef TIDEMILL_MILL_RELOAD_H
#define TIDEMILL_MILL_RELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "mill/worker.h"

/*
 * A reload: new rules in all workers or in none, while the old ones go on.
 *
 *   build   on a pool thread: read the directory once, open an engine for each worker
 *   offer   each worker tries whether the rules' state can be carried over
 *   commit  when all can: each worker swaps between two messages
 *
 * Any fault before the commit leaves everything as it was. One reload at a time; a request that
 * arrives meanwhile is done right after. Thread: the supervisor's loop; the build touches nothing
 * else.
 */

struct reload;

struct reload_result {
    bool ok;
    const char *error;   /* one line, when not ok */
    const char *version; /* of the rules in force now */
    size_t rules;        /* how many */
    int64_t duration_ns;
    int64_t pause_ns; /* the longest time it kept a worker from its messages */
    bool unchanged;   /* asked for by a watch, and it finds what it found before: nothing to tell */
};

typedef void (*reload_done)(void *context, const struct reload_result *result);

/* `workers` and `rules_dir` outlive it. */
int reload_open(struct reload **reload, uv_loop_t *loop, const char *rules_dir,
                struct worker **workers, size_t worker_count, reload_done done, void *context,
                struct error *err);
void reload_free(struct reload *reload); /* not while busy; NULL is fine */

/*
 * The first rules, on the calling thread: opens an engine for each worker into `engines`. On
 * failure none is left open.
 */
int reload_first(struct reload *reload, struct engine **engines, struct error *err);

/*
 * Begins a reload. `only_if_changed`: not when the files are those of the rules in force, nor when
 * they are those that the last reload refused.
 */
void reload_begin(struct reload *reload, bool only_if_changed);

/* A worker's offer state has changed. */
void reload_advance(struct reload *reload);

const char *reload_version(const struct reload *reload);
size_t reload_rule_count(const struct reload *reload);

#endif
