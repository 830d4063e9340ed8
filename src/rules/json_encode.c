#include "rules/json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "rules/json_lazy.h"
#include "rules/json_number.h"
#include "rules/json_text.h"

/*
 * The encoder: walks a Lua value and writes its text. Tables are only looked into by raw access, so
 * no metamethod runs and what is written is what is there.
 *
 * The text grows in the encoder itself, which lives on the C stack, and from a kilobyte on in a Lua
 * userdata in the stack slot `box`: Lua's errors jump past any cleanup, so whatever has to be freed
 * belongs to Lua.
 *
 * A function that returns -1 has pushed the message; what is below it is dropped by json_encode.
 */

enum {
    LEVEL_SLOTS = 12, /* of the Lua stack, for one level */
    PATH_SIZE = 200,  /* of the path in a message */
    HOLES_FREE = 64   /* an array may have that many holes more than values */
};

struct encoder {
    lua_State *L;
    int box;
    char *bytes;
    size_t size, capacity;
    char first[1024];
};

/* Where a value is: in which table, under which key. The root has no `up`. */
struct place {
    const struct place *up;
    int depth;         /* tables around it */
    int key;           /* the stack slot of a string key, or 0: */
    lua_Integer index; /* of an array's item */
};

static int encode_value(struct encoder *e, int index, const struct place *place);

/* Text that is cut when it is full. */
struct path {
    char text[PATH_SIZE];
    size_t size;
    bool cut;
};

static void path_add(struct path *path, const char *text, size_t size)
{
    const size_t room = sizeof path->text - sizeof "...";
    if (path->cut || path->size + size > room) {
        path->cut = true;
        return;
    }
    memcpy(path->text + path->size, text, size);
    path->size += size;
}

static bool is_identifier(const char *text, size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char others[] = "0123456789";
    if (size == 0 || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0' ||
            (strchr(letters, text[i]) == NULL && strchr(others, text[i]) == NULL))
            return false;
    return true;
}

/* Adds a key: `.name`, or `["..."]` with whatever is not printable ASCII in hexadecimal. */
static void path_add_key(struct path *path, const char *key, size_t size)
{
    if (is_identifier(key, size)) {
        path_add(path, ".", 1);
        path_add(path, key, size);
        return;
    }
    path_add(path, "[\"", 2);
    for (size_t i = 0; i < size && !path->cut; i++) {
        char text[8];
        int length = snprintf(text, sizeof text, key[i] >= ' ' && key[i] <= '~' ? "%c" : "\\x%02x",
                              (unsigned char)key[i]);
        path_add(path, text, (size_t)length);
    }
    path_add(path, "\"]", 2);
}

/* Adds the way from the root to `place`. */
static void path_add_place(struct path *path, lua_State *L, const struct place *place)
{
    if (place->up == NULL) {
        path_add(path, "data", 4);
        return;
    }
    path_add_place(path, L, place->up);
    if (place->key != 0) {
        size_t size;
        const char *key = lua_tolstring(L, place->key, &size);
        path_add_key(path, key, size);
    } else {
        char text[32];
        int length = snprintf(text, sizeof text, "[%lld]", (long long)place->index);
        path_add(path, text, (size_t)length);
    }
}

/* Pushes "<path>: <what is wrong>": [-0, +1]. Returns -1. */
static int refuse(struct encoder *e, const struct place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct encoder *e, const struct place *place, const char *format, ...)
{
    struct path path = {.size = 0};
    char message[160];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    path_add_place(&path, e->L, place);
    path.text[path.size] = '\0';
    lua_pushfstring(e->L, "%s%s: %s", path.text, path.cut ? "..." : "", message); /* message */
    return -1;
}

/* Moves the text to where `more` bytes and as much again fit. */
static void grow(struct encoder *e, size_t more)
{
    size_t capacity = 2 * (e->size + more);
    char *bytes = lua_newuserdatauv(e->L, capacity, 0); /* .. box */
    memcpy(bytes, e->bytes, e->size);
    lua_replace(e->L, e->box); /* .. */
    e->bytes = bytes;
    e->capacity = capacity;
}

/* Makes room for `more` bytes and returns where they go; the caller adds to e->size. */
static inline char *room_for(struct encoder *e, size_t more)
{
    if (e->capacity - e->size < more)
        grow(e, more);
    return e->bytes + e->size;
}

static void put(struct encoder *e, const char *text, size_t size)
{
    memcpy(room_for(e, size), text, size);
    e->size += size;
}

static void put_byte(struct encoder *e, char byte)
{
    *room_for(e, 1) = byte;
    e->size++;
}

/* Writes the escape for a byte that must have one. */
static void put_escape(struct encoder *e, unsigned char byte)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = byte != '\0' ? strchr(plain, byte) : NULL;
    char text[8];
    int size = found != NULL ? snprintf(text, sizeof text, "\\%c", letters[found - plain])
                             : snprintf(text, sizeof text, "\\u%04x", byte);
    put(e, text, (size_t)size);
}

/* Writes the string in a stack slot, in quotes. */
static int encode_string(struct encoder *e, int index, const struct place *place)
{
    size_t size;
    const char *text = lua_tolstring(e->L, index, &size);
    const char *end = text + size;
    const char *at = text;
    put_byte(e, '"');
    for (;;) {
        at = json_plain_end(at, end);
        if (at == end)
            break;
        if ((unsigned char)*at >= 0x80) {
            size_t length = utf8_size(at, (size_t)(end - at));
            if (length == 0)
                return refuse(e, place, "a string that is not UTF-8 cannot be JSON");
            at += length;
            continue;
        }
        put(e, text, (size_t)(at - text));
        put_escape(e, (unsigned char)*at);
        text = ++at;
    }
    put(e, text, (size_t)(end - text));
    put_byte(e, '"');
    return 0;
}

static int encode_number(struct encoder *e, int index, const struct place *place)
{
    if (lua_isinteger(e->L, index)) {
        e->size += json_integer_write(lua_tointeger(e->L, index), room_for(e, JSON_NUMBER_SIZE));
        return 0;
    }
    double value = lua_tonumber(e->L, index);
    if (isnan(value))
        return refuse(e, place, "NaN (not a number) cannot be JSON");
    if (isinf(value))
        return refuse(e, place, "an infinite number cannot be JSON");
    e->size += json_real_write(value, room_for(e, JSON_NUMBER_SIZE));
    return 0;
}

/*
 * Writes the table in slot `table` as an object. Its first key and value are on the stack and are
 * taken off: [-2, +0].
 */
static int encode_object(struct encoder *e, int table, const struct place *place)
{
    lua_State *L = e->L;
    int key = lua_gettop(L) - 1;
    char before = '{';
    do {
        if (lua_type(L, key) != LUA_TSTRING)
            return refuse(e, place, "keys that are strings and keys that are not, in one table");
        struct place field = {.up = place, .depth = place->depth + 1, .key = key};
        put_byte(e, before);
        if (encode_string(e, key, &field) < 0)
            return -1;
        put_byte(e, ':');
        if (encode_value(e, key + 1, &field) < 0)
            return -1;
        lua_settop(L, key); /* .. key */
        before = ',';
    } while (lua_next(L, table) != 0); /* .. key value, or nothing at the end */
    put_byte(e, '}');
    return 0;
}

/*
 * Finds the length of an array: its largest key. Every key must be an integer from 1; `tagged`
 * arrays (those with the array metatable) may have holes.
 */
static int measure_array(struct encoder *e, int table, const struct place *place, bool tagged,
                         lua_Integer *length)
{
    lua_State *L = e->L;
    lua_Integer count = 0, largest = 0;
    lua_pushnil(L);                   /* .. nil */
    while (lua_next(L, table) != 0) { /* .. key value */
        lua_pop(L, 1);                /* .. key */
        if (lua_type(L, -1) == LUA_TSTRING)
            return refuse(e, place,
                          tagged ? "an array with a key that is a string"
                                 : "keys that are strings and keys that are not, in one table");
        if (!lua_isinteger(L, -1))
            return refuse(e, place, "a table with a key that is a %s cannot be JSON",
                          lua_type(L, -1) == LUA_TNUMBER ? "float" : luaL_typename(L, -1));
        lua_Integer key = lua_tointeger(L, -1);
        if (key < 1)
            return refuse(e, place, "an array with the key %lld (arrays start at 1)",
                          (long long)key);
        largest = key > largest ? key : largest;
        count++;
    }
    if (!tagged && largest != count)
        return refuse(e, place, "an array with holes (mill.json.array writes them as null)");
    if (largest - count > count + HOLES_FREE)
        return refuse(e, place, "an array with %lld items and the key %lld", (long long)count,
                      (long long)largest);
    *length = largest;
    return 0;
}

/* Writes the table in slot `table` as an array. */
static int encode_array(struct encoder *e, int table, const struct place *place, bool tagged)
{
    lua_Integer length = 0;
    if (measure_array(e, table, place, tagged, &length) < 0)
        return -1;
    struct place item = {.up = place, .depth = place->depth + 1};
    put_byte(e, '[');
    for (item.index = 1; item.index <= length; item.index++) {
        if (item.index > 1)
            put_byte(e, ',');
        if (lua_rawgeti(e->L, table, item.index) == LUA_TNIL) /* .. item */
            put(e, "null", 4);
        else if (encode_value(e, lua_gettop(e->L), &item) < 0)
            return -1;
        lua_pop(e->L, 1); /* .. */
    }
    put_byte(e, ']');
    return 0;
}

static bool has_array_mt(lua_State *L, int table)
{
    if (!lua_getmetatable(L, table)) /* .. mt, or nothing */
        return false;
    json_push_array_mt(L); /* .. mt array_mt */
    bool equal = lua_rawequal(L, -1, -2);
    lua_pop(L, 2); /* .. */
    return equal;
}

static int encode_table(struct encoder *e, int table, const struct place *place)
{
    lua_State *L = e->L;
    if (place->depth == JSON_DEPTH_MAX)
        return refuse(e, place, "nested deeper than %d (a cycle?)", JSON_DEPTH_MAX);
    luaL_checkstack(L, LEVEL_SLOTS, "JSON nested too deep");
    json_fill(L, table);
    if (has_array_mt(L, table))
        return encode_array(e, table, place, true);
    lua_pushnil(L);                /* .. nil */
    if (lua_next(L, table) == 0) { /* .. key value, or nothing */
        put(e, "{}", 2);
        return 0;
    }
    if (lua_type(L, -2) == LUA_TSTRING)
        return encode_object(e, table, place);
    lua_pop(L, 2); /* .. */
    return encode_array(e, table, place, false);
}

/* Writes the value in stack slot `index` and leaves the stack as it was. */
static int encode_value(struct encoder *e, int index, const struct place *place)
{
    switch (lua_type(e->L, index)) {
    case LUA_TSTRING:
        return encode_string(e, index, place);
    case LUA_TNUMBER:
        return encode_number(e, index, place);
    case LUA_TBOOLEAN:
        if (lua_toboolean(e->L, index))
            put(e, "true", 4);
        else
            put(e, "false", 5);
        return 0;
    case LUA_TTABLE:
        return encode_table(e, index, place);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(e->L, index) == NULL) {
            put(e, "null", 4);
            return 0;
        }
        break;
    case LUA_TNIL:
        return refuse(e, place, "nil cannot be JSON (cjson.null is its null)");
    default:
        break;
    }
    return refuse(e, place, "a %s cannot be JSON", luaL_typename(e->L, index));
}

int json_encode(lua_State *L, int index)
{
    struct encoder e; /* not initialised as a whole: `first` is large and this is the hot path */
    const struct place root = {.up = NULL};
    index = lua_absindex(L, index);
    luaL_checkstack(L, LEVEL_SLOTS, "JSON");
    lua_pushnil(L); /* nil */
    e.L = L;
    e.box = lua_gettop(L);
    e.bytes = e.first;
    e.size = 0;
    e.capacity = sizeof e.first;
    int status = encode_value(&e, index, &root); /* box message, or box */
    if (status == 0)
        lua_pushlstring(L, e.bytes, e.size); /* box text */
    lua_replace(L, e.box);                   /* text or message */
    lua_settop(L, e.box);
    return status;
}
