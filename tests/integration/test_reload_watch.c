#include "reload_rules.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reloading by --watch: what it sees of the rules' folder, however it changes, what it tells. */

/* A reload comes by itself, and message n runs on this version. */
static void expect_reloaded(struct harness *h, struct process *mill, int n, int version)
{
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    assert_int_equal(version_at_work(h, n), version);
}

static void write_in_place(struct harness *h, const char *path, const char *text)
{
    FILE *file = fopen(harness_path(h, path), "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_watch_sees_a_file_that_is_saved_by_renaming(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    expect_reloaded(h, mill, 1, 2);
    harness_stop(mill, PATIENCE_MS);
}

static void test_watch_sees_a_file_that_is_written_in_place(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    write_in_place(h, "rules/a.lua", rule_of(h, 2));
    expect_reloaded(h, mill, 1, 2);
    harness_stop(mill, PATIENCE_MS);
}

static void test_watch_sees_a_module_that_changes_and_a_lib_that_comes_later(struct harness *h)
{
    static const char with_module[] = "local v = require 'version'\n"
                                      "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                      "  mill.publish('out.a', { v = v, n = msg.data.n })\n"
                                      "end }";
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    harness_write_file(h, "rules/lib/version.lua", "return 2");
    harness_write_file(h, "rules/a.lua", with_module);
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    while (version_at_work(h, (int)harness_count(h, "out") + 1) != 2)
        harness_wait_log(mill, "rules reloaded", PATIENCE_MS); /* it saw the module first */
    harness_write_file(h, "rules/lib/version.lua", "return 3");
    expect_reloaded(h, mill, (int)harness_count(h, "out") + 1, 3);
    harness_stop(mill, PATIENCE_MS);
}

static void link_to(struct harness *h, const char *target, const char *path)
{
    const char *unfinished = harness_path(h, "unfinished-link");
    assert_int_equal(symlink(target, unfinished), 0);
    assert_int_equal(rename(unfinished, harness_path(h, path)), 0);
}

/* A ConfigMap: rules/a.lua -> ..data/a.lua, rules/..data -> ..v1; an update swaps ..data. */
static void test_watch_sees_a_swapped_config_map(struct harness *h)
{
    harness_write_file(h, "rules/..v1/a.lua", rule_of(h, 1));
    link_to(h, "..v1", "rules/..data");
    link_to(h, "..data/a.lua", "rules/a.lua");
    struct process *mill = start(h, "--watch");
    assert_int_equal(version_at_work(h, 1), 1);
    harness_write_file(h, "rules/..v2/a.lua", rule_of(h, 2));
    link_to(h, "..v2", "rules/..data");
    harness_remove_file(h, "rules/..v1/a.lua");
    assert_int_equal(rmdir(harness_path(h, "rules/..v1")), 0);
    expect_reloaded(h, mill, 2, 2);
    assert_int_equal(harness_log_count(mill, "not reloaded"), 0);
    harness_stop(mill, PATIENCE_MS);
}

/* The same with a folder of modules: rules/lib -> ..data/lib, and only a module changes. */
static void test_watch_sees_a_module_of_a_swapped_config_map(struct harness *h)
{
    static const char with_module[] = "local v = require 'version'\n"
                                      "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                                      "  mill.publish('out.a', { v = v, n = msg.data.n })\n"
                                      "end }";
    harness_write_file(h, "rules/..v1/a.lua", with_module);
    harness_write_file(h, "rules/..v1/lib/version.lua", "return 1");
    link_to(h, "..v1", "rules/..data");
    link_to(h, "..data/a.lua", "rules/a.lua");
    link_to(h, "..data/lib", "rules/lib");
    struct process *mill = start(h, "--watch");
    assert_int_equal(version_at_work(h, 1), 1);
    harness_write_file(h, "rules/..v2/a.lua", with_module);
    harness_write_file(h, "rules/..v2/lib/version.lua", "return 2");
    link_to(h, "..v2", "rules/..data");
    expect_reloaded(h, mill, 2, 2);
    assert_int_equal(harness_log_count(mill, "not reloaded"), 0);
    harness_stop(mill, PATIENCE_MS);
}

static void test_watch_sees_a_rules_folder_that_is_itself_a_swapped_link(struct harness *h)
{
    harness_write_file(h, "checkout-1/rules/a.lua", rule_of(h, 1));
    harness_write_file(h, "checkout-2/rules/a.lua", rule_of(h, 2));
    link_to(h, "checkout-1", "current");
    link_to(h, "current/rules", "rules");
    struct process *mill = start(h, "--watch");
    assert_int_equal(version_at_work(h, 1), 1);
    link_to(h, "checkout-2", "current");
    expect_reloaded(h, mill, 2, 2);
    /* and it watches the new place now */
    write_in_place(h, "checkout-2/rules/a.lua", rule_of(h, 3));
    expect_reloaded(h, mill, 3, 3);
    harness_stop(mill, PATIENCE_MS);
}

/* The watch looks by itself every 2 s, and 0.2 s after the last event. */
enum { LOOKS_AGAIN_MS = 2500 };

static void test_watch_tells_once_of_a_fault_that_stays(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    harness_write_file(h, "rules/a.lua", "return {");
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    write_in_place(h, "rules/a.lua", "return {"); /* saved again as it was */
    poll(NULL, 0, LOOKS_AGAIN_MS);
    assert_int_equal(harness_log_count(mill, "rules not reloaded"), 1);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_watch_tells_again_when_a_mended_file_is_broken_in_the_same_way(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    harness_write_file(h, "rules/a.lua", "return {");
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    harness_write_file(h, "rules/a.lua", "return {");
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_watch_forgets_a_fault_that_is_taken_back(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    harness_write_file(h, "rules/a.lua", "return {");
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    harness_wait_log(mill, "rules reloaded", PATIENCE_MS);
    const char *status = NULL;
    harness_http(mill, "/status", &status);
    assert_null(strstr(status, "\"ok\":false"));
    harness_write_file(h, "rules/a.lua", "return {");
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_watch_tells_once_of_a_rules_folder_that_is_gone(struct harness *h)
{
    harness_write_file(h, "rules/a.lua", rule_of(h, 1));
    struct process *mill = start(h, "--watch");
    assert_int_equal(rename(harness_path(h, "rules"), harness_path(h, "elsewhere")), 0);
    harness_wait_log(mill, "rules not reloaded", PATIENCE_MS);
    poll(NULL, 0, 2 * LOOKS_AGAIN_MS);
    assert_int_equal(harness_log_count(mill, "rules not reloaded"), 1);
    harness_write_file(h, "rules/a.lua", rule_of(h, 2));
    expect_reloaded(h, mill, 1, 2);
    harness_stop(mill, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_watch_sees_a_file_that_is_saved_by_renaming),
        harness_test(test_watch_sees_a_file_that_is_written_in_place),
        harness_test(test_watch_sees_a_module_that_changes_and_a_lib_that_comes_later),
        harness_test(test_watch_sees_a_swapped_config_map),
        harness_test(test_watch_sees_a_module_of_a_swapped_config_map),
        harness_test(test_watch_sees_a_rules_folder_that_is_itself_a_swapped_link),
        harness_test(test_watch_tells_once_of_a_fault_that_stays),
        harness_test(test_watch_tells_again_when_a_mended_file_is_broken_in_the_same_way),
        harness_test(test_watch_forgets_a_fault_that_is_taken_back),
        harness_test(test_watch_tells_once_of_a_rules_folder_that_is_gone),
    };
    return cmocka_run_group_tests_name("reload_watch", tests, NULL, NULL);
}
