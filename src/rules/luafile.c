#include "rules/luafile.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/*
 * Everything that can raise a Lua error runs below the one lua_pcall of eval_in_sandbox();
 * functions that can are marked LJMP. The conversion afterwards uses only calls that neither raise
 * nor allocate in Lua.
 *
 * There is no pcall in the sandbox, so nothing in the file can catch the error that ends it. A
 * count hook does not see inside one long C call: string.rep and table.move are guarded for that,
 * patterns are not; who writes the configuration may also stop the program in simpler ways.
 */

enum {
    FILE_SIZE_MAX = 4 << 20,
    MEMORY_MAX = 64 << 20,
    HOOK_INSTRUCTIONS = 10000,
    REPEAT_MAX = 16 << 20, /* bytes that string.rep may make */
    MOVE_MAX = 1 << 20,    /* elements that table.move may move */
    DEPTH_MAX = 32,
    VALUES_MAX = 100000,
    BYTES_MAX = 16 << 20 /* of all strings together */
};

#define TIME_MAX_NS NS_PER_S

struct evaluation {
    const char *name;
    const char *text;
    size_t size;
    size_t memory;
    int64_t deadline_ns;
    char chunk[LUA_IDSIZE]; /* how Lua names the file at the start of a message */
    struct error *err;
};

/* The allocator of a sandbox. On a new block Lua's old size is a type tag, not a size. */
static void *allocate(void *context, void *block, size_t old_size, size_t new_size)
{
    struct evaluation *eval = context;
    size_t held = block != NULL ? old_size : 0;
    if (new_size == 0) {
        free(block);
        eval->memory -= held;
        return NULL;
    }
    bool refused = new_size > held && new_size - held > MEMORY_MAX - eval->memory;
    void *result = refused ? NULL : realloc(block, new_size);
    if (result != NULL)
        eval->memory = eval->memory - held + new_size;
    return result;
}

/* LJMP. The count hook. luaL_error would name the caller; the function that runs is meant. */
static void check_time(lua_State *L, lua_Debug *activation)
{
    void *context;
    lua_getallocf(L, &context);
    const struct evaluation *eval = context;
    if (clock_monotonic_ns() <= eval->deadline_ns)
        return;
    lua_getinfo(L, "Sl", activation);
    lua_pushfstring(L, "%s:%d: runs longer than a second", activation->short_src,
                    activation->currentline); /* message */
    lua_error(L);
}

/* LJMP. env(name [, default]) */
static int read_environment(lua_State *L)
{
    const char *text = getenv(luaL_checkstring(L, 1));
    lua_settop(L, 2); /* name default */
    if (text != NULL && *text != '\0')
        lua_pushstring(L, text); /* name default text */
    return 1;
}

/* LJMP. string.rep; the real one is upvalue 1. */
static int guarded_rep(lua_State *L)
{
    size_t size, separator_size;
    luaL_checklstring(L, 1, &size);
    lua_Integer times = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &separator_size);
    if (size + separator_size == 0)
        times = 1; /* many times nothing is nothing, but takes for ever */
    if (times > 0 && (lua_Unsigned)times > REPEAT_MAX / (size + separator_size + 1))
        return luaL_error(L, "string.rep: the result is too large");
    lua_settop(L, 3);                      /* text times separator */
    lua_pushinteger(L, times);             /* text times separator times' */
    lua_replace(L, 2);                     /* text times' separator */
    lua_pushvalue(L, lua_upvalueindex(1)); /* text times' separator rep */
    lua_insert(L, 1);                      /* rep text times' separator */
    lua_call(L, 3, 1);                     /* result */
    return 1;
}

/* LJMP. table.move; the real one is upvalue 1. */
static int guarded_move(lua_State *L)
{
    lua_Integer first = luaL_checkinteger(L, 2);
    lua_Integer last = luaL_checkinteger(L, 3);
    if (last >= first && (lua_Unsigned)last - (lua_Unsigned)first >= MOVE_MAX)
        return luaL_error(L, "table.move: too many elements");
    lua_pushvalue(L, lua_upvalueindex(1)); /* ... move */
    lua_insert(L, 1);                      /* move ... */
    lua_call(L, lua_gettop(L) - 1, 1);     /* result */
    return 1;
}

/* LJMP. A global that was never set: nearly always a slip of the pen, never to be a silent nil. */
static int unknown_global(lua_State *L)
{
    return luaL_error(L,
                      "unknown name '%s' (a configuration has env(name, default), string, "
                      "table and math)",
                      luaL_tolstring(L, 2, NULL));
}

/* LJMP. Opens a library and leaves its table: [-0, +1]. */
static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_requiref(L, name, open, 0); /* library */
}

/* LJMP. Puts `guard` before the function `name` of the library on top. */
static void guard(lua_State *L, const char *name, lua_CFunction function)
{
    lua_getfield(L, -1, name);        /* library real */
    lua_pushcclosure(L, function, 1); /* library guard */
    lua_setfield(L, -2, name);        /* library */
}

/* LJMP. Pushes the globals of the file. */
static void push_globals(lua_State *L)
{
    static const char *const names[] = {"tonumber", "tostring", "ipairs", "pairs", "next",
                                        "select",   "type",     "error",  "assert"};
    lua_newtable(L);                          /* globals */
    open_library(L, LUA_GNAME, luaopen_base); /* globals base */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        lua_getfield(L, -1, names[i]); /* globals base function */
        lua_setfield(L, -3, names[i]); /* globals base */
    }
    lua_pop(L, 1);                                   /* globals */
    open_library(L, LUA_STRLIBNAME, luaopen_string); /* globals string */
    guard(L, "rep", guarded_rep);
    lua_pushnil(L);                                 /* globals string nil */
    lua_setfield(L, -2, "dump");                    /* globals string */
    lua_setfield(L, -2, LUA_STRLIBNAME);            /* globals */
    open_library(L, LUA_TABLIBNAME, luaopen_table); /* globals table */
    guard(L, "move", guarded_move);
    lua_setfield(L, -2, LUA_TABLIBNAME);            /* globals */
    open_library(L, LUA_MATHLIBNAME, luaopen_math); /* globals math */
    lua_setfield(L, -2, LUA_MATHLIBNAME);           /* globals */
    lua_pushcfunction(L, read_environment);         /* globals env */
    lua_setfield(L, -2, "env");                     /* globals */
    lua_createtable(L, 0, 1);                       /* globals metatable */
    lua_pushcfunction(L, unknown_global);           /* globals metatable unknown_global */
    lua_setfield(L, -2, "__index");                 /* globals metatable */
    lua_setmetatable(L, -2);                        /* globals */
}

/* LJMP. Runs under lua_pcall, given the evaluation; leaves what the file returned. */
static int run(lua_State *L)
{
    struct evaluation *eval = lua_touserdata(L, 1);
    lua_Debug about;
    const char *name = lua_pushfstring(L, "@%s", eval->name); /* eval name */
    /* An empty one first, as not every error of the compiler has the name of the file in it. */
    if (luaL_loadbufferx(L, "", 0, name, "t") != LUA_OK) /* eval name empty|message */
        return lua_error(L);
    lua_getinfo(L, ">S", &about); /* eval name */
    memcpy(eval->chunk, about.short_src, sizeof(eval->chunk));
    if (luaL_loadbufferx(L, eval->text, eval->size, name, "t") !=
        LUA_OK) /* eval name chunk|message */
        return lua_error(L);
    push_globals(L);          /* eval name chunk globals */
    lua_setupvalue(L, -2, 1); /* eval name chunk */
    eval->deadline_ns = clock_monotonic_ns() + TIME_MAX_NS;
    lua_sethook(L, check_time, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    lua_call(L, 0, 1); /* eval name result */
    lua_sethook(L, NULL, 0, 0);
    return 1;
}

/* The tree under construction, and the tables that enclose the one being read. */
struct conversion {
    lua_State *L;
    const struct evaluation *eval;
    size_t values;
    size_t bytes;
    const void *open[DEPTH_MAX];
    int depth;
};

static int no_memory(const struct conversion *conversion)
{
    return error_set(conversion->eval->err, "%s: cannot be read: out of memory",
                     conversion->eval->name);
}

static int copy_string(struct conversion *conversion, const char *string, size_t size,
                       struct value *out)
{
    conversion->bytes += size;
    if (conversion->bytes > BYTES_MAX)
        return error_set(conversion->eval->err, "%s: the strings it returns are too large",
                         conversion->eval->name);
    out->string = malloc(size + 1);
    if (out->string == NULL)
        return no_memory(conversion);
    memcpy(out->string, string, size);
    out->string[size] = '\0';
    out->size = size;
    return 0;
}

static int convert_table(struct conversion *conversion, struct value *out);

/* Turns the value on top of the stack into `out`. Never raises. */
static int convert(struct conversion *conversion, struct value *out)
{
    lua_State *L = conversion->L;
    size_t size = 0;
    const char *string;
    if (++conversion->values > VALUES_MAX)
        return error_set(conversion->eval->err, "%s: the table it returns is too large (%d values)",
                         conversion->eval->name, VALUES_MAX);
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        out->type = VALUE_NIL;
        return 0;
    case LUA_TBOOLEAN:
        out->type = VALUE_BOOLEAN;
        out->boolean = lua_toboolean(L, -1);
        return 0;
    case LUA_TNUMBER:
        out->type = lua_isinteger(L, -1) ? VALUE_INTEGER : VALUE_NUMBER;
        out->integer = out->type == VALUE_INTEGER ? lua_tointeger(L, -1) : 0;
        out->number = lua_tonumber(L, -1);
        return 0;
    case LUA_TSTRING:
        out->type = VALUE_STRING;
        string = lua_tolstring(L, -1, &size);
        return copy_string(conversion, string, size, out);
    case LUA_TTABLE:
        out->type = VALUE_TABLE;
        return convert_table(conversion, out);
    default:
        out->type = VALUE_OTHER;
        string = luaL_typename(L, -1);
        return copy_string(conversion, string, strlen(string), out);
    }
}

/* A key is a scalar: a table as a key is only named. */
static int convert_key(struct conversion *conversion, struct value *out)
{
    if (lua_type(conversion->L, -1) != LUA_TTABLE)
        return convert(conversion, out);
    out->type = VALUE_OTHER;
    return copy_string(conversion, "table", 5, out);
}

/* How many keys 1..n, and how many keys in all, the table on top has. */
static void count_keys(lua_State *L, size_t *length, size_t *total)
{
    *length = 0;
    while (lua_rawgeti(L, -1, (lua_Integer)*length + 1) != LUA_TNIL) { /* table value */
        lua_pop(L, 1);
        ++*length;
    }
    lua_pop(L, 1);
    *total = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) { /* table key value */
        lua_pop(L, 1);
        ++*total;
    }
}

static int compare_keys(const void *a, const void *b)
{
    const struct value *left = &((const struct value_pair *)a)->key;
    const struct value *right = &((const struct value_pair *)b)->key;
    if (left->type != right->type)
        return left->type < right->type ? -1 : 1;
    if (left->type == VALUE_STRING)
        return strcmp(left->string, right->string);
    return left->number < right->number ? -1 : left->number > right->number;
}

/* The pairs of the table on top, in the order that struct value promises. */
static int convert_pairs(struct conversion *conversion, struct value *out, size_t total)
{
    lua_State *L = conversion->L;
    for (size_t i = 0; i < out->length; i++) {
        struct value_pair *pair = &out->pairs[out->pair_count++];
        pair->key = (struct value){
            .type = VALUE_INTEGER, .integer = (int64_t)i + 1, .number = (double)(i + 1)};
        lua_rawgeti(L, -1, (lua_Integer)i + 1); /* table value */
        if (convert(conversion, &pair->value) != 0)
            return -1;
        lua_pop(L, 1); /* table */
    }
    lua_pushnil(L);                /* table key */
    while (lua_next(L, -2) != 0) { /* table key value */
        lua_Integer index = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (index >= 1 && (size_t)index <= out->length) {
            lua_pop(L, 1); /* table key */
            continue;
        }
        struct value_pair *pair = &out->pairs[out->pair_count++];
        if (convert(conversion, &pair->value) != 0)
            return -1;
        lua_pop(L, 1); /* table key */
        if (convert_key(conversion, &pair->key) != 0)
            return -1;
    }
    if (total > out->length)
        qsort(out->pairs + out->length, total - out->length, sizeof(*out->pairs), compare_keys);
    return 0;
}

static int convert_table(struct conversion *conversion, struct value *out)
{
    lua_State *L = conversion->L;
    const void *table = lua_topointer(L, -1);
    for (int i = 0; i < conversion->depth; i++) {
        if (conversion->open[i] == table)
            return error_set(conversion->eval->err, "%s: the table it returns contains itself",
                             conversion->eval->name);
    }
    if (conversion->depth == DEPTH_MAX || !lua_checkstack(L, 4))
        return error_set(conversion->eval->err,
                         "%s: the table it returns is nested more than %d tables deep",
                         conversion->eval->name, DEPTH_MAX);
    size_t total;
    count_keys(L, &out->length, &total);
    if (total > VALUES_MAX)
        return error_set(conversion->eval->err, "%s: the table it returns is too large (%d values)",
                         conversion->eval->name, VALUES_MAX);
    out->pairs = total > 0 ? calloc(total, sizeof(*out->pairs)) : NULL;
    if (total > 0 && out->pairs == NULL)
        return no_memory(conversion);
    conversion->open[conversion->depth++] = table;
    int result = convert_pairs(conversion, out, total);
    conversion->depth--;
    return result;
}

/* Makes one line of the error value on top of the stack. Never raises. */
static int report(lua_State *L, const struct evaluation *eval, int status)
{
    if (status == LUA_ERRMEM)
        return error_set(eval->err, "%s: uses more than %d MB of memory", eval->name,
                         MEMORY_MAX >> 20);
    if (lua_type(L, -1) != LUA_TSTRING)
        return error_set(eval->err, "%s: raised a %s as an error", eval->name,
                         luaL_typename(L, -1));
    const char *message = lua_tostring(L, -1);
    size_t chunk_size = strlen(eval->chunk);
    /* error(text, 0) and the like do not say where they come from. */
    if (chunk_size > 0 && (strncmp(message, eval->chunk, chunk_size) != 0))
        error_set(eval->err, "%s: %s", eval->name, message);
    else
        error_set(eval->err, "%s", message);
    for (char *c = eval->err != NULL ? eval->err->text : ""; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    }
    return -1;
}

/* Runs the text in a new state and converts what it returned. */
static int eval_in_sandbox(struct evaluation *eval, struct value *out)
{
    lua_State *L = lua_newstate(allocate, eval);
    if (L == NULL)
        return error_set(eval->err, "%s: cannot be read: out of memory", eval->name);
    lua_pushcfunction(L, run);      /* run */
    lua_pushlightuserdata(L, eval); /* run eval */
    int result = -1;
    int status = lua_pcall(L, 1, 1, 0); /* returned|error */
    if (status != LUA_OK) {
        report(L, eval, status);
    } else if (lua_type(L, -1) != LUA_TTABLE) {
        error_set(eval->err, "%s: must end in return { ... }, a table; it returned %s%s",
                  eval->name, lua_isnil(L, -1) ? "" : "a ",
                  lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
    } else {
        struct conversion conversion = {.L = L, .eval = eval};
        result = convert(&conversion, out);
    }
    lua_close(L);
    if (result != 0)
        value_free(out);
    return result;
}

int luafile_eval_text(const char *name, const char *text, size_t size, struct value *out,
                      struct error *err)
{
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};
    *out = (struct value){.type = VALUE_NIL};
    if (size >= 3 && memcmp(text, byte_order_mark, 3) == 0) {
        text += 3;
        size -= 3;
    }
    if (size > 0 && text[0] == LUA_SIGNATURE[0])
        return error_set(err, "%s: is compiled Lua; only text is accepted", name);
    struct evaluation eval = {.name = name, .text = text, .size = size, .err = err};
    return eval_in_sandbox(&eval, out);
}

/* Reads the whole file into memory of the caller's; NULL with a message when that fails. */
static char *read_text(const char *path, size_t *size, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? malloc(FILE_SIZE_MAX + 1) : NULL;
    ssize_t got = text != NULL ? 1 : -1;
    *size = 0;
    while (got > 0 && *size <= FILE_SIZE_MAX) {
        got = read(fd, text + *size, FILE_SIZE_MAX + 1 - *size);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            *size += (size_t)got;
    }
    if (got < 0)
        error_set(err, "%s: cannot be read: %s", path, strerror(errno));
    else if (*size > FILE_SIZE_MAX)
        error_set(err, "%s: has more than %d bytes", path, FILE_SIZE_MAX);
    if (got < 0 || *size > FILE_SIZE_MAX) {
        free(text);
        text = NULL;
    }
    if (fd >= 0)
        close(fd);
    return text;
}

int luafile_eval(const char *path, struct value *out, struct error *err)
{
    size_t size;
    *out = (struct value){.type = VALUE_NIL};
    char *text = read_text(path, &size, err);
    if (text == NULL)
        return -1;
    int result = luafile_eval_text(path, text, size, out, err);
    free(text);
    return result;
}
