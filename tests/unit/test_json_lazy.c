#include "unit/json_lazy_fixture.h"

#include "unit/json_documents.h"

/*
 * msg.data, decoded as it is touched, beside mill.json.decode(msg.raw), decoded at once: whatever a
 * rule does, both must look the same. The random tests say with which seed they failed.
 */

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

/* --- single cases ----------------------------------------------------------------------------- */

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

static void test_next_is_what_pairs_uses(void **state)
{
    run_body(*state, "local f, t, k = pairs({ 1 }) assert(f == next and t[1] == 1 and k == nil)\n"
                     "local ok, e = pcall(function() for _ in pairs(nil) do end end)\n"
                     "assert(not ok and e:find('table expected, got nil', 1, true), e)\n"
                     "ok, e = pcall(next, {}, 'nope') assert(not ok and e:find('invalid key'), e)\n"
                     "local t = setmetatable({}, { __pairs = function() return 1, 2, 3 end })\n"
                     "local a, b, c = pairs(t) assert(a == 1 and b == 2 and c == 3)");
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
        engine_test(test_of_keys_that_come_again_the_last_one_counts),
        engine_test(test_keys_are_found_however_they_are_spelled),
        engine_test(test_a_field_that_is_removed_stays_removed),
        engine_test(test_a_field_that_is_read_often_is_the_same_each_time),
        engine_test(test_a_state_that_holds_data_survives_a_reload),
        engine_test(test_next_is_what_pairs_uses),
        engine_test(test_labels_headers_and_options_may_come_from_the_data),
        engine_test(test_labels_that_are_tables_are_refused_though_nobody_has_read_them),
        engine_test(test_headers_that_are_tables_are_refused_though_nobody_has_read_them),
        engine_test(test_a_fault_in_a_part_nobody_reads_is_the_payloads_fault),
        engine_test(test_looking_up_what_is_not_in_a_large_object_does_not_search_it_each_time),
        cmocka_unit_test(test_a_rule_that_reads_all_gets_its_documents_decoded_at_once),
    };
    return cmocka_run_group_tests_name("json_lazy", tests, NULL, NULL);
}
