#include "alloc_faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/config.h"
#include "cmd/settings.h"
#include "rules/luafile.h"

/*
 * The way of the configuration when memory runs out at each place: from the file to the tree of
 * values, from there to struct config.
 */

/* Uses every key that has memory of its own; %s is the folder of the two secrets. */
static const char source[] =
    "local list = {}\n"
    "for i = 1, 20 do list[i] = ('subject%%d.>'):format(i) end\n"
    "return {\n"
    "  nats = { url = { 'nats://a:4222, nats://b:4222', 'tls://c' }, name = 'n', user = 'u',\n"
    "    password_file = '%s/password', token_file = '%s/token', creds = 'c', nkey_seed = 'k',\n"
    "    tls = { ca = 'a', cert = 'b', key = 'c', hostname = 'd', verify = false } },\n"
    "  streams = { { name = 's', subjects = list }, { name = 't', max_bytes = '1GB' } },\n"
    "  sources = {\n"
    "    { stream = 's', durable = 'd', filter = list, backoff = { '1s', '2s', '3s' } },\n"
    "    { stream = 't', durable = 'e', start = { time = '2026-01-01T00:00:00Z' } } },\n"
    "  rules = { dir = env('HOME', '/'), timeout = '1s' },\n"
    "  dead_letter = { subject = 'dead.letters' },\n"
    "  http = { listen = '127.0.0.1:9999' },\n"
    "}\n";

struct files {
    char dir[64], path[128];
};

static void write_file(const struct files *files, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", files->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    static struct files files;
    char text[sizeof(source) + 200];
    strcpy(files.dir, "/tmp/tidemill-faults-XXXXXX");
    if (mkdtemp(files.dir) == NULL)
        return -1;
    snprintf(text, sizeof(text), source, files.dir, files.dir);
    snprintf(files.path, sizeof(files.path), "%s/tidemill.lua", files.dir);
    write_file(&files, "tidemill.lua", text);
    write_file(&files, "password", "secret\n");
    write_file(&files, "token", "token\n");
    *state = &files;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"tidemill.lua", "password", "token"};
    const struct files *files = *state;
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", files->dir, names[i]);
        unlink(path);
    }
    return rmdir(files->dir);
}

static void check_problems(const struct config_problems *problems)
{
    for (size_t i = 0; i < problems->count && i < CONFIG_PROBLEMS_MAX; i++)
        faults_check_line(problems->items[i].text);
}

/* Reads the file into a tree. */
static int evaluate(void *context, size_t first, size_t count, size_t *failed)
{
    const struct files *files = context;
    struct error err = {""};
    struct value root;
    faults_arm(first, count);
    int status = luafile_eval(files->path, &root, &err);
    *failed = faults_disarm();
    if (status != 0) {
        faults_check_line(err.text);
        assert_int_equal(root.type, VALUE_NIL);
    } else {
        assert_int_equal(root.pair_count, 6);
        assert_int_equal(value_get(&root, "sources")->length, 2);
    }
    value_free(&root);
    return status;
}

static void test_a_file_that_memory_does_not_suffice_for_is_an_error(void **state)
{
    assert_true(faults_sweep(evaluate, *state) > 0);
}

/* Builds the configuration from a tree, and from variables. */
static int build(void *context, size_t first, size_t count, size_t *failed)
{
    static const struct config_overrides overrides = {.nats_url = "nats://d,nats://e",
                                                      .nats_creds = "f",
                                                      .rules_dir = "g",
                                                      .log_level = "warn",
                                                      .http_listen = "127.0.0.1:1"};
    static struct config_problems problems;
    const struct files *files = context;
    struct config config = {0};
    struct error err = {""};
    struct value root;
    assert_int_equal(luafile_eval(files->path, &root, &err), 0);
    problems.count = 0;
    faults_arm(first, count);
    int status = config_build(&config, &root, count == 2 ? NULL : &overrides, &problems);
    *failed = faults_disarm();
    assert_true((status == 0) == (problems.count == 0));
    check_problems(&problems);
    assert_true(*failed == 0 || status != 0); /* nothing is left out in silence */
    config_free(&config);
    config_free(&config);
    value_free(&root);
    return status;
}

static void test_a_configuration_that_memory_does_not_suffice_for_is_a_problem(void **state)
{
    assert_true(faults_sweep(build, *state) > 0);
}

static int build_defaults(void *context, size_t first, size_t count, size_t *failed)
{
    static struct config_problems problems;
    struct config config = {0};
    (void)context;
    problems.count = 0;
    faults_arm(first, count);
    int status = config_build(&config, NULL, NULL, &problems);
    *failed = faults_disarm();
    check_problems(&problems);
    assert_true(*failed == 0 || status != 0);
    config_free(&config);
    return status;
}

static void test_defaults_that_memory_does_not_suffice_for_are_a_problem(void **state)
{
    assert_true(faults_sweep(build_defaults, *state) > 0);
}

/* What a command does. It prints; where to does not matter here. */
static int load(void *context, size_t first, size_t count, size_t *failed)
{
    const struct files *files = context;
    const struct config_overrides flags = {0};
    struct config config = {0};
    int console = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stderr));
    faults_arm(first, count);
    int status = settings_load(&config, files->path, &flags);
    *failed = faults_disarm();
    fflush(stderr);
    dup2(console, STDERR_FILENO);
    close(console);
    assert_true(status != 0 || config.path != NULL);
    config_free(&config);
    return status;
}

static void test_a_command_whose_settings_do_not_fit_into_memory_says_so(void **state)
{
    assert_true(faults_sweep(load, *state) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_that_memory_does_not_suffice_for_is_an_error),
        cmocka_unit_test(test_a_configuration_that_memory_does_not_suffice_for_is_a_problem),
        cmocka_unit_test(test_defaults_that_memory_does_not_suffice_for_are_a_problem),
        cmocka_unit_test(test_a_command_whose_settings_do_not_fit_into_memory_says_so),
    };
    return cmocka_run_group_tests_name("faults_config", tests, setup, teardown);
}
