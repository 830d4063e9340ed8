#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rules/engine_internal.h"
#include "rules/pattern.h"
#include "rules/pattern_library.h"
#include "sanitizer.h"

/*
 * Our find, match, gmatch and gsub beside those of liblua, in one plain state: the tables `own` and
 * `stock`. What both can run must come to the same, results and errors.
 */

static struct engine engine; /* all that the library needs of it are the limits */

static int setup(void **state)
{
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return -1;
    luaL_openlibs(L);
    memset(&engine, 0, sizeof(engine));
    limits_init(&engine.limits, SIZE_MAX / 2, &engine.blocks);
    *(struct engine **)lua_getextraspace(L) = &engine;
    lua_newtable(L); /* own */
    pattern_library_open(L);
    lua_setglobal(L, "own");    /* */
    lua_getglobal(L, "string"); /* stock */
    lua_setglobal(L, "stock");  /* */
    *state = L;
    return 0;
}

static int teardown(void **state)
{
    lua_close(*state);
    return 0;
}

/* Runs a chunk that asserts. */
static void run(lua_State *L, const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* --- table by table --------------------------------------------------------------------------- */

/* One call, written as Lua, and what it must give, as table.concat of tostring writes it. */
struct row {
    const char *call, *wanted;
};

/* Runs each call with `own` and with `stock` as `s`. */
static void check_rows(lua_State *L, const struct row *rows)
{
    for (; rows->call != NULL; rows++) {
        static const char *const sides[] = {"own", "stock"};
        for (int side = 0; side < 2; side++) {
            char chunk[2048];
            snprintf(chunk, sizeof(chunk),
                     "local s = %s local function all(f) local r = {} for a, b in f do\n"
                     "r[#r + 1] = b and tostring(a) .. ':' .. tostring(b) or tostring(a) end\n"
                     "return table.concat(r, ' ') end\n"
                     "local r = table.pack(pcall(function() return %s end))\n"
                     "for i = 2, r.n do r[i] = tostring(r[i]) end\n"
                     "return (r[1] and '' or 'error: ') .. table.concat(r, ',', 2)",
                     sides[side], rows->call);
            run(L, chunk);
            const char *got = lua_tostring(L, -1);
            bool is_right = rows->wanted[0] == 'e' ? strstr(got, rows->wanted + 7) != NULL
                                                   : strcmp(got, rows->wanted) == 0;
            if (!is_right)
                fail_msg("%s: %s is \"%s\", not \"%s\"", sides[side], rows->call, got,
                         rows->wanted);
            lua_settop(L, 0);
        }
    }
}

static void test_find_gives_places_and_captures(void **state)
{
    static const struct row rows[] = {{"s.find('alo', '')", "1,0"},
                                      {"s.find('alo', 'l')", "2,2"},
                                      {"s.find('alo', 'x')", "nil"},
                                      {"s.find('a key=42 b', '(%w+)=(%d+)')", "3,8,key,42"},
                                      {"s.find('alo', '()l()')", "2,2,2,3"},
                                      {"s.find('alo', '^l')", "nil"},
                                      {"s.find('alo', 'o$')", "3,3"},
                                      {"s.find('a$o', '$o')", "2,3"},
                                      {"s.find('', '')", "1,0"},
                                      {"s.find('', '', 2)", "nil"},
                                      {"s.find('', 'x')", "nil"},
                                      {"s.find(12345, 34)", "3,4"},
                                      {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_find_starts_at_init(void **state)
{
    static const struct row rows[] = {{"s.find('aXbX', 'X', 3)", "4,4"},
                                      {"s.find('aXbX', 'X', -2)", "4,4"},
                                      {"s.find('aXbX', 'X', -100)", "2,2"},
                                      {"s.find('aXbX', 'X', 0)", "2,2"},
                                      {"s.find('abc', '', 4)", "4,3"},
                                      {"s.find('abc', '', 5)", "nil"},
                                      {"s.find('abc', 'a', math.maxinteger)", "nil"},
                                      {"s.find('abc', 'a', math.mininteger)", "1,1"},
                                      {"s.match('aXbX', '^b', 3)", "b"},
                                      {"s.find('a.b', '%f[%w].', 3)", "3,3"},
                                      {"s.find('abc', '%f[%w].', 3)", "nil"},
                                      {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_a_plain_find_knows_no_magic(void **state)
{
    static const struct row rows[] = {{"s.find('a.b', '.', 1, true)", "2,2"},
                                      {"s.find('a%b', '%', 1, true)", "2,2"},
                                      {"s.find('abc', '.b', 1, true)", "nil"},
                                      {"s.find('abab', 'ab', 2, true)", "3,4"},
                                      {"s.find('abc', '', 4, true)", "4,3"},
                                      {"s.find('a\\0b', '\\0b', 1, true)", "2,3"},
                                      {"s.find('a)b', ')')", "2,2"},
                                      {"s.find('a]b', ']')", "2,2"},
                                      {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_classes_and_sets(void **state)
{
    static const struct row rows[] = {
        {"s.match('ab12_ \\n', '%a+'), s.match('ab12', '%d+'), s.match('x ', '%s')", "ab,12, "},
        {"s.match('fooBAR', '%u+'), s.match('BARfoo', '%l+'), s.match('a!b', '%p')", "BAR,foo,!"},
        {"s.match('zz1f', '%x+'), s.match('a\\1', '%c') == '\\1', s.match('a_1', '%w+')",
         "1f,true,a"},
        {"s.match('12ab', '%D+'), s.match(' x', '%S'), s.match('a b', '%G')", "ab,x, "},
        {"s.match('a-b', '[a-]+'), s.match(']x', '[]]'), s.match('x]', '[^]]')", "a-,],x"},
        {"s.match('a^b', '[%^]'), s.match('a^b', '[b^]'), s.match('a%b', '[%%]')", "^,^,%"},
        {"s.match('m-z', '[%a-z]+'), s.match('0-9', '[%d-]+'), s.match('c', '[a-c]')", "m-z,0-9,c"},
        {"s.match('\\xff\\xfe', '[\\xf0-\\xff]+') == '\\xff\\xfe'", "true"},
        {"s.match('a\\0b', '[\\0]') == '\\0', s.match('a\\0b', 'a\\0b') == 'a\\0b'", "true,true"},
        {"s.match('a\\0', '%z') == '\\0', s.match('a.', '%.')", "true,."},
        {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_quantifiers(void **state)
{
    static const struct row rows[] = {
        {"s.match('aaab', 'a*'), s.match('b', 'a*')", "aaa,"},
        {"s.match('aaab', 'a+b'), s.match('b', 'a+')", "aaab,nil"},
        {"s.match('aaab', 'a-b'), s.match('<a><b>', '<(.-)>')", "aaab,a"},
        {"s.match('color', 'colou?r'), s.match('aa', '^a?a?a?$')", "color,aa"},
        {"s.match('*', '*'), s.match('+a', '^+a'), s.match('a', '-')", "*,+a,nil"},
        {"s.match('[[x]]', '%[%[(.-)%]%]')", "x"},
        {"s.match('aXb', '(.*)X(.*)')", "a,b"},
        {"s.match('2026-11-23', '^(%d+)-(%d+)-(%d+)$')", "2026,11,23"},
        {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_balances_frontiers_and_back_references(void **state)
{
    static const struct row rows[] = {
        {"s.match('f(a(b)c)d', '%b()'), s.match('f(a', '%b()'), s.match('xax', '%bxx')",
         "(a(b)c),nil,xax"},
        {"s.gsub('THE (quick) fox', '%f[%a]%a+%f[%A]', 'w')", "w (w) w,3"},
        {"s.find('a', '%f[%z]'), s.match('a b', '%f[%S]b')", "2,b"},
        {"s.match('\"a\\'b\"', '([\"\\'])(.-)%1')", "\",a'b"},
        {"s.match('abcabc', '(abc)%1'), s.match('abab', '()%1')", "abc,nil"},
        {"s.match('=[[x]]=', '(=)(%b[])%1')", "=,[[x]]"},
        {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_gmatch(void **state)
{
    static const struct row rows[] = {
        {"all(s.gmatch('one two', '%a+'))", "one two"},
        {"all(s.gmatch('a=1, b=2', '(%w+)=(%w+)'))", "a:1 b:2"},
        {"all(s.gmatch('abc', ''))", "   "},
        {"all(s.gmatch('abc', '()'))", "1 2 3 4"},
        {"all(s.gmatch('aXbX', '()X', 3))", "4"},
        {"all(s.gmatch('abc', '.', -1)), all(s.gmatch('abc', '()', 10))", "c,"},
        {"all(s.gmatch('a^a', '^a'))", "^a"},
        {"all(s.gmatch('ab', 'b*'))", " b"},
        {"all(s.gmatch(121, '1'))", "1 1"},
        {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_gsub(void **state)
{
    static const struct row rows[] = {
        {"s.gsub('hello world', 'o', '0')", "hell0 w0rld,2"},
        {"s.gsub('hello world', 'o', '0', 1)", "hell0 world,1"},
        {"s.gsub('hello', 'l', 'L', 0), s.gsub('hello', 'l', 'L', -1)", "hello,hello,0"},
        {"s.gsub('abc', '', '-')", "-a-b-c-,4"},
        {"s.gsub('abc', 'b*', '-')", "-a-c-,3"},
        {"s.gsub('hello', '^h', 'j'), s.gsub('hh', '^h', 'j')", "jello,jh,1"},
        {"s.gsub('key=val', '(%w+)=(%w+)', '%2=%1=%0%%')", "val=key=key=val%,1"},
        {"s.gsub('abc', '()b', '%1'), s.gsub('abc', 'b', '%1')", "a2c,abc,1"},
        {"s.gsub('abc', '%w', { a = '1', b = true and 2, c = false })", "12c,3"},
        {"s.gsub('abc', '(%w)(%w)', function(x, y) return y .. x end)", "bac,1"},
        {"s.gsub('abc', '%w', function(x) if x == 'b' then return 7.5 end end)", "a7.5c,3"},
        {"s.gsub('abc', 'x', 'y'), s.gsub('a1', '%d', 5)", "abc,a5,1"},
        {"s.gsub('$x', '%$(%w+)', setmetatable({}, { __index = function(_, k) return k .. k end "
         "}))",
         "xx,1"},
        {NULL, NULL}};
    check_rows(*state, rows);
}

static void test_errors_are_those_of_stock_lua(void **state)
{
    static const struct row rows[] = {
        {"s.match('a', '%')", "error: malformed pattern (ends with '%')"},
        {"s.match('a', '[a')", "error: malformed pattern (missing ']')"},
        {"s.match('a', '[]')", "error: malformed pattern (missing ']')"},
        {"s.match('a', '[^')", "error: malformed pattern (missing ']')"},
        {"s.match('a', '[a%')", "error: malformed pattern (missing ']')"},
        {"s.match('a', '[a%]')", "error: malformed pattern (missing ']')"},
        {"s.match('a', '%b')", "error: malformed pattern (missing arguments to '%b')"},
        {"s.match('a', '%ba')", "error: malformed pattern (missing arguments to '%b')"},
        {"s.match('a', '%f')", "error: missing '[' after '%f' in pattern"},
        {"s.match('a', '%fa')", "error: missing '[' after '%f' in pattern"},
        {"s.match('a', '(a')", "error: unfinished capture"},
        {"s.match('a', 'a)')", "error: invalid pattern capture"},
        {"s.match('a', '%1')", "error: invalid capture index %1"},
        {"s.match('a', '(%1)')", "error: invalid capture index %1"},
        {"s.match('a', '%0')", "error: invalid capture index %0"},
        {"s.match(('a'):rep(40), ('(a)'):rep(33))", "error: too many captures"},
        {"s.match(('a'):rep(300), ('a?'):rep(300))", "error: pattern too complex"},
        {"#s.match('b', ('a?'):rep(300))", "0"},
        {"#s.match(('a'):rep(300), ('a?'):rep(199))", "199"},
        {"s.match(('a'):rep(300), ('a?'):rep(200))", "error: pattern too complex"},
        {"s.gsub('a', 'a', '%')", "error: invalid use of '%' in replacement string"},
        {"s.gsub('a', 'a', '%x')", "error: invalid use of '%' in replacement string"},
        {"s.gsub('a', 'a', '%2')", "error: invalid capture index %2"},
        {"s.gsub('a', 'a', true)", "error: string/function/table expected"},
        {"s.gsub('a', 'a')", "error: string/function/table expected"},
        {"s.gsub('a', 'a', function() return {} end)",
         "error: invalid replacement value (a table)"},
        {"s.find('a')", "error: bad argument #2"},
        {"s.find(nil, 'a')", "error: bad argument #1"},
        {"s.find('a', 'a', 'x')", "error: bad argument #3"},
        {"s.gmatch('a', {})", "error: bad argument #2"},
        {"s.match('b', 'a[')", "nil"}, /* a fault that the matching does not get to */
        {NULL, NULL}};
    check_rows(*state, rows);
}

/* --- beside stock Lua ------------------------------------------------------------------------- */

enum { CASES = 60000 / SLOWNESS, PATTERN_ITEMS = 6, SUBJECT_MAX = 14 };

static const uint64_t SEED = 20241124;

/* 0 <= result < bound. */
static unsigned draw(uint64_t *random, unsigned bound)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((*random >> 33) % bound);
}

static void append(char *text, size_t *used, const char *more)
{
    memcpy(text + *used, more, strlen(more));
    *used += strlen(more);
}

/* Pushes a pattern: mostly sound, of all that patterns have; at times with a fault. */
static void push_pattern(lua_State *L, uint64_t *random)
{
    static const char *const singles[] = {
        "a",    "b",     "c",     ".",    "%a",    "%d",    "%s",    "%w",   "%u",    "%x",    "%p",
        "[ab]", "[^a]",  "[a-c]", "[%d]", "[^%s]", "[]]",   "[%]x]", "[-a]", "[a-]",  "%.",    "%S",
        "%%",   "[^%w]", "1",     " ",    "[%a_]", "[b-]]", "]",     "\xc3", "[^]-]", "[a-%d]"};
    static const char *const specials[] = {"(",    ")",      "()",      "(a)",    "(.-)", "%1",
                                           "%2",   "%b()",   "%bab",    "%f[%a]", "$",    "^",
                                           "%baa", "%f[^a]", "(%w*)%1", "%f[%z]"};
    static const char *const faults[] = {"%",   "[",  "[^",  "[a%", "%b",
                                         "%bx", "%f", "%fa", "%0",  "%9"};
    static const char *const quantifiers[] = {"", "", "", "*", "+", "-", "?"};
    char text[256];
    size_t used = 0;
    if (draw(random, 6) == 0)
        append(text, &used, "^");
    for (unsigned items = draw(random, PATTERN_ITEMS + 1); items > 0; items--) {
        unsigned kind = draw(random, 40);
        if (kind == 0) {
            append(text, &used, faults[draw(random, sizeof(faults) / sizeof(faults[0]))]);
        } else if (kind == 1) {
            text[used++] = '\0';
        } else if (kind < 13) {
            append(text, &used, specials[draw(random, sizeof(specials) / sizeof(specials[0]))]);
        } else {
            append(text, &used, singles[draw(random, sizeof(singles) / sizeof(singles[0]))]);
            append(text, &used, quantifiers[draw(random, 7)]);
        }
    }
    lua_pushlstring(L, text, used); /* pattern */
}

static void push_subject(lua_State *L, uint64_t *random)
{
    static const char letters[] = "aaaabbbccA1 2()._-]%\n\xc3\xff";
    char text[SUBJECT_MAX];
    size_t size = draw(random, SUBJECT_MAX + 1);
    for (size_t i = 0; i < size; i++)
        text[i] = letters[draw(random, sizeof(letters))]; /* the zero byte too */
    lua_pushlstring(L, text, size);                       /* subject */
}

/* Compares one call of all four; each is a Lua function of subject, pattern and a number. */
static const char compare_chunk[] =
    "local function each(s)\n"
    "  return {\n"
    "    function(a, p, n) return s.find(a, p, n) end,\n"
    "    function(a, p, n) return s.match(a, p, n) end,\n"
    "    function(a, p, n) return s.find(a, p, n, true) end,\n"
    "    function(a, p, n) local r = {} for x, y, z in s.gmatch(a, p, n) do\n"
    "      r[#r + 1] = x r[#r + 1] = y or 0 r[#r + 1] = z or 0 end return table.unpack(r) end,\n"
    "    function(a, p, n) return s.gsub(a, p, '<%0>') end,\n"
    "    function(a, p, n) return s.gsub(a, p, '%2%%%1', n) end,\n"
    "    function(a, p, n) return s.gsub(a, p, { a = 'x', b = 5, [1] = 'one', [''] = false }) "
    "end,\n"
    "    function(a, p, n) return s.gsub(a, p, function(...) local x, y = ...\n"
    "      if select('#', ...) > 1 then return tostring(y) .. x end end) end,\n"
    "  }\n"
    "end\n"
    "local mine, theirs = each(own), each(stock)\n"
    "return function(a, p, n)\n"
    "  for i = 1, #mine do\n"
    "    local x = table.pack(pcall(mine[i], a, p, n))\n"
    "    local y = table.pack(pcall(theirs[i], a, p, n))\n"
    "    local same = x.n == y.n\n"
    "    for k = 1, x.n do\n"
    "      local u, v = x[k], y[k]\n"
    "      if not x[1] and k == 2 then u, v = u:gsub('^.-:%d+: ', ''), v:gsub('^.-:%d+: ', '') "
    "end\n"
    "      same = same and rawequal(u, v)\n"
    "    end\n"
    "    if not same then\n"
    "      error(('function %d of %q, %q, %d: %s %s instead of %s %s'):format(i, a, p, n,\n"
    "        tostring(x[1]), tostring(x[2]), tostring(y[1]), tostring(y[2])), 0)\n"
    "    end\n"
    "  end\n"
    "end\n";

static void test_generated_calls_come_to_the_same_as_in_stock_lua(void **state)
{
    lua_State *L = *state;
    uint64_t random = SEED;
    print_message("seed %llu, %d patterns\n", (unsigned long long)SEED, CASES);
    run(L, compare_chunk); /* compare */
    for (int i = 0; i < CASES; i++) {
        lua_pushvalue(L, 1);                                    /* compare compare */
        push_subject(L, &random);                               /* .. subject */
        push_pattern(L, &random);                               /* .. subject pattern */
        lua_pushinteger(L, (lua_Integer)draw(&random, 12) - 4); /* .. subject pattern n */
        if (lua_pcall(L, 3, 0, 0) != LUA_OK)
            fail_msg("case %d: %s", i, lua_tostring(L, -1));
    }
}

/* --- the budget ------------------------------------------------------------------------------- */

/* A blow-up must end with the error; stock Lua would take from a second to for ever. */
static void check_expensive(lua_State *L, const char *call, const char *wanted)
{
    char chunk[512];
    snprintf(chunk, sizeof(chunk), "local s = own return pcall(function() return %s end)", call);
    int64_t began = clock_monotonic_ns();
    run(L, chunk);
    if (lua_toboolean(L, 1))
        fail_msg("%s has come to an end", call);
    if (strstr(lua_tostring(L, 2), wanted) == NULL)
        fail_msg("%s: \"%s\" is not in \"%s\"", call, wanted, lua_tostring(L, 2));
    assert_true(clock_monotonic_ns() - began < 20 * NS_PER_S); /* 0.1 s without sanitizers */
    lua_settop(L, 0);
}

static void test_a_pattern_that_blows_up_is_an_error(void **state)
{
    lua_State *L = *state;
    check_expensive(L, "s.match(('a'):rep(60), ('a-'):rep(40) .. 'b')",
                    "pattern too expensive: a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-"
                    "a-a-a-a-a-a-a-a-a-a-... on 60 bytes");
    check_expensive(L, "s.match(('a'):rep(28), '^' .. ('a?'):rep(28) .. ('a'):rep(29))",
                    "pattern too expensive: ^a?a?");
    check_expensive(L, "s.match(('x'):rep(8192), '(%w+)=(%w+)')",
                    "pattern too expensive: (%w+)=(%w+) on 8192 bytes");
    check_expensive(L, "s.find(('x'):rep(65536), '.-b')",
                    "pattern too expensive: .-b on 65536 bytes");
    check_expensive(L, "s.gsub(('x'):rep(65536), '.-b', '')",
                    "pattern too expensive: .-b on 65536 bytes");
    check_expensive(L, "s.gmatch(('x'):rep(65536), '.-b')()",
                    "pattern too expensive: .-b on 65536 bytes");
}

static void test_blow_ups_of_other_kinds_are_errors_too(void **state)
{
    lua_State *L = *state;
    static const char wanted[] = "pattern too expensive";
    check_expensive(L, "s.find(('('):rep(65536), '%b()')", wanted);
    check_expensive(L, "s.find(('a'):rep(200000), '(' .. ('a'):rep(100000) .. ')%1b')", wanted);
    check_expensive(L, "s.find(('a'):rep(100000), ('a'):rep(50000) .. '[b]')", wanted);
    check_expensive(L, "s.find(('a'):rep(100000), '[' .. ('b'):rep(50000) .. 'a]*b')", wanted);
    check_expensive(L, "s.find(('a'):rep(100000), '[' .. ('b'):rep(50000) .. 'a]-b')", wanted);
    check_expensive(L, "s.find(('a'):rep(100000), '%f[' .. ('b'):rep(50000) .. ']')", wanted);
}

static void test_ordinary_work_on_a_megabyte_stays_inside_the_budget(void **state)
{
    run(*state, "local s, text = own, ('value=17 unit=C\\n'):rep(70000)\n"
                "local n = 0 for k, v in s.gmatch(text, '(%w+)=(%w+)') do n = n + 1 end\n"
                "assert(n == 140000)\n"
                "assert(select(2, s.gsub(text, '%s+', ' ')) == 140000)\n"
                "assert(select(2, s.gsub(text, '[^\\n]*\\n', string.upper)) == 70000)\n"
                "assert(#s.match(text, '^(.*)C%s*$') == #text - 2)\n"
                "assert(not s.find(text, 'K\\n') and not s.find(text, '%d%d%d'))\n"
                "assert(s.match(text .. 'end', '(e%w%w)$') == 'end')\n"
                "assert(s.match(('x'):rep(2000), '.-b') == nil)");
}

static void test_a_plain_find_is_linear(void **state)
{
    int64_t began = clock_monotonic_ns();
    run(*state, "local a = ('a'):rep(1 << 20)\n" /* a quarter of 10^12 in stock Lua */
                "assert(not own.find(a, ('a'):rep(1 << 19) .. 'b', 1, true))\n"
                "assert(not own.find(a, ('a'):rep(1 << 19) .. 'b'))\n"
                "assert(not own.find(a, 'b' .. ('a'):rep(1 << 19)))");
    assert_true(clock_monotonic_ns() - began < 10 * NS_PER_S);
}

/* Raised where a rule's call would get its verdict. */
static void test_steps_are_charged_across_calls(void **state)
{
    lua_State *L = *state;
    engine.limits.charged = 0;
    run(L, "for i = 1, 10 do own.find('aaaaaaaaaa', '[b]') end");
    assert_in_range(engine.limits.charged, 100, 1000);
    engine.limits.charged = 0;
    engine.limits.deadline_ns = clock_monotonic_ns() - 1;
    assert_int_not_equal(
        luaL_dostring(L, "for i = 1, 1e6 do pcall(own.find, 'aaaaaaaaaa', '[b]') end"), LUA_OK);
    assert_string_equal(lua_tostring(L, -1), "this call is over");
}

int main(void)
{
#define pattern_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        pattern_test(test_find_gives_places_and_captures),
        pattern_test(test_find_starts_at_init),
        pattern_test(test_a_plain_find_knows_no_magic),
        pattern_test(test_classes_and_sets),
        pattern_test(test_quantifiers),
        pattern_test(test_balances_frontiers_and_back_references),
        pattern_test(test_gmatch),
        pattern_test(test_gsub),
        pattern_test(test_errors_are_those_of_stock_lua),
        pattern_test(test_generated_calls_come_to_the_same_as_in_stock_lua),
        pattern_test(test_a_pattern_that_blows_up_is_an_error),
        pattern_test(test_blow_ups_of_other_kinds_are_errors_too),
        pattern_test(test_ordinary_work_on_a_megabyte_stays_inside_the_budget),
        pattern_test(test_a_plain_find_is_linear),
        pattern_test(test_steps_are_charged_across_calls),
    };
    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
