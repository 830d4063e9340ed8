#include "rules/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rules/call.h"
#include "rules/embedded.h"
#include "rules/json.h"
#include "rules/json_lazy.h"
#include "rules/rule.h"
#include "rules/sandbox.h"
#include "rules/trial.h"

/*
 * The test file takes the place of the one rule of an engine, so that it has a rule's sandbox,
 * limits and `require`. Loading it, and each of its tests, is a call like on_load: what a limit
 * stops is that test alone.
 */

static const int64_t TEST_TIMEOUT_NS = 10 * NS_PER_S;

enum { MEMORY = 256 << 20 };

static const char suffix[] = "_test.lua";

struct testing {
    const struct testing_options *options;
    struct engine *engine;
    struct rule_file file; /* the test file; its name is without _test */
    char *dir;             /* of the rules */
    lua_ref tests, run;    /* what testing.lua returned */
    lua_Integer index;     /* of the test to run */
};

/* --- files ------------------------------------------------------------------------------------ */

/* "rules/x_test.lua" -> "rules"; "rules/lib/x_test.lua" -> "rules"; "x_test.lua" -> ".". */
static char *rules_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (dir == NULL || slash == NULL)
        return dir;
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/')
        dir[--size] = '\0';
    if (strcmp(dir, "lib") == 0)
        strcpy(dir, ".");
    else if (size > 4 && strcmp(dir + size - 4, "/lib") == 0)
        dir[size - 4] = '\0';
    return dir;
}

/* The rule that a test file is most likely about: "rules/x_test.lua" -> "x". */
static char *rule_named_by(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    size_t size = strlen(name), cut = sizeof(suffix) - 1;
    if (size > cut && strcmp(name + size - cut, suffix) == 0)
        size -= cut;
    return strndup(name, size);
}

static int read_source(struct testing *testing, struct error *err)
{
    struct rule_file *file = &testing->file;
    FILE *stream = fopen(file->path, "re");
    if (stream == NULL)
        return error_set(err, "%s: cannot be read: %s", file->path, strerror(errno));
    file->source = malloc(RULESET_FILE_SIZE_MAX + 1);
    if (file->source != NULL)
        file->size = fread(file->source, 1, RULESET_FILE_SIZE_MAX + 1, stream);
    int status = 0;
    if (file->source == NULL)
        status = error_set(err, "%s: out of memory", file->path);
    else if (ferror(stream))
        status = error_set(err, "%s: cannot be read: %s", file->path, strerror(errno));
    else if (file->size > RULESET_FILE_SIZE_MAX)
        status = error_set(err, "%s: has more than %d bytes", file->path, RULESET_FILE_SIZE_MAX);
    fclose(stream);
    return status;
}

/* --- calls: all LJMP -------------------------------------------------------------------------- */

static struct testing *testing_of(lua_State *L)
{
    return engine_of(L)->options.host.context;
}

/* is_array(table): whether it would be [] and not {} when empty. */
static int is_array(lua_State *L)
{
    bool array = false;
    json_fill(L, 1);
    if (lua_istable(L, 1) && lua_getmetatable(L, 1)) { /* mt */
        json_push_array_mt(L);                         /* mt array_mt */
        array = lua_rawequal(L, -1, -2);
    }
    lua_pushboolean(L, array); /* .. array */
    return 1;
}

/* Runs testing.lua and leaves what it returned: globals, tests, run. */
static void open_harness(lua_State *L, const struct testing *testing)
{
    embedded_load(L, "testing");                 /* harness */
    sandbox_push_environment(L);                 /* harness environment */
    lua_setupvalue(L, -2, 1);                    /* harness */
    trial_push_open(L, testing->dir);            /* harness open */
    lua_pushcfunction(L, is_array);              /* harness open is_array */
    lua_pushstring(L, testing->file.name);       /* harness open is_array name */
    lua_pushstring(L, testing->options->filter); /* harness open is_array name filter */
    json_push_library(L);                        /* harness open is_array name filter json */
    lua_call(L, 5, 3);                           /* globals tests run */
}

/* Loads the test file, which registers its tests. */
static int load_tests(lua_State *L)
{
    struct testing *testing = testing_of(L);
    struct rule *rule = &testing->engine->rules[0];
    rule_push_environment(L, rule);                  /* environment */
    open_harness(L, testing);                        /* environment globals tests run */
    testing->run = luaL_ref(L, LUA_REGISTRYINDEX);   /* environment globals tests */
    testing->tests = luaL_ref(L, LUA_REGISTRYINDEX); /* environment globals */
    for (lua_pushnil(L); lua_next(L, -2);) {         /* environment globals name value */
        lua_pushvalue(L, -2);                        /* environment globals name value name */
        lua_insert(L, -2);                           /* environment globals name name value */
        lua_rawset(L, -5);                           /* environment globals name */
    }
    sandbox_load(L, rule, rule->file); /* .. chunk */
    lua_call(L, 0, 0);                 /* .. */
    return 0;
}

static int run_test(lua_State *L)
{
    struct testing *testing = testing_of(L);
    push_ref(L, testing->run);          /* run */
    lua_pushinteger(L, testing->index); /* run index */
    lua_call(L, 1, 0);                  /* */
    return 0;
}

/* --- the run ---------------------------------------------------------------------------------- */

/* print() and mill.log of the test file. */
static void print_line(void *context, enum log_level level, const char *rule, const char *text)
{
    (void)context, (void)level;
    fprintf(stderr, "%s%.*s: %s\n", rule, (int)strcspn(suffix, "."), suffix, text);
}

/* A test's limits are not those of a configuration: takes " (rules.timeout)" off. */
static void cut_advice(char *why)
{
    char *advice = strstr(why, " (rules.");
    if (advice != NULL && strchr(advice, ')') == advice + strlen(advice) - 1)
        *advice = '\0';
}

/* Runs `function` as a call of the engine. Returns 0, or -1 and why it did not end well. */
static int run_call(struct testing *testing, lua_CFunction function, char *why, size_t size)
{
    struct engine *engine = testing->engine;
    struct rule *rule = &engine->rules[0];
    lua_pushcfunction(engine->L, function);                   /* function */
    lua_rawseti(engine->L, LUA_REGISTRYINDEX, rule->on_load); /* (the place is there: no error) */
    struct call *call = call_new(engine, rule, CALL_LOAD);
    if (call == NULL) {
        snprintf(why, size, "%s: out of memory", testing->file.path);
        return -1;
    }
    call_start(call);
    int status = call->outcome == OUTCOME_DONE ? 0 : -1;
    if (status != 0)
        snprintf(why, size, "%s", call->error != NULL ? call->error : "failed");
    if (status != 0 && (call->cause == CAUSE_TIMEOUT || call->cause == CAUSE_MEMORY))
        cut_advice(why);
    call_free(call);
    return status;
}

/* Makes the place in the registry where run_call puts its function. */
static int reserve_function(lua_State *L)
{
    lua_pushboolean(L, 0);                                                    /* false */
    testing_of(L)->engine->rules[0].on_load = luaL_ref(L, LUA_REGISTRYINDEX); /* */
    return 0;
}

static int open_state(struct testing *testing, struct error *err)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    testing->engine = engine;
    if (engine == NULL)
        return error_set(err, "%s: out of memory", testing->file.path);
    engine->options = (struct engine_options){
        .limits = {.timeout_ns = TEST_TIMEOUT_NS, .memory = MEMORY},
        .host = {.context = testing, .log = print_line},
        .worker_id = 1,
        .worker_count = 1,
    };
    engine->activity = &engine->unwatched;
    engine->rules = calloc(1, sizeof(engine->rules[0]));
    if (engine->rules == NULL)
        return error_set(err, "%s: out of memory", testing->file.path);
    engine->rule_count = 1;
    if (ruleset_read(&engine->ruleset, testing->dir, err) != 0)
        return -1;
    rule_init(&engine->rules[0], engine, 0);
    engine->rules[0].file = &testing->file;
    engine->requiring = 1; /* a test file may set globals */
    if (engine_make_state(engine, err) != 0)
        return -1;
    lua_pushcfunction(engine->L, reserve_function); /* function */
    if (lua_pcall(engine->L, 0, 0, 0) != LUA_OK)    /* */
        return error_set(err, "%s: out of memory", testing->file.path);
    return 0;
}

static void report(struct testing *testing, const char *name, enum test_outcome outcome,
                   const char *message, int64_t began_ns)
{
    const struct test_result result = {.file = testing->file.path,
                                       .name = name,
                                       .outcome = outcome,
                                       .message = message,
                                       .duration_ns = clock_monotonic_ns() - began_ns};
    testing->options->report(testing->options->context, &result);
}

/* Runs the test whose { name, failure, skipped } is on the top. Raises nothing: numbers as keys,
   strings as values. */
static void run_listed(struct testing *testing)
{
    lua_State *L = testing->engine->L;
    char why[2048];
    int64_t began = clock_monotonic_ns();
    lua_rawgeti(L, -1, 1); /* test name */
    lua_rawgeti(L, -2, 3); /* test name skipped */
    const char *name = lua_tostring(L, -2);
    bool skipped = lua_toboolean(L, -1);
    lua_pop(L, 1); /* test name */
    if (skipped) {
        report(testing, name, TEST_SKIPPED, NULL, began);
    } else if (run_call(testing, run_test, why, sizeof(why)) != 0) {
        report(testing, name, TEST_FAILED, why, began);
    } else {
        lua_rawgeti(L, -2, 2); /* test name failure */
        bool failed = lua_type(L, -1) == LUA_TSTRING;
        report(testing, name, failed ? TEST_FAILED : TEST_PASSED,
               failed ? lua_tostring(L, -1) : NULL, began);
        lua_pop(L, 1); /* test name */
    }
    lua_pop(L, 1);            /* test */
    lua_gc(L, LUA_GCCOLLECT); /* the engines of its rules are larger than their handles */
}

static void run_all(struct testing *testing)
{
    lua_State *L = testing->engine->L;
    push_ref(L, testing->tests); /* tests */
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    for (testing->index = 1; testing->index <= count; testing->index++) {
        lua_rawgeti(L, -1, testing->index); /* tests test */
        run_listed(testing);
        lua_pop(L, 1); /* tests */
    }
    lua_pop(L, 1); /* */
}

void testing_run(const char *path, const struct testing_options *options)
{
    struct testing testing = {.options = options, .tests = LUA_NOREF, .run = LUA_NOREF};
    struct error err = {0};
    char why[2048];
    int64_t began = clock_monotonic_ns();
    testing.file.path = (char *)(uintptr_t)path; /* borrowed, and nobody writes there */
    testing.file.name = rule_named_by(path);
    testing.dir = rules_dir(path);
    if (testing.file.name == NULL || testing.dir == NULL)
        report(&testing, NULL, TEST_FAILED, "out of memory", began);
    else if (read_source(&testing, &err) != 0 || open_state(&testing, &err) != 0)
        report(&testing, NULL, TEST_FAILED, err.text, began);
    else if (run_call(&testing, load_tests, why, sizeof(why)) != 0)
        report(&testing, NULL, TEST_FAILED, why, began);
    else
        run_all(&testing);
    engine_close(testing.engine);
    free(testing.file.name);
    free(testing.file.source);
    free(testing.dir);
}
