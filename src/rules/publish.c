#include "rules/publish.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/suggest.h"
#include "rules/api.h"
#include "rules/call.h"
#include "rules/json_lazy.h"

static const char what[] = "mill.publish";
static const double TTL_SECONDS_MAX = 1e9;

/* What is being put together; the strings live on the stack of the function. */
struct draft {
    struct output output;
    struct header headers[PUBLISH_HEADERS_MAX];
    size_t headers_size; /* as they go over the wire */
};

/* --- all LJMP --------------------------------------------------------------------------------- */

/* A character of an RFC 9110 token. */
static bool is_token_char(unsigned char c)
{
    return isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void check_header_name(lua_State *L, const char *name, size_t size)
{
    bool is_token = size > 0;
    for (size_t i = 0; i < size; i++)
        is_token = is_token && is_token_char((unsigned char)name[i]);
    if (!is_token)
        luaL_error(L, "%s: opts.headers: '%s' is no header name (letters, digits, - and _)", what,
                   name);
    if (strncasecmp(name, "Nats-", 5) == 0 || strncasecmp(name, "Tidemill-", 9) == 0)
        luaL_error(L,
                   "%s: opts.headers: %s is reserved (use opts.id for the message id, opts.ttl for "
                   "the time to live)",
                   what, name);
}

/* No line ends, no zero byte. */
static void check_line(lua_State *L, const char *place, const char *text, size_t size)
{
    if (strlen(text) != size || strpbrk(text, "\r\n") != NULL)
        luaL_error(L, "%s: %s has a line end or a zero byte in it", what, place);
}

/* The value of a header, at the top, as a string. */
static const char *check_header_value(lua_State *L, const char *name)
{
    size_t size = 0;
    if (!lua_isstring(L, -1))
        luaL_error(L, "%s: opts.headers.%s: a string or a number expected, got %s", what, name,
                   luaL_typename(L, -1));
    const char *value = lua_tolstring(L, -1, &size);
    check_line(L, lua_pushfstring(L, "opts.headers.%s", name), value, size);
    lua_pop(L, 1);
    return value;
}

/*
 * opts.headers, at the top. The values are kept on the stack, one slot each, because a number
 * becomes a new string; the names are kept by the table.
 */
static void check_headers(lua_State *L, struct draft *draft)
{
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: opts.headers: a table expected, got %s", what, luaL_typename(L, -1));
    int table = lua_gettop(L);
    luaL_checkstack(L, PUBLISH_HEADERS_MAX + 8, NULL);
    json_fill(L, table);
    size_t count = 0;
    lua_pushnil(L);              /* headers nil */
    while (lua_next(L, table)) { /* headers kept.. name value */
        size_t size = 0;
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: opts.headers: names must be strings, got %s", what,
                       luaL_typename(L, -2));
        if (count == PUBLISH_HEADERS_MAX)
            luaL_error(L, "%s: opts.headers: more than %d headers", what, PUBLISH_HEADERS_MAX);
        const char *name = lua_tolstring(L, -2, &size);
        check_header_name(L, name, size);
        const char *value = check_header_value(L, name);
        draft->headers[count++] = (struct header){.name = name, .value = value};
        draft->headers_size += size + strlen(value) + 4;
        lua_insert(L, -2); /* headers kept.. value name */
    }
    draft->output.headers = draft->headers;
    draft->output.header_count = count;
}

static void check_id(lua_State *L, struct draft *draft)
{
    size_t size = 0;
    if (lua_type(L, -1) != LUA_TSTRING || lua_rawlen(L, -1) == 0)
        luaL_error(L, "%s: opts.id: a string expected that is not empty", what);
    draft->output.id = lua_tolstring(L, -1, &size);
    check_line(L, "opts.id", draft->output.id, size);
    draft->headers_size += size + sizeof("Nats-Msg-Id: \r\n") - 1;
}

static void check_ttl(lua_State *L, struct draft *draft)
{
    double seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    if (!(seconds > 0 && seconds <= TTL_SECONDS_MAX))
        luaL_error(L, "%s: opts.ttl: seconds above 0 expected", what);
    draft->output.ttl_ns = (int64_t)(seconds * (double)NS_PER_S);
}

static void check_durable(lua_State *L, struct draft *draft)
{
    if (!lua_isboolean(L, -1))
        luaL_error(L, "%s: opts.durable: true or false expected, got %s", what,
                   luaL_typename(L, -1));
    draft->output.durable = lua_toboolean(L, -1);
}

static const struct {
    const char *name;
    void (*check)(lua_State *L, struct draft *draft);
} opts[] = {
    {"headers", check_headers}, {"id", check_id}, {"ttl", check_ttl}, {"durable", check_durable}};

enum { OPTS = sizeof(opts) / sizeof(opts[0]) };

size_t publish_option_names(const char **names, size_t max)
{
    size_t count = 0;
    for (; count < OPTS && count < max; count++)
        names[count] = opts[count].name;
    return count;
}

static void unknown_option(lua_State *L, const char *key)
{
    const char *known[OPTS];
    const char *nearest = suggest_nearest(key, known, publish_option_names(known, OPTS));
    if (nearest != NULL)
        luaL_error(L, "%s: opts has no key '%s' (did you mean '%s'?)", what, key, nearest);
    luaL_error(L, "%s: opts has no key '%s' (known: headers, id, ttl, durable)", what, key);
}

/* opts, at index 3. Leaves the strings that the draft points at on the stack. */
static void check_opts(lua_State *L, struct draft *draft)
{
    if (!lua_istable(L, 3))
        luaL_error(L, "%s: opts must be a table, got %s", what, luaL_typename(L, 3));
    json_fill(L, 3);
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) { /* key value */
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;
        while (i < OPTS && strcmp(opts[i].name, key) != 0)
            i++;
        if (i == OPTS)
            unknown_option(L, key);
    }
    for (size_t i = 0; i < OPTS; i++) {
        lua_pushstring(L, opts[i].name);  /* .. key */
        if (lua_rawget(L, 3) != LUA_TNIL) /* .. value */
            opts[i].check(L, draft);
    }
}

int publish_from_rule(lua_State *L)
{
    struct call *call = call_handler(L, what);
    struct draft draft = {.output.durable = true};
    struct error err;
    lua_settop(L, 3); /* subject data opts */
    draft.output.subject = api_check_subject(L, 1, what);
    draft.output.payload =
        api_check_payload(L, 2, what, &draft.output.payload_size); /* .. payload */
    if (!lua_isnil(L, 3))
        check_opts(L, &draft); /* .. values */
    size_t max = call->engine->options.host.max_payload;
    if (max > 0 && draft.output.payload_size + draft.headers_size > max)
        luaL_error(L, "%s: %I bytes with the headers are more than the server takes (%I)", what,
                   (lua_Integer)(draft.output.payload_size + draft.headers_size), (lua_Integer)max);
    if (outputs_add(&call->outputs, &draft.output, &err) != 0)
        luaL_error(L, "%s: %s", what, err.text);
    return 0;
}
