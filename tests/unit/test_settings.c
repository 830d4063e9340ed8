#include "cmd/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Each test has a folder of its own as working directory, and none of the variables. */

static const char *const variables[] = {"TIDEMILL_CONFIG", "NATS_URL",           "NATS_CREDS",
                                        "TIDEMILL_RULES",  "TIDEMILL_LOG_LEVEL", "TIDEMILL_HTTP"};

static char start[4096];
static char folder[] = "/tmp/tidemill_settings_XXXXXX";
static struct config config;
static char complaint[4096]; /* what the last load printed */
static const struct config_overrides no_flags;

static int enter_folder(void **state)
{
    (void)state;
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    return getcwd(start, sizeof(start)) != NULL && mkdtemp(folder) != NULL && chdir(folder) == 0
               ? 0
               : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    config_free(&config);
    memset(&config, 0, sizeof(config));
    unlink("tidemill.lua");
    unlink("other.lua");
    unlink("third.lua");
    return chdir(start) == 0 && rmdir(folder) == 0 ? 0 : -1;
}

/* A configuration whose rules are in `rules`. */
static void write_file(const char *name, const char *rules)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fprintf(file,
            "return {\n"
            "  nats = { url = \"nats://file:4222\", creds = \"file.creds\" },\n"
            "  sources = { { stream = \"s\", durable = \"d\" } },\n"
            "  rules = { dir = \"%s\" },\n"
            "  http = { listen = \"127.0.0.1:1\" },\n"
            "  log = { level = \"error\" },\n"
            "}\n",
            rules);
    assert_int_equal(fclose(file), 0);
}

/* Loads with standard error caught in `complaint`. */
static int load(const char *path, const struct config_overrides *flags)
{
    int saved = dup(STDERR_FILENO);
    FILE *caught = tmpfile();
    assert_non_null(caught);
    fflush(stderr);
    dup2(fileno(caught), STDERR_FILENO);
    int status = settings_load(&config, path, flags);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(caught);
    complaint[fread(complaint, 1, sizeof(complaint) - 1, caught)] = '\0';
    fclose(caught);
    return status;
}

static void load_well(const char *path, const struct config_overrides *flags)
{
    if (load(path, flags) != 0)
        fail_msg("%s", complaint);
    assert_string_equal(complaint, "");
}

static void test_the_file_is_tidemill_lua(void **state)
{
    (void)state;
    write_file("tidemill.lua", "plain");
    load_well(NULL, &no_flags);
    assert_string_equal(config.rules.dir, "plain");
    assert_string_equal(config.path, "tidemill.lua");
}

static void test_a_variable_names_another_file(void **state)
{
    (void)state;
    write_file("tidemill.lua", "plain");
    write_file("other.lua", "variable");
    setenv("TIDEMILL_CONFIG", "other.lua", 1);
    load_well(NULL, &no_flags);
    assert_string_equal(config.rules.dir, "variable");
    assert_string_equal(config.path, "other.lua");
}

static void test_a_flag_names_the_file_before_the_variable(void **state)
{
    (void)state;
    write_file("other.lua", "variable");
    write_file("third.lua", "flag");
    setenv("TIDEMILL_CONFIG", "other.lua", 1);
    load_well("third.lua", &no_flags);
    assert_string_equal(config.rules.dir, "flag");
}

static void test_without_flags_and_variables_the_file_holds(void **state)
{
    (void)state;
    write_file("tidemill.lua", "rules");
    load_well(NULL, &no_flags);
    assert_string_equal(config.nats.urls.items[0], "nats://file:4222");
    assert_string_equal(config.nats.creds, "file.creds");
    assert_string_equal(config.http_listen, "127.0.0.1:1");
    assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
    assert_false(config.rules.watch);
}

static void set_variables(void)
{
    setenv("NATS_URL", "nats://variable:4222", 1);
    setenv("NATS_CREDS", "variable.creds", 1);
    setenv("TIDEMILL_RULES", "variable", 1);
    setenv("TIDEMILL_LOG_LEVEL", "warn", 1);
    setenv("TIDEMILL_HTTP", "127.0.0.1:2", 1);
}

static void test_variables_win_over_the_file(void **state)
{
    (void)state;
    write_file("tidemill.lua", "rules");
    set_variables();
    load_well(NULL, &no_flags);
    assert_int_equal(config.nats.urls.count, 1);
    assert_string_equal(config.nats.urls.items[0], "nats://variable:4222");
    assert_string_equal(config.nats.creds, "variable.creds");
    assert_string_equal(config.rules.dir, "variable");
    assert_int_equal(config.log_level, LOG_LEVEL_WARN);
    assert_string_equal(config.http_listen, "127.0.0.1:2");
}

static void test_flags_win_over_variables(void **state)
{
    (void)state;
    struct config_overrides flags = {.nats_url = "nats://flag:4222",
                                     .nats_creds = "flag.creds",
                                     .rules_dir = "flag",
                                     .log_level = "debug",
                                     .http_listen = "127.0.0.1:3",
                                     .watch = true};
    write_file("tidemill.lua", "rules");
    set_variables();
    load_well(NULL, &flags);
    assert_string_equal(config.nats.urls.items[0], "nats://flag:4222");
    assert_string_equal(config.nats.creds, "flag.creds");
    assert_string_equal(config.rules.dir, "flag");
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(config.http_listen, "127.0.0.1:3");
    assert_true(config.rules.watch);
}

static void test_each_is_looked_up_by_itself(void **state)
{
    (void)state;
    struct config_overrides flags = {.rules_dir = "flag"};
    write_file("tidemill.lua", "rules");
    setenv("TIDEMILL_LOG_LEVEL", "warn", 1);
    load_well(NULL, &flags);
    assert_string_equal(config.rules.dir, "flag");
    assert_int_equal(config.log_level, LOG_LEVEL_WARN);
    assert_string_equal(config.nats.urls.items[0], "nats://file:4222");
}

static void test_a_variable_set_to_nothing_is_not_set(void **state)
{
    (void)state;
    write_file("tidemill.lua", "rules");
    setenv("TIDEMILL_CONFIG", "", 1);
    setenv("NATS_URL", "", 1);
    setenv("NATS_CREDS", "", 1);
    setenv("TIDEMILL_RULES", "", 1);
    setenv("TIDEMILL_LOG_LEVEL", "", 1);
    load_well(NULL, &no_flags);
    assert_string_equal(config.nats.urls.items[0], "nats://file:4222");
    assert_string_equal(config.rules.dir, "rules");
    assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
}

static void test_http_set_to_nothing_is_switched_off(void **state)
{
    (void)state;
    struct config_overrides flags = {.http_listen = ""};
    write_file("tidemill.lua", "rules");
    setenv("TIDEMILL_HTTP", "", 1);
    load_well(NULL, &no_flags);
    assert_null(config.http_listen);
    config_free(&config);
    setenv("TIDEMILL_HTTP", "127.0.0.1:2", 1);
    load_well(NULL, &flags);
    assert_null(config.http_listen);
}

static void test_a_missing_file_is_one_line(void **state)
{
    (void)state;
    assert_int_equal(load("nowhere.lua", &no_flags), -1);
    assert_ptr_equal(strchr(complaint, '\n'), complaint + strlen(complaint) - 1);
    assert_non_null(strstr(complaint, "tidemill: nowhere.lua: "));
}

static void test_every_problem_is_a_line_of_its_own(void **state)
{
    (void)state;
    struct config_overrides flags = {.log_level = "loud", .nats_url = "http://x"};
    write_file("tidemill.lua", "");
    assert_int_equal(load(NULL, &flags), -1);
    size_t lines = 0;
    for (const char *at = complaint; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 3);
    assert_non_null(strstr(complaint, "rules.dir"));
    assert_non_null(strstr(complaint, "loud"));
    assert_non_null(strstr(complaint, "http://"));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, enter_folder, leave_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_file_is_tidemill_lua),
        TEST(test_a_variable_names_another_file),
        TEST(test_a_flag_names_the_file_before_the_variable),
        TEST(test_without_flags_and_variables_the_file_holds),
        TEST(test_variables_win_over_the_file),
        TEST(test_flags_win_over_variables),
        TEST(test_each_is_looked_up_by_itself),
        TEST(test_a_variable_set_to_nothing_is_not_set),
        TEST(test_http_set_to_nothing_is_switched_off),
        TEST(test_a_missing_file_is_one_line),
        TEST(test_every_problem_is_a_line_of_its_own),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
