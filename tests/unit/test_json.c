#include "sanitizer.h"
#include "unit/json_state.h"

/*
 * The codec as a whole; each direction has its own file (test_json_decode.c, test_json_encode.c).
 */

enum { SEED = 20241123, ROUNDS = 4000 / SLOWNESS };

static void test_a_canonical_text_comes_back_byte_for_byte(void **state)
{
    static const char *const texts[] = {
        "[]",
        "{}",
        "[{},[],null,true,false,\"\",0,-1,1.0,-0.0,0.1,1e15,2.5e-9]",
        "[1732300000123,9007199254740993,9223372036854775807,-9223372036854775808]",
        "{\"ids\":[9223372036854775807]}",
        "[\"\\u0000\\n\\\"\\\\/\",\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"]",
        "[[[[[[1.8446744073709552e19]]]]]]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(decode(*state, texts[i], strlen(texts[i])), 0);
        assert_int_equal(encode(*state, -1), 0);
        assert_string_equal(lua_tostring(*state, -1), texts[i]);
    }
}

static void test_the_library_raises_at_the_line_of_the_call(void **state)
{
    run(*state, "local function message(code)\n"
                "  local ok, text = pcall(assert(load(code, '=rule.lua')))\n"
                "  assert(not ok)\n"
                "  return text\n"
                "end\n"
                "assert(message('\\njson.decode(\"[\")')\n"
                "  == 'rule.lua:2: byte 2: the text ends too early')\n"
                "assert(message('json.encode(print)')\n"
                "  == 'rule.lua:1: data: a function cannot be JSON')\n"
                "assert(message('json.decode(5)'):find('string expected'))\n"
                "assert(message('json.encode()'):find('value expected'))\n"
                "assert(message('array(\"x\")'):find('table expected'))\n"
                "assert(message('array(setmetatable({}, {}))'):find('another metatable'))\n");
}

static void test_the_array_metatable_cannot_be_changed(void **state)
{
    run(*state, "local mt = json.array_mt\n"
                "assert(getmetatable(json.decode('[]')) == mt)\n"
                "assert(not pcall(function() mt.__index = {} end))\n"
                "assert(not pcall(setmetatable, mt, nil))\n"
                "assert(next(mt) == nil)\n"
                "local t = {}\n"
                "assert(array(t) == t and array(t) == t and getmetatable(t) == mt)\n");
}

/* lua-cjson is the oracle: what this codec accepts, it accepts too, with an equal value. */
static const char differential[] =
    "local seed, rounds = ...\n"
    "math.randomseed(seed)\n"
    "local random, pick = math.random, function(t) return t[math.random(#t)] end\n"
    "local pieces = {'a', 'Z', ' ', '/', '\\u{e4}', '\\u{20ac}', '\\u{1f600}', '\\\\n', '\\\\\"',\n"
    "  '\\\\\\\\', '\\\\/', '\\\\u00e9', '\\\\ud83d\\\\ude00', '\\\\u0000', 'plain words of "
    "text'}\n"
    "local function space() return random(8) == 1 and pick{' ', '\\n', '\\t ', '\\r\\n'} or '' "
    "end\n"
    "local function text()\n"
    "  local t = {}\n"
    "  for i = 1, random(0, 6) do t[i] = pick(pieces) end\n"
    "  return '\"' .. table.concat(t) .. '\"'\n"
    "end\n"
    "local function number()\n"
    "  return pick{\n"
    "    function() return ('%d'):format(random(-1000, 1000)) end,\n"
    "    function() return ('%d'):format(random(-2^53, 2^53)) end,\n"
    "    function() return ('%.2f'):format(random() * 200 - 100) end,\n"
    "    function() return ('%.17g'):format((random() - 0.5) * 10.0 ^ random(-300, 300)) end,\n"
    "    function() return ('%d.%de%d'):format(random(-9, 9), random(0, 10^9), random(-40, 40)) "
    "end,\n"
    "  }()\n"
    "end\n"
    "local value\n"
    "local function list(depth)\n"
    "  local t = {}\n"
    "  for i = 1, random(0, 5) do t[i] = space() .. value(depth) .. space() end\n"
    "  return '[' .. table.concat(t, ',') .. ']'\n"
    "end\n"
    "local function object(depth)\n"
    "  local t = {}\n"
    "  for i = 1, random(0, 12) do\n"
    "    t[i] = space() .. text() .. space() .. ':' .. space() .. value(depth)\n"
    "  end\n"
    "  return '{' .. table.concat(t, ',') .. space() .. '}'\n"
    "end\n"
    "function value(depth)\n"
    "  local kind = random(depth > 4 and 6 or 10)\n"
    "  if kind <= 2 then return text() end\n"
    "  if kind <= 5 then return number() end\n"
    "  if kind == 6 then return pick{'true', 'false', 'null'} end\n"
    "  return (kind <= 8 and list or object)(depth + 1)\n"
    "end\n"
    "local function show(doc, what) return ('seed %d: %s: %s'):format(seed, what, doc) end\n"
    "for _ = 1, rounds do\n"
    "  local doc = pick{list, object}(1)\n"
    "  local mine = json.decode(doc)\n"
    "  assert(alike(mine, cjson.decode(doc)), show(doc, 'decoded differently'))\n"
    "  local again = json.encode(mine)\n"
    "  assert(same(json.decode(again), mine), show(doc, 'not the same after encoding'))\n"
    "  assert(alike(cjson.decode(again), mine), show(doc, 'encoded differently'))\n"
    "end\n"
    "local accepted, refused = 0, 0\n"
    "local junk = {'\"', '\\\\', '{', '}', '[', ']', ',', ':', '-', '.', 'e', '0', 'u', ' ', "
    "'\\n', '\\0'}\n"
    "for _ = 1, rounds do\n"
    "  local doc = pick{list, object}(3)\n"
    "  local at = random(#doc)\n"
    "  doc = doc:sub(1, at - 1) .. pick(junk):rep(random(0, 1)) .. doc:sub(at + random(0, 1))\n"
    "  local ok, mine = pcall(json.decode, doc)\n"
    "  if ok then\n"
    "    accepted = accepted + 1\n"
    "    assert(alike(mine, cjson.decode(doc)), show(doc, 'decoded differently'))\n"
    "  else\n"
    "    refused = refused + 1\n"
    "  end\n"
    "end\n"
    "assert(accepted > rounds // 20 and refused > rounds // 20)\n";

static void test_lua_cjson_agrees_on_generated_documents(void **state)
{
    lua_State *L = *state;
    print_message("seed %d\n", SEED);
    assert_int_equal(luaL_loadstring(L, differential), LUA_OK);
    lua_pushinteger(L, SEED);
    lua_pushinteger(L, ROUNDS);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* Memory */

/*
 * Counts what is held; from the moment `left` is used up, everything that asks for more gets NULL.
 */
struct memory {
    size_t held;
    long left; /* -1: no limit */
};

static void *allocate(void *context, void *block, size_t old_size, size_t size)
{
    struct memory *memory = context;
    if (block == NULL)
        old_size = 0; /* it is a type then */
    if (size > old_size && memory->left >= 0) {
        if (memory->left == 0)
            return NULL;
        memory->left--;
    }
    void *moved = NULL;
    if (size == 0)
        free(block);
    else
        moved = realloc(block, size);
    memory->held += size - old_size;
    return moved;
}

static int open_codec(lua_State *L)
{
    json_open(L);
    return 0;
}

/* Decodes and encodes a document that takes every path that allocates. */
static int there_and_back(lua_State *L)
{
    size_t size;
    const char *text = lua_tolstring(L, 1, &size);
    if (json_decode(L, text, size) < 0 || json_encode(L, -1) < 0)
        return luaL_error(L, "%s", lua_tostring(L, -1));
    lua_pushlightuserdata(L, L); /* no JSON: making the message allocates too */
    return json_encode(L, -1) < 0 ? 0 : luaL_error(L, "a pointer was encoded");
}

static void append(char *text, const char *piece, int times)
{
    for (text += strlen(text); times > 0; times--, text += strlen(piece))
        memcpy(text, piece, strlen(piece) + 1);
}

static void test_running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    static char text[16384];
    append(text, "{\"long\":\"", 1);
    append(text, "line\\n", 400);
    append(text, "\",\"deep\":", 1);
    append(text, "[", 50);
    append(text, "]", 50);
    append(text, ",\"items\":[0", 1);
    append(text, ",{\"a\":1.5,\"b\":\"text\"}", 100);
    append(text, "]}", 1);

    int status = LUA_ERRMEM;
    long allowed = 0;
    for (; status != LUA_OK; allowed++) {
        struct memory memory = {.left = -1};
        lua_State *L = lua_newstate(allocate, &memory);
        assert_non_null(L);
        lua_pushcfunction(L, open_codec);
        assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
        lua_pushcfunction(L, there_and_back);
        lua_pushstring(L, text);
        memory.left = allowed;
        status = lua_pcall(L, 1, 0, 0);
        memory.left = -1;
        /* A Lua stack that cannot grow is an ordinary error that says so. */
        if (status == LUA_ERRRUN)
            assert_non_null(strstr(lua_tostring(L, -1), "stack overflow"));
        else
            assert_true(status == LUA_ERRMEM || status == LUA_OK);
        lua_close(L);
        assert_int_equal(memory.held, 0);
    }
    assert_true(allowed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_canonical_text_comes_back_byte_for_byte),
        CASE(test_the_library_raises_at_the_line_of_the_call),
        CASE(test_the_array_metatable_cannot_be_changed),
        CASE(test_lua_cjson_agrees_on_generated_documents),
        cmocka_unit_test(test_running_out_of_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
