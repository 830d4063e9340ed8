#include "rules/lint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules/sandbox.h"
#include "rules/uses.h"

struct lint_file {
    const struct rule_file *file;
    struct uses uses;
};

struct lint {
    struct lint_file *files;
    size_t count, room;
    bool any_global;
};

/* One judgement under way. */
struct judgement {
    const struct lint *lint;
    const struct vocabulary *vocabulary;
    lint_found *found;
    void *context;
    const char *path; /* of the file */
};

struct lint *lint_new(void)
{
    return calloc(1, sizeof(struct lint));
}

void lint_free(struct lint *lint)
{
    if (lint == NULL)
        return;
    for (size_t i = 0; i < lint->count; i++)
        uses_free(&lint->files[i].uses);
    free(lint->files);
    free(lint);
}

int lint_read(struct lint *lint, const struct rule_file *file)
{
    if (lint->count == lint->room) {
        size_t room = lint->room == 0 ? 16 : lint->room * 2;
        struct lint_file *files = realloc(lint->files, room * sizeof(files[0]));
        if (files == NULL)
            return -1;
        lint->files = files;
        lint->room = room;
    }
    struct lint_file *entry = &lint->files[lint->count++];
    *entry = (struct lint_file){.file = file};
    if (uses_read(&entry->uses, file->source, file->size) != 0 || entry->uses.any_global)
        lint->any_global = true; /* it may set globals that are not seen here */
    return 0;
}

/* Whether some file gives a value to `path`. */
static bool is_assigned(const struct lint *lint, const char *path)
{
    for (size_t i = 0; i < lint->count; i++) {
        const struct uses *uses = &lint->files[i].uses;
        for (size_t j = 0; j < uses->count; j++)
            if (uses->items[j].kind == USE_ASSIGN && strcmp(uses->items[j].path, path) == 0)
                return true;
    }
    return false;
}

/* Tells that `name` is not in `table` ("": the globals). */
static void tell(const struct judgement *judgement, int line, const char *table, const char *name)
{
    char text[512];
    const char *nearest = vocabulary_nearest(judgement->vocabulary, table, name);
    size_t size = sizeof(text);
    int used = 0;
    if (*table == '\0' && sandbox_withholds(name)) {
        used = snprintf(text, size, "'%s' is not available to rules", name);
        nearest = NULL;
    } else if (*table == '\0') {
        used = snprintf(text, size, "undefined global '%s'", name);
    } else if (strcmp(table, "msg") == 0) {
        const char *hint = nearest == NULL ? " (those of the payload are in msg.data)" : "";
        used = snprintf(text, size, "msg has no field '%s'%s", name, hint);
    } else {
        used = snprintf(text, size, "%s.%s does not exist", table, name);
    }
    if (nearest != NULL)
        snprintf(text + used, size - (size_t)used, " (did you mean '%s'?)", nearest);
    judgement->found(judgement->context, judgement->path, line, text);
}

/*
 * A path like mill.log.warn, from the left: each part must be in the table to its left, as long as
 * that is one of the host's. A field of a library that is not there is nil, which may be meant;
 * calling it cannot be.
 */
static void judge_path(const struct judgement *judgement, const struct use *use)
{
    char path[USE_PATH_MAX];
    snprintf(path, sizeof(path), "%s", use->path);
    size_t first = strcspn(path, ".");
    char rest = path[first];
    path[first] = '\0';
    if (!vocabulary_has(judgement->vocabulary, path)) {
        bool is_set = judgement->lint->any_global || is_assigned(judgement->lint, path);
        bool is_read = use->kind != USE_ASSIGN || rest == '.';
        if (!is_set && is_read && !use->otherwise)
            tell(judgement, use->line, "", path);
        return;
    }
    bool host = strcmp(path, "mill") == 0;
    if (is_assigned(judgement->lint, path) || (host && judgement->lint->any_global))
        return;
    path[first] = rest;
    for (size_t end = first; path[end] == '.';) {
        char table[USE_PATH_MAX];
        snprintf(table, sizeof(table), "%.*s", (int)end, path);
        size_t next = end + 1 + strcspn(path + end + 1, ".");
        char more = path[next];
        path[next] = '\0';
        if (!vocabulary_is_table(judgement->vocabulary, table))
            return;
        if (!vocabulary_has(judgement->vocabulary, path)) {
            bool called = use->kind == USE_CALL && more == '\0';
            if (host || (called && !is_assigned(judgement->lint, path)))
                tell(judgement, use->line, table, path + end + 1);
            return;
        }
        path[next] = more;
        end = next;
    }
}

static void judge_use(const struct judgement *judgement, const struct use *use)
{
    char path[USE_PATH_MAX + 8];
    switch (use->kind) {
    case USE_READ:
    case USE_CALL:
    case USE_ASSIGN:
        judge_path(judgement, use);
        break;
    case USE_MESSAGE:
        snprintf(path, sizeof(path), "msg.%s", use->path);
        if (!vocabulary_has(judgement->vocabulary, path))
            tell(judgement, use->line, "msg", use->path);
        break;
    case USE_PUBLISH:
        break;
    }
}

void lint_judge(const struct lint *lint, const struct vocabulary *vocabulary, lint_found *found,
                void *context)
{
    struct judgement judgement = {
        .lint = lint, .vocabulary = vocabulary, .found = found, .context = context};
    for (size_t i = 0; i < lint->count; i++) {
        const struct uses *uses = &lint->files[i].uses;
        judgement.path = lint->files[i].file->path;
        for (size_t j = 0; j < uses->count; j++)
            judge_use(&judgement, &uses->items[j]);
    }
}

void lint_each_publish(const struct lint *lint, lint_published *visit, void *context)
{
    for (size_t i = 0; i < lint->count; i++) {
        const struct uses *uses = &lint->files[i].uses;
        for (size_t j = 0; j < uses->count; j++)
            if (uses->items[j].kind == USE_PUBLISH)
                visit(context, lint->files[i].file->path, uses->items[j].line, uses->items[j].path);
    }
}
