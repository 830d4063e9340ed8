/* tidemill check: loads the configuration and the rules and says what is wrong with them. */

#include "base/log.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "cmd/settings.h"
#include "rules/engine.h"
#include "rules/ruleset.h"

#include <stdio.h>

enum { EXIT_WRONG = 2 };

static void on_finished(void *context, void *token, const struct call_result *result)
{
    (void)context;
    (void)token;
    (void)result; /* on_load's; a fault in it is engine_open's error */
}

static void print_ok(const struct config *config, size_t rules, const char *version)
{
    printf("ok: %s and %zu rule%s in %s (version %s)\n", config->path, rules, rules == 1 ? "" : "s",
           config->rules.dir, version);
    if (rules == 0)
        printf("no rules: every message would be acknowledged unseen\n");
}

/* Loads the rules as `run` would, without a server. */
static int check_rules(const struct config *config)
{
    struct ruleset *ruleset = NULL;
    struct engine *engine = NULL;
    struct engine_options options = {
        .limits = {.timeout_ns = config->rules.timeout_ns, .memory = config->rules.memory},
        .host = {.finished = on_finished},
        .worker_id = 1,
        .worker_count = 1,
    };
    struct error err;
    int status = ruleset_read(&ruleset, config->rules.dir, &err);
    if (status == 0)
        status = engine_open(&engine, ruleset, &options, &err);
    if (status != 0)
        fprintf(stderr, "tidemill: %s\n", err.text);
    else
        print_ok(config, engine_rule_count(engine), engine_version(engine));
    engine_close(engine);
    ruleset_release(ruleset);
    return status;
}

static int check(int argc, char **argv)
{
    const char *path = NULL;
    struct config_overrides overrides = {0};
    const struct flag flags[] = {
        {.name = "--config", .short_name = "-c", .value = &path},
        {.name = "--rules", .value = &overrides.rules_dir},
    };
    int left = flags_read(&command_check, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return EXIT_WRONG;
    if (left > 1)
        return flags_wrong_usage(&command_check, "unexpected argument %s", argv[1]);

    struct config config;
    int status = settings_load(&config, path, &overrides);
    if (status == 0)
        status = settings_check_rules_dir(&config);
    if (status == 0)
        status = check_rules(&config);
    config_free(&config);
    return status == 0 ? 0 : EXIT_WRONG;
}

const struct command command_check = {
    .name = "check",
    .usage = "check [-c FILE] [--rules DIR]",
    .summary = "load configuration and rules, say what is wrong",
    .run = check,
};
