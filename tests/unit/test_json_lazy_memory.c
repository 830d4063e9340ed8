#include "unit/json_lazy_fixture.h"

/* msg.data, decoded as it is touched, and memory: when it runs out, and what is kept how long. */

/* --- memory that runs out, in a state of its own: engines end the call then ------------------- */

/* decode(text): as msg.data is. */
static int decode_lazily(lua_State *L)
{
    size_t size = 0;
    const char *text = luaL_checklstring(L, 1, &size);
    if (json_decode_lazy(L, text, size, NULL) != 0)
        return lua_error(L);
    return 1;
}

static void run_chunk(lua_State *L, const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* Runs `op` again and again, with one allocation more each time, until there are enough. */
static void run_short_of_memory(lua_State *L, struct stress *stress, const char *op)
{
    int status = LUA_ERRMEM;
    for (long left = 0; status != LUA_OK; left++) {
        assert_true(left < 2000);
        run_chunk(L, "doc, whole = decode(text), json.decode(text)\n"
                     "seen = doc.seen seen.mark, whole.seen.mark = 1, 1\n"
                     "item = doc.list[2] item.mark, whole.list[2].mark = 2, 2\n"
                     "doc.s2, whole.s2 = nil, nil\n"
                     "collectgarbage()");
        assert_int_equal(luaL_loadstring(L, op), LUA_OK);
        stress->left = left;
        status = lua_pcall(L, 0, 0, 0);
        stress->left = -1;
        if (status != LUA_OK)
            assert_int_equal(status, LUA_ERRMEM);
        lua_settop(L, 0);
        run_chunk(L, "assert(rawequal(doc.seen, seen) and rawequal(doc.list[2], item))\n"
                     "assert(#doc.list == #whole.list)\n"
                     "doc.added, whole.added = nil, nil\n"
                     "local before = {}\n"
                     "for k in pairs(whole) do before[k] = doc[k] end\n"
                     "same.deep(doc, whole, error)\n"
                     "for k in pairs(whole) do assert(rawequal(doc[k], before[k])) end");
    }
}

static void test_memory_that_runs_out_leaves_the_tables_as_they_were(void **state)
{
    (void)state;
    struct stress stress = {.left = -1};
    lua_State *L = luaL_newstate();
    stress.alloc = lua_getallocf(L, &stress.context);
    lua_pushcfunction(L, open_state);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    lua_register(L, "decode", decode_lazily);
    run_chunk(
        L,
        "local filler = (', {\"n\": [[1, 2], {\"deep\": {\"er\": [7], \"es\": []}}]}'):rep(9)\n"
        "text = '{\"s1\": 1, \"s2\": 2, \"seen\": {\"a\": [1, 2, 3], \"b\": {\"c\": [' ..\n"
        "  '[],[],[],[],[],[],[],[],[],[]]}}, \"twice\": {\"i\": [{}, [], [], [], [], [], []' ..\n"
        "  ', [], [], []]}, \"list\": [{}, {\"x\": 1}' .. filler .. '], \"map\": {\"k\": {' ..\n"
        "  '\"z\": [{\"z\": [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]}]}},' ..\n"
        "  '\"twice\": {\"j\": [{}, [], [], [], [], [], [], [], [], []]}}'");
    lua_setallocf(L, stress_alloc, &stress);
    run_short_of_memory(L, &stress, "return doc.map.k.z[1].z[1]");
    run_short_of_memory(L, &stress, "return doc.twice.j");
    run_short_of_memory(L, &stress, "return doc.list[5].n[2].deep");
    run_short_of_memory(L, &stress, "return next(doc)");
    run_short_of_memory(L, &stress, "return next(doc.list)");
    run_short_of_memory(L, &stress, "doc.added = 1");
    run_short_of_memory(L, &stress, "return json.encode(doc)");
    lua_setallocf(L, stress.alloc, stress.context);
    lua_close(L);
}

/* The same with a document of a few fields: whatever it was that failed, nothing is different. */
static void run_small_short_of_memory(lua_State *L, struct stress *stress, const char *op)
{
    int status = LUA_ERRMEM;
    for (long left = 0; status != LUA_OK; left++) {
        assert_true(left < 2000);
        run_chunk(L, "doc, whole = decode(small), json.decode(small) collectgarbage()");
        assert_int_equal(luaL_loadstring(L, op), LUA_OK);
        stress->left = left;
        status = lua_pcall(L, 0, 0, 0);
        stress->left = -1;
        if (status != LUA_OK)
            assert_int_equal(status, LUA_ERRMEM);
        lua_settop(L, 0);
        run_chunk(L, "assert(doc.a == 1 and doc.none == nil)\n"
                     "doc.a, doc.added = nil, nil\n"
                     "assert(doc.a == nil and doc.nested.x[2] == 2)\n"
                     "doc.z, whole.a, whole.z = nil, nil, nil\n"
                     "assert(doc.z == nil)\n"
                     "same.deep(doc, whole, error)");
    }
}

static void test_small_ones_too_are_left_as_they_were(void **state)
{
    (void)state;
    struct stress stress = {.left = -1};
    lua_State *L = luaL_newstate();
    stress.alloc = lua_getallocf(L, &stress.context);
    lua_pushcfunction(L, open_state);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    lua_register(L, "decode", decode_lazily);
    run_chunk(L, "small = '{\"a\":1,\"b\":\"a text that is longer than forty bytes, so not "
                 "interned\",\"nested\":{\"x\":[1,2]},\"c\":[],\"z\":null}'");
    lua_setallocf(L, stress_alloc, &stress);
    run_small_short_of_memory(L, &stress, "return doc.b");
    run_small_short_of_memory(L, &stress, "return doc.nested");
    run_small_short_of_memory(L, &stress, "return next(doc)");
    run_small_short_of_memory(L, &stress, "doc.added = 1");
    run_small_short_of_memory(L, &stress, "doc.a = 1");
    run_small_short_of_memory(L, &stress, "return json.encode(doc)");
    lua_setallocf(L, stress.alloc, stress.context);
    lua_close(L);
}

/* --- memory of an engine ---------------------------------------------------------------------- */

static void test_what_is_kept_outlives_the_message(void **state)
{
    struct fixture *f = *state;
    open_with(f,
              "local kept\n"
              "return { subjects = { '>' }, on_message = function(msg)\n"
              "  if not kept then kept = msg.data.more mill.state('s').kept = msg.data return end\n"
              "  assert(#kept.a == 7 and kept.c.d[1][1])\n"
              "  local all = mill.state('s').kept\n"
              "  assert(all.s == 1 and #all.fill == 3 and all.fill[3].o.p[2])\n"
              "end }");
    const char *text = "{\"s\":1," FILL "}";
    send_document(f, text, strlen(text), 1);
    assert_done(f);
    lua_gc(f->engine->L, LUA_GCCOLLECT);
    send_document(f, text, strlen(text), 2);
    assert_done(f);
}

/* Of 32 MB; the text beside the value made of it would be too much. */
static void test_a_payload_that_nearly_fills_the_memory_is_decoded(void **state)
{
    struct fixture *f = *state;
    enum { BLOB = 20 << 20 };
    char *text = malloc(BLOB + 100);
    assert_non_null(text);
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    int head = snprintf(text, 100, "{\"a\":{\"l\":[[[]],[{}]],\"blob\":\"");
    memset(text + head, 'x', BLOB);
    memcpy(text + head + BLOB, "\"}}", 3);
    open_handler(f, "assert(#msg.data.a.blob == 20 << 20)");
    send_document(f, text, (size_t)head + BLOB + 3, 1);
    free(text);
    assert_done(f);
}

/* What a rule keeps of large documents is charged as what it is, not as what it is part of. */
static void test_keeping_a_small_part_does_not_keep_the_document(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local kept = {}\n"
                 "return { subjects = { '>' }, on_message = function(msg)\n"
                 "  kept[#kept + 1] = msg.data.more\n"
                 "end }");
    static char text[64 << 10];
    int size = snprintf(text, sizeof(text), "{\"pad\":\"%060000d\"," FILL "}", 0);
    for (int i = 0; i < 2000; i++) { /* 120 MB of 32 */
        send_document(f, text, (size_t)size, 1);
        assert_done(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_that_runs_out_leaves_the_tables_as_they_were),
        cmocka_unit_test(test_small_ones_too_are_left_as_they_were),
        engine_test(test_what_is_kept_outlives_the_message),
        engine_test(test_a_payload_that_nearly_fills_the_memory_is_decoded),
        engine_test(test_keeping_a_small_part_does_not_keep_the_document),
    };
    return cmocka_run_group_tests_name("json_lazy_memory", tests, NULL, NULL);
}
