#include "rules/json_document.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "rules/json.h"
#include "rules/json_decode.h"
#include "rules/json_lazy.h"
#include "rules/json_text.h"

const char json_lazy_keys[JSON_LAZY_KEYS];

enum {
    INSIDE_MIN = 40, /* bytes of the objects and arrays in a part; for fewer, the way round costs
                        more than it saves */
    LEVEL_SLOTS = 12 /* of the Lua stack */
};

struct json_document *json_document_push(lua_State *L, struct json_use *use, size_t count,
                                         size_t size)
{
    size_t bytes = sizeof(struct json_document) + count * sizeof(struct json_part) + size;
    struct json_document *d = lua_newuserdatauv(L, bytes, 0); /* document */
    d->use = use;
    d->size = (uint32_t)size;
    d->count = (uint32_t)count;
    return d;
}

struct json_decoder json_document_decoder(lua_State *L, const struct json_document *d)
{
    return (struct json_decoder){.L = L, .end = json_document_text(d) + d->size};
}

/* The bytes of the objects and arrays in a part. */
static uint32_t size_inside(const struct json_document *d, const struct json_part *part)
{
    uint32_t inside = 0;
    const struct json_part *end = d->parts + part->after;
    for (const struct json_part *p = part + 1; p < end; p = d->parts + p->after)
        inside += p->size;
    return inside;
}

/* --- values that are made at once: all LJMP --------------------------------------------------- */

/*
 * Pushes an array. What is in it: with all that is in that (`whole`), or by its own rules.
 */
static void push_items(lua_State *L, int document, uint32_t number, bool whole)
{
    const struct json_document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    const char *text = json_document_text(d), *at = text + part->start + 1;
    uint32_t child = number + 1;
    struct json_decoder decoder = json_document_decoder(L, d);
    lua_createtable(L, (int)part->count, 0); /* array */
    json_push_array_mt(L);                   /* array mt */
    lua_setmetatable(L, -2);                 /* array */
    for (uint32_t i = 1; i <= part->count; i++) {
        at = json_skip_space(at, decoder.end);
        if (child < part->after && at == text + d->parts[child].start) {
            json_document_push_part(L, document, child, whole); /* array value */
            at += d->parts[child].size;
            child = d->parts[child].after;
        } else {
            at = json_read_value(&decoder, at); /* array value */
        }
        lua_rawseti(L, -2, i); /* array */
        at = json_skip_space(at, decoder.end) + 1;
    }
}

/* Pushes an object likewise, field by field, so that of equal keys the last one wins. */
static void push_fields(lua_State *L, int document, uint32_t number, bool whole)
{
    const struct json_document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    const char *text = json_document_text(d), *at = text + part->start + 1;
    uint32_t child = number + 1;
    struct json_decoder decoder = json_document_decoder(L, d);
    lua_createtable(L, 0, (int)part->count); /* object */
    for (uint32_t i = 0; i < part->count; i++) {
        at = json_skip_space(at, decoder.end);
        at = json_read_string(&decoder, at + 1);   /* object key */
        at = json_skip_space(at, decoder.end) + 1; /* (the colon) */
        at = json_skip_space(at, decoder.end);
        if (child < part->after && at == text + d->parts[child].start) {
            json_document_push_part(L, document, child, whole); /* object key value */
            at += d->parts[child].size;
            child = d->parts[child].after;
        } else {
            at = json_read_value(&decoder, at); /* object key value */
        }
        lua_rawset(L, -3); /* object */
        at = json_skip_space(at, decoder.end) + 1;
    }
}

/* --- values that are made bit by bit: all LJMP ------------------------------------------------ */

/* Makes the table on the top one that waits: the part `number` of the document. */
static void mark_lazy(lua_State *L, int document, uint32_t number, bool is_object)
{
    int mt = is_object ? JSON_LAZY_OBJECT_MT : JSON_LAZY_ARRAY_MT;
    lua_pushvalue(L, document);                              /* table document */
    lua_rawsetp(L, -2, &json_lazy_keys[JSON_LAZY_DOCUMENT]); /* table */
    if (number != 0) {
        lua_pushinteger(L, number);                          /* table number */
        lua_rawsetp(L, -2, &json_lazy_keys[JSON_LAZY_PART]); /* table */
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &json_lazy_keys[mt]); /* table mt */
    lua_setmetatable(L, -2);                                /* table */
}

void json_document_push_key(struct json_decoder *decoder, const struct json_document *d,
                            const struct json_part *part)
{
    const char *key = json_document_text(d) + part->key;
    if (part->key_escaped)
        json_read_string(decoder, key); /* key */
    else
        lua_pushlstring(decoder->L, key, part->key_size); /* key */
}

/*
 * Stores the scalars of a part in the object on the top. Returns whether a key of theirs is marked
 * with escapes, which makes the marks worth nothing.
 */
static bool store_scalars(struct json_decoder *decoder, const struct json_document *d,
                          const struct json_part *part, struct json_marks *marks)
{
    const char *text = json_document_text(d), *at = text + part->start + 1;
    const struct json_part *child = part + 1;
    bool escaped = false;
    for (uint32_t i = 0; i < part->count; i++) {
        const char *key = json_skip_space(at, decoder->end) + 1;
        if (child < d->parts + part->after && key == text + child->key) {
            at = text + child->start + child->size;
            child = d->parts + child->after;
        } else {
            decoder->escaped = false;
            at = json_read_string(decoder, key); /* object key */
            json_mark(marks, key, (size_t)(at - 1 - key));
            escaped |= decoder->escaped;
            at = json_skip_space(at, decoder->end) + 1;
            at = json_read_value(decoder, at); /* object key value */
            lua_rawset(decoder->L, -3);        /* object */
        }
        at = json_skip_space(at, decoder->end) + 1;
    }
    return escaped;
}

/* Whether a part in this one has the key of a scalar that is stored in the object on the top. */
static bool has_key_twice(struct json_decoder *decoder, const struct json_document *d,
                          const struct json_part *part, const struct json_marks *marks,
                          bool escaped)
{
    const struct json_part *end = d->parts + part->after;
    for (const struct json_part *child = part + 1; child < end; child = d->parts + child->after) {
        if (!escaped && !child->key_escaped &&
            !json_is_marked(marks, json_document_text(d) + child->key, child->key_size))
            continue;
        json_document_push_key(decoder, d, child); /* object key */
        bool twice = lua_rawget(decoder->L, -2) != LUA_TNIL;
        lua_pop(decoder->L, 1); /* object */
        if (twice)
            return true;
    }
    return false;
}

/* Pushes an object with the scalars that are in it. */
static void push_object(lua_State *L, int document, uint32_t number)
{
    const struct json_document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    struct json_marks marks = {.bits = {0}};
    struct json_decoder decoder = json_document_decoder(L, d);
    uint32_t some = part->parts < 2 ? part->parts : 2; /* of the parts will be asked for */
    lua_createtable(L, 0, (int)(part->count - part->parts + some + 2)); /* object */
    if (part->parts < part->count) {
        bool escaped = store_scalars(&decoder, d, part, &marks);
        if (has_key_twice(&decoder, d, part, &marks, escaped)) {
            lua_pop(L, 1);                           /* */
            push_fields(L, document, number, false); /* object */
            return;
        }
    }
    mark_lazy(L, document, number, true);
}

/* Pushes an array of objects and arrays, with room for all of them and none in it. */
static void push_array(lua_State *L, int document, uint32_t number)
{
    const struct json_document *d = lua_touserdata(L, document);
    lua_createtable(L, (int)d->parts[number].count, 3); /* array */
    mark_lazy(L, document, number, false);
}

/* Pushes a document of its own for the part `number` of the one at the stack slot `document`. */
static void push_extract(lua_State *L, int document, uint32_t number)
{
    const struct json_document *d = lua_touserdata(L, document);
    const struct json_part *from = &d->parts[number];
    uint32_t count = from->after - number;
    struct json_document *own = json_document_push(L, d->use, count, from->size); /* own */
    for (uint32_t i = 0; i < count; i++) {
        own->parts[i] = from[i];
        own->parts[i].start -= from->start;
        own->parts[i].key -= i == 0 ? from->key : from->start;
        own->parts[i].after -= number;
    }
    memcpy(own->parts + count, json_document_text(d) + from->start, from->size);
}

/* Pushes a part that is made bit by bit. */
static void push_lazily(lua_State *L, int document, uint32_t number)
{
    const struct json_document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    bool is_object = json_document_text(d)[part->start] == '{';
    /* Who keeps a part must not keep a text much larger than that. */
    bool extract = part->size <= d->size / 2;
    if (extract) {
        push_extract(L, document, number); /* own */
        document = lua_gettop(L);
        number = 0;
    }
    if (is_object)
        push_object(L, document, number); /* own? value */
    else
        push_array(L, document, number); /* own? value */
    if (extract)
        lua_remove(L, -2); /* value */
}

void json_document_push_part(lua_State *L, int document, uint32_t number, bool whole)
{
    const struct json_document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    bool is_object = json_document_text(d)[part->start] == '{';
    luaL_checkstack(L, LEVEL_SLOTS, "JSON nested too deep");
    if (!whole) {
        uint32_t inside = size_inside(d, part);
        whole = inside < INSIDE_MIN;
        if (d->use != NULL)
            d->use->asked += whole ? part->size : part->size - inside;
    }
    if (!whole && (is_object || part->parts == part->count))
        push_lazily(L, document, number); /* value */
    else if (is_object)
        push_fields(L, document, number, whole); /* value */
    else
        push_items(L, document, number, whole); /* value */
}
