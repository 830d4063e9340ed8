/*
 * string.find, match, gmatch and gsub over our own matcher beside those of liblua: the same results
 * and the same errors. The first byte is a position, then the pattern, a line end, the subject.
 * What takes long is left out, as liblua would not end.
 */
#include "rules/pattern.h"

#include <lauxlib.h>
#include <lualib.h>

#include "fuzz.h"
#include "rules/engine_internal.h"
#include "rules/pattern_library.h"

enum { PATTERN_MAX = 250, SUBJECT_MAX = 300, STEPS_MAX = 20000 };

static struct engine engine; /* all that the library needs of it are the limits */

/* Compares all uses of a pattern on a subject, given with a number. */
static const char compare[] =
    "local own, stock = ...\n"
    "local uses = {\n"
    "  function(s, a, p, n) return s.find(a, p, n) end,\n"
    "  function(s, a, p, n) return s.find(a, p, n, true) end,\n"
    "  function(s, a, p, n) return s.match(a, p, n) end,\n"
    "  function(s, a, p, n) local all = {}\n"
    "    for x, y in s.gmatch(a, p, n) do all[#all + 1] = x all[#all + 1] = y or false end\n"
    "    return table.unpack(all) end,\n"
    "  function(s, a, p, n) return s.gsub(a, p, '<%0%1>', n) end,\n"
    "  function(s, a, p, n) return s.gsub(a, p, { a = 'x', b = 5, [1] = 'one', [''] = false }) "
    "end,\n"
    "  function(s, a, p, n) return s.gsub(a, p, function(x, y) return y end) end,\n"
    "}\n"
    "local function place(message) return (stock.gsub(message, '^[^ ]*:%d+: ', '')) end\n"
    "return function(a, p, n)\n"
    "  for i, use in ipairs(uses) do\n"
    "    local x = table.pack(pcall(use, own, a, p, n))\n"
    "    local y = table.pack(pcall(use, stock, a, p, n))\n"
    "    if not x[1] and not y[1] then x[2], y[2] = place(x[2]), place(y[2]) end\n"
    "    local same = x.n == y.n\n"
    "    for k = 1, x.n do same = same and rawequal(x[k], y[k]) end\n"
    "    if not same then\n"
    "      error(('use %d of %q on %q, %d: %s %s, not %s %s'):format(i, p, a, n, tostring(x[1]),\n"
    "        tostring(x[2]), tostring(y[1]), tostring(y[2])), 0)\n"
    "    end\n"
    "  end\n"
    "end\n";

static bool give_up(struct pattern *pattern, void *context)
{
    (void)pattern;
    *(bool *)context = true;
    return false;
}

/* Whether a search over all of the subject ends soon. */
static bool ends_soon(const char *subject, size_t size, const char *text, size_t text_size)
{
    bool too_long = false;
    struct pattern pattern = {.fuel = STEPS_MAX, .look = give_up, .context = &too_long};
    size_t anchor = text_size > 0 && *text == '^'; /* a letter to gmatch */
    for (const char *at = subject; at <= subject + size && !too_long; at++) {
        for (size_t skip = 0; skip <= anchor; skip++) {
            pattern_init(&pattern, subject, size, text, text_size); /* a fault may be elsewhere */
            pattern_match(&pattern, at, text + skip);
        }
    }
    return !too_long;
}

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    limits_init(&engine.limits, SIZE_MAX / 2, &engine.blocks);
    limits_arm(&engine.limits, INT64_MAX);
    *(struct engine **)lua_getextraspace(L) = &engine;
    must(luaL_loadstring(L, compare) == LUA_OK); /* chunk */
    lua_newtable(L);                             /* chunk own */
    pattern_library_open(L);
    lua_getglobal(L, "string"); /* chunk own stock */
    lua_call(L, 2, 1);          /* compare */
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (L == NULL)
        L = open_state();
    const uint8_t *line_end = size > 1 ? memchr(data + 1, '\n', size - 1) : NULL;
    if (line_end == NULL)
        return 0;
    size_t text_size = (size_t)(line_end - data) - 1, subject_size = size - text_size - 2;
    if (text_size > PATTERN_MAX || subject_size > SUBJECT_MAX)
        return 0;
    lua_settop(L, 1);
    lua_pushvalue(L, 1); /* compare compare */
    const char *subject = lua_pushlstring(L, (const char *)line_end + 1, subject_size);
    const char *text = lua_pushlstring(L, (const char *)data + 1, text_size); /* .. subject text */
    lua_pushinteger(L, (lua_Integer)data[0] % 16 - 4);
    if (ends_soon(subject, subject_size, text, text_size) && lua_pcall(L, 3, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}
