#include "unit/engine_fixture.h"

#include "rules/engine_impl.h"
#include "rules/guards.h"
#include "rules/json.h"
#include "unit/json_documents.h"

/*
 * msg.data, decoded as it is touched, beside mill.json.decode(msg.raw), decoded at once: whatever a
 * rule does, both must look the same. The random tests say with which seed they failed.
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

/* lib/ops.lua: what rules do with tables. Each gets the two and returns what must be equal. */
static const char ops_source[] =
    "local ops = {}\n"
    "local function add(name, f) ops[#ops + 1] = { name = name, f = f } end\n"
    "local function texts(ok, ...)\n"
    "  return ok, (tostring((...)):gsub('0x%x+', ''))\n"
    "end\n"
    "add('length', function(t) return #t end)\n"
    "add('rawlen', function(t) return rawlen(t) end)\n"
    "add('type', function(t) return type(t), (tostring(t):gsub('0x%x+', '')) end)\n"
    "add('format', function(t) return (string.format('%s', t):gsub('0x%x+', '')) end)\n"
    "add('metatable', function(t) return getmetatable(t) end)\n"
    "add('empty', function(t) return next(t) == nil end)\n"
    "add('next', function(t, k)\n"
    "  local n, key = 0, next(t)\n"
    "  while key ~= nil do n, key = n + 1, next(t, key) end\n"
    "  return n, k ~= nil and rawget(t, k) ~= nil\n"
    "end)\n"
    "add('ipairs', function(t)\n"
    "  local n = 0\n"
    "  for i, v in ipairs(t) do n = n + i if v == nil then error('nil') end end\n"
    "  return n\n"
    "end)\n"
    "add('first items', function(t)\n"
    "  for i, v in ipairs(t) do if i == 3 then return type(v) end end\n"
    "end)\n"
    "add('rawget', function(t, k) return type(rawget(t, k)), rawget(t, k) == t[k] end)\n"
    "add('twice', function(t, k) return rawequal(t[k], t[k]), t[k] == t[k] end)\n"
    "add('no such', function(t) return t.nope, t[0], t[-1], t[1.5], t[true], t['1'], t[#t + 1] "
    "end)\n"
    "add('float', function(t) return type(t[1.0]), type(t[2.0]) end)\n"
    "add('nil key', function(t) return t[nil], texts(pcall(function() t[nil] = 1 end)) end)\n"
    "add('nan key', function(t) return texts(pcall(function() t[0/0] = 1 end)) end)\n"
    "add('rawset nil key', function(t) return texts(pcall(rawset, t, nil, 1)) end)\n"
    "add('arithmetic', function(t) return texts(pcall(function() return t + 1 end)) end)\n"
    "add('concatenation', function(t) return texts(pcall(function() return t .. 'x' end)) end)\n"
    "add('call', function(t) return texts(pcall(function() return t() end)) end)\n"
    "add('order', function(t) return texts(pcall(function() return t < t end)) end)\n"
    "add('index of a field', function(t, k)\n"
    "  return texts(pcall(function() return t[k].x.y end))\n"
    "end)\n"
    "add('error object', function(t)\n"
    "  local ok, e = pcall(error, t)\n"
    "  return ok, e == t\n"
    "end)\n"
    "add('closing', function(t) return texts(pcall(function() local x <close> = t end)) end)\n"
    "add('concat', function(t) return texts(pcall(table.concat, t, ',')) end)\n"
    "add('unpack', function(t) return select('#', table.unpack(t)) end)\n"
    "add('unpack some', function(t)\n"
    "  local a, b = table.unpack(t, 1, 2)\n"
    "  return type(a), type(b), a == t[1], b == t[2]\n"
    "end)\n"
    "add('pack', function(t, k) return table.pack(t, t[k]).n end)\n"
    "add('move', function(t)\n"
    "  local to = table.move(t, 1, #t, 1, {})\n"
    "  return #to, to[1] == t[1], to[#t] == t[#t]\n"
    "end)\n"
    "add('cjson', function(t)\n"
    "  local ok, text = pcall(require('cjson').encode, t)\n"
    "  return ok, ok and #text or 'refused'\n"
    "end)\n"
    "add('json', function(t)\n"
    "  local ok, text = pcall(mill.json.encode, t)\n"
    "  return ok, #text\n"
    "end)\n"
    "add('as __index', function(t, k)\n"
    "  local o = setmetatable({}, { __index = t })\n"
    "  return type(o[k]), o[k] == t[k]\n"
    "end)\n"
    "add('as metatable', function(t)\n"
    "  local ok, o = pcall(setmetatable, {}, t)\n"
    "  return ok, ok and getmetatable(o) == t\n"
    "end)\n"
    "add('coroutine', function(t)\n"
    "  local n = 0\n"
    "  local walk = coroutine.wrap(function() for k in pairs(t) do coroutine.yield(k) end end)\n"
    "  for _ in walk do n = n + 1 end\n"
    "  return n\n"
    "end)\n"
    "return ops\n";

/* lib/changes.lua: what changes tables. `k` is a key that may be there, `v` the value for it. */
static const char changes_source[] =
    "local changes = {}\n"
    "local function add(name, f) changes[#changes + 1] = { name = name, f = f } end\n"
    "local function is_list(t) return #t > 0 or getmetatable(t) ~= nil end\n"
    "add('set', function(t, k, v)\n"
    "  local fits = type(k) == 'string'\n"
    "  if is_list(t) then fits = math.type(k) == 'integer' and k >= 1 and k <= #t + 1 end\n"
    "  if fits and v ~= nil then t[k] = v end\n"
    "end)\n"
    "add('rawset', function(t, k, v)\n"
    "  if not is_list(t) and type(k) == 'string' then rawset(t, k, v) end\n"
    "end)\n"
    "add('clear', function(t, k) if not is_list(t) then t[k] = nil end end)\n"
    "add('read, then clear', function(t, k)\n"
    "  if is_list(t) then return end\n"
    "  local had = t[k]\n"
    "  t[k] = nil\n"
    "  return type(had), type(t[k])\n"
    "end)\n"
    "add('clear, then set', function(t, k, v)\n"
    "  if is_list(t) then return end\n"
    "  t[k] = nil\n"
    "  if type(k) == 'string' then t[k] = v end\n"
    "end)\n"
    "add('append', function(t, _, v) if is_list(t) then t[#t + 1] = v end end)\n"
    "add('read and drop the last', function(t)\n"
    "  if not is_list(t) then return end\n"
    "  local last = t[#t]\n"
    "  t[#t] = nil\n"
    "  return type(last), #t\n"
    "end)\n"
    "add('insert', function(t, _, v) if is_list(t) then table.insert(t, v) end end)\n"
    "add('insert first', function(t, _, v) if is_list(t) then table.insert(t, 1, v) end end)\n"
    "add('remove', function(t) if is_list(t) then return type(table.remove(t)) end end)\n"
    "add('remove first', function(t)\n"
    "  if is_list(t) and #t > 0 then return type(table.remove(t, 1)), #t end\n"
    "end)\n"
    "add('sort', function(t)\n"
    "  local n, order = 0, {}\n"
    "  for i, v in ipairs(t) do order[v] = type(v) .. (type(v) == 'table' and i or tostring(v)) "
    "end\n"
    "  local ok = pcall(table.sort, t, function(a, b) return order[a] > order[b] end)\n"
    "  return ok\n"
    "end)\n"
    "add('move within', function(t)\n"
    "  if is_list(t) and #t > 1 then table.move(t, 2, #t, 1) t[#t] = nil end\n"
    "end)\n"
    "add('swap', function(t)\n"
    "  if is_list(t) and #t > 1 then t[1], t[#t] = t[#t], t[1] end\n"
    "end)\n"
    "add('tag', function(t)\n"
    "  return (pcall(mill.json.array, t)), getmetatable(t) == mill.json.array_mt\n"
    "end)\n"
    "add('drop the metatable', function(t) setmetatable(t, nil) end)\n"
    "add('clear while traversing', function(t)\n"
    "  if is_list(t) then return end\n"
    "  for k, v in pairs(t) do if type(v) == 'table' then t[k] = nil end end\n"
    "end)\n"
    "return changes\n";

/* The rule: as many random steps on the two as the payload's turn says, then all is compared. */
static const char rule_source[] =
    "local same, ops, changes = require 'same', require 'ops', require 'changes'\n"
    "local random = math.random\n"
    "local function pick(list) return list[random(#list)] end\n"
    "local function key_of(t)\n"
    "  local keys = { 'a', 'nope', 1, 2, 7, '' }\n"
    "  for k in pairs(t) do keys[#keys + 1] = k end\n"
    "  table.sort(keys, function(a, b)\n"
    "    if type(a) ~= type(b) then return type(a) < type(b) end\n"
    "    return a < b\n"
    "  end)\n"
    "  return pick(keys)\n"
    "end\n"
    "local kept\n"
    "local function compare(name, report, lazy, ...)\n"
    "  if lazy.n ~= select('#', ...) then report(name) end\n"
    "  for i = 1, lazy.n do\n"
    "    if not same.scalar(lazy[i], (select(i, ...))) then report(name) end\n"
    "  end\n"
    "end\n"
    "local function step(nodes, report)\n"
    "  local node = pick(nodes)\n"
    "  local a, b = node[1], node[2]\n"
    "  local k = key_of(b)\n"
    "  local what = random(10)\n"
    "  if what <= 5 then\n"
    "    local x, y = a[k], b[k]\n"
    "    if not same.scalar(x, y) then report('field ' .. tostring(k)) end\n"
    "    if type(x) == 'table' then nodes[#nodes + 1] = { x, y } end\n"
    "  elseif what <= 8 then\n"
    "    local op = pick(ops)\n"
    "    report(nil, op.name)\n"
    "    compare(op.name, report, table.pack(op.f(a, k)), op.f(b, k))\n"
    "  elseif what == 9 then\n"
    "    local change, other = pick(changes), key_of(b)\n"
    "    local value = pick { { 1, 1 }, { 'x', 'x' }, { {}, {} }, { a[other], b[other] } }\n"
    "    if value[2] == nil then value = { 1, 1 } end\n" /* no holes: they have no length */
    "    report(nil, change.name)\n"
    "    compare(change.name, report, table.pack(pcall(change.f, a, k, value[1])),\n"
    "      pcall(change.f, b, k, value[2]))\n"
    "  else\n"
    "    same.level(a, b, report)\n"
    "  end\n"
    "end\n"
    "return { subjects = { '>' }, on_message = function(msg)\n"
    "  local trail = {}\n"
    "  local function report(what, note)\n"
    "    if note then trail[#trail + 1] = note return end\n"
    "    error(what .. ' differs, after: ' .. table.concat(trail, ', '))\n"
    "  end\n"
    "  local seed = msg.sequence\n"
    "  math.randomseed(seed)\n"
    "  local lazy, whole = msg.data, mill.json.decode(msg.raw)\n"
    "  if type(lazy) ~= 'table' then same.deep(lazy, whole, report) return end\n"
    "  if kept and seed % 3 == 0 then pcall(same.deep, kept[1], kept[2], report) end\n"
    "  local nodes = { { lazy, whole } }\n"
    "  for _ = 1, random(0, 60) do step(nodes, report) end\n"
    "  mill.state('s').last = lazy\n"
    "  if (not pcall(mill.json.encode, whole)) then return end\n" /* a cycle, a mixture */
    "  same.deep(lazy, whole, report)\n"
    "  kept = pick(nodes)\n"
    "  mill.publish('out', lazy)\n"
    "  mill.publish('out', whole)\n"
    "end }\n";

static void open_rule(struct fixture *f)
{
    f->options.limits.timeout_ns = 20 * NS_PER_S;
    write_rule(f, "lib/same", same_source);
    write_rule(f, "lib/ops", ops_source);
    write_rule(f, "lib/changes", changes_source);
    open_with(f, rule_source);
}

/* Sends a document, which is gone when this returns; decoded lazily, whatever was learnt. */
static void send_document(struct fixture *f, const char *bytes, size_t size, uint64_t sequence)
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

static void send_random(struct fixture *f, void (*write)(struct document_text *, uint64_t),
                        uint64_t from, uint64_t to)
{
    static struct document_text text;
    for (uint64_t seed = from; seed < to; seed++) {
        write(&text, seed);
        send_document(f, text.bytes, text.size, seed);
        struct end *end = last_end(f);
        if (end->outcome != OUTCOME_DONE)
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, end->error, end->traceback);
    }
}

/* --- random: everything there is -------------------------------------------------------------- */

static void test_whatever_a_rule_does_it_cannot_tell(void **state)
{
    struct fixture *f = *state;
    open_rule(f);
    send_random(f, document_write, 1, 1 + 4000 / SLOWNESS);
}

static void test_nor_can_it_with_small_documents(void **state)
{
    struct fixture *f = *state;
    open_rule(f);
    send_random(f, document_write_small, 1, 1 + 6000 / SLOWNESS);
}

/*
 * Refuses every block once: Lua answers a refusal with a full collection and asks again. Since 5.4.5
 * not when a stack grows, which no other block that grows can be told from.
 */
enum { GROWTH_IS_ASKED_FOR_AGAIN = LUA_VERSION_RELEASE_NUM < 50405 };
struct stress {
    lua_Alloc alloc;
    void *context;
    bool refuse;
    long left; /* blocks until all are refused; -1: never */
};

static void *stress_alloc(void *context, void *block, size_t old_size, size_t new_size)
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

static void test_a_collection_at_every_allocation_makes_no_difference(void **state)
{
    static struct stress stress; /* outlives a failure: the engine is closed with it */
    struct fixture *f = *state;
    open_rule(f);
    stress = (struct stress){.left = -1};
    stress.alloc = lua_getallocf(f->engine->L, &stress.context);
    lua_setallocf(f->engine->L, stress_alloc, &stress);
    send_random(f, document_write, 10000, 10000 + 160 / SLOWNESS);
    send_random(f, document_write_small, 10000, 10000 + 160 / SLOWNESS);
    lua_setallocf(f->engine->L, stress.alloc, stress.context);
}

/* --- memory that runs out, in a state of its own: engines end the call then -------------------- */

static int open_state(lua_State *L)
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

/* --- single cases ----------------------------------------------------------------------------- */

/* A document whose field `f` is nested and that has one field before and one behind. */
#define FIFTY "01234567890123456789012345678901234567890123456789"
#define FILL                                                                                       \
    "\"fill\":[[\"" FIFTY "\"],[\"" FIFTY "\"],{\"o\":{\"p\":[\"" FIFTY "\",{\"q\":{}}]}}],"       \
    "\"more\":{\"a\":[{},{},{},{},{},{},{}],\"b\":\"" FIFTY FIFTY "\","                            \
    "\"c\":{\"d\":[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]}}"

/* Runs a body on a document; in it `whole` is what msg.data must look like. */
static void run_on(struct fixture *f, const char *document, const char *body)
{
    static char source[4096];
    snprintf(source, sizeof(source), "local whole = mill.json.decode(msg.raw)\n%s", body);
    open_handler(f, source);
    assert_true(strlen(document) > 400); /* or it is decoded at once */
    send_document(f, document, strlen(document), 1);
    assert_done(f);
}

static void test_of_keys_that_come_again_the_last_one_counts(void **state)
{
    run_on(*state,
           "{\"a\":1,\"a\":{\"x\":[]}," FILL ",\"b\":{\"x\":[1]},\"b\":2,\"c\":[[1]],\"c\":[[2]]}",
           "assert(msg.data.a.x and msg.data.b == 2 and msg.data.c[1][1] == 2)\n"
           "msg.data.c = nil assert(msg.data.c == nil)\n"
           "for k in pairs(msg.data) do assert(k ~= 'c') end");
}

static void test_keys_are_found_however_they_are_spelled(void **state)
{
    run_on(*state,
           "{\"\\u0061\":1,\"a\":{\"x\":[]}," FILL ",\"\\u0062\":{\"x\":[{}]},\"\":{\"y\":[{}]}}",
           "assert(msg.data.a.x and msg.data.b.x[1] and msg.data[''].y[1])");
}

static void test_a_field_that_is_removed_stays_removed(void **state)
{
    run_on(*state, "{\"s\":1," FILL ",\"last\":{}}",
           "local d = msg.data\n"
           "assert(d.fill) d.fill = nil assert(d.fill == nil)\n"
           "d.more = nil assert(d.more == nil) d.s = nil assert(d.s == nil)\n"
           "assert(next(d) == 'last' and next(d, 'last') == nil)");
}

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

static void test_a_field_that_is_read_often_is_the_same_each_time(void **state)
{
    struct fixture *f = *state;
    static const char text[] = "{\"a\":1.5,\"b\":\"x\",\"n\":{\"y\":2}}";
    open_handler(f, "local d = msg.data\n"
                    "for i = 1, 100 do assert(d.a == 1.5 and d.b == 'x' and d.c == nil) end\n"
                    "local n = d.n n.y = 3 assert(d.n == n and d.n.y == 3)\n"
                    "d.a = nil assert(d.a == nil)");
    send_document(f, text, sizeof(text) - 1, 1);
    assert_done(f);
}

static void test_a_state_that_holds_data_survives_a_reload(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    const char *text = "{\"s\":1," FILL "}";
    open_handler(f, "mill.state('s').kept = msg.data assert(msg.data.more)");
    send_document(f, text, strlen(text), 1);
    assert_done(f);
    struct engine *old = f->engine;
    write_rule(f, "lib/same", same_source);
    open_handler(f, "local whole = mill.json.decode(msg.raw)\n"
                    "require('same').deep(mill.state('s').kept, whole, error)\n");
    assert_int_equal(engine_carry_state(f->engine, old, &err), 0);
    engine_close(old);
    send_document(f, text, strlen(text), 1);
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

static void test_next_is_what_pairs_uses(void **state)
{
    run_body(*state, "local f, t, k = pairs({ 1 }) assert(f == next and t[1] == 1 and k == nil)\n"
                     "local ok, e = pcall(function() for _ in pairs(nil) do end end)\n"
                     "assert(not ok and e:find('table expected, got nil', 1, true), e)\n"
                     "ok, e = pcall(next, {}, 'nope') assert(not ok and e:find('invalid key'), e)\n"
                     "local t = setmetatable({}, { __pairs = function() return 1, 2, 3 end })\n"
                     "local a, b, c = pairs(t) assert(a == 1 and b == 2 and c == 3)");
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

static void test_labels_headers_and_options_may_come_from_the_data(void **state)
{
    struct fixture *f = *state;
    run_on(f,
           "{\"labels\":{\"site\":\"north\",\"hall\":3},"
           "\"opts\":{\"headers\":{\"X\":\"" FIFTY "\"},\"id\":\"7\"},"
           "\"data\":{\"v\":[[1.0],{}]}," FILL "}",
           "mill.counter('seen', msg.data.labels):add(1)\n"
           "mill.publish('out', msg.data.data, msg.data.opts)");
    assert_text_contains(f->metric, "seen hall=3 site=north");
    struct seen_output *output = &last_end(f)->outputs[0];
    assert_string_equal(output->payload, "{\"v\":[[1.0],{}]}");
    assert_string_equal(output->id, "7");
    assert_string_equal(output->header_value, FIFTY);
}

static void test_labels_that_are_tables_are_refused_though_nobody_has_read_them(void **state)
{
    run_on(*state, "{\"strings\":{\"site\":\"north\",\"bad\":{\"x\":[\"" FIFTY "\"]}}," FILL "}",
           "local ok, e = pcall(mill.counter, 'seen', msg.data.strings)\n"
           "assert(not ok and e:find('labels.bad', 1, true), e)\n");
}

static void test_headers_that_are_tables_are_refused_though_nobody_has_read_them(void **state)
{
    run_on(*state, "{\"strings\":{\"site\":\"north\",\"bad\":{\"x\":[\"" FIFTY "\"]}}," FILL "}",
           "local ok, e = pcall(mill.publish, 'out', '', { headers = msg.data.strings })\n"
           "assert(not ok and e:find('bad', 1, true), e)\n");
}

static void test_a_fault_in_a_part_nobody_reads_is_the_payloads_fault(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "return msg.data.s");
    const char *text = "{\"s\":1," FILL ",\"bad\":[{\"x\":[1e999]}]}";
    send_document(f, text, strlen(text), 1);
    assert_int_equal(last_end(f)->outcome, OUTCOME_REJECT);
    assert_text_contains(last_end(f)->error, "the payload is not JSON: byte ");
}

static void test_looking_up_what_is_not_in_a_large_object_does_not_search_it_each_time(void **state)
{
    struct fixture *f = *state;
    static char text[1 << 20];
    char body[512];
    size_t size = 0;
    text[size++] = '{';
    for (int i = 0; i < 20000; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "\"k%d\":{\"v\":[{}]},", i);
    size += (size_t)snprintf(text + size, sizeof(text) - size, "\"end\":[%s]}", "{},{},{}");
    f->options.limits.timeout_ns = 10 * NS_PER_S; /* 0.3 s, or a minute */
    snprintf(body, sizeof(body),
             "local d, n = msg.data, 0\n"
             "for _ = 1, %d do\n"
             "  for i = 0, 19999, 2 do\n"
             "    if d['k' .. i].v[1] and not d['n' .. i] then n = n + 1 end\n"
             "  end\n"
             "end\n"
             "assert(n == %d * 10000)",
             100 / SLOWNESS, 100 / SLOWNESS);
    open_handler(f, body);
    send_document(f, text, size, 1);
    assert_done(f);
}

static void test_a_rule_that_reads_all_gets_its_documents_decoded_at_once(void **state)
{
    struct json_use use = {.documents = 0};
    const char *text = "{\"s\":1," FILL "}";
    (void)state;
    lua_State *L = luaL_newstate();
    lua_pushcfunction(L, open_state);
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(json_decode_lazy(L, text, strlen(text), &use), 0);
        assert_int_equal(json_encode(L, -1), 0);
        lua_settop(L, 0);
    }
    assert_true(use.at_once > 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(json_decode_lazy(L, text, strlen(text), &use), 0);
        lua_settop(L, 0);
    }
    assert_int_equal(use.at_once, 0);
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_whatever_a_rule_does_it_cannot_tell),
        engine_test(test_nor_can_it_with_small_documents),
        engine_test(test_a_collection_at_every_allocation_makes_no_difference),
        cmocka_unit_test(test_memory_that_runs_out_leaves_the_tables_as_they_were),
        cmocka_unit_test(test_small_ones_too_are_left_as_they_were),
        engine_test(test_of_keys_that_come_again_the_last_one_counts),
        engine_test(test_keys_are_found_however_they_are_spelled),
        engine_test(test_a_field_that_is_removed_stays_removed),
        engine_test(test_what_is_kept_outlives_the_message),
        engine_test(test_a_field_that_is_read_often_is_the_same_each_time),
        engine_test(test_a_state_that_holds_data_survives_a_reload),
        engine_test(test_a_payload_that_nearly_fills_the_memory_is_decoded),
        engine_test(test_next_is_what_pairs_uses),
        engine_test(test_keeping_a_small_part_does_not_keep_the_document),
        engine_test(test_labels_headers_and_options_may_come_from_the_data),
        engine_test(test_labels_that_are_tables_are_refused_though_nobody_has_read_them),
        engine_test(test_headers_that_are_tables_are_refused_though_nobody_has_read_them),
        engine_test(test_a_fault_in_a_part_nobody_reads_is_the_payloads_fault),
        engine_test(test_looking_up_what_is_not_in_a_large_object_does_not_search_it_each_time),
        cmocka_unit_test(test_a_rule_that_reads_all_gets_its_documents_decoded_at_once),
    };
    return cmocka_run_group_tests_name("json_lazy", tests, NULL, NULL);
}
