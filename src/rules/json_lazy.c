#include "rules/json_lazy.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "rules/json.h"
#include "rules/json_decode.h"
#include "rules/json_outline.h"
#include "rules/json_text.h"

/*
 * The tables that have values to be made, by what they are:
 *
 *   an object   has its scalars from the start; an object or array in it is made when its key is
 *               read, stored like any field, and from then on none of our business (`taken`): the
 *               rule may change or remove it
 *   an array    of objects and arrays only is empty: what has been made of it is in a table of its
 *               own, the items, until it is filled as a whole. Were it stored in the array, the
 *               rule could remove it unseen, and no length would be right any more.
 *
 * All other values are made at once: those that are small, arrays with scalars in them, objects
 * with nothing else. Both sorts have, under keys that no rule can have, the document they are from
 * and the number of their part in it.
 *
 * A value is made in whole before anything is changed in the table it belongs to, and what is then
 * done to that table allocates nothing: when memory runs out on the way, the table is as before.
 */

enum {
    LAZY_SIZE_MIN = 300, /* of documents and parts; below, the way round costs more than it saves */
    LOOKUPS_MAX = 32,    /* for keys of one object, before it is filled */
    FIRST_PARTS = 256,   /* found without an allocation */
    LEVEL_SLOTS = 12,    /* of the Lua stack */
    JUDGED = 16,         /* documents of a sort, */
    AT_ONCE = 240        /* and for how many more the judgement holds */
};

/* Part of a text with its outline, offsets and numbers from its own start. A Lua userdata. */
struct document {
    struct json_use *use;
    uint32_t size, count;
    struct json_part parts[]; /* the text is behind them */
};

/* Their addresses are keys: in our tables, and of the metatables in the registry. */
static const char document_key, part_key, items_key;
static const char object_mt_key, array_mt_key;

static void push_part(lua_State *L, int document, uint32_t number);

static const char *text_of(const struct document *d)
{
    return (const char *)(d->parts + d->count);
}

static struct document *push_document(lua_State *L, struct json_use *use, size_t count, size_t size)
{
    size_t bytes = sizeof(struct document) + count * sizeof(struct json_part) + size;
    struct document *d = lua_newuserdatauv(L, bytes, 0); /* document */
    d->use = use;
    d->size = (uint32_t)size;
    d->count = (uint32_t)count;
    return d;
}

/* The document and the part of the table of ours at `index`; pushes the document. */
static struct document *push_source(lua_State *L, int index, uint32_t *number)
{
    lua_rawgetp(L, index, &part_key); /* number */
    *number = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);                        /* */
    lua_rawgetp(L, index, &document_key); /* document */
    return lua_touserdata(L, -1);
}

/* A decoder for what is in a document; pushes the slot it needs. */
static struct json_decoder push_decoder(lua_State *L, const struct document *d)
{
    lua_pushnil(L); /* nil */
    return (struct json_decoder){.L = L, .end = text_of(d) + d->size, .array_mt = lua_gettop(L)};
}

static void note_asked(const struct document *d, const struct json_part *part)
{
    if (d->use == NULL)
        return;
    uint64_t inside = 0;
    const struct json_part *end = d->parts + part->after;
    for (const struct json_part *p = part + 1; p < end; p = d->parts + p->after)
        inside += p->size;
    d->use->asked += part->size - inside;
}

/* --- values that are made at once: all LJMP --------------------------------------------------- */

/* Pushes the value of a part with all that is in it. */
static void push_whole(lua_State *L, const struct document *d, const struct json_part *part)
{
    struct json_decoder decoder = push_decoder(L, d);    /* nil */
    json_read_value(&decoder, text_of(d) + part->start); /* nil value */
    lua_replace(L, decoder.array_mt);                    /* value */
    if (d->use != NULL)
        d->use->asked += part->size;
}

/* Pushes an array; what is in it by its own rules. */
static void push_items(lua_State *L, int document, uint32_t number)
{
    const struct document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    const char *text = text_of(d), *at = text + part->start + 1;
    uint32_t child = number + 1;
    struct json_decoder decoder = push_decoder(L, d); /* nil */
    note_asked(d, part);
    lua_createtable(L, (int)part->count, 0); /* nil array */
    json_push_array_mt(L);                   /* nil array mt */
    lua_setmetatable(L, -2);                 /* nil array */
    for (uint32_t i = 1; i <= part->count; i++) {
        at = json_skip_space(at, decoder.end);
        if (child < part->after && at == text + d->parts[child].start) {
            push_part(L, document, child); /* nil array value */
            at += d->parts[child].size;
            child = d->parts[child].after;
        } else {
            at = json_read_value(&decoder, at); /* nil array value */
        }
        lua_rawseti(L, -2, i); /* nil array */
        at = json_skip_space(at, decoder.end) + 1;
    }
    lua_remove(L, -2); /* array */
}

/* Pushes an object, every field in its turn, so that of equal keys the last one wins. */
static void push_fields(lua_State *L, int document, uint32_t number)
{
    const struct document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    const char *text = text_of(d), *at = text + part->start + 1;
    uint32_t child = number + 1;
    struct json_decoder decoder = push_decoder(L, d); /* nil */
    note_asked(d, part);
    lua_createtable(L, 0, (int)part->count); /* nil object */
    for (uint32_t i = 0; i < part->count; i++) {
        at = json_skip_space(at, decoder.end);
        at = json_read_string(&decoder, at + 1);   /* nil object key */
        at = json_skip_space(at, decoder.end) + 1; /* (the colon) */
        at = json_skip_space(at, decoder.end);
        if (child < part->after && at == text + d->parts[child].start) {
            push_part(L, document, child); /* nil object key value */
            at += d->parts[child].size;
            child = d->parts[child].after;
        } else {
            at = json_read_value(&decoder, at); /* nil object key value */
        }
        lua_rawset(L, -3); /* nil object */
        at = json_skip_space(at, decoder.end) + 1;
    }
    lua_remove(L, -2); /* object */
}

/* --- values that are made bit by bit: all LJMP ------------------------------------------------ */

/* Makes the table on the top one of ours: the part `number` of the document. */
static void mark_lazy(lua_State *L, int document, uint32_t number, const void *mt)
{
    lua_pushvalue(L, document);            /* table document */
    lua_rawsetp(L, -2, &document_key);     /* table */
    lua_pushinteger(L, number);            /* table number */
    lua_rawsetp(L, -2, &part_key);         /* table */
    lua_rawgetp(L, LUA_REGISTRYINDEX, mt); /* table mt */
    lua_setmetatable(L, -2);               /* table */
}

/* A table that is full, at `index`, is none of ours any more. Allocates nothing. */
static void make_plain(lua_State *L, int index, bool is_array)
{
    if (is_array)
        json_push_array_mt(L); /* mt */
    else
        lua_pushnil(L);                   /* nil */
    lua_setmetatable(L, index);           /* */
    lua_pushnil(L);                       /* nil */
    lua_rawsetp(L, index, &document_key); /* */
    lua_pushnil(L);                       /* nil */
    lua_rawsetp(L, index, &part_key);     /* */
    if (is_array) {
        lua_pushnil(L);                    /* nil */
        lua_rawsetp(L, index, &items_key); /* */
    }
}

/* Keys of an object, as bits: one that is not marked has not been seen. */
struct marks {
    uint64_t bits[4];
};

static inline unsigned mark_of(const char *key, size_t size)
{
    if (size == 0)
        return 0;
    return (unsigned)size * 7 + (unsigned char)key[0] * 31 + (unsigned char)key[size - 1] * 5 +
           (unsigned char)key[size / 2];
}

static inline void mark(struct marks *marks, const char *key, size_t size)
{
    unsigned bit = mark_of(key, size);
    marks->bits[bit >> 6 & 3] |= UINT64_C(1) << (bit & 63);
}

static inline bool is_marked(const struct marks *marks, const char *key, size_t size)
{
    unsigned bit = mark_of(key, size);
    return (marks->bits[bit >> 6 & 3] >> (bit & 63) & 1) != 0;
}

/* Pushes the key of a part. */
static void push_key(struct json_decoder *decoder, const struct document *d,
                     const struct json_part *part)
{
    const char *key = text_of(d) + part->key;
    if (part->key_escaped)
        json_read_string(decoder, key); /* key */
    else
        lua_pushlstring(decoder->L, key, part->key_size); /* key */
}

/*
 * Stores the scalars of a part in the object on the top. Returns whether a key of theirs is marked
 * with escapes, which makes the marks worth nothing.
 */
static bool store_scalars(struct json_decoder *decoder, const struct document *d,
                          const struct json_part *part, struct marks *marks)
{
    const char *text = text_of(d), *at = text + part->start + 1;
    const struct json_part *child = part + 1;
    bool escaped = false;
    for (uint32_t i = 0; i < part->count; i++) {
        const char *key = json_skip_space(at, decoder->end) + 1;
        if (child < d->parts + part->after && key == text + child->key) {
            at = text + child->start + child->size;
            child = d->parts + child->after;
        } else {
            at = json_read_string(decoder, key); /* object key */
            mark(marks, key, (size_t)(at - 1 - key));
            escaped |= memchr(key, '\\', (size_t)(at - 1 - key)) != NULL;
            at = json_skip_space(at, decoder->end) + 1;
            at = json_read_value(decoder, at); /* object key value */
            lua_rawset(decoder->L, -3);        /* object */
        }
        at = json_skip_space(at, decoder->end) + 1;
    }
    return escaped;
}

/* Whether a part in this one has the key of one of its scalars, which are in the object on the top. */
static bool has_key_twice(struct json_decoder *decoder, const struct document *d,
                          const struct json_part *part, const struct marks *marks, bool escaped)
{
    const struct json_part *end = d->parts + part->after;
    for (const struct json_part *child = part + 1; child < end; child = d->parts + child->after) {
        if (!escaped && !child->key_escaped &&
            !is_marked(marks, text_of(d) + child->key, child->key_size))
            continue;
        push_key(decoder, d, child); /* object key */
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
    const struct document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    struct marks marks = {.bits = {0}};
    struct json_decoder decoder = push_decoder(L, d); /* nil */
    lua_createtable(L, 0, (int)part->count + 2);      /* nil object */
    if (part->parts < part->count) {
        bool escaped = store_scalars(&decoder, d, part, &marks);
        if (has_key_twice(&decoder, d, part, &marks, escaped)) {
            lua_settop(L, decoder.array_mt - 1);
            push_fields(L, document, number); /* object */
            return;
        }
    }
    note_asked(d, part);
    mark_lazy(L, document, number, &object_mt_key);
    lua_remove(L, -2); /* object */
}

/* Pushes an array of objects and arrays, with room for all of them and none in it. */
static void push_array(lua_State *L, int document, uint32_t number)
{
    const struct document *d = lua_touserdata(L, document);
    lua_createtable(L, (int)d->parts[number].count, 3); /* array */
    mark_lazy(L, document, number, &array_mt_key);
}

/* Pushes a document of its own for the part `number` of the one at the stack slot `document`. */
static void push_extract(lua_State *L, int document, uint32_t number)
{
    const struct document *d = lua_touserdata(L, document);
    const struct json_part *from = &d->parts[number];
    uint32_t count = from->after - number;
    struct document *own = push_document(L, d->use, count, from->size); /* own */
    for (uint32_t i = 0; i < count; i++) {
        own->parts[i] = from[i];
        own->parts[i].start -= from->start;
        own->parts[i].key -= i == 0 ? from->key : from->start;
        own->parts[i].after -= number;
    }
    memcpy(own->parts + count, text_of(d) + from->start, from->size);
}

/* Pushes the value of a part of the document at the stack slot `document`: [-0, +1]. */
static void push_part(lua_State *L, int document, uint32_t number)
{
    const struct document *d = lua_touserdata(L, document);
    const struct json_part *part = &d->parts[number];
    bool is_object = text_of(d)[part->start] == '{';
    luaL_checkstack(L, LEVEL_SLOTS, "JSON nested too deep");
    if (part->parts == 0 || part->size < LAZY_SIZE_MIN) {
        push_whole(L, d, part);
        return;
    }
    if (!is_object && part->parts < part->count) {
        push_items(L, document, number);
        return;
    }
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

/* --- touching: all LJMP ----------------------------------------------------------------------- */

/* Fills the object at `index`. */
static void fill_object(lua_State *L, int index)
{
    uint32_t number = 0;
    struct document *d = push_source(L, index, &number); /* document */
    int document = lua_gettop(L);
    const struct json_part *part = &d->parts[number], *end = d->parts + part->after;
    struct json_decoder decoder = push_decoder(L, d); /* document nil */
    lua_createtable(L, 0, (int)part->parts);          /* document nil missing */
    for (const struct json_part *p = part + 1; p < end; p = d->parts + p->after) {
        if (p->taken)
            continue;
        push_key(&decoder, d, p);                         /* .. missing key */
        push_part(L, document, (uint32_t)(p - d->parts)); /* .. missing key value */
        lua_rawset(L, -3);                                /* .. missing */
    }
    for (lua_pushnil(L); lua_next(L, -2) != 0;) { /* .. missing key value */
        lua_pushvalue(L, -2);                     /* .. missing key value key */
        lua_insert(L, -2);                        /* .. missing key key value */
        lua_rawset(L, index);                     /* .. missing key */
    }
    make_plain(L, index, false);
    lua_settop(L, document - 1);
}

/* Pushes the table with the items of the array at `index`: for what is not made yet, part numbers. */
static void push_array_items(lua_State *L, int index, const struct document *d, uint32_t number)
{
    if (lua_rawgetp(L, index, &items_key) == LUA_TTABLE) /* items? */
        return;
    const struct json_part *part = &d->parts[number];
    uint32_t child = number + 1;
    lua_pop(L, 1);                           /* */
    lua_createtable(L, (int)part->count, 0); /* items */
    for (uint32_t i = 1; i <= part->count; i++) {
        lua_pushinteger(L, child); /* items number */
        lua_rawseti(L, -2, i);     /* items */
        child = d->parts[child].after;
    }
    lua_pushvalue(L, -1);              /* items items */
    lua_rawsetp(L, index, &items_key); /* items */
}

/* Pushes the item `i`, or nil, of the items on the top. */
static void push_item(lua_State *L, int document, lua_Integer i)
{
    int items = lua_gettop(L);
    if (lua_rawgeti(L, items, i) != LUA_TNUMBER) /* items item */
        return;
    uint32_t number = (uint32_t)lua_tointeger(L, -1);
    lua_pop(L, 1);                  /* items */
    push_part(L, document, number); /* items item */
    lua_pushvalue(L, -1);           /* items item item */
    lua_rawseti(L, items, i);       /* items item */
}

/* Fills the array at `index`. */
static void fill_array(lua_State *L, int index)
{
    uint32_t number = 0;
    struct document *d = push_source(L, index, &number); /* document */
    int document = lua_gettop(L);
    lua_Integer count = d->parts[number].count;
    push_array_items(L, index, d, number); /* document items */
    for (lua_Integer i = 1; i <= count; i++) {
        push_item(L, document, i); /* document items item */
        lua_pop(L, 1);             /* document items */
    }
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);    /* document items item */
        lua_rawseti(L, index, i); /* document items */
    }
    make_plain(L, index, true);
    lua_settop(L, document - 1);
}

void json_fill(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) /* mt? */
        return;
    lua_pop(L, 1); /* */
    luaL_checkstack(L, LEVEL_SLOTS, NULL);
    index = lua_absindex(L, index);
    bool is_ours = lua_rawgetp(L, index, &document_key) == LUA_TUSERDATA; /* document? */
    lua_pop(L, 1);                                                        /* */
    if (!is_ours)
        return;
    uint32_t number = 0;
    const struct document *d = push_source(L, index, &number); /* document */
    bool is_object = text_of(d)[d->parts[number].start] == '{';
    lua_pop(L, 1); /* */
    if (is_object)
        fill_object(L, index);
    else
        fill_array(L, index);
}

/* Whether the key at index 2, a string, is the part's. */
static bool is_key(lua_State *L, const struct document *d, const struct json_part *part)
{
    size_t size = 0;
    const char *key = lua_tolstring(L, 2, &size);
    if (!part->key_escaped)
        return size == part->key_size && memcmp(key, text_of(d) + part->key, size) == 0;
    struct json_decoder decoder = push_decoder(L, d); /* nil */
    push_key(&decoder, d, part);                      /* nil key */
    bool equal = lua_rawequal(L, -1, 2);
    lua_pop(L, 2); /* */
    return equal;
}

/*
 * Reading a field that is not there: [1] object [2] key. Of parts with equal keys the last one
 * counts, and then all of them are taken.
 */
static int object_index(lua_State *L)
{
    uint32_t number = 0, found = 0;
    bool more = false;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    struct document *d = push_source(L, 1, &number); /* object key document */
    struct json_part *part = &d->parts[number], *end = d->parts + part->after;
    if (++part->touched > LOOKUPS_MAX) {
        fill_object(L, 1);
        lua_settop(L, 2); /* object key */
        lua_rawget(L, 1); /* object value */
        return 1;
    }
    for (struct json_part *p = part + 1; p < end; p = d->parts + p->after) {
        if (p->taken)
            continue;
        if (is_key(L, d, p))
            found = (uint32_t)(p - d->parts);
        else
            more = true;
    }
    if (found == 0)
        return 0;
    push_part(L, 3, found); /* object key document value */
    lua_pushvalue(L, 2);    /* object key document value key */
    lua_pushvalue(L, -2);   /* object key document value key value */
    lua_rawset(L, 1);       /* object key document value */
    for (struct json_part *p = part + 1; p <= &d->parts[found]; p = d->parts + p->after)
        p->taken |= p == &d->parts[found] || (!p->taken && is_key(L, d, p));
    if (!more)
        make_plain(L, 1, false);
    return 1;
}

/* Reading an item: [1] array [2] key. */
static int array_index(lua_State *L)
{
    int is_integer = 0;
    lua_Integer i = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &is_integer) : 0;
    if (!is_integer)
        return 0;
    uint32_t number = 0;
    struct document *d = push_source(L, 1, &number); /* array key document */
    struct json_part *part = &d->parts[number];
    if (++part->touched > LOOKUPS_MAX && part->touched / 4 > part->count) {
        fill_array(L, 1);
        lua_rawgeti(L, 1, i); /* .. item */
        return 1;
    }
    push_array_items(L, 1, d, number); /* array key document items */
    push_item(L, 3, i);                /* array key document items item */
    return 1;
}

static int array_length(lua_State *L)
{
    uint32_t number = 0;
    const struct document *d = push_source(L, 1, &number); /* array document */
    lua_pushinteger(L, d->parts[number].count);            /* array document length */
    return 1;
}

/* Writing what is not there: [1] table [2] key [3] value. Fails as Lua does. */
static int table_newindex(lua_State *L)
{
    if (lua_isnil(L, 2))
        return luaL_error(L, "index is nil");
    if (lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) != lua_tonumber(L, 2))
        return luaL_error(L, "index is NaN");
    json_fill(L, 1);
    lua_rawset(L, 1); /* table */
    return 0;
}

void json_lazy_open(lua_State *L)
{
    static const luaL_Reg object[] = {
        {"__index", object_index}, {"__newindex", table_newindex}, {NULL, NULL}};
    static const luaL_Reg array[] = {{"__index", array_index},
                                     {"__newindex", table_newindex},
                                     {"__len", array_length},
                                     {NULL, NULL}};
    luaL_newlib(L, object);                            // mt
    lua_rawsetp(L, LUA_REGISTRYINDEX, &object_mt_key); //
    luaL_newlib(L, array);                             // mt
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_mt_key);  //
}

/* --- documents -------------------------------------------------------------------------------- */

/* Takes one more document into account, and judges when there are enough. */
static void learn(struct json_use *use, size_t size)
{
    if (use == NULL)
        return;
    if (use->documents == JUDGED) {
        use->at_once = use->asked > use->size / 4 * 3 ? AT_ONCE : 0;
        use->documents = 0;
        use->size = use->asked = 0;
    }
    use->documents++;
    use->size += size;
}

int json_decode_lazy(lua_State *L, const char *text, size_t size, struct json_use *use)
{
    struct json_part first[FIRST_PARTS]; /* not initialised: this is the hot path */
    if (size < LAZY_SIZE_MIN)
        return json_decode(L, text, size);
    if (use != NULL && use->at_once > 0) {
        use->at_once--;
        return json_decode(L, text, size);
    }
    size_t count = json_outline(text, size, first, FIRST_PARTS);
    if (count == 0) /* no JSON, most likely: json_decode says why */
        return json_decode(L, text, size);
    learn(use, size);
    if (count == 1) {
        if (use != NULL)
            use->asked += size;
        return json_decode(L, text, size);
    }
    luaL_checkstack(L, LEVEL_SLOTS, "JSON");
    struct document *d = push_document(L, use, count, size); /* document */
    if (count <= FIRST_PARTS)
        memcpy(d->parts, first, count * sizeof(first[0]));
    else
        json_outline(text, size, d->parts, count);
    memcpy(d->parts + count, text, size);
    push_part(L, lua_gettop(L), 0); /* document value */
    lua_remove(L, -2);              /* value */
    return 0;
}
