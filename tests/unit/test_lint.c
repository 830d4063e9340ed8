#include "unit/engine_fixture.h"

#include "rules/lint.h"
#include "rules/uses.h"

/* What is found in rules by looking at them, and above all what is not. */

/* --- the fixture: all findings, "line: text\n" ------------------------------------------------ */

static char findings[4096];

static void on_found(void *context, const char *path, int line, const char *text)
{
    (void)context, (void)path;
    size_t used = strlen(findings);
    snprintf(findings + used, sizeof(findings) - used, "%d: %s\n", line, text);
}

static void on_published(void *context, const char *path, int line, const char *subject)
{
    (void)context, (void)path;
    size_t used = strlen(findings);
    snprintf(findings + used, sizeof(findings) - used, "%d: %s\n", line, subject);
}

/* A vocabulary comes from an engine; any will do. */
static struct vocabulary *vocabulary_of(struct fixture *f)
{
    struct vocabulary *vocabulary;
    if (f->engine == NULL)
        open_handler(f, "");
    assert_int_equal(vocabulary_open(&vocabulary, f->engine, NULL), 0);
    return vocabulary;
}

/* Looks at sources that belong together; NULL at the end. */
static const char *lint_all(struct fixture *f, const char *const *sources)
{
    struct rule_file files[8] = {{0}};
    struct lint *lint = lint_new();
    struct vocabulary *vocabulary = vocabulary_of(f);
    findings[0] = '\0';
    for (size_t i = 0; sources[i] != NULL; i++) {
        files[i].source = (char *)(uintptr_t)sources[i];
        files[i].size = strlen(sources[i]);
        files[i].path = (char *)(uintptr_t) "x.lua";
        assert_int_equal(lint_read(lint, &files[i]), 0);
    }
    lint_judge(lint, vocabulary, on_found, NULL);
    vocabulary_close(vocabulary);
    lint_free(lint);
    return findings;
}

static const char *lint_one(struct fixture *f, const char *source)
{
    return lint_all(f, (const char *const[]){source, NULL});
}

static const char *published(const char *source)
{
    struct rule_file file = {.source = (char *)(uintptr_t)source, .size = strlen(source)};
    struct lint *lint = lint_new();
    findings[0] = '\0';
    assert_int_equal(lint_read(lint, &file), 0);
    lint_each_publish(lint, on_published, NULL);
    lint_free(lint);
    return findings;
}

#define assert_clean(f, source) assert_string_equal(lint_one(f, source), "")

/* --- what is found ---------------------------------------------------------------------------- */

static void test_an_undefined_global_is_found_with_its_line(void **state)
{
    assert_string_equal(lint_one(*state, "local a = 1\n\nlocal function f() return a + limt end\n"
                                         "local limit = 2 return f, limit"),
                        "3: undefined global 'limt'\n");
    assert_string_equal(lint_one(*state, "return tostirng(1)"),
                        "1: undefined global 'tostirng' (did you mean 'tostring'?)\n");
}

static void test_a_global_that_rules_do_not_have_is_said_so(void **state)
{
    assert_string_equal(lint_one(*state, "local f = io.open('x') return f"),
                        "1: 'io' is not available to rules\n");
}

static void test_a_misspelt_name_in_mill_is_found(void **state)
{
    assert_string_equal(lint_one(*state, "mill.publsh('a', {})"),
                        "1: mill.publsh does not exist (did you mean 'publish'?)\n");
    assert_string_equal(lint_one(*state, "mill.log.wran('a')"),
                        "1: mill.log.wran does not exist (did you mean 'warn'?)\n");
    assert_string_equal(lint_one(*state, "local f = mill\n  .lgo"),
                        "2: mill.lgo does not exist (did you mean 'log'?)\n");
    assert_string_equal(lint_one(*state, "mill:slep(1)"),
                        "1: mill.slep does not exist (did you mean 'sleep'?)\n");
}

static void test_a_misspelt_field_of_the_message_is_found(void **state)
{
    assert_string_equal(lint_one(*state, "return { subjects = {'a'}, on_message = function(m)\n"
                                         "local x = m.dat.value\n"
                                         "if x then return m:rejct('no') end end }"),
                        "2: msg has no field 'dat' (did you mean 'data'?)\n"
                        "3: msg has no field 'rejct' (did you mean 'reject'?)\n");
}

static void test_a_handler_that_is_named_is_known_as_one(void **state)
{
    static const char source[] = "local function handle(msg) return msg.sbject end\n"
                                 "local other = function(msg) return msg.sbject end\n"
                                 "return { on_message = handle, on_load = other }";
    assert_string_equal(lint_one(*state, source),
                        "1: msg has no field 'sbject' (did you mean 'subject'?)\n");
}

static void test_a_call_of_a_library_function_that_is_not_there_is_found(void **state)
{
    assert_string_equal(lint_one(*state, "local t = {} table.isnert(t, 1)"),
                        "1: table.isnert does not exist (did you mean 'insert'?)\n");
}

static void test_a_name_after_its_block_is_a_global(void **state)
{
    assert_string_equal(lint_one(*state, "do local a = 1 print(a) end\nprint(a)"),
                        "2: undefined global 'a'\n");
    assert_string_equal(lint_one(*state, "for i = 1, 2 do print(i) end\nprint(i)"),
                        "2: undefined global 'i'\n");
    assert_string_equal(lint_one(*state, "local x = x"), "1: undefined global 'x'\n");
}

/* --- what is not ------------------------------------------------------------------------------ */

static void test_all_of_lua_s_grammar_is_understood(void **state)
{
    assert_clean(*state,
                 "#!/usr/bin/lua\n"
                 "--[==[ io.open ]] ]==] local a <const>, b <close> = 1, nil\n"
                 "local t = { 1, a; x = 2, ['y'] = 3, f = function(...) return ... end, }\n"
                 "function t.g(p) return p end function t:h(...) return self, ... end\n"
                 "local function rec(n) if n <= 0 then return 0 elseif n == 1 then return 1\n"
                 "  else return rec(n - 1) end end\n"
                 "for k, v in pairs(t) do if not v then goto next end print(k, v) ::next:: end\n"
                 "for i = 1, 10, 2 do while i > 5 do break end end\n"
                 "repeat local done = rec(2) until done\n"
                 "t.x, t['y'] = t.x // 2 ~ 3 << 1, -#t .. [[x]] .. 'a\\'b' .. \"c\\z\n   d\"\n"
                 "t:h 'x' t:h { 1 } t.g[[y]] (t.g or print)(0x1p-3, 1e+5, .5, 3.)\n"
                 "local s = ('x'):rep(3):upper() print(#s, s, b, ~1, not a)\n"
                 "do return end");
}

static void test_what_a_file_sets_itself_is_a_global(void **state)
{
    assert_clean(*state, "limit = 5\nfunction check(v) return v > limit end\nprint(check(1))");
    assert_clean(*state, "_G.limit = 5\nprint(limit)");
}

static void test_what_a_module_sets_its_rule_may_use(void **state)
{
    const char *const sources[] = {"print(limit)", "limit = 5", NULL};
    assert_string_equal(lint_all(*state, sources), "");
}

static void test_globals_with_computed_names_silence_the_warning(void **state)
{
    assert_clean(*state, "for _, n in ipairs { 'a', 'b' } do _G[n] = 1 end print(a, b)");
    assert_clean(*state, "local _ENV = { print = 1 } return print, a");
    assert_clean(*state, "rawset(_G, 'a', 1) print(a)");
}

static void test_what_stands_behind_or_is_perhaps_not_needed(void **state)
{
    assert_clean(*state, "local unpack = table.unpack or unpack return unpack");
    assert_clean(*state, "local pow = math.pow or function(a, b) return a ^ b end return pow");
}

static void test_a_library_field_that_is_only_looked_at_is_no_fault(void **state)
{
    assert_clean(*state, "if math.pow then print('old') end string.trim = print string.trim('x')");
}

static void test_locals_may_have_any_name(void **state)
{
    assert_clean(*state, "local mill = { foo = 1 } print(mill.foo)");
    assert_clean(*state, "local function f(io, msg) return io.open, msg.whatever end return f");
    assert_clean(*state, "return { on_message = function(msg) msg = msg.data print(msg.x) end }");
    assert_clean(*state, "return { on_message = function(msg) local f = function(msg)\n"
                         "return msg.x end return f(msg.data) end }");
}

static void test_a_source_that_is_not_understood_is_passed_over(void **state)
{
    assert_clean(*state, "print(undefined) = = 5");
    assert_clean(*state, "print(undefined) end");
    assert_clean(*state, "local s = 'no end");
}

static void test_deep_nesting_does_no_harm(void **state)
{
    enum { DEPTH = 100000 };
    char *source = malloc(DEPTH + 16);
    assert_non_null(source);
    strcpy(source, "return ");
    memset(source + 7, '(', DEPTH);
    source[7 + DEPTH] = '\0';
    assert_clean(*state, source);
    free(source);
}

static void test_every_beginning_of_a_rule_is_safe_to_look_at(void **state)
{
    static const char source[] = "local a = { [1] = 'x', on_message = function(msg, ...)\n"
                                 "return msg.data['k']:f(\"s\\\"\", [==[l]==]) or -a.b end }\n"
                                 "for i = 1, #a do a[i], b = a(), 1 end return a --[[ c ]]";
    for (size_t size = 0; size < sizeof(source); size++) {
        char *exact = malloc(size + 1); /* so that a sanitizer sees a step too far */
        assert_non_null(exact);
        memcpy(exact, source, size);
        struct uses uses = {0};
        uses_read(&uses, exact, size);
        uses_free(&uses);
        free(exact);
    }
    (void)state;
}

/* --- publishes -------------------------------------------------------------------------------- */

static void test_literal_subjects_of_publishes_are_told(void **state)
{
    (void)state;
    assert_string_equal(published("mill.publish('a.b', {})\n"
                                  "if x then mill.publish(\"c.d\", { e = 1 }, { id = 'x' }) end"),
                        "1: a.b\n2: c.d\n");
}

static void test_a_computed_or_undurable_publish_is_left_out(void **state)
{
    (void)state;
    assert_string_equal(published("mill.publish('a.' .. b, {}) mill.publish(s, {})\n"
                                  "mill.publish('a.b', {}, { durable = false })\n"
                                  "local mill = {} mill.publish('c.d', {})"),
                        "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_an_undefined_global_is_found_with_its_line),
        engine_test(test_a_global_that_rules_do_not_have_is_said_so),
        engine_test(test_a_misspelt_name_in_mill_is_found),
        engine_test(test_a_misspelt_field_of_the_message_is_found),
        engine_test(test_a_handler_that_is_named_is_known_as_one),
        engine_test(test_a_call_of_a_library_function_that_is_not_there_is_found),
        engine_test(test_a_name_after_its_block_is_a_global),
        engine_test(test_all_of_lua_s_grammar_is_understood),
        engine_test(test_what_a_file_sets_itself_is_a_global),
        engine_test(test_what_a_module_sets_its_rule_may_use),
        engine_test(test_globals_with_computed_names_silence_the_warning),
        engine_test(test_what_stands_behind_or_is_perhaps_not_needed),
        engine_test(test_a_library_field_that_is_only_looked_at_is_no_fault),
        engine_test(test_locals_may_have_any_name),
        engine_test(test_a_source_that_is_not_understood_is_passed_over),
        engine_test(test_deep_nesting_does_no_harm),
        engine_test(test_every_beginning_of_a_rule_is_safe_to_look_at),
        cmocka_unit_test(test_literal_subjects_of_publishes_are_told),
        cmocka_unit_test(test_a_computed_or_undurable_publish_is_left_out),
    };
    return cmocka_run_group_tests_name("lint", tests, NULL, NULL);
}
