#include "cmd/test_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 16, FILES_MAX = 10000 };

static bool ends_in(const char *name, const char *suffix)
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    return size > suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

static int append(struct test_files *files, const char *path, struct error *err)
{
    if (files->count == FILES_MAX)
        return error_set(err, "more than %d test files", FILES_MAX);
    if (files->count == files->room) {
        size_t room = files->room == 0 ? 16 : files->room * 2;
        char **paths = realloc(files->paths, room * sizeof(paths[0]));
        if (paths == NULL)
            return error_set(err, "out of memory");
        files->paths = paths;
        files->room = room;
    }
    files->paths[files->count] = strdup(path);
    if (files->paths[files->count] == NULL)
        return error_set(err, "out of memory");
    files->count++;
    return 0;
}

/* FNV-1a; the sum over the files does not depend on the order of a directory. */
static void stamp(struct test_files *files, const char *path, const struct stat *status)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    uint64_t numbers[] = {(uint64_t)status->st_mtim.tv_sec, (uint64_t)status->st_mtim.tv_nsec,
                          (uint64_t)status->st_size, (uint64_t)status->st_ino};
    for (; *path != '\0'; path++)
        hash = (hash ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        hash = (hash ^ numbers[i]) * UINT64_C(0x100000001b3);
    files->stamp += hash;
}

static int add_folder(struct test_files *files, const char *path, bool tests, int depth,
                      struct error *err);

static int add_entry(struct test_files *files, const char *path, bool tests, int depth,
                     struct error *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return 0; /* gone since */
    if (S_ISDIR(status.st_mode))
        return depth < DEPTH_MAX ? add_folder(files, path, tests, depth + 1, err) : 0;
    if (!S_ISREG(status.st_mode) || !ends_in(path, ".lua"))
        return 0;
    stamp(files, path, &status);
    return tests && ends_in(path, "_test.lua") ? append(files, path, err) : 0;
}

/* `tests`: adds the test files; otherwise only looks at what is there. */
static int add_folder(struct test_files *files, const char *path, bool tests, int depth,
                      struct error *err)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return error_set(err, "%s: %s", path, strerror(errno));
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(folder)) != NULL) {
        char *inside;
        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&inside, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/",
                     entry->d_name) < 0) {
            result = error_set(err, "out of memory");
            break;
        }
        result = add_entry(files, inside, tests, depth, err);
        free(inside);
    }
    closedir(folder);
    return result;
}

/* The rules beside a test file, which it may load. */
static int look_beside(struct test_files *files, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    if (folder == NULL)
        return error_set(err, "out of memory");
    int result = add_folder(files, folder, false, 0, err);
    free(folder);
    return result;
}

int test_files_add(struct test_files *files, const char *path, struct error *err)
{
    struct stat status;
    if (path[0] == '\0' || stat(path, &status) != 0)
        return error_set(err, "%s: %s", path, strerror(path[0] == '\0' ? ENOENT : errno));
    if (S_ISDIR(status.st_mode))
        return add_folder(files, path, true, 0, err);
    if (append(files, path, err) != 0)
        return -1;
    return look_beside(files, path, err);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void test_files_sort(struct test_files *files)
{
    if (files->count > 1)
        qsort(files->paths, files->count, sizeof(files->paths[0]), compare);
}

void test_files_free(struct test_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        free(files->paths[i]);
    free(files->paths);
    *files = (struct test_files){0};
}
