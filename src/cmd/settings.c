#include "cmd/settings.h"

#include "rules/luafile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char default_path[] = "tidemill.lua";

/* A variable that is set to nothing counts as not set. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static const char *first_of(const char *flag, const char *variable)
{
    return flag != NULL ? flag : environment(variable);
}

static void print_problems(const char *path, const struct config_problems *problems)
{
    size_t kept = problems->count < CONFIG_PROBLEMS_MAX ? problems->count : CONFIG_PROBLEMS_MAX;
    for (size_t i = 0; i < kept; i++)
        fprintf(stderr, "tidemill: %s: %s\n", path, problems->items[i].text);
    if (problems->count > kept)
        fprintf(stderr, "tidemill: %s: and %zu more\n", path, problems->count - kept);
}

int settings_load(struct config *config, const char *path, const struct config_overrides *flags)
{
    struct config_overrides overrides = {
        .nats_url = first_of(flags->nats_url, "NATS_URL"),
        .nats_creds = first_of(flags->nats_creds, "NATS_CREDS"),
        .rules_dir = first_of(flags->rules_dir, "TIDEMILL_RULES"),
        .log_level = first_of(flags->log_level, "TIDEMILL_LOG_LEVEL"),
        /* set to nothing means something here: no HTTP */
        .http_listen = flags->http_listen != NULL ? flags->http_listen : getenv("TIDEMILL_HTTP"),
        .watch = flags->watch,
    };
    memset(config, 0, sizeof(*config));
    path = first_of(path, "TIDEMILL_CONFIG");
    if (path == NULL)
        path = default_path;

    struct value root = {.type = VALUE_NIL};
    struct error err;
    if (luafile_eval(path, &root, &err) != 0) {
        fprintf(stderr, "tidemill: %s\n", err.text);
        return -1;
    }
    struct config_problems *problems = calloc(1, sizeof(*problems));
    int status = -1;
    if (problems == NULL) {
        fprintf(stderr, "tidemill: out of memory\n");
    } else {
        status = config_build(config, &root, &overrides, problems);
        if (status != 0)
            print_problems(path, problems);
    }
    free(problems);
    value_free(&root);
    if (status == 0)
        config->path = strdup(path);
    return status;
}
