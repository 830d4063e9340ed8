#include "rules/ruleset.h"

#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A fresh directory per test; names below are relative to it. */
static char root[256];

static int make_root(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof(root), "%s/tidemill-ruleset-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_root(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static void put_bytes(const char *name, const char *bytes, size_t size)
{
    FILE *file = fopen(in_root(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_root(name), 0700), 0);
}

static void put_link(const char *target, const char *name)
{
    assert_int_equal(symlink(target, in_root(name)), 0);
}

static struct ruleset *read_root(void)
{
    struct ruleset *ruleset = NULL;
    struct error err = {""};
    if (ruleset_read(&ruleset, root, &err) != 0)
        fail_msg("refused: %s", err.text);
    return ruleset;
}

/* The message of a reading that must fail, without the root in front. */
static const char *read_fault(void)
{
    static struct error err;
    struct ruleset *ruleset = NULL;
    assert_int_equal(ruleset_read(&ruleset, root, &err), -1);
    assert_null(ruleset);
    assert_int_equal(strncmp(err.text, root, strlen(root)), 0);
    return err.text + strlen(root);
}

static void take_version(char version[13])
{
    struct ruleset *ruleset = read_root();
    assert_int_equal(strlen(ruleset_version(ruleset)), 12);
    assert_int_equal(strspn(ruleset_version(ruleset), "0123456789abcdef"), 12);
    memcpy(version, ruleset_version(ruleset), 13);
    ruleset_release(ruleset);
}

static void test_rules_come_sorted_with_name_path_and_source(void **state)
{
    (void)state;
    put("zebra.lua", "return 1");
    put("alpha.lua", "return 2");
    put("mid.low.lua", "");
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule_count(ruleset), 3);
    assert_string_equal(ruleset_rule(ruleset, 0)->name, "alpha");
    assert_string_equal(ruleset_rule(ruleset, 0)->source, "return 2");
    assert_int_equal(ruleset_rule(ruleset, 0)->size, 8);
    assert_string_equal(ruleset_rule(ruleset, 0)->path, in_root("alpha.lua"));
    assert_string_equal(ruleset_rule(ruleset, 1)->name, "mid.low");
    assert_string_equal(ruleset_rule(ruleset, 1)->source, "");
    assert_int_equal(ruleset_rule(ruleset, 1)->size, 0);
    assert_string_equal(ruleset_rule(ruleset, 2)->name, "zebra");
    assert_string_equal(ruleset_dir(ruleset), root);
    ruleset_release(ruleset);
}

static void test_tests_hidden_names_and_other_suffixes_are_passed_over(void **state)
{
    (void)state;
    put("rule.lua", "return {}");
    put("rule_test.lua", "return {}");
    put(".hidden.lua", "return {}");
    put(".lua", "return {}");
    put("rule.lua~", "return {}");
    put("rule.lua.swp", "return {}");
    put("README.md", "text");
    make_folder("folder");
    put("folder/inner.lua", "return {}");
    make_folder("folder.lua");
    make_folder("lib");
    put("lib/units_test.lua", "return {}");
    put("lib/.secret.lua", "return {}");
    put("lib/notes.txt", "text");
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule_count(ruleset), 1);
    assert_string_equal(ruleset_rule(ruleset, 0)->name, "rule");
    assert_null(ruleset_module(ruleset, "units_test"));
    assert_null(ruleset_module(ruleset, ".secret"));
    ruleset_release(ruleset);
}

static void test_modules_are_named_as_require_names_them(void **state)
{
    (void)state;
    make_folder("lib");
    make_folder("lib/sub");
    make_folder("lib/sub/deep");
    put("lib/units.lua", "return 1");
    put("lib/sub/units.lua", "return 2");
    put("lib/sub/deep/x.lua", "return 3");
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule_count(ruleset), 0);
    assert_string_equal(ruleset_module(ruleset, "units")->source, "return 1");
    assert_string_equal(ruleset_module(ruleset, "sub.units")->source, "return 2");
    assert_string_equal(ruleset_module(ruleset, "sub.units")->path, in_root("lib/sub/units.lua"));
    assert_string_equal(ruleset_module(ruleset, "sub.deep.x")->source, "return 3");
    assert_null(ruleset_module(ruleset, "x"));
    assert_null(ruleset_module(ruleset, "sub"));
    assert_null(ruleset_module(ruleset, ""));
    ruleset_release(ruleset);
}

static void test_two_files_for_one_module_are_refused(void **state)
{
    (void)state;
    make_folder("lib");
    make_folder("lib/a");
    put("lib/a/b.lua", "return 1");
    put("lib/a.b.lua", "return 2");
    assert_non_null(strstr(read_fault(), ": the module 'a.b' is also in "));
}

static void test_an_empty_directory_is_a_ruleset_without_rules(void **state)
{
    (void)state;
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule_count(ruleset), 0);
    assert_null(ruleset_module(ruleset, "units"));
    assert_int_equal(strlen(ruleset_version(ruleset)), 12);
    ruleset_release(ruleset);
}

static void test_a_missing_directory_is_named(void **state)
{
    (void)state;
    struct ruleset *ruleset = NULL;
    struct error err = {""};
    assert_int_equal(ruleset_read(&ruleset, "no/such/rules", &err), -1);
    assert_string_equal(err.text, "no/such/rules: cannot be read: No such file or directory");
    put("file", "");
    assert_int_equal(ruleset_read(&ruleset, in_root("file"), &err), -1);
    assert_non_null(strstr(err.text, "/file: cannot be read: Not a directory"));
}

static void test_a_trailing_slash_does_not_double_in_paths(void **state)
{
    (void)state;
    put("rule.lua", "");
    struct ruleset *ruleset = NULL;
    assert_int_equal(ruleset_read(&ruleset, in_root(""), NULL), 0);
    assert_string_equal(ruleset_rule(ruleset, 0)->path, in_root("rule.lua"));
    ruleset_release(ruleset);
}

static void test_a_rule_that_can_not_be_read_is_named(void **state)
{
    (void)state;
    put_link("nowhere", "broken.lua");
    assert_string_equal(read_fault(), "/broken.lua: cannot be read: No such file or directory");
}

static void test_a_pipe_is_refused_and_not_waited_for(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_root("pipe.lua"), 0600), 0);
    assert_string_equal(read_fault(), "/pipe.lua: is not a regular file");
}

static void test_the_largest_file_is_read_and_one_byte_more_is_not(void **state)
{
    (void)state;
    char *bytes = malloc(RULESET_FILE_SIZE_MAX + 1);
    assert_non_null(bytes);
    memset(bytes, '-', RULESET_FILE_SIZE_MAX + 1);
    put_bytes("large.lua", bytes, RULESET_FILE_SIZE_MAX);
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule(ruleset, 0)->size, RULESET_FILE_SIZE_MAX);
    assert_int_equal(strlen(ruleset_rule(ruleset, 0)->source), RULESET_FILE_SIZE_MAX);
    ruleset_release(ruleset);
    put_bytes("large.lua", bytes, RULESET_FILE_SIZE_MAX + 1);
    assert_string_equal(read_fault(), "/large.lua: has more than 4194304 bytes");
    free(bytes);
}

static void test_too_many_files_are_refused(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i <= RULESET_FILES_MAX; i++) {
        snprintf(name, sizeof(name), "r%05d.lua", i);
        put(name, "");
        if (i + 1 == RULESET_FILES_MAX) {
            struct ruleset *ruleset = read_root();
            assert_int_equal(ruleset_rule_count(ruleset), RULESET_FILES_MAX);
            ruleset_release(ruleset);
        }
    }
    assert_string_equal(read_fault(), ": more than 10000 files");
}

static void test_a_loop_of_links_below_lib_ends(void **state)
{
    (void)state;
    make_folder("lib");
    put_link(".", "lib/again");
    assert_non_null(strstr(read_fault(), ": more than 16 folders deep"));
}

static void test_a_name_with_a_line_break_is_refused(void **state)
{
    (void)state;
    put("a\nb.lua", "");
    assert_non_null(strstr(read_fault(), ": has a control character in its name"));
}

static void test_bytes_behind_a_nul_are_kept(void **state)
{
    (void)state;
    put_bytes("nul.lua", "a\0b", 3);
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule(ruleset, 0)->size, 3);
    assert_memory_equal(ruleset_rule(ruleset, 0)->source, "a\0b", 4);
    ruleset_release(ruleset);
}

/* As Kubernetes mounts a ConfigMap: everything behind two levels of links. */
static void test_a_mounted_configmap_is_read_once_and_follows_its_swap(void **state)
{
    (void)state;
    char before[13], after[13];
    make_folder("..2026_01_01");
    make_folder("..2026_01_02");
    put("..2026_01_01/rule.lua", "return 1");
    put("..2026_01_02/rule.lua", "return 2");
    put_link("..2026_01_01", "..data");
    put_link("..data/rule.lua", "rule.lua");
    struct ruleset *ruleset = read_root();
    assert_int_equal(ruleset_rule_count(ruleset), 1);
    assert_string_equal(ruleset_rule(ruleset, 0)->source, "return 1");
    ruleset_release(ruleset);
    take_version(before);
    put_link("..2026_01_02", "..data_tmp");
    assert_int_equal(rename(in_root("..data_tmp"), in_root("..data")), 0);
    take_version(after);
    assert_string_not_equal(before, after);
}

static void test_linked_directories_are_followed(void **state)
{
    (void)state;
    make_folder("real");
    make_folder("real/modules");
    put("real/rule.lua", "return 1");
    put("real/modules/units.lua", "return 2");
    put_link("modules", "real/lib");
    put_link("real", "linked");
    struct ruleset *ruleset = NULL;
    assert_int_equal(ruleset_read(&ruleset, in_root("linked"), NULL), 0);
    assert_int_equal(ruleset_rule_count(ruleset), 1);
    assert_string_equal(ruleset_module(ruleset, "units")->source, "return 2");
    ruleset_release(ruleset);
}

static void test_the_version_is_the_same_for_the_same_files_however_they_were_made(void **state)
{
    (void)state;
    char first[13], second[13];
    make_folder("lib");
    put("a.lua", "1");
    put("b.lua", "2");
    put("c.lua", "3");
    put("lib/m.lua", "4");
    take_version(first);
    assert_int_equal(remove(in_root("a.lua")), 0);
    assert_int_equal(remove(in_root("c.lua")), 0);
    put("c.lua", "3");
    put("a.lua", "1");
    put("ignored.txt", "5");
    take_version(second);
    assert_string_equal(first, second);
}

static void test_every_change_of_a_name_or_a_content_changes_the_version(void **state)
{
    (void)state;
    char versions[8][13];
    size_t count = 0;
    make_folder("lib");
    take_version(versions[count++]);
    put("a.lua", "");
    take_version(versions[count++]);
    put("a.lua", "1");
    take_version(versions[count++]);
    put("a.lua", "2");
    take_version(versions[count++]);
    assert_int_equal(rename(in_root("a.lua"), in_root("b.lua")), 0);
    take_version(versions[count++]);
    assert_int_equal(rename(in_root("b.lua"), in_root("lib/b.lua")), 0);
    take_version(versions[count++]);
    put("lib/c.lua", "");
    take_version(versions[count++]);
    assert_int_equal(remove(in_root("lib/b.lua")), 0);
    take_version(versions[count++]);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++)
            assert_string_not_equal(versions[i], versions[j]);
    }
}

static void test_a_ruleset_does_not_change_with_its_files(void **state)
{
    (void)state;
    put("rule.lua", "return 1");
    struct ruleset *ruleset = read_root();
    put("rule.lua", "return 2");
    assert_string_equal(ruleset_rule(ruleset, 0)->source, "return 1");
    ruleset_release(ruleset);
}

static void *retain_and_release(void *ruleset)
{
    for (int i = 0; i < 20000; i++)
        ruleset_release(ruleset_retain(ruleset));
    ruleset_release(ruleset);
    return NULL;
}

/* The last thread to let go frees it: the address sanitizer sees a double or a missing one. */
static void test_one_rule_can_be_kept_alone_with_the_modules(void **state)
{
    (void)state;
    make_folder("lib");
    put("a.lua", "1");
    put("b.lua", "2");
    put("c.lua", "3");
    put("lib/m.lua", "4");
    struct ruleset *ruleset = read_root();
    assert_false(ruleset_keep(ruleset, "d"));
    assert_int_equal(ruleset_rule_count(ruleset), 3);
    assert_true(ruleset_keep(ruleset, "b"));
    assert_int_equal(ruleset_rule_count(ruleset), 1);
    assert_string_equal(ruleset_rule(ruleset, 0)->name, "b");
    assert_non_null(ruleset_module(ruleset, "m"));
    ruleset_release(ruleset);
}

static void test_references_are_counted_across_threads(void **state)
{
    (void)state;
    put("rule.lua", "return 1");
    struct ruleset *ruleset = read_root();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, retain_and_release, ruleset_retain(ruleset)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_string_equal(ruleset_rule(ruleset, 0)->source, "return 1");
    ruleset_release(ruleset);
    ruleset_release(NULL);
}

#define RULESET_TEST(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULESET_TEST(test_rules_come_sorted_with_name_path_and_source),
        RULESET_TEST(test_tests_hidden_names_and_other_suffixes_are_passed_over),
        RULESET_TEST(test_modules_are_named_as_require_names_them),
        RULESET_TEST(test_two_files_for_one_module_are_refused),
        RULESET_TEST(test_an_empty_directory_is_a_ruleset_without_rules),
        RULESET_TEST(test_a_missing_directory_is_named),
        RULESET_TEST(test_a_trailing_slash_does_not_double_in_paths),
        RULESET_TEST(test_a_rule_that_can_not_be_read_is_named),
        RULESET_TEST(test_a_pipe_is_refused_and_not_waited_for),
        RULESET_TEST(test_the_largest_file_is_read_and_one_byte_more_is_not),
        RULESET_TEST(test_too_many_files_are_refused),
        RULESET_TEST(test_a_loop_of_links_below_lib_ends),
        RULESET_TEST(test_a_name_with_a_line_break_is_refused),
        RULESET_TEST(test_bytes_behind_a_nul_are_kept),
        RULESET_TEST(test_a_mounted_configmap_is_read_once_and_follows_its_swap),
        RULESET_TEST(test_linked_directories_are_followed),
        RULESET_TEST(test_the_version_is_the_same_for_the_same_files_however_they_were_made),
        RULESET_TEST(test_every_change_of_a_name_or_a_content_changes_the_version),
        RULESET_TEST(test_a_ruleset_does_not_change_with_its_files),
        RULESET_TEST(test_one_rule_can_be_kept_alone_with_the_modules),
        RULESET_TEST(test_references_are_counted_across_threads),
    };
    return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}
