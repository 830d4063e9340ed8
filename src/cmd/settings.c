#include "cmd/settings.h"

#include "rules/luafile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* A problem is named by what the user wrote: the file's key, a variable, or the flag over it. */
static void print_problem(const char *path, const char *text, const struct config_overrides *flags)
{
    const struct {
        const char *variable, *flag, *value;
    } places[] = {
        {"NATS_URL", "--nats", flags->nats_url},
        {"NATS_CREDS", "--creds", flags->nats_creds},
        {"TIDEMILL_RULES", "--rules", flags->rules_dir},
        {"TIDEMILL_LOG_LEVEL", "--log-level", flags->log_level},
        {"TIDEMILL_HTTP", "--http", flags->http_listen},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        size_t size = strlen(places[i].variable);
        if (strncmp(text, places[i].variable, size) == 0 && text[size] == ':') {
            const char *name = places[i].value != NULL ? places[i].flag : places[i].variable;
            fprintf(stderr, "tidemill: %s%s\n", name, text + size);
            return;
        }
    }
    fprintf(stderr, "tidemill: %s: %s\n", path, text);
}

static void print_problems(const char *path, const struct config_problems *problems,
                           const struct config_overrides *flags)
{
    size_t kept = problems->count < CONFIG_PROBLEMS_MAX ? problems->count : CONFIG_PROBLEMS_MAX;
    for (size_t i = 0; i < kept; i++)
        print_problem(path, problems->items[i].text, flags);
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
    const char *advice = path == NULL ? "; name yours with -c FILE" : "";
    if (path == NULL)
        path = default_path;
    if (access(path, F_OK) == 0)
        advice = "";

    struct value root = {.type = VALUE_NIL};
    struct error err;
    if (luafile_eval(path, &root, &err) != 0) {
        fprintf(stderr, "tidemill: %s%s\n", err.text, advice);
        return -1;
    }
    struct config_problems *problems = calloc(1, sizeof(*problems));
    int status = -1;
    if (problems == NULL) {
        fprintf(stderr, "tidemill: out of memory\n");
    } else {
        status = config_build(config, &root, &overrides, problems);
        if (status != 0)
            print_problems(path, problems, flags);
    }
    free(problems);
    value_free(&root);
    if (status == 0 && (config->path = strdup(path)) == NULL) {
        fprintf(stderr, "tidemill: out of memory\n");
        status = -1;
    }
    return status;
}

int settings_check_rules_dir(const struct config *config)
{
    struct stat status;
    int fault = stat(config->rules.dir, &status) != 0 ? errno : 0;
    if (fault == 0 && !S_ISDIR(status.st_mode))
        fault = ENOTDIR;
    if (fault == 0)
        return 0;
    fprintf(stderr, "tidemill: rules directory %s: %s; it is rules.dir in %s, or --rules DIR\n",
            config->rules.dir, strerror(fault), config->path != NULL ? config->path : default_path);
    return -1;
}
