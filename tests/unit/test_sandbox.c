#include "unit/engine_fixture.h"

/* What a rule can see and reach, and the functions that are not Lua's own. */

/* --- what there is ---------------------------------------------------------------------------- */

static void test_the_globals_are_exactly_those_listed(void **state)
{
    run_body(
        *state,
        "local wanted = {}\n"
        "for name in ([[_G _VERSION assert coroutine error getmetatable ipairs math mill next os\n"
        " pairs pcall print rawequal rawget rawlen rawset require select setmetatable string\n"
        " table tonumber tostring type utf8 xpcall]]):gmatch('%S+') do wanted[name] = true end\n"
        "for name in pairs(_G) do assert(wanted[name], name) wanted[name] = nil end\n"
        "assert(next(wanted) == nil, next(wanted))");
}

static void test_the_libraries_hold_exactly_what_is_listed(void **state)
{
    run_body(*state, "local function names(t) local n = {} for k in pairs(t) do n[#n + 1] = k end\n"
                     "table.sort(n) return table.concat(n, ' ') end\n"
                     "assert(names(os) == 'clock date difftime time', names(os))\n"
                     "assert(names(table) == 'concat insert move pack remove sort unpack')\n"
                     "assert(names(coroutine) == 'close create isyieldable resume running status "
                     "wrap yield')\n"
                     "assert(names(utf8) == 'char charpattern codepoint codes len offset')\n"
                     "assert(names(string) == 'byte char find format gmatch gsub len lower match "
                     "pack packsize rep reverse sub unpack upper')\n"
                     "assert(rawget(string, 'dump') == nil and ('').dump == nil)");
}

static void test_what_rules_do_not_have_is_named(void **state)
{
    struct fixture *f = *state;
    run_body(
        f, "for name in ('io debug package load loadfile dofile collectgarbage'):gmatch('%S+') do\n"
           "  local ok, err = pcall(function() return _G[name] end)\n"
           "  assert(not ok and err:find(\"'\" .. name .. \"' is not available to rules\", 1, "
           "true), err)\n"
           "end");
}

static void test_reading_an_undefined_global_is_an_error_with_the_nearest_name(void **state)
{
    run_failing_body(*state, "prnt('x')",
                     "x.lua:2: undefined global 'prnt' (did you mean 'print'?)");
}

static void test_making_a_global_in_a_handler_is_an_error_that_says_use_local(void **state)
{
    run_failing_body(*state, "counter = 1",
                     "x.lua:2: assignment to undefined global 'counter': use \"local counter\"");
}

static void test_a_global_made_at_the_top_level_can_be_changed_in_a_handler(void **state)
{
    struct fixture *f = *state;
    open_with(f, "count = 0\nfunction bump() count = count + 1 return count end\n"
                 "return { subjects = {'>'}, on_message = function() print(bump()) end }");
    send_message(f, "{}");
    send_message(f, "{}");
    assert_string_equal(f->log, "info x: 1\ninfo x: 2\n");
}

static void test_rules_do_not_see_each_others_globals(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "a",
               "secret = 1 string.evil = 1 math.pi = 3\n"
               "return { subjects = {'>'}, on_message = function() end }");
    write_rule(f, "b",
               "return { subjects = {'>'}, on_message = function()\n"
               "assert(rawget(_G, 'secret') == nil and string.evil == nil and math.pi > 3)\n"
               "assert((''). evil == nil) end }");
    open_engine(f);
    send_to(f, "b", "s", "{}");
    assert_done(f);
}

static void test_the_random_numbers_of_rules_are_their_own(void **state)
{
    struct fixture *f = *state;
    const char *rule = "math.randomseed(42) return { subjects = {'>'}, on_message = function()\n"
                       "print(math.random(1 << 40)) end }";
    write_rule(f, "a", rule);
    write_rule(f, "b", rule);
    open_engine(f);
    send_to(f, "a", "s", "{}");
    send_to(f, "b", "s", "{}");
    char *second = strchr(f->log, '\n') + 1;
    assert_memory_equal(strstr(f->log, "a: ") + 3, strstr(second, "b: ") + 3, strlen(second) - 8);
}

/* --- metatables ------------------------------------------------------------------------------- */

static void test_the_metatable_of_strings_is_out_of_reach(void **state)
{
    run_body(*state, "assert(getmetatable('') == false)\n"
                     "assert(not pcall(setmetatable, 'x', {}))");
}

static void test_gc_metamethods_are_refused(void **state)
{
    run_failing_body(*state, "setmetatable({}, { __gc = function() while true do end end })",
                     "x.lua:2: __gc is not available");
}

static void test_a_gc_metamethod_set_later_never_runs(void **state)
{
    run_body(*state, "local mt = {} do local t = setmetatable({}, mt)\n"
                     "mt.__gc = function() while true do end end end\n"
                     "for i = 1, 20000 do local t = { i } end");
}

static void test_a_protected_metatable_cannot_be_replaced(void **state)
{
    run_failing_body(*state, "setmetatable(_G, nil)", "protected metatable");
}

static void test_the_metatable_of_arrays_cannot_be_written(void **state)
{
    run_body(*state, "local mt = getmetatable(mill.json.decode('[]'))\n"
                     "assert(not pcall(function() mt.__index = 1 end))\n"
                     "assert(not pcall(rawset, mt, '__index', 1))\n"
                     "assert(not pcall(setmetatable, mt, nil))");
}

static void test_metatables_work_otherwise(void **state)
{
    run_body(*state, "local Point = {} Point.__index = Point\n"
                     "function Point.new(x) return setmetatable({ x = x }, Point) end\n"
                     "function Point:double() return self.x * 2 end\n"
                     "assert(Point.new(4):double() == 8 and getmetatable(Point.new(1)) == Point)\n"
                     "local t = rawset({}, 'a', 1) assert(t.a == 1)");
}

/* --- mill is read-only ------------------------------------------------------------------------ */

static void test_mill_and_its_tables_cannot_be_changed(void **state)
{
    run_body(*state, "for _, t in ipairs { mill, mill.log, mill.json, mill.worker } do\n"
                     "  assert(not pcall(function() t.x = 1 end))\n"
                     "  assert(not pcall(function() t.publish = 1 end))\n"
                     "  assert(not pcall(rawset, t, 'x', 1))\n"
                     "  assert(not pcall(setmetatable, t, {}))\n"
                     "  assert(getmetatable(t) == false and next(t) == nil)\n"
                     "end");
}

static void test_pairs_walks_over_mill_without_giving_it_away(void **state)
{
    run_body(*state, "local names = {} for k, v in pairs(mill) do names[k] = v end\n"
                     "assert(names.publish == mill.publish and names.version == mill.version)\n"
                     "names.publish = nil assert(mill.publish)\n"
                     "local _, view = pairs(mill) assert(view == mill)");
}

static void test_an_unknown_member_of_mill_is_an_error_with_the_nearest_name(void **state)
{
    run_failing_body(*state, "mill.publsh('a', 'b')",
                     "x.lua:2: mill.publsh does not exist (did you mean 'publish'?)");
}

/* --- require ---------------------------------------------------------------------------------- */

static void test_each_rule_has_its_own_instance_of_a_module(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "lib/count", "local n = 0 return { up = function() n = n + 1 return n end }");
    const char *rule = "local count = require('count')\n"
                       "return { subjects = {'>'}, on_message = function() print(count.up(),\n"
                       "require('count') == count) end }";
    write_rule(f, "a", rule);
    write_rule(f, "b", rule);
    open_engine(f);
    send_to(f, "a", "s", "{}");
    send_to(f, "a", "s", "{}");
    send_to(f, "b", "s", "{}");
    assert_string_equal(f->log, "info a: 1 true\ninfo a: 2 true\ninfo b: 1 true\n");
}

static void test_a_module_may_be_required_in_a_handler_and_make_globals(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "lib/late", "late_global = 7 return true");
    run_body(f, "require('late') assert(late_global == 7)");
}

static void test_a_module_that_is_missing_is_a_clear_error(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(open_error(f, "require('nope')"), "x.lua:1: module 'nope' not found");
}

static void test_modules_that_require_each_other_are_a_clear_error(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "lib/one", "require('two')");
    write_rule(f, "lib/two", "require('one')");
    assert_text_contains(open_error(f, "require('one')"),
                         "lib/two.lua:1: module 'one' is required while it is being loaded");
}

static void test_an_error_in_a_module_names_the_module(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "lib/bad", "local x = nil\nreturn x.y");
    assert_text_contains(open_error(f, "require('bad')"), "lib/bad.lua:2: attempt to index");
    write_rule(f, "lib/bad", "return {");
    assert_text_contains(open_error(f, "require('bad')"), "lib/bad.lua:1: unexpected symbol");
}

static void test_a_module_cannot_hide_a_limit(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "lib/slow", "pcall(function() while true do end end)");
    assert_text_contains(open_error(f, "pcall(require, 'slow') while true do end"),
                         "lib/slow.lua:1: stopped");
}

static void test_cjson_can_be_required_and_is_the_rules_own(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "a",
               "local cjson = require('cjson') cjson.encode = nil\n"
               "return { subjects = {'>'}, on_message = function() end }");
    write_rule(f, "b",
               "local cjson = require('cjson') return { subjects = {'>'}, on_message = "
               "function(msg) print(cjson.encode({ 1 }), msg.data.a == cjson.null) end }");
    open_engine(f);
    send_to(f, "b", "s", "{\"a\":null}");
    assert_string_equal(f->log, "info b: [1] true\n");
}

static void test_the_depth_of_cjson_is_capped(void **state)
{
    run_body(*state, "local cjson = require('cjson')\n"
                     "for _, c in ipairs { cjson, cjson.new(), cjson.new().new() } do\n"
                     "  assert(not pcall(c.decode_max_depth, 1e9))\n"
                     "  assert(not pcall(c.encode_max_depth, 1 << 30))\n"
                     "  assert(c.decode_max_depth(10) == 10 and c.decode_max_depth() == 10)\n"
                     "  assert(not pcall(c.decode, ('['):rep(11) .. (']'):rep(11)))\n"
                     "end");
}

static void test_bytecode_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_text_contains(open_error(f, "\x1bLua"), "attempt to load a binary chunk");
}

/* --- guards ----------------------------------------------------------------------------------- */

static void test_string_rep_is_capped(void **state)
{
    struct fixture *f = *state;
    run_body(f, "assert(not pcall(string.rep, 'x', 1 << 30))\n"
                "assert(not pcall(function() return ('x'):rep(1 << 60, ',') end))\n"
                "assert((''):rep(1 << 60) == '' and ('x'):rep(-1) == '')\n"
                "assert(('ab'):rep(3, ',') == 'ab,ab,ab' and ('x'):rep(2) == 'xx')");
}

static void test_table_functions_refuse_huge_ranges_at_once(void **state)
{
    run_body(*state, "assert(not pcall(table.move, {}, 1, 1 << 30, 2))\n"
                     "assert(not pcall(table.concat, {}, '', 1, 1 << 60))\n"
                     "assert(not pcall(table.unpack, {}, 1, 1 << 60))\n"
                     "assert(not pcall(table.unpack, {}, math.mininteger, math.maxinteger))\n"
                     "local long = setmetatable({}, { __len = function() return 1 << 60 end })\n"
                     "assert(not pcall(table.unpack, long))\n"
                     "for _, f in ipairs { table.insert, table.remove, table.sort, table.concat\n"
                     "} do assert(not pcall(f, long, 1, 1)) end");
}

static void test_the_format_of_a_date_is_capped(void **state)
{
    run_body(*state,
             "assert(not pcall(os.date, ('%c'):rep(1000)))\n"
             "assert(os.date('!%Y-%m-%d', 0) == '1970-01-01' and os.date('!*t', 0).year == 1970)\n"
             "assert(type(os.date()) == 'string')");
}

static void test_table_functions_work_as_in_the_manual_otherwise(void **state)
{
    run_body(*state, "local t = { 3, 1, 2 } table.sort(t) assert(table.concat(t, ',') == '1,2,3')\n"
                     "table.insert(t, 4) table.insert(t, 1, 0) assert(table.remove(t) == 4)\n"
                     "assert(table.remove(t, 1) == 0 and select('#', table.unpack(t)) == 3)\n"
                     "assert(table.concat(table.move(t, 1, 3, 2, {}), '', 2, 4) == '123')\n"
                     "table.sort(t, function(a, b) return a > b end) assert(t[1] == 3)\n"
                     "assert(table.unpack({ 1, 2, 3 }, 2) == 2 and table.pack(1, nil).n == 2)");
}

static void test_pcall_and_xpcall_work_as_in_the_manual(void **state)
{
    run_body(*state,
             "local ok, a, b = pcall(function(...) return ... end, 1, 2)\n"
             "assert(ok == true and a == 1 and b == 2)\n"
             "local no, err = pcall(error, { code = 5 }) assert(no == false and err.code == 5)\n"
             "assert(select('#', pcall(error)) == 2)\n"
             "local r, m = xpcall(error, function(e) return 'handled ' .. e end, 'x')\n"
             "assert(r == false and m == 'handled x')\n"
             "local r2, v = xpcall(function(x) return x end, print, 9) assert(r2 and v == 9)\n"
             "assert(not pcall(pcall)) assert(not pcall(xpcall, print))");
}

/* --- coroutines ------------------------------------------------------------------------------- */

static void test_coroutines_work_as_in_the_manual(void **state)
{
    run_body(*state,
             "local co = coroutine.create(function(a, b)\n"
             "  local c = coroutine.yield(a + b) local d, e = coroutine.yield(c * 2)\n"
             "  return d + e end)\n"
             "assert(coroutine.status(co) == 'suspended')\n"
             "local ok, v = coroutine.resume(co, 1, 2) assert(ok and v == 3)\n"
             "ok, v = coroutine.resume(co, 10) assert(ok and v == 20)\n"
             "ok, v = coroutine.resume(co, 3, 4) assert(ok and v == 7)\n"
             "assert(coroutine.status(co) == 'dead')\n"
             "ok, v = coroutine.resume(co) assert(not ok and v:find('dead'))\n"
             "local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)\n"
             "assert(gen() == 1 and gen() == 2 and gen() == 3 and gen() == nil)\n"
             "assert(not pcall(gen))\n"
             "ok, v = coroutine.resume(coroutine.create(error), 'oops')\n"
             "assert(not ok and v == 'oops')\n"
             "ok, v = pcall(coroutine.wrap(function() error({ 5 }) end)) assert(v[1] == 5)\n"
             "local closed = false\n"
             "co = coroutine.create(function() local x <close> = setmetatable({},\n"
             "{ __close = function() closed = true end }) coroutine.yield() end)\n"
             "coroutine.resume(co) assert(coroutine.close(co) and closed)\n"
             "co = coroutine.create(function() assert(coroutine.isyieldable())\n"
             "local me, main = coroutine.running() assert(me == co and not main)\n"
             "assert(not pcall(coroutine.close, co))\n"
             "local again, why = coroutine.resume(co) assert(not again) end)\n"
             "assert(coroutine.resume(co))");
}

static void test_a_handler_is_not_a_coroutine_to_its_rule(void **state)
{
    run_body(*state, "local me, main = coroutine.running() assert(me == nil and main == true)\n"
                     "assert(not coroutine.isyieldable())\n"
                     "local ok, err = pcall(coroutine.yield, 1)\n"
                     "assert(not ok and err:find('outside a coroutine'), err)");
}

static void test_a_coroutine_that_waits_where_its_rule_cannot_is_an_error(void **state)
{
    run_body(*state, "local ok, err = pcall(table.sort, { 2, 1, 3 }, function(a, b)\n"
                     "  coroutine.wrap(function() mill.sleep(0.01) end)()\n"
                     "  return a < b end)\n"
                     "assert(not ok and err:find('a coroutine cannot wait here'), err)");
}

static void test_a_coroutine_closed_inside_xpcall_does_not_call_the_handler(void **state)
{
    run_body(*state,
             "local called = false\n"
             "local co = coroutine.create(function() xpcall(function()\n"
             "  local x <close> = setmetatable({}, { __close = function() error('x') end })\n"
             "  coroutine.yield() end, function(e) called = true return e end) end)\n"
             "coroutine.resume(co) assert(not coroutine.close(co)) assert(not called)");
}

static void test_a_coroutine_may_live_longer_than_its_call(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local gen = coroutine.wrap(function() local i = 0\n"
                 "while true do i = i + 1 coroutine.yield(i) end end)\n"
                 "return { subjects = {'>'}, on_message = function() print(gen()) end }");
    send_message(f, "{}");
    send_message(f, "{}");
    assert_string_equal(f->log, "info x: 1\ninfo x: 2\n");
}

static void test_a_coroutine_left_waiting_by_a_dead_call_does_no_harm(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local co\nreturn { subjects = {'>'}, on_message = function(msg)\n"
                 "if msg.raw == '1' then\n"
                 "  co = coroutine.create(function() return mill.request('svc') end)\n"
                 "  coroutine.resume(co)\n"
                 "else print(coroutine.resume(co)) end end }");
    send_message(f, "1");
    engine_abort_calls(f->engine, "enough");
    send_message(f, "2");
    assert_done(f);
    assert_string_equal(f->log, "info x: true nil interrupted\n");
}

static void test_a_stopped_coroutine_can_be_closed_later_without_running_its_close(void **state)
{
    struct fixture *f = *state;
    open_with(
        f, "local co\nreturn { subjects = {'>'}, on_message = function(msg)\n"
           "if msg.raw == '1' then co = coroutine.create(function()\n"
           "  local x <close> = setmetatable({}, { __close = function() while true do end end })\n"
           "  while true do end end)\n"
           "  coroutine.resume(co)\n"
           "else print(coroutine.close(co)) end end }");
    send_message(f, "1");
    assert_int_equal(last_end(f)->cause, CAUSE_TIMEOUT);
    send_message(f, "2");
    assert_done(f);
    assert_string_equal(f->log, "info x: false stopped by a limit\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_the_globals_are_exactly_those_listed),
        engine_test(test_the_libraries_hold_exactly_what_is_listed),
        engine_test(test_what_rules_do_not_have_is_named),
        engine_test(test_reading_an_undefined_global_is_an_error_with_the_nearest_name),
        engine_test(test_making_a_global_in_a_handler_is_an_error_that_says_use_local),
        engine_test(test_a_global_made_at_the_top_level_can_be_changed_in_a_handler),
        engine_test(test_rules_do_not_see_each_others_globals),
        engine_test(test_the_random_numbers_of_rules_are_their_own),
        engine_test(test_the_metatable_of_strings_is_out_of_reach),
        engine_test(test_gc_metamethods_are_refused),
        engine_test(test_a_gc_metamethod_set_later_never_runs),
        engine_test(test_a_protected_metatable_cannot_be_replaced),
        engine_test(test_the_metatable_of_arrays_cannot_be_written),
        engine_test(test_metatables_work_otherwise),
        engine_test(test_mill_and_its_tables_cannot_be_changed),
        engine_test(test_pairs_walks_over_mill_without_giving_it_away),
        engine_test(test_an_unknown_member_of_mill_is_an_error_with_the_nearest_name),
        engine_test(test_each_rule_has_its_own_instance_of_a_module),
        engine_test(test_a_module_may_be_required_in_a_handler_and_make_globals),
        engine_test(test_a_module_that_is_missing_is_a_clear_error),
        engine_test(test_modules_that_require_each_other_are_a_clear_error),
        engine_test(test_an_error_in_a_module_names_the_module),
        engine_test(test_a_module_cannot_hide_a_limit),
        engine_test(test_cjson_can_be_required_and_is_the_rules_own),
        engine_test(test_the_depth_of_cjson_is_capped),
        engine_test(test_bytecode_is_refused),
        engine_test(test_string_rep_is_capped),
        engine_test(test_table_functions_refuse_huge_ranges_at_once),
        engine_test(test_the_format_of_a_date_is_capped),
        engine_test(test_table_functions_work_as_in_the_manual_otherwise),
        engine_test(test_pcall_and_xpcall_work_as_in_the_manual),
        engine_test(test_coroutines_work_as_in_the_manual),
        engine_test(test_a_handler_is_not_a_coroutine_to_its_rule),
        engine_test(test_a_coroutine_that_waits_where_its_rule_cannot_is_an_error),
        engine_test(test_a_coroutine_closed_inside_xpcall_does_not_call_the_handler),
        engine_test(test_a_coroutine_may_live_longer_than_its_call),
        engine_test(test_a_coroutine_left_waiting_by_a_dead_call_does_no_harm),
        engine_test(test_a_stopped_coroutine_can_be_closed_later_without_running_its_close),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
