#include "mill/reload.h"

#include "base/clock.h"
#include "base/log.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION_SIZE = 32 };

enum reload_stage { RELOAD_IDLE, RELOAD_BUILDING, RELOAD_OFFERED, RELOAD_COMMITTED };

struct reload {
    uv_loop_t *loop;
    const char *rules_dir;
    struct worker **workers;
    size_t worker_count;
    reload_done done;
    void *context;

    enum reload_stage stage;
    bool again, again_only_if_changed; /* another was asked for meanwhile */
    bool only_if_changed;
    int64_t started_ns;
    uv_work_t work;
    struct engine **engines; /* being built or offered */
    char version[VERSION_SIZE];
    size_t rules;
    char next_version[VERSION_SIZE];
    bool refused; /* the last reload failed: a watch does not try the same files again */
    char refused_version[VERSION_SIZE]; /* what it tried; empty when the files could not be read */
    struct error refused_error;
    size_t next_rules;
    bool unchanged;
    int build_status;
    struct error error;
};

int reload_open(struct reload **out, uv_loop_t *loop, const char *rules_dir,
                struct worker **workers, size_t worker_count, reload_done done, void *context,
                struct error *err)
{
    struct reload *reload = calloc(1, sizeof(*reload));
    struct engine **engines = (struct engine **)calloc(worker_count, sizeof(*engines));
    if (reload == NULL || engines == NULL) {
        free(reload);
        free((void *)engines);
        return error_set(err, "out of memory");
    }
    reload->loop = loop;
    reload->rules_dir = rules_dir;
    reload->workers = workers;
    reload->worker_count = worker_count;
    reload->engines = engines;
    reload->done = done;
    reload->context = context;
    reload->work.data = reload;
    *out = reload;
    return 0;
}

static void close_engines(struct reload *reload)
{
    for (size_t i = 0; i < reload->worker_count; i++) {
        engine_close(reload->engines[i]);
        reload->engines[i] = NULL;
    }
}

void reload_free(struct reload *reload)
{
    if (reload == NULL)
        return;
    close_engines(reload);
    free((void *)reload->engines);
    free(reload);
}

/* --- build --- */

static int open_engines(struct reload *reload, struct ruleset *ruleset, struct error *err)
{
    for (size_t i = 0; i < reload->worker_count; i++) {
        struct engine_options options;
        worker_engine_options(reload->workers[i], &options);
        if (engine_open(&reload->engines[i], ruleset, &options, err) != 0) {
            reload->engines[i] = NULL;
            close_engines(reload);
            return -1;
        }
    }
    reload->next_rules = engine_rule_count(reload->engines[0]);
    return 0;
}

/* Whether the files are those that the last reload looked at. Going back from files that were
 * refused to those in force is a change too: somebody waits to hear that all is well again. */
static bool same_as_last(const struct reload *reload)
{
    const char *last = reload->refused ? reload->refused_version : reload->version;
    return strcmp(last, reload->next_version) == 0;
}

static int build(struct reload *reload, struct error *err)
{
    struct ruleset *ruleset = NULL;
    reload->unchanged = false;
    reload->next_version[0] = '\0';
    if (ruleset_read(&ruleset, reload->rules_dir, err) != 0) {
        reload->unchanged = reload->only_if_changed && reload->refused && same_as_last(reload) &&
                            strcmp(reload->refused_error.text, err->text) == 0;
        return -1;
    }
    snprintf(reload->next_version, sizeof(reload->next_version), "%s", ruleset_version(ruleset));
    int status = 0;
    if (reload->only_if_changed && same_as_last(reload))
        reload->unchanged = true;
    else
        status = open_engines(reload, ruleset, err);
    ruleset_release(ruleset);
    return status;
}

static void adopt(struct reload *reload)
{
    memcpy(reload->version, reload->next_version, sizeof(reload->version));
    reload->rules = reload->next_rules;
    reload->refused = false;
    if (reload->rules == 0)
        log_warn("reload", "no rules in %s: every message is acknowledged unseen",
                 reload->rules_dir);
}

static void refuse(struct reload *reload)
{
    memcpy(reload->refused_version, reload->next_version, sizeof(reload->refused_version));
    reload->refused_error = reload->error;
    reload->refused = true;
}

int reload_first(struct reload *reload, struct engine **engines, struct error *err)
{
    if (build(reload, err) != 0)
        return -1;
    for (size_t i = 0; i < reload->worker_count; i++) {
        engines[i] = reload->engines[i];
        reload->engines[i] = NULL;
    }
    adopt(reload);
    return 0;
}

/*
 * What the last rules held goes back to the system before the new ones take as much: malloc keeps
 * it in the arena of the thread that built them, and the next build may be on another.
 */
static void build_on_pool(uv_work_t *work)
{
    struct reload *reload = work->data;
    malloc_trim(0);
    reload->build_status = build(reload, &reload->error);
}

/* --- offer and commit --- */

/* Asked once all workers have answered; before the offer it is 0. */
static int64_t longest_pause_ns(const struct reload *reload)
{
    int64_t longest_ns = 0;
    for (size_t i = 0; reload->stage >= RELOAD_OFFERED && i < reload->worker_count; i++) {
        int64_t pause_ns = worker_offer_pause_ns(reload->workers[i]);
        if (pause_ns > longest_ns)
            longest_ns = pause_ns;
    }
    return longest_ns;
}

static void finish(struct reload *reload, bool ok)
{
    struct reload_result result = {
        .ok = ok,
        .error = ok ? NULL : reload->error.text,
        .version = reload->version,
        .rules = reload->rules,
        .duration_ns = clock_monotonic_ns() - reload->started_ns,
        .pause_ns = longest_pause_ns(reload),
        .unchanged = reload->unchanged,
    };
    if (!ok)
        refuse(reload);
    reload->stage = RELOAD_IDLE;
    reload->done(reload->context, &result);
    if (reload->again) {
        reload->again = false;
        reload_begin(reload, reload->again_only_if_changed);
    }
}

static void on_built(uv_work_t *work, int status)
{
    struct reload *reload = work->data;
    (void)status; /* never cancelled */
    if (reload->build_status != 0 || reload->unchanged) {
        finish(reload, reload->build_status == 0);
        return;
    }
    reload->stage = RELOAD_OFFERED;
    for (size_t i = 0; i < reload->worker_count; i++)
        worker_offer(reload->workers[i], reload->engines[i]);
}

static void decline_all(struct reload *reload)
{
    for (size_t i = 0; i < reload->worker_count; i++)
        worker_decline(reload->workers[i]);
    close_engines(reload);
    finish(reload, false);
}

static void commit_all(struct reload *reload)
{
    reload->stage = RELOAD_COMMITTED;
    for (size_t i = 0; i < reload->worker_count; i++) {
        reload->engines[i] = NULL; /* the worker's now */
        worker_commit(reload->workers[i]);
    }
}

/* Whether every worker has answered; says whether one refused. */
static bool all_in(struct reload *reload, enum offer_state wanted, bool *refused)
{
    bool all = true;
    *refused = false;
    for (size_t i = 0; i < reload->worker_count; i++) {
        enum offer_state state = worker_offer_state(reload->workers[i]);
        if (state == OFFER_REFUSED) {
            *refused = true;
            error_set(&reload->error, "%s", worker_error(reload->workers[i]));
        }
        all = all && (state == wanted || state == OFFER_REFUSED);
    }
    return all;
}

void reload_advance(struct reload *reload)
{
    bool refused;
    if (reload->stage == RELOAD_OFFERED && all_in(reload, OFFER_READY, &refused)) {
        if (refused)
            decline_all(reload);
        else
            commit_all(reload);
    } else if (reload->stage == RELOAD_COMMITTED && all_in(reload, OFFER_SWAPPED, &refused)) {
        for (size_t i = 0; i < reload->worker_count; i++)
            worker_decline(reload->workers[i]);
        adopt(reload);
        finish(reload, true);
    }
}

void reload_begin(struct reload *reload, bool only_if_changed)
{
    if (reload->stage != RELOAD_IDLE) {
        reload->again_only_if_changed =
            only_if_changed && (!reload->again || reload->again_only_if_changed);
        reload->again = true;
        return;
    }
    reload->stage = RELOAD_BUILDING;
    reload->only_if_changed = only_if_changed;
    reload->started_ns = clock_monotonic_ns();
    uv_queue_work(reload->loop, &reload->work, build_on_pool, on_built);
}

const char *reload_version(const struct reload *reload)
{
    return reload->version;
}

size_t reload_rule_count(const struct reload *reload)
{
    return reload->rules;
}
