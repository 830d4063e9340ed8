#include "rules/json.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "rules/json_decode.h"
#include "rules/json_number.h"
#include "rules/json_text.h"

/*
 * The decoder: recursive descent from the text straight onto the Lua stack, one C frame per level,
 * JSON_DEPTH_MAX at most.
 *
 * A container's values wait on the stack until it ends (or PENDING_MAX are there), so that its
 * table is made once, with the size it needs: growing tables step by step is what costs most in
 * decoding. While it is read, a container has at its base a slot with nil, later its table, and
 * above it what waits: values, or keys and values in turn.
 *
 * Every function that takes `at` returns the first byte behind what it read, or NULL after noting
 * the fault. What is on the stack by then is dropped by json_decode.
 */

enum {
    PENDING_MAX = 32,                     /* values, or pairs, that wait on the stack */
    LEVEL_SLOTS = 1 + 2 * PENDING_MAX + 8 /* of the Lua stack, for one level */
};

static const char *fault(struct json_decoder *d, const char *where, const char *what)
{
    d->where = where;
    d->fault = where == d->end ? "the text ends too early" : what;
    return NULL;
}

/* Checks the escape whose backslash is at `at`, both halves of a surrogate pair included. */
static const char *check_escape(struct json_decoder *d, const char *at)
{
    const char *what = NULL;
    size_t size = json_escape_size(at, d->end, &what);
    if (size == 0)
        return fault(d, what == NULL ? d->end : at, what);
    return at + size;
}

/* Writes a code point in UTF-8; returns how many bytes. */
static size_t write_utf8(int code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* Writes what [at, end), whose escapes have been checked, stands for; returns how many bytes. */
static size_t unescape(const char *at, const char *end, char *out)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    char *to = out;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
        } else if (at[1] == 'u') {
            int code = json_hex4(at + 2, end);
            at += 6;
            if (json_is_high_surrogate(code)) {
                code = 0x10000 + ((code - 0xd800) << 10) + (json_hex4(at + 2, end) - 0xdc00);
                at += 6;
            }
            to += write_utf8(code, to);
        } else {
            const char *letter = strchr(letters, at[1]);
            *to++ = letter != NULL ? meanings[letter - letters] : at[1];
            at += 2;
        }
    }
    return (size_t)(to - out);
}

/*
 * Pushes a string that has escapes. What it stands for is never longer than its spelling. Never
 * inlined: its buffer would be in the frame of every level.
 */
__attribute__((noinline)) static void push_unescaped(lua_State *L, const char *at, const char *end)
{
    char small[512];
    size_t size = (size_t)(end - at);
    if (size <= sizeof small) {
        size = unescape(at, end, small);
        lua_pushlstring(L, small, size); /* string */
        return;
    }
    char *large = lua_newuserdatauv(L, size, 0); /* buffer */
    size = unescape(at, end, large);
    lua_pushlstring(L, large, size); /* buffer string */
    lua_remove(L, -2);               /* string */
}

/*
 * Pushes the string that starts at `text`, from `at` on, which is not plain. Never inlined: nearly
 * all strings are plain.
 */
__attribute__((noinline)) static const char *read_special(struct json_decoder *d, const char *text,
                                                          const char *at)
{
    bool escaped = false;
    while (at < d->end && *at != '"') {
        if (*at == '\\') {
            escaped = true;
            at = check_escape(d, at);
            if (at == NULL)
                return NULL;
        } else if ((unsigned char)*at < 0x20) {
            return fault(d, at, "a control character in a string must be escaped");
        } else {
            size_t size = utf8_size(at, (size_t)(d->end - at));
            if (size == 0)
                return fault(d, at, "invalid UTF-8");
            at += size;
        }
        at = json_plain_end(at, d->end);
    }
    if (at == d->end)
        return fault(d, at, NULL);
    d->escaped |= escaped;
    if (escaped)
        push_unescaped(d->L, text, at);
    else
        lua_pushlstring(d->L, text, (size_t)(at - text));
    return at + 1;
}

const char *json_read_string(struct json_decoder *d, const char *at)
{
    const char *end = json_plain_end(at, d->end);
    if (end == d->end || *end != '"')
        return read_special(d, at, end);
    lua_pushlstring(d->L, at, (size_t)(end - at));
    return end + 1;
}

/* Pushes a number: [-0, +1]. */
static const char *decode_number(struct json_decoder *d, const char *at)
{
    struct json_number number;
    if (json_number_read(&at, d->end, &number) < 0)
        return fault(d, at, number.fault);
    if (number.is_integer)
        lua_pushinteger(d->L, number.integer);
    else
        lua_pushnumber(d->L, number.real);
    return at;
}

/* Steps over the rest of a literal. */
static const char *skip_word(struct json_decoder *d, const char *at, const char *word, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at + i == d->end || at[i] != word[i])
            return fault(d, at + i, "a value was expected");
    return at + size;
}

/* Enters a container and pushes the nil where its table will be: [-0, +1]. */
static const char *enter(struct json_decoder *d, const char *at)
{
    if (d->depth == JSON_DEPTH_MAX)
        return fault(d, at, "nested deeper than 512");
    d->depth++;
    luaL_checkstack(d->L, LEVEL_SLOTS, "JSON nested too deep");
    lua_pushnil(d->L); /* nil */
    return json_skip_space(at + 1, d->end);
}

/*
 * Moves the pairs that wait into the object: [-2 * count, +0]. Of keys that come again, which
 * `twice` allows for, the last one wins.
 */
static void store_fields(lua_State *L, int object, int count, int room, bool twice)
{
    if (lua_isnil(L, object)) {
        lua_createtable(L, 0, room); /* .. object */
        lua_replace(L, object);
    }
    if (!twice) {
        for (int i = 0; i < count; i++)
            lua_rawset(L, object); /* .. (without the last pair) */
        return;
    }
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, object + 1 + 2 * i); /* .. key */
        lua_pushvalue(L, object + 2 + 2 * i); /* .. key value */
        lua_rawset(L, object);                /* .. */
    }
    lua_settop(L, object);
}

/* Pushes the key whose quote is at `at`, and steps over its colon: [-0, +1]. */
static inline const char *read_key(struct json_decoder *d, const char *at, struct json_marks *marks,
                                   bool *twice)
{
    if (at == d->end || *at != '"')
        return fault(d, at, "a key in double quotes was expected");
    const char *key = at + 1;
    d->escaped = false;
    at = json_read_string(d, key); /* .. key */
    if (at == NULL)
        return NULL;
    *twice |= d->escaped || json_mark(marks, key, (size_t)(at - 1 - key));
    at = json_skip_space(at, d->end);
    if (at == d->end || *at != ':')
        return fault(d, at, "':' was expected");
    return at + 1;
}

/* Pushes the object whose brace is at `at`: [-0, +1]. */
static const char *decode_object(struct json_decoder *d, const char *at)
{
    lua_State *L = d->L;
    int object = lua_gettop(L) + 1;
    int count = 0;
    bool twice = false; /* a key may have come again */
    struct json_marks marks = {.bits = {0}};
    at = enter(d, at); /* nil */
    if (at == NULL)
        return NULL;
    bool empty = at < d->end && *at == '}';
    while (!empty) {
        at = read_key(d, at, &marks, &twice); /* .. key */
        if (at == NULL)
            return NULL;
        at = json_read_value(d, at); /* .. key value */
        if (at == NULL)
            return NULL;
        count++;
        at = json_skip_space(at, d->end);
        if (at < d->end && *at == '}')
            break;
        if (at == d->end || *at != ',')
            return fault(d, at, "',' or '}' was expected");
        at = json_skip_space(at + 1, d->end);
        if (count == PENDING_MAX) {
            store_fields(L, object, count, 2 * PENDING_MAX, twice);
            count = 0;
        }
    }
    store_fields(L, object, count, count, twice); /* object */
    d->depth--;
    return at + 1;
}

/* Moves the values that wait into the array, whose last one has the index `last`: [-count, +0]. */
static void store_items(struct json_decoder *d, int array, int count, lua_Integer last, int room)
{
    lua_State *L = d->L;
    if (lua_isnil(L, array)) {
        lua_createtable(L, room, 0); /* .. array */
        if (lua_isnil(L, d->array_mt)) {
            json_push_array_mt(L); /* .. array mt */
            lua_replace(L, d->array_mt);
        }
        lua_pushvalue(L, d->array_mt); /* .. array mt */
        lua_setmetatable(L, -2);       /* .. array */
        lua_replace(L, array);
    }
    for (; count > 0; count--)
        lua_rawseti(L, array, last--);
}

/* Pushes the array whose bracket is at `at`: [-0, +1]. */
static const char *decode_array(struct json_decoder *d, const char *at)
{
    int array = lua_gettop(d->L) + 1;
    int count = 0;
    lua_Integer last = 0;
    at = enter(d, at); /* nil */
    if (at == NULL)
        return NULL;
    bool empty = at < d->end && *at == ']';
    while (!empty) {
        at = json_read_value(d, at); /* .. value */
        if (at == NULL)
            return NULL;
        count++;
        last++;
        at = json_skip_space(at, d->end);
        if (at < d->end && *at == ']')
            break;
        if (at == d->end || *at != ',')
            return fault(d, at, "',' or ']' was expected");
        at++;
        if (count == PENDING_MAX) {
            store_items(d, array, count, last, 2 * PENDING_MAX);
            count = 0;
        }
    }
    store_items(d, array, count, last, count); /* array */
    d->depth--;
    return at + 1;
}

const char *json_read_value(struct json_decoder *d, const char *at)
{
    at = json_skip_space(at, d->end);
    if (at == d->end)
        return fault(d, at, NULL);
    switch (*at) {
    case '"':
        return json_read_string(d, at + 1);
    case '{':
        return decode_object(d, at);
    case '[':
        return decode_array(d, at);
    case 't':
        lua_pushboolean(d->L, 1);
        return skip_word(d, at, "true", 4);
    case 'f':
        lua_pushboolean(d->L, 0);
        return skip_word(d, at, "false", 5);
    case 'n':
        lua_pushlightuserdata(d->L, NULL);
        return skip_word(d, at, "null", 4);
    default:
        if (*at == '-' || (*at >= '0' && *at <= '9'))
            return decode_number(d, at);
        return fault(d, at, "a value was expected");
    }
}

/* Decodes the whole text; NULL on a fault. */
static const char *decode_document(struct json_decoder *d, const char *text)
{
    if (d->end - text >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return fault(d, text, "a byte order mark is not allowed");
    const char *at = json_read_value(d, text); /* value */
    if (at == NULL)
        return NULL;
    at = json_skip_space(at, d->end);
    return at == d->end ? at : fault(d, at, "more text after the document");
}

int json_decode(lua_State *L, const char *text, size_t size)
{
    if (size == 0)
        text = "";
    luaL_checkstack(L, LEVEL_SLOTS, "JSON");
    lua_pushnil(L); /* nil */
    struct json_decoder d = {.L = L, .end = text + size, .array_mt = lua_gettop(L)};
    if (decode_document(&d, text) != NULL) {
        lua_replace(L, d.array_mt); /* value */
        return 0;
    }
    lua_settop(L, d.array_mt - 1);
    lua_pushfstring(L, "byte %I: %s", (LUAI_UACINT)(d.where - text) + 1,
                    size == 0 ? "the text is empty" : d.fault); /* message */
    return -1;
}
