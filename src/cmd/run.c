/* tidemill run: the service. */

#include "base/log.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "cmd/settings.h"
#include "mill/supervisor.h"

#include <malloc.h>

/*
 * malloc by itself makes up to eight heaps for each core, and takes ever larger blocks from them
 * (M_ARENA_MAX and M_MMAP_THRESHOLD of mallopt(3)): what each heap held at its peak stays. With
 * two, and large blocks from the system, memory comes back to the same size after a reload.
 */
static void keep_heaps_small(void)
{
    enum { HEAPS = 2, LARGE = 128 * 1024 };
    mallopt(M_ARENA_MAX, HEAPS);
    mallopt(M_MMAP_THRESHOLD, LARGE);
}

static int run(int argc, char **argv)
{
    const char *path = NULL;
    struct config_overrides overrides = {0};
    const struct flag flags[] = {
        {.name = "--config", .short_name = "-c", .value = &path},
        {.name = "--rules", .value = &overrides.rules_dir},
        {.name = "--nats", .value = &overrides.nats_url},
        {.name = "--log-level", .value = &overrides.log_level},
        {.name = "--watch", .given = &overrides.watch},
    };
    int left = flags_read(&command_run, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return 2;
    if (left > 1)
        return flags_wrong_usage(&command_run, "unexpected argument %s", argv[1]);

    struct config config;
    int status = 2;
    if (settings_load(&config, path, &overrides) == 0 && settings_check_rules_dir(&config) == 0) {
        keep_heaps_small();
        log_open(config.log_level, config.log_format, NULL);
        log_limit(&config.log_limits);
        status = supervisor_run(&config);
        log_flush();
    }
    config_free(&config);
    return status;
}

const struct command command_run = {
    .name = "run",
    .usage = "run [-c FILE] [--rules DIR] [--nats URL] [--watch] [--log-level LEVEL]",
    .summary = "run the rules over the configured streams",
    .run = run,
};
