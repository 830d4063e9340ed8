/*
 * Answers of the server, read without a tree (bus/json_scan), beside the codec that rules have:
 * both find the same texts valid, and the same value at a path, which is the first line. A PubAck's
 * verdict follows from its fields.
 */
#include "bus/puback.h"

#include <lauxlib.h>

#include "bus/json_scan.h"
#include "fuzz.h"
#include "rules/json.h"

/*
 * How many members all objects of a valid text have together: its colons, but for those in strings.
 */
static size_t count_members(const char *text, size_t size)
{
    bool in_string = false;
    size_t members = 0;
    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && text[i] == ':')
            members++;
    }
    return members;
}

/* Counts the keys of all tables that are objects, from the one on the top. `plain`: no key has a
 * dot, a NUL or many bytes, so that a path can name each. */
static size_t count_keys(lua_State *L, bool *plain)
{
    size_t count = 0;
    bool is_array = lua_getmetatable(L, -1); /* table mt, or table */
    lua_settop(L, lua_gettop(L) - is_array); /* table */
    luaL_checkstack(L, 4, NULL);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) { /* table key value */
        if (!is_array) {
            size_t size;
            const char *key = lua_tolstring(L, -2, &size);
            *plain = *plain && size < 100 && strlen(key) == size && strchr(key, '.') == NULL;
            count++;
        }
        if (lua_istable(L, -1))
            count += count_keys(L, plain);
    }
    return count;
}

/* Replaces the value on the top by what is at `path` in it. False: nothing is there. */
static bool descend(lua_State *L, const char *path)
{
    while (*path != '\0') {
        size_t size = strcspn(path, ".");
        bool last = path[size] == '\0';
        if (!lua_istable(L, -1) || (!last && path[size + 1] == '\0'))
            return false;
        if (lua_getmetatable(L, -1)) { /* an array */
            lua_pop(L, 1);
            size_t digits = strspn(path, "0123456789");
            if (digits == 0 || digits != size)
                return false;
            unsigned long index = strtoul(path, NULL, 10);
            lua_rawgeti(L, -1, index < 1000000 ? (lua_Integer)index + 1 : -1); /* .. value */
        } else {
            lua_pushlstring(L, path, size);
            lua_rawget(L, -2); /* .. value */
        }
        if (lua_isnil(L, -1))
            return false;
        path += size + !last;
    }
    return true;
}

static void check_string(lua_State *L, const char *text, size_t size, const char *path, bool found)
{
    char out[24];
    size_t length = 0;
    const char *wanted =
        found && lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : "";
    bool fits =
        found && lua_type(L, -1) == LUA_TSTRING && length < sizeof(out) && strlen(wanted) == length;
    must(json_scan_string(text, size, path, out, sizeof(out)) == fits);
    must(strcmp(out, fits ? wanted : "") == 0);
}

/* Every reader at one path; the document is on the top. */
static void check_path(lua_State *L, const char *text, size_t size, const char *path)
{
    int top = lua_gettop(L);
    bool found = descend(L, path), boolean = false;
    int type = found ? lua_type(L, -1) : LUA_TNONE;
    int64_t integer = 0;
    must(json_scan_has(text, size, path) == (found && type != LUA_TLIGHTUSERDATA));
    check_string(L, text, size, path, found);
    bool is_integer = json_scan_integer(text, size, path, &integer);
    if (found && lua_isinteger(L, -1))
        must(is_integer && integer == lua_tointeger(L, -1));
    else /* an integer cannot be -0, so the codec has a float for it */
        must(!is_integer || (integer == 0 && lua_tonumber(L, -1) == 0));
    must(json_scan_bool(text, size, path, &boolean) == (type == LUA_TBOOLEAN));
    must(type != LUA_TBOOLEAN || boolean == lua_toboolean(L, -1));
    int count = json_scan_count(text, size, path);
    must((count >= 0) == (type == LUA_TTABLE));
    if (type == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
            count--;
        must(count == 0);
    }
    lua_settop(L, top);
}

static bool may_pass(int64_t code, int64_t err_code)
{
    static const int64_t passing[] = {10008, 10023, 10028, 10037, 10039,
                                      10047, 10077, 10118, 10167};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (err_code == passing[i])
            return true;
    return code >= 500;
}

static enum puback refusal_of(int64_t code, int64_t err_code)
{
    if (err_code == 10158) /* the id is in process */
        return PUBACK_STAGED;
    return may_pass(code, err_code) ? PUBACK_PASSING : PUBACK_REFUSED;
}

static void check_puback(const char *text, size_t size)
{
    char why[64] = "";
    int64_t code = 0, err_code = 0, sequence;
    bool duplicate = false;
    enum puback verdict = puback_parse(text, size, why, sizeof(why));
    json_scan_integer(text, size, "error.code", &code);
    json_scan_integer(text, size, "error.err_code", &err_code);
    json_scan_bool(text, size, "duplicate", &duplicate);
    bool stored = verdict == PUBACK_STORED || verdict == PUBACK_DUPLICATE;
    must(strlen(why) < sizeof(why) && stored == (*why == '\0'));
    if (json_scan_has(text, size, "error"))
        must(verdict == refusal_of(code, err_code));
    else if (!json_scan_integer(text, size, "seq", &sequence))
        must(verdict == PUBACK_REFUSED);
    else if (sequence <= 0)
        must(verdict == PUBACK_STAGED);
    else if (memmem(text, size, "\\u", 2) == NULL) /* the key is looked for as it is written */
        must(verdict == (duplicate ? PUBACK_DUPLICATE : PUBACK_STORED));
}

static int check(lua_State *L)
{
    static const char *const paths[] = {
        "", "stream", "seq", "duplicate", "error", "error.code", "error.description"};
    const char *path = lua_touserdata(L, 1), *text = lua_touserdata(L, 2);
    size_t size = (size_t)lua_tointeger(L, 3);
    check_puback(text, size);
    bool valid = json_scan_valid(text, size);
    if (json_decode(L, text, size) != 0) {
        const char *fault = lua_tostring(L, -1); /* what json_scan passes over */
        must(!valid || strstr(fault, "UTF-8") != NULL || strstr(fault, "out of range") != NULL);
        return 0;
    }
    bool plain_keys = true;
    must(valid == (nesting_of(text, size) <= JSON_SCAN_DEPTH_MAX));
    if (!valid || (lua_istable(L, -1) && count_keys(L, &plain_keys) != count_members(text, size)))
        return 0; /* a key twice: each may choose another one */
    if (!plain_keys)
        return 0;
    check_path(L, text, size, path);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        check_path(L, text, size, paths[i]);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (L == NULL) {
        L = luaL_newstate();
        json_open(L);
        lua_settop(L, 0);
    }
    const uint8_t *line_end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t path_size = line_end != NULL ? (size_t)(line_end - data) : 0;
    size_t before = line_end != NULL ? path_size + 1 : 0;
    char *path = copy_text(data, path_size);
    char *text = copy_bytes(data + before, size - before);
    lua_pushcfunction(L, check);
    lua_pushlightuserdata(L, path);
    lua_pushlightuserdata(L, text);
    lua_pushinteger(L, (lua_Integer)(size - before));
    must(lua_pcall(L, 3, 0, 0) == LUA_OK);
    lua_settop(L, 0);
    free(text);
    free(path);
    return 0;
}
