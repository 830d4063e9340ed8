#ifndef TIDEMILL_TESTS_UNIT_JSON_LAZY_FIXTURE_H
#define TIDEMILL_TESTS_UNIT_JSON_LAZY_FIXTURE_H

#include "unit/engine_fixture.h"

#include "rules/engine_internal.h"
#include "rules/guards.h"
#include "rules/json.h"

/*
 * What the tests of msg.data, decoded as it is touched, share: a comparison with what is decoded at
 * once, an allocator that refuses, a Lua state without an engine, and documents.
 */

/* lib/same.lua: type for type; `shape` compares one level, and tells the tables in it. */
static const char same_source[] =
    "local M = {}\n"
    "function M.scalar(a, b)\n"
    "  return type(a) == type(b) and math.type(a) == math.type(b)\n"
    "    and (type(a) == 'table' or a == b and (a ~= 0 or math.type(a) == 'integer' or 1/a == "
    "1/b))\n"
    "end\n"
    "function M.level(a, b, report)\n"
    "  local count = 0\n"
    "  for k, v in pairs(a) do\n"
    "    if not M.scalar(v, b[k]) then report('field ' .. tostring(k)) end\n"
    "    count = count + 1\n"
    "  end\n"
    "  for _ in pairs(b) do count = count - 1 end\n"
    "  if count ~= 0 then report('number of fields') end\n"
    "end\n"
    "function M.deep(a, b, report)\n"
    "  if not M.scalar(a, b) then report('value') end\n"
    "  if type(a) ~= 'table' then return end\n"
    "  if getmetatable(a) ~= getmetatable(b) then report('metatable') end\n"
    "  M.level(a, b, report)\n"
    "  for k, v in pairs(a) do M.deep(v, b[k], report) end\n"
    "end\n"
    "return M\n";

/* Sends a document, which is gone when this returns; decoded lazily, whatever was learnt. */
static inline void send_document(struct fixture *f, const char *bytes, size_t size,
                                 uint64_t sequence)
{
    char *payload = malloc(size);
    assert_non_null(payload);
    memcpy(payload, bytes, size);
    struct input input = {.subject = "s",
                          .payload = payload,
                          .payload_size = size,
                          .stream = "",
                          .consumer = "",
                          .sequence = sequence};
    struct rule *rule = engine_rule_named(f->engine, "x");
    rule->json_use = (struct json_use){.documents = 0};
    engine_call(f->engine, rule, &input, NULL);
    free(payload);
}

/*
 * Refuses every block once: Lua answers a refusal with a full collection and asks again. Since
 * 5.4.5 not when a stack grows, which no other block that grows can be told from.
 */
enum { GROWTH_IS_ASKED_FOR_AGAIN = LUA_VERSION_RELEASE_NUM < 50405 };
struct stress {
    lua_Alloc alloc;
    void *context;
    bool refuse;
    long left; /* blocks until all are refused; -1: never */
};

static inline void *stress_alloc(void *context, void *block, size_t old_size, size_t new_size)
{
    struct stress *stress = context;
    if (new_size > (block == NULL ? 0 : old_size)) {
        if (stress->left == 0)
            return NULL;
        if (stress->left > 0) {
            stress->left--;
        } else if (block == NULL || GROWTH_IS_ASKED_FOR_AGAIN) {
            stress->refuse = !stress->refuse;
            if (stress->refuse)
                return NULL;
        }
    }
    return stress->alloc(stress->context, block, old_size, new_size);
}

static inline int open_state(lua_State *L)
{
    static const char *const own[] = {"pcall", "xpcall", "tonumber", NULL};
    luaL_openlibs(L);
    json_open(L);
    lua_pushglobaltable(L);
    for (size_t i = 0; own[i] != NULL; i++)
        lua_getfield(L, 1, own[i]);
    lua_pushvalue(L, 1);
    guards_open_base(L); /* all but those that need an engine */
    lua_pop(L, 1);
    for (size_t i = 3; i > 0; i--)
        lua_setfield(L, 1, own[i - 1]);
    json_push_library(L);
    lua_setfield(L, 1, "json");
    if (luaL_dostring(L, same_source) != LUA_OK)
        return lua_error(L);
    lua_setfield(L, 1, "same");
    return 0;
}

/* A document whose field `f` is nested and that has one field before and one behind. */
#define FIFTY "01234567890123456789012345678901234567890123456789"
#define FILL                                                                                       \
    "\"fill\":[[\"" FIFTY "\"],[\"" FIFTY "\"],{\"o\":{\"p\":[\"" FIFTY "\",{\"q\":{}}]}}],"       \
    "\"more\":{\"a\":[{},{},{},{},{},{},{}],\"b\":\"" FIFTY FIFTY "\","                            \
    "\"c\":{\"d\":[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]}}"

#endif
