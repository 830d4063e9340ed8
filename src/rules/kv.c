#include "rules/kv.h"

#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "rules/api.h"
#include "rules/call.h"
#include "rules/json.h"

enum {
    BUCKET_SIZE_MAX = 200, /* it becomes the name of a stream */
    KEY_SIZE_MAX = 512     /* and of a subject */
};

static const int64_t PATIENCE_NS = 5 * NS_PER_S;

/* --- arguments: all LJMP ---------------------------------------------------------------------- */

/* The names that ADR-8 allows: letters, digits, _ and -; a key also = / and . between tokens. */
static bool is_name(const char *name, size_t size, const char *more)
{
    bool good = size > 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        good = good && (isalnum(c) || (c != '\0' && strchr(more, c) != NULL));
    }
    return good;
}

static bool is_key(const char *key, size_t size)
{
    return size <= KEY_SIZE_MAX && is_name(key, size, "_-=/.") && key[0] != '.' &&
           key[size - 1] != '.' && strstr(key, "..") == NULL;
}

/* The bucket's name: argument 1 of a method. Upvalue 1 is the metatable. */
static const char *check_bucket(lua_State *L, const char *what)
{
    if (lua_type(L, 1) != LUA_TUSERDATA || !lua_getmetatable(L, 1) ||
        !lua_rawequal(L, -1, lua_upvalueindex(1))) /* metatable? */
        luaL_error(L, "%s: call a bucket's functions with a colon, like bucket:get(key)", what);
    lua_pop(L, 1); /* */
    return lua_touserdata(L, 1);
}

static const char *check_key(lua_State *L, const char *what)
{
    size_t size = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        luaL_error(L, "%s: the key must be a string, got %s", what, luaL_typename(L, 2));
    const char *key = lua_tolstring(L, 2, &size);
    if (!is_key(key, size))
        luaL_error(L,
                   "%s: '%s' is no key (letters, digits, - _ = / and single dots inside, at most "
                   "%d bytes)",
                   what, key, KEY_SIZE_MAX);
    return key;
}

/* A revision to compare with: what get, put, create and update return. */
static uint64_t check_revision(lua_State *L, int index, const char *what)
{
    int is_integer = 0;
    lua_Integer revision = lua_tointegerx(L, index, &is_integer);
    if (lua_type(L, index) != LUA_TNUMBER || !is_integer || revision < 1)
        luaL_error(L, "%s: a revision from 1 on expected, got %s", what,
                   luaL_tolstring(L, index, NULL));
    return (uint64_t)revision;
}

/* --- asking: all LJMP ------------------------------------------------------------------------- */

/* Begins a method: the bucket from argument 1 and, but for keys(), the key. */
static struct call *begin(lua_State *L, enum kv_operation operation, const char *what)
{
    const char *bucket = check_bucket(L, what);
    struct call *call = call_handler(L, what);
    if (call->engine->options.host.kv == NULL)
        luaL_error(L, "%s: mill.kv is not available here", what);
    call->kv = (struct kv_request){.operation = operation,
                                   .bucket = bucket,
                                   .key = operation == KV_KEYS ? NULL : check_key(L, what)};
    return call;
}

/* Pushes nil and why when the answer is an error. */
static bool push_error(lua_State *L, const struct reply *answer)
{
    if (answer != NULL && answer->error == NULL)
        return false;
    lua_pushnil(L);                                                    /* nil */
    lua_pushstring(L, answer == NULL ? "interrupted" : answer->error); /* nil err */
    return true;
}

/* value, revision; nil when there is none. */
static int push_entry(lua_State *L, bool decoded)
{
    const struct reply *answer = engine_of(L)->current->answer;
    if (push_error(L, answer)) /* nil err */
        return 2;
    if (answer->payload == NULL) {
        lua_pushnil(L); /* nil */
        return 1;
    }
    lua_Integer revision = (lua_Integer)answer->revision;
    if (!decoded) {
        lua_pushlstring(L, answer->payload, answer->payload_size);           /* value */
    } else if (json_decode(L, answer->payload, answer->payload_size) != 0) { /* value or fault */
        lua_pushnil(L);                                                      /* fault nil */
        lua_pushfstring(L, "the value is no JSON: %s", lua_tostring(L, -2)); /* fault nil err */
        return 2;
    }
    lua_pushinteger(L, revision); /* value revision */
    return 2;
}

static int got(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    return push_entry(L, false);
}

static int got_json(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    return push_entry(L, true);
}

static int stored(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct reply *answer = engine_of(L)->current->answer;
    if (push_error(L, answer)) /* nil err */
        return 2;
    lua_pushinteger(L, (lua_Integer)answer->revision); /* revision */
    return 1;
}

static int deleted(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    if (push_error(L, engine_of(L)->current->answer)) /* nil err */
        return 2;
    lua_pushboolean(L, 1); /* true */
    return 1;
}

static int listed(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct reply *answer = engine_of(L)->current->answer;
    if (push_error(L, answer)) /* nil err */
        return 2;
    const char *at = answer->payload;
    const char *end = at + answer->payload_size;
    lua_newtable(L); /* keys */
    for (lua_Integer i = 1; at < end; i++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL)
            line_end = end;
        lua_pushlstring(L, at, (size_t)(line_end - at)); /* keys key */
        lua_rawseti(L, -2, i);                           /* keys */
        at = line_end + 1;
    }
    return 1;
}

static int bucket_get(lua_State *L)
{
    struct call *call = begin(L, KV_GET, "kv:get");
    return call_yield(L, call, WAIT_KV, PATIENCE_NS, got, "kv:get");
}

static int bucket_get_json(lua_State *L)
{
    struct call *call = begin(L, KV_GET, "kv:get_json");
    return call_yield(L, call, WAIT_KV, PATIENCE_NS, got_json, "kv:get_json");
}

/* put, create and update: the value stays on the waiting stack. */
static int store(lua_State *L, enum kv_operation operation, const char *what)
{
    struct call *call = begin(L, operation, what);
    lua_settop(L, 4); /* bucket key value revision */
    if (operation == KV_UPDATE)
        call->kv.revision = check_revision(L, 4, what);
    call->kv.value = api_check_payload(L, 3, what, &call->kv.size); /* .. value */
    return call_yield(L, call, WAIT_KV, PATIENCE_NS, stored, what);
}

static int bucket_put(lua_State *L)
{
    return store(L, KV_PUT, "kv:put");
}

static int bucket_create(lua_State *L)
{
    return store(L, KV_CREATE, "kv:create");
}

static int bucket_update(lua_State *L)
{
    return store(L, KV_UPDATE, "kv:update");
}

static int bucket_delete(lua_State *L)
{
    struct call *call = begin(L, KV_DELETE, "kv:delete");
    return call_yield(L, call, WAIT_KV, PATIENCE_NS, deleted, "kv:delete");
}

static int bucket_keys(lua_State *L)
{
    struct call *call = begin(L, KV_KEYS, "kv:keys");
    return call_yield(L, call, WAIT_KV, PATIENCE_NS, listed, "kv:keys");
}

/* --- the bucket: all LJMP --------------------------------------------------------------------- */

int kv_from_rule(lua_State *L)
{
    struct call *call = call_current(L, "mill.kv");
    size_t size = 0;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "mill.kv: the bucket's name must be a string, got %s",
                          lua_isnone(L, 1) ? "nothing" : luaL_typename(L, 1));
    const char *name = lua_tolstring(L, 1, &size);
    if (size > BUCKET_SIZE_MAX || !is_name(name, size, "_-"))
        return luaL_error(L,
                          "mill.kv: '%s' is no bucket name (letters, digits, - and _, at most %d "
                          "bytes)",
                          name, BUCKET_SIZE_MAX);
    char *bucket = lua_newuserdatauv(L, size + 1, 0); /* name bucket */
    memcpy(bucket, name, size + 1);
    push_ref(L, call->engine->bucket_mt); /* name bucket mt */
    lua_setmetatable(L, -2);              /* name bucket */
    return 1;
}

void kv_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"get", bucket_get},       {"get_json", bucket_get_json},
                                       {"put", bucket_put},       {"create", bucket_create},
                                       {"update", bucket_update}, {"delete", bucket_delete},
                                       {"keys", bucket_keys},     {NULL, NULL}};
    lua_createtable(L, 0, 3);                                 /* mt */
    lua_newtable(L);                                          /* mt methods */
    lua_pushvalue(L, -2);                                     /* mt methods mt */
    luaL_setfuncs(L, methods, 1);                             /* mt methods */
    lua_setfield(L, -2, "__index");                           /* mt */
    lua_pushboolean(L, 0);                                    /* mt false */
    lua_setfield(L, -2, "__metatable");                       /* mt */
    lua_pushliteral(L, "bucket");                             /* mt name */
    lua_setfield(L, -2, "__name");                            /* mt */
    engine_of(L)->bucket_mt = luaL_ref(L, LUA_REGISTRYINDEX); /* */
}
