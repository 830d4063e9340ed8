#include "rules/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/suggest.h"
#include "rules/engine_internal.h"
#include "rules/message.h"
#include "rules/publish.h"
#include "rules/rule.h"
#include "rules/sandbox.h"

enum {
    DEPTH_MAX = 3, /* mill.log.warn */
    PATH_SIZE_MAX = 128,
    NEAREST_MAX = 256, /* words of one table that are compared with a misspelt one */
};

struct vocabulary {
    char **words;
    size_t count, room;
};

/* --- collecting ------------------------------------------------------------------------------- */

static int add(struct vocabulary *vocabulary, const char *prefix, const char *name)
{
    if (vocabulary->count == vocabulary->room) {
        size_t room = vocabulary->room == 0 ? 128 : vocabulary->room * 2;
        char **words = realloc(vocabulary->words, room * sizeof(words[0]));
        if (words == NULL)
            return -1;
        vocabulary->words = words;
        vocabulary->room = room;
    }
    char *word = NULL;
    if (asprintf(&word, "%s%s", prefix, name) < 0)
        return -1;
    vocabulary->words[vocabulary->count++] = word;
    return 0;
}

/* LJMP. */
static void check_add(lua_State *L, struct vocabulary *vocabulary, const char *prefix,
                      const char *name)
{
    if (add(vocabulary, prefix, name) != 0)
        luaL_error(L, "out of memory");
}

/* Replaces a read-only view on the top of the stack by the table behind it. LJMP. */
static void look_behind(lua_State *L)
{
    int type = luaL_getmetafield(L, -1, "__index"); /* view index? */
    if (type == LUA_TTABLE)
        lua_replace(L, -2); /* real */
    else if (type != LUA_TNIL)
        lua_pop(L, 1); /* view */
}

/* Adds the names in the table on the top of the stack, and in the tables in it. LJMP. */
static void add_table(lua_State *L, struct vocabulary *vocabulary, const char *prefix, int depth)
{
    luaL_checkstack(L, 8, NULL);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) { /* table key value */
        if (lua_type(L, -2) != LUA_TSTRING)
            continue;
        const char *name = lua_tostring(L, -2);
        check_add(L, vocabulary, prefix, name);
        char deeper[PATH_SIZE_MAX];
        bool follow = lua_istable(L, -1) && depth < DEPTH_MAX && strcmp(name, LUA_GNAME) != 0;
        if (!follow)
            continue;
        snprintf(deeper, sizeof(deeper), "%s%s.", prefix, name);
        look_behind(L); /* table key real */
        add_table(L, vocabulary, deeper, depth + 1);
    }
}

/* Adds the methods of the objects with this metatable. LJMP. */
static void add_methods(lua_State *L, struct vocabulary *vocabulary, const char *prefix,
                        lua_ref metatable)
{
    push_ref(L, metatable);                      /* mt */
    lua_getfield(L, -1, "__index");              /* mt methods */
    add_table(L, vocabulary, prefix, DEPTH_MAX); /* mt methods */
    lua_pop(L, 2);                               /* */
}

/* [1] the vocabulary. LJMP. */
static int collect(lua_State *L)
{
    struct vocabulary *vocabulary = lua_touserdata(L, 1);
    const struct engine *engine = engine_of(L);
    const char *names[32];

    sandbox_push_environment(L); /* environment */
    add_table(L, vocabulary, "", 1);
    message_push_names(L); /* environment names */
    add_table(L, vocabulary, "msg.", DEPTH_MAX);
    lua_pop(L, 2); /* */
    add_methods(L, vocabulary, "timer.", engine->timer_mt);
    add_methods(L, vocabulary, "counter.", engine->metric_mts[METRIC_COUNTER]);
    add_methods(L, vocabulary, "gauge.", engine->metric_mts[METRIC_GAUGE]);
    add_methods(L, vocabulary, "histogram.", engine->metric_mts[METRIC_HISTOGRAM]);
    add_methods(L, vocabulary, "kv.", engine->bucket_mt);
    size_t count = rule_key_names(names, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < count; i++)
        check_add(L, vocabulary, "rule.", names[i]);
    count = publish_option_names(names, sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < count; i++)
        check_add(L, vocabulary, "opts.", names[i]);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int vocabulary_open(struct vocabulary **out, struct engine *engine, struct error *err)
{
    *out = NULL;
    struct vocabulary *vocabulary = calloc(1, sizeof(*vocabulary));
    if (vocabulary == NULL)
        return error_set(err, "out of memory");
    lua_State *L = engine->L;
    lua_pushcfunction(L, collect);        /* collect */
    lua_pushlightuserdata(L, vocabulary); /* collect vocabulary */
    int status = lua_pcall(L, 1, 0, 0);   /* error? */
    if (status != LUA_OK) {
        const char *why = lua_tostring(L, -1);
        error_set(err, "the rules' names cannot be read: %s", why != NULL ? why : "?");
        lua_pop(L, 1); /* */
        vocabulary_close(vocabulary);
        return -1;
    }
    qsort(vocabulary->words, vocabulary->count, sizeof(vocabulary->words[0]), compare);
    *out = vocabulary;
    return 0;
}

void vocabulary_close(struct vocabulary *vocabulary)
{
    if (vocabulary == NULL)
        return;
    for (size_t i = 0; i < vocabulary->count; i++)
        free(vocabulary->words[i]);
    free(vocabulary->words);
    free(vocabulary);
}

/* --- asking ----------------------------------------------------------------------------------- */

size_t vocabulary_size(const struct vocabulary *vocabulary)
{
    return vocabulary->count;
}

const char *vocabulary_word(const struct vocabulary *vocabulary, size_t index)
{
    return vocabulary->words[index];
}

bool vocabulary_has(const struct vocabulary *vocabulary, const char *path)
{
    return bsearch(&path, vocabulary->words, vocabulary->count, sizeof(vocabulary->words[0]),
                   compare) != NULL;
}

/* The part of `word` behind "path.", or NULL; with an empty path, all of it. */
static const char *below(const char *word, const char *path)
{
    size_t size = strlen(path);
    if (size == 0)
        return word;
    return strncmp(word, path, size) == 0 && word[size] == '.' ? word + size + 1 : NULL;
}

bool vocabulary_is_table(const struct vocabulary *vocabulary, const char *path)
{
    for (size_t i = 0; i < vocabulary->count; i++)
        if (below(vocabulary->words[i], path) != NULL)
            return true;
    return false;
}

const char *vocabulary_nearest(const struct vocabulary *vocabulary, const char *path,
                               const char *name)
{
    const char *known[NEAREST_MAX];
    size_t count = 0;
    for (size_t i = 0; i < vocabulary->count && count < NEAREST_MAX; i++) {
        const char *rest = below(vocabulary->words[i], path);
        if (rest != NULL && strchr(rest, '.') == NULL)
            known[count++] = rest;
    }
    return suggest_nearest(name, known, count);
}
