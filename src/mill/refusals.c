#include "mill/refusals.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define TELL_EVERY_NS    (10 * NS_PER_S)
#define UNREADY_AFTER_NS (2 * NS_PER_S)
#define OVER_AFTER_NS    (30 * NS_PER_S) /* the longest of the usual waits between tries */

void refusals_init(struct refusals *refusals, struct health *health, const char *name)
{
    *refusals = (struct refusals){.health = health, .name = name};
    snprintf(refusals->check, sizeof(refusals->check), "outputs of %s", name);
}

void refusals_note(struct refusals *refusals, int64_t now_ns, const char *why)
{
    refusals->last_ns = now_ns;
    if (refusals->since_ns == 0)
        refusals->since_ns = now_ns;
    snprintf(refusals->why, sizeof(refusals->why), "%s", why);
    if (refusals->told) {
        refusals->untold++;
        return;
    }
    log_warn(refusals->name, "%s", why);
    refusals->told = true;
    refusals->told_ns = now_ns;
}

static void end(struct refusals *refusals)
{
    refusals->since_ns = 0;
    if (!refusals->unready)
        return;
    refusals->unready = false;
    health_ok(refusals->health, refusals->check);
}

void refusals_stored(struct refusals *refusals)
{
    if (refusals->since_ns == 0)
        return;
    if (refusals->unready)
        log_info(refusals->name, "outputs are stored again");
    end(refusals);
}

void refusals_tick(struct refusals *refusals, int64_t now_ns)
{
    if (refusals->told && now_ns - refusals->told_ns >= TELL_EVERY_NS) {
        refusals->told = refusals->untold > 0;
        refusals->told_ns = now_ns;
        if (refusals->untold > 0)
            log_warn(refusals->name, "%" PRIu64 " more like this in %lld s; the last: %s",
                     refusals->untold, (long long)(TELL_EVERY_NS / NS_PER_S), refusals->why);
        refusals->untold = 0;
    }
    if (refusals->since_ns == 0)
        return;
    if (now_ns - refusals->last_ns > OVER_AFTER_NS) {
        end(refusals);
    } else if (now_ns - refusals->since_ns > UNREADY_AFTER_NS) {
        refusals->unready = true;
        health_failed(refusals->health, refusals->check, "%s", refusals->why);
    }
}
