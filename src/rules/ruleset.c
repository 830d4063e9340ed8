#include "rules/ruleset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Reading follows symbolic links to files and to `lib`, and passes over every hidden name. So the
 * layout of a mounted ConfigMap works (x.lua -> ..data/x.lua, ..data -> ..2026_01_01): each rule is
 * met once, under its own name.
 */

enum {
    FOLDER_DEPTH_MAX = 16, /* below lib/; also the end of a loop of links */
    VERSION_DIGITS = 12
};

struct file_list {
    struct rule_file *items;
    size_t count;
    size_t room;
};

struct ruleset {
    atomic_size_t references;
    char *dir;
    struct file_list rules;
    struct file_list modules;
    char version[VERSION_DIGITS + 1];
};

/* One reading under way. */
struct reading {
    struct ruleset *ruleset;
    size_t met; /* files and folders so far, against RULESET_FILES_MAX */
    struct error *err;
};

static int no_memory(struct reading *reading, const char *path)
{
    return error_set(reading->err, "%s: cannot be read: out of memory", path);
}

static int cannot_read(struct reading *reading, const char *path)
{
    return error_set(reading->err, "%s: cannot be read: %s", path, strerror(errno));
}

static void free_file(struct rule_file *file)
{
    free(file->name);
    free(file->path);
    free(file->source);
}

static void free_list(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free_file(&list->items[i]);
    free(list->items);
}

/* Puts `file` at the end; the list owns it then. */
static int append(struct file_list *list, const struct rule_file *file)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : list->room * 2;
        struct rule_file *items = realloc(list->items, room * sizeof(*items));
        if (items == NULL)
            return -1;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = *file;
    return 0;
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    return size >= suffix_size && strcmp(name + size - suffix_size, suffix) == 0;
}

static bool has_control_character(const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f)
            return true;
    }
    return false;
}

/*
 * Reads what an open file holds, at most RULESET_FILE_SIZE_MAX bytes, into file->source. `expected`
 * is what fstat said; the file may grow or shrink meanwhile.
 */
static int read_all(struct reading *reading, int fd, size_t expected, struct rule_file *file)
{
    size_t room = expected < RULESET_FILE_SIZE_MAX ? expected + 1 : RULESET_FILE_SIZE_MAX + 1;
    for (;;) {
        char *source = realloc(file->source, room + 1);
        if (source == NULL)
            return no_memory(reading, file->path);
        file->source = source;
        while (file->size < room) {
            ssize_t got = read(fd, source + file->size, room - file->size);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return cannot_read(reading, file->path);
            if (got == 0) {
                source[file->size] = '\0';
                return 0;
            }
            file->size += (size_t)got;
        }
        if (room > RULESET_FILE_SIZE_MAX)
            return error_set(reading->err, "%s: has more than %d bytes", file->path,
                             RULESET_FILE_SIZE_MAX);
        room = room < RULESET_FILE_SIZE_MAX / 2 ? room * 2 : RULESET_FILE_SIZE_MAX + 1;
    }
}

/* Fills source and size from file->path, which must be a regular file. */
static int read_source(struct reading *reading, struct rule_file *file)
{
    struct stat status;
    /* Not blocking, for the case that a pipe has taken the file's place since it was looked at. */
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return cannot_read(reading, file->path);
    int result = -1;
    if (fstat(fd, &status) != 0)
        cannot_read(reading, file->path);
    else if (!S_ISREG(status.st_mode))
        error_set(reading->err, "%s: is not a regular file", file->path);
    else
        result = read_all(reading, fd, (size_t)status.st_size, file);
    close(fd);
    return result;
}

/* Reads one Lua file into the rules, or into the modules if there is a `prefix` ("" or "sub."). */
static int read_file(struct reading *reading, const char *path, const char *name,
                     const char *prefix)
{
    struct rule_file file = {0};
    struct file_list *list = prefix != NULL ? &reading->ruleset->modules : &reading->ruleset->rules;
    int stem = (int)(strlen(name) - strlen(".lua"));
    file.path = strdup(path);
    if (file.path == NULL ||
        asprintf(&file.name, "%s%.*s", prefix != NULL ? prefix : "", stem, name) < 0) {
        file.name = NULL; /* asprintf leaves it undefined */
        free_file(&file);
        return no_memory(reading, path);
    }
    /* A rule's name goes into headers and log lines. */
    if (has_control_character(file.name))
        error_set(reading->err, "%s: has a control character in its name", path);
    else if (read_source(reading, &file) == 0) {
        if (append(list, &file) == 0)
            return 0;
        no_memory(reading, path);
    }
    free_file(&file);
    return -1;
}

static int read_folder(struct reading *reading, const char *path, const char *prefix, int depth);

/* A folder of modules called `name` inside the one with `prefix` (NULL: it is lib/ itself). */
static int read_module_folder(struct reading *reading, const char *path, const char *name,
                              const char *prefix, int depth)
{
    if (prefix == NULL)
        return read_folder(reading, path, "", depth + 1);
    char *deeper;
    if (asprintf(&deeper, "%s%s.", prefix, name) < 0)
        return no_memory(reading, path);
    int result = read_folder(reading, path, deeper, depth + 1);
    free(deeper);
    return result;
}

/* Reads or passes over one name of a folder. */
static int read_entry(struct reading *reading, const char *path, const char *name,
                      const char *prefix, int depth)
{
    bool is_lua = ends_in(name, ".lua");
    bool may_be_folder = prefix != NULL || strcmp(name, "lib") == 0;
    struct stat status;
    if (ends_in(name, "_test.lua") || (!is_lua && !may_be_folder))
        return 0;
    if (stat(path, &status) != 0)
        return is_lua ? cannot_read(reading, path) : 0;
    if (S_ISDIR(status.st_mode) ? !may_be_folder : !is_lua)
        return 0;
    if (++reading->met > RULESET_FILES_MAX)
        return error_set(reading->err, "%s: more than %d files", reading->ruleset->dir,
                         RULESET_FILES_MAX);
    if (S_ISDIR(status.st_mode))
        return read_module_folder(reading, path, name, prefix, depth);
    return read_file(reading, path, name, prefix);
}

/* Reads what a folder holds. `prefix` is NULL in the rules directory itself. */
static int read_folder(struct reading *reading, const char *path, const char *prefix, int depth)
{
    if (depth > FOLDER_DEPTH_MAX)
        return error_set(reading->err, "%s: more than %d folders deep", path, FOLDER_DEPTH_MAX);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return cannot_read(reading, path);
    int result = 0;
    while (result == 0) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            result = errno == 0 ? 0 : cannot_read(reading, path);
            break;
        }
        if (entry->d_name[0] == '.')
            continue;
        char *entry_path;
        const char *slash = ends_in(path, "/") ? "" : "/";
        if (asprintf(&entry_path, "%s%s%s", path, slash, entry->d_name) < 0) {
            result = no_memory(reading, path);
            break;
        }
        result = read_entry(reading, entry_path, entry->d_name, prefix, depth);
        free(entry_path);
    }
    closedir(folder);
    return result;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct rule_file *)a)->name, ((const struct rule_file *)b)->name);
}

static void sort(struct file_list *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof(*list->items), compare_names);
}

/* lib/a/b.lua and lib/a.b.lua would both be require "a.b". */
static int check_modules_differ(struct reading *reading)
{
    const struct file_list *modules = &reading->ruleset->modules;
    for (size_t i = 1; i < modules->count; i++) {
        if (strcmp(modules->items[i - 1].name, modules->items[i].name) == 0)
            return error_set(reading->err, "%s: the module '%s' is also in %s",
                             modules->items[i].path, modules->items[i].name,
                             modules->items[i - 1].path);
    }
    return 0;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *c = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ c[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Names end in a NUL and sources come with their size, so that no two rulesets read the same. */
static uint64_t hash_files(uint64_t hash, const struct file_list *list)
{
    hash = hash_bytes(hash, &list->count, sizeof(list->count));
    for (size_t i = 0; i < list->count; i++) {
        const struct rule_file *file = &list->items[i];
        hash = hash_bytes(hash, file->name, strlen(file->name) + 1);
        hash = hash_bytes(hash, &file->size, sizeof(file->size));
        hash = hash_bytes(hash, file->source, file->size);
    }
    return hash;
}

/* The version tells rulesets apart; it proves nothing. */
static void set_version(struct ruleset *ruleset)
{
    uint64_t hash = hash_files(UINT64_C(0xcbf29ce484222325), &ruleset->rules);
    hash = hash_files(hash, &ruleset->modules);
    /* The last bytes have reached only the lower bits well; spread them, then take 48 bits. */
    hash = (hash ^ (hash >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    snprintf(ruleset->version, sizeof(ruleset->version), "%012" PRIx64, hash >> 16);
}

static int fill(struct reading *reading)
{
    struct ruleset *ruleset = reading->ruleset;
    if (read_folder(reading, ruleset->dir, NULL, 0) != 0)
        return -1;
    sort(&ruleset->rules);
    sort(&ruleset->modules);
    if (check_modules_differ(reading) != 0)
        return -1;
    set_version(ruleset);
    return 0;
}

int ruleset_read(struct ruleset **ruleset, const char *dir, struct error *err)
{
    struct reading reading = {.ruleset = calloc(1, sizeof(struct ruleset)), .err = err};
    if (reading.ruleset == NULL || (reading.ruleset->dir = strdup(dir)) == NULL) {
        free(reading.ruleset);
        return no_memory(&reading, dir);
    }
    atomic_init(&reading.ruleset->references, 1);
    if (fill(&reading) != 0) {
        ruleset_release(reading.ruleset);
        return -1;
    }
    *ruleset = reading.ruleset;
    return 0;
}

bool ruleset_keep(struct ruleset *ruleset, const char *name)
{
    struct file_list *rules = &ruleset->rules;
    size_t place = 0;
    while (place < rules->count && strcmp(rules->items[place].name, name) != 0)
        place++;
    if (place == rules->count)
        return false;
    struct rule_file kept = rules->items[place];
    rules->items[place] = rules->items[--rules->count];
    for (size_t i = 0; i < rules->count; i++)
        free_file(&rules->items[i]);
    rules->items[0] = kept;
    rules->count = 1;
    set_version(ruleset);
    return true;
}

struct ruleset *ruleset_retain(struct ruleset *ruleset)
{
    atomic_fetch_add_explicit(&ruleset->references, 1, memory_order_relaxed);
    return ruleset;
}

void ruleset_release(struct ruleset *ruleset)
{
    if (ruleset == NULL ||
        atomic_fetch_sub_explicit(&ruleset->references, 1, memory_order_acq_rel) != 1)
        return;
    free_list(&ruleset->rules);
    free_list(&ruleset->modules);
    free(ruleset->dir);
    free(ruleset);
}

size_t ruleset_rule_count(const struct ruleset *ruleset)
{
    return ruleset->rules.count;
}

const struct rule_file *ruleset_rule(const struct ruleset *ruleset, size_t index)
{
    return &ruleset->rules.items[index];
}

const struct rule_file *ruleset_module(const struct ruleset *ruleset, const char *name)
{
    size_t low = 0, high = ruleset->modules.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, ruleset->modules.items[middle].name);
        if (order == 0)
            return &ruleset->modules.items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

size_t ruleset_module_count(const struct ruleset *ruleset)
{
    return ruleset->modules.count;
}

const struct rule_file *ruleset_module_at(const struct ruleset *ruleset, size_t index)
{
    return &ruleset->modules.items[index];
}

const char *ruleset_dir(const struct ruleset *ruleset)
{
    return ruleset->dir;
}

const char *ruleset_version(const struct ruleset *ruleset)
{
    return ruleset->version;
}
