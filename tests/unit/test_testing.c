#include "unit/engine_fixture.h"

#include "cmd/test_files.h"
#include "rules/testing.h"

/* `tidemill test`: what a test file can do, and what is reported. */

enum { RESULTS_MAX = 32 };

static struct {
    size_t count;
    struct {
        char name[128], message[2048];
        enum test_outcome outcome;
    } results[RESULTS_MAX];
} seen;

static void keep_result(void *context, const struct test_result *result)
{
    (void)context;
    assert_true(seen.count < RESULTS_MAX);
    assert_true((result->message != NULL) == (result->outcome == TEST_FAILED));
    FIXTURE_COPY(seen.results[seen.count].name, result->name);
    FIXTURE_COPY(seen.results[seen.count].message, result->message);
    seen.results[seen.count++].outcome = result->outcome;
}

/* Runs the test file "<name>.lua" of the folder. */
static void run_file(struct fixture *f, const char *name, const char *filter)
{
    char path[256];
    const struct testing_options options = {.filter = filter, .report = keep_result};
    snprintf(path, sizeof(path), "%s/%s.lua", f->dir, name);
    seen.count = 0;
    testing_run(path, &options);
}

/* Runs a test file about the rule "x". */
static void run_source(struct fixture *f, const char *rule, const char *tests)
{
    write_rule(f, "x", rule);
    write_rule(f, "x_test", tests);
    run_file(f, "x_test", NULL);
}

/* Runs the body of one test, which must pass. */
static void pass(struct fixture *f, const char *rule, const char *body)
{
    char source[8192];
    snprintf(source, sizeof(source), "it('works', function()\nlocal rule = mill.test()\n%s\nend)",
             body);
    run_source(f, rule, source);
    assert_int_equal(seen.count, 1);
    if (seen.results[0].outcome != TEST_PASSED)
        fail_msg("%s", seen.results[0].message);
}

/* Runs the body of one test, which must fail and say so. */
static void fail_with(struct fixture *f, const char *rule, const char *body, const char *message)
{
    char source[8192];
    snprintf(source, sizeof(source), "it('fails', function()\nlocal rule = mill.test()\n%s\nend)",
             body);
    run_source(f, rule, source);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.results[0].outcome, TEST_FAILED);
    assert_text_contains(seen.results[0].message, message);
}

#define RULE(body) "return { subjects = { 'in' }, on_message = function(msg)\n" body "\nend }"
#define SEND                                                                                       \
    "local published, verdict, detail = "                                                          \
    "rule:send { subject = 'in', data = { a = 1 } }\n"

/* --- what is reported ------------------------------------------------------------------------- */

static void test_each_test_is_reported_by_its_full_name(void **state)
{
    run_source(*state, RULE(""),
               "describe('x', function()\n"
               "  it('is one', function() end)\n"
               "  describe('inside', function() it('is two', function() error('no') end) end)\n"
               "  it('is three')\n"
               "end)");
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.results[0].name, "x is one");
    assert_int_equal(seen.results[0].outcome, TEST_PASSED);
    assert_string_equal(seen.results[1].name, "x inside is two");
    assert_int_equal(seen.results[1].outcome, TEST_FAILED);
    assert_text_contains(seen.results[1].message, "x_test.lua:3: no");
    assert_string_equal(seen.results[2].name, "x is three");
    assert_int_equal(seen.results[2].outcome, TEST_SKIPPED);
}

static void test_a_syntax_error_is_a_failure_of_the_file(void **state)
{
    run_source(*state, RULE(""), "it('x', function() en)");
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.results[0].name, "");
    assert_int_equal(seen.results[0].outcome, TEST_FAILED);
    assert_text_contains(seen.results[0].message, "x_test.lua:1:");
}

static void test_a_missing_file_is_a_failure(void **state)
{
    run_file(*state, "gone_test", NULL);
    assert_int_equal(seen.count, 1);
    assert_text_contains(seen.results[0].message, "gone_test.lua: cannot be read: No such file");
}

static void test_a_missing_rule_is_named_with_the_nearest_one(void **state)
{
    write_rule(*state, "hot_value", RULE(""));
    run_source(*state, RULE(""), "\nit('x', function() mill.test('hot_valu') end)");
    assert_text_contains(seen.results[0].message, "x_test.lua:2: no rule 'hot_valu' in ");
    assert_text_contains(seen.results[0].message, "did you mean 'hot_value'?");
}

static void test_a_broken_rule_fails_the_tests_that_load_it(void **state)
{
    run_source(*state, "return {", "it('x', function() mill.test() end) it('y', function() end)");
    assert_int_equal(seen.count, 2);
    assert_text_contains(seen.results[0].message, "x.lua:1:");
    assert_int_equal(seen.results[1].outcome, TEST_PASSED);
}

static void test_a_broken_rule_beside_it_does_not_matter(void **state)
{
    write_rule(*state, "y", "return {");
    pass(*state, RULE(""), SEND);
}

static void test_documents_that_differ_are_shown_field_by_field(void **state)
{
    fail_with(*state, RULE("mill.publish('out', { a = { 1, 2.0 }, b = 'x' })"),
              SEND
              "expect(published).to.equal { { subject = 'out', data = { a = { 1, 2 }, c = true, "
              "b = 'x' } } }",
              "x_test.lua:4: not equal\n"
              "  at [1].data.a[2]\n    expected: 2\n    got:      2.0\n"
              "  at [1].data.c\n    expected: true\n    got:      nil");
}

static void test_an_empty_array_is_not_an_empty_object(void **state)
{
    fail_with(*state, RULE("mill.publish('out', { a = mill.json.array() })"),
              SEND "expect(published[1].data).to.equal { a = {} }",
              "at a\n    expected: {}\n    got:      []");
}

static void test_an_error_of_the_rule_is_shown_when_a_test_fails(void **state)
{
    fail_with(*state, RULE("mill.log.info('here') error('oh')"),
              SEND "expect(verdict).to.equal('ack')", "the rule failed at in: ");
    assert_text_contains(seen.results[0].message, "x.lua:2: oh");
    assert_text_contains(seen.results[0].message, "log info: here");
}

static void test_an_error_of_the_rule_does_not_go_unseen(void **state)
{
    fail_with(*state, RULE("error('oh')"),
              "expect(rule:send { subject = 'in', data = {} }).to.equal {}",
              "the rule raised an error: ");
}

static void test_an_endless_test_is_stopped_and_the_next_one_runs(void **state)
{
    /* The limit of time is 10 s: too long for here; that of memory is the same mechanism. */
    run_source(*state, RULE(""),
               "it('x', function() local t, text = {}, ('x'):rep(15 << 20)\n"
               "  while true do pcall(function() t[#t + 1] = text .. #t end) end end)\n"
               "it('y', function() end)");
    assert_int_equal(seen.count, 2);
    assert_text_contains(seen.results[0].message, "out of memory");
    assert_int_equal(seen.results[1].outcome, TEST_PASSED);
}

static void test_a_filter_is_text_or_a_pattern(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "x_test",
               "for _, n in ipairs { 'one (1)', 'two', 'three' } do\n"
               "  it(n, function() end) end");
    run_file(f, "x_test", "(1)");
    assert_int_equal(seen.count, 1);
    run_file(f, "x_test", "^t%w");
    assert_int_equal(seen.count, 2);
    run_file(f, "x_test", "[");
    assert_int_equal(seen.count, 0);
}

static void test_hooks_run_around_each_test_from_the_outside(void **state)
{
    run_source(*state, RULE(""),
               "local log = ''\n"
               "before_each(function() log = log .. 'a' end)\n"
               "after_each(function() log = log .. 'd' end)\n"
               "describe('x', function()\n"
               "  before_each(function() log = log .. 'b' end)\n"
               "  after_each(function() log = log .. 'c' end)\n"
               "  it('x', function() log = log .. '!' error('stop') end)\n"
               "end)\n"
               "it('y', function() expect(log).to.equal('ab!cda') end)");
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.results[1].message, "");
}

static void test_a_test_file_has_a_rules_sandbox_and_modules(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "lib/units", "return { kilo = 1000 }");
    pass(f, RULE(""),
         "expect(require('units').kilo).to.equal(1000)\n"
         "for _, name in ipairs { 'io', 'debug', 'load', 'package' } do\n"
         "  expect(function() return _G[name] end).to.raise('not available')\n"
         "end");
}

/* --- what a test can do with a rule ----------------------------------------------------------- */

static void test_a_message_has_what_the_test_says(void **state)
{
    pass(*state,
         RULE("mill.publish('out', { msg.data, msg.headers.h, msg.stream, msg.consumer, "
              "msg.sequence, msg.delivered, msg.pending, msg.time_ns })"),
         "local published = rule:send { subject = 'in', raw = '[1.0]', headers = { h = 5 },\n"
         "  stream = 's', consumer = 'c', sequence = 7, delivered = 3, pending = 9, time = 1.5 }\n"
         "expect(published[1].data).to.equal "
         "{ mill.json.array { 1.0 }, '5', 's', 'c', 7, 3, 9, 1500000000 }");
}

static void test_what_was_published_has_its_options(void **state)
{
    pass(*state,
         RULE("mill.publish('out', 'text', { id = 'i', ttl = 5, durable = false, "
              "headers = { h = 'v' } })"),
         SEND
         "expect(published).to.equal { { subject = 'out', data = 'text', id = 'i', ttl = 5.0,\n"
         "  durable = false, headers = { h = 'v' } } }");
}

static void test_every_verdict_is_told(void **state)
{
    pass(*state,
         RULE("if msg.data.a == 'retry' then msg:retry(5) end\n"
              "if msg.data.a == 'reject' then msg:reject('no good') end\n"
              "if msg.data.a == 'error' then error('oh') end\n"
              "if msg.data.a == 'wait' then mill.sleep(5) end"),
         "local function try(a, subject)\n"
         "  local published, verdict, detail = rule:send { subject = subject or 'in', data = { a = "
         "a } }\n"
         "  return { verdict, detail }\n"
         "end\n"
         "expect(try('ack')).to.equal { 'ack' }\n"
         "expect(try('retry')).to.equal { 'retry', 5.0 }\n"
         "expect(try('reject')).to.equal { 'reject', 'no good' }\n"
         "expect(try('error')).to.contain { 'error' }\n"
         "expect(try('error')[2]).to.contain('x.lua:4: oh')\n"
         "expect(try('ack', 'other')).to.equal { 'unmatched' }\n"
         "expect(try('wait')).to.equal { 'waiting' }");
}

static void test_a_sleeper_wakes_when_the_clock_says_so(void **state)
{
    pass(*state,
         RULE("local began = mill.now() mill.sleep(5) mill.publish('out', { mill.now() - began })"),
         SEND "expect(verdict).to.equal('waiting')\n"
              "expect(rule:advance(4.9)).to.equal {}\n"
              "local later, settled = rule:advance(1)\n"
              "expect(later).to.equal { { subject = 'out', data = { 5.0 } } }\n"
              "expect(settled).to.equal { { sequence = 1, verdict = 'ack' } }");
}

static void test_timers_run_each_at_its_time(void **state)
{
    pass(*state,
         "mill.every(10, function() mill.publish('tick', { mill.now() }) end)\n"
         "mill.after(15, function() mill.publish('once', {}) end)\n"
         "return {}",
         "local began, subjects = rule:now(), {}\n"
         "for i, output in ipairs(rule:advance(30)) do subjects[i] = output.subject end\n"
         "expect(subjects).to.equal { 'tick', 'once', 'tick', 'tick' }\n"
         "expect(rule:now()).to.equal(began + 30)");
}

static void test_an_error_in_a_timer_fails_the_test(void **state)
{
    fail_with(*state, "mill.every(10, function() error('oh') end) return {}", "rule:advance(30)",
              "x_test.lua:3: a timer of the rule raised an error: ");
}

static void test_a_sleep_of_no_time_needs_no_advance(void **state)
{
    pass(*state, RULE("for i = 1, 3 do mill.sleep(0) end"), SEND "expect(verdict).to.equal('ack')");
}

static void test_requests_are_answered_as_the_test_says(void **state)
{
    pass(*state,
         RULE("local answer, err = mill.request('ask', { q = msg.data.a }, 2)\n"
              "mill.publish('out', { answer = answer, err = err })"),
         "local function ask(answer)\n"
         "  rule:answer('ask', answer)\n"
         "  return (rule:send { subject = 'in', data = { a = 1 } })[1].data\n"
         "end\n"
         "expect(ask(nil)).to.equal { err = 'no responders' }\n"
         "expect(ask('text')).to.equal { answer = 'text' }\n"
         "expect(ask { a = 1.0 }).to.equal { answer = '{\"a\":1.0}' }\n"
         "expect(ask(function(data) return 'got ' .. data.q end)).to.equal { answer = 'got 1' }\n"
         "expect(ask(function() return nil, 'broken' end)).to.equal { err = 'broken' }\n"
         "expect(rule.requests[5]).to.equal { subject = 'ask', data = { q = 1 } }\n"
         "rule:answer('ask', false)\n"
         "local published, verdict = rule:send { subject = 'in', data = {} }\n"
         "expect(verdict).to.equal('waiting')\n"
         "expect(rule:advance(2)).to.equal { { subject = 'out', data = { err = 'timeout' } } }");
}

static void test_an_error_in_an_answer_fails_the_test(void **state)
{
    fail_with(*state, RULE("mill.request('ask', {})"),
              "rule:answer('ask', function(data) expect(data).to.equal { a = 1 } end)\n" SEND,
              "at a\n    expected: 1");
}

static void test_buckets_are_kept_in_memory(void **state)
{
    pass(*state,
         RULE("local bucket = mill.kv('b')\n"
              "local value, revision = bucket:get_json('a')\n"
              "local created, why = bucket:create('a', { n = 1 })\n"
              "local updated = bucket:update('a', { n = value.n + 1 }, revision)\n"
              "bucket:put('c', { n = 3 }) bucket:delete('d')\n"
              "mill.publish('out', { why = why, created = created, updated = updated,\n"
              "  keys = bucket:keys() })"),
         "rule:kv('b'):put('a', { n = 1 })\n"
         "rule:kv('b'):put('d', { n = 4 })\n" SEND "expect(verdict).to.equal('ack')\n"
         "expect(published[1].data).to.contain { why = 'exists', updated = 3, keys = { 'a', 'c' } "
         "}\n"
         "expect(rule:kv('b'):get('a')).to.equal { n = 2 }\n"
         "expect(rule:kv('b'):get('d')).to.be_nil()");
}

static void test_a_reload_reads_the_file_again_and_keeps_the_state(void **state)
{
    pass(*state,
         "local state, count = mill.state('s'), 0\n"
         "return { subjects = { 'in' }, on_message = function()\n"
         "  count, state.n = count + 1, (state.n or 0) + 1\n"
         "  mill.publish('out', { count, state.n })\n"
         "end }",
         "local message = { subject = 'in', data = {} }\n"
         "rule:send(message)\n"
         "rule:reload()\n"
         "expect(rule:send(message)).to.equal { { subject = 'out', data = { 1, 2 } } }");
}

static void test_a_handler_that_waits_finishes_on_the_old_rule(void **state)
{
    pass(*state, RULE("mill.sleep(5) mill.publish('out', {})"),
         SEND "rule:send { subject = 'in', data = {} }\n" /* queued: goes to the new one */
              "rule:reload()\n"
              "expect(#rule:advance(5)).to.equal(2)");
}

/* --- the real tests --------------------------------------------------------------------------- */

static void print_failure(void *context, const struct test_result *result)
{
    size_t *failed = context;
    if (result->outcome != TEST_FAILED)
        return;
    ++*failed;
    print_message("%s: %s\n%s\n", result->file, result->name != NULL ? result->name : "",
                  result->message);
}

static void test_a_reload_that_cannot_keep_the_state_fails_the_test(void **state)
{
    fail_with(*state, RULE("mill.state('kept').print = print"), SEND "rule:reload()",
              "a function cannot be kept");
}

static void test_a_handler_that_waits_over_two_reloads_is_ended(void **state)
{
    fail_with(*state, RULE("mill.sleep(5)"),
              SEND "rule:reload()\nrule:reload()\nexpect(#rule:advance(5)).to.equal(1)",
              "x.lua:2: two reloads later");
}

static void test_metrics_and_signs_of_life_go_nowhere(void **state)
{
    pass(*state,
         RULE("mill.counter('seen_total'):inc() msg:in_progress() mill.publish('out', { 1 })"),
         SEND "expect(#published).to.equal(1)");
}

static void test_the_clock_of_a_test_does_not_run_backwards(void **state)
{
    fail_with(*state, RULE(""), "rule:advance(-1)", "seconds from 0 to 1e9 expected");
}

static void test_what_is_no_message_is_refused_with_the_field(void **state)
{
    fail_with(*state, RULE(""), "rule:send { subject = 'in', data = {}, sequence = 1.5 }",
              "sequence: a whole number expected, got 1.5");
    fail_with(*state, RULE(""), "rule:send { subject = 'in', data = {}, stream = true }",
              "stream: a string expected, got boolean");
}

static void run_folder(const char *folder)
{
    struct test_files files = {0};
    struct error err = {0};
    size_t failed = 0;
    const struct testing_options options = {.report = print_failure, .context = &failed};
    assert_int_equal(test_files_add(&files, folder, &err), 0);
    assert_true(files.count > 0);
    for (size_t i = 0; i < files.count; i++)
        testing_run(files.paths[i], &options);
    test_files_free(&files);
    assert_int_equal(failed, 0);
}

static void test_the_tests_of_the_sample_rules_pass(void **state)
{
    (void)state;
    run_folder("rules");
}

static void test_the_tests_of_the_helpers_pass(void **state)
{
    (void)state;
    if (UNDER_GC_STRESS) /* thousands of values each, and ten seconds for a test */
        skip();
    run_folder("tests/lua");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_each_test_is_reported_by_its_full_name),
        engine_test(test_a_syntax_error_is_a_failure_of_the_file),
        engine_test(test_a_missing_file_is_a_failure),
        engine_test(test_a_missing_rule_is_named_with_the_nearest_one),
        engine_test(test_a_broken_rule_fails_the_tests_that_load_it),
        engine_test(test_a_broken_rule_beside_it_does_not_matter),
        engine_test(test_documents_that_differ_are_shown_field_by_field),
        engine_test(test_an_empty_array_is_not_an_empty_object),
        engine_test(test_an_error_of_the_rule_is_shown_when_a_test_fails),
        engine_test(test_an_error_of_the_rule_does_not_go_unseen),
        engine_test(test_an_endless_test_is_stopped_and_the_next_one_runs),
        engine_test(test_a_filter_is_text_or_a_pattern),
        engine_test(test_hooks_run_around_each_test_from_the_outside),
        engine_test(test_a_test_file_has_a_rules_sandbox_and_modules),
        engine_test(test_a_message_has_what_the_test_says),
        engine_test(test_what_was_published_has_its_options),
        engine_test(test_every_verdict_is_told),
        engine_test(test_a_sleeper_wakes_when_the_clock_says_so),
        engine_test(test_timers_run_each_at_its_time),
        engine_test(test_an_error_in_a_timer_fails_the_test),
        engine_test(test_a_sleep_of_no_time_needs_no_advance),
        engine_test(test_requests_are_answered_as_the_test_says),
        engine_test(test_an_error_in_an_answer_fails_the_test),
        engine_test(test_buckets_are_kept_in_memory),
        engine_test(test_a_reload_reads_the_file_again_and_keeps_the_state),
        engine_test(test_a_handler_that_waits_finishes_on_the_old_rule),
        engine_test(test_a_reload_that_cannot_keep_the_state_fails_the_test),
        engine_test(test_a_handler_that_waits_over_two_reloads_is_ended),
        engine_test(test_metrics_and_signs_of_life_go_nowhere),
        engine_test(test_the_clock_of_a_test_does_not_run_backwards),
        engine_test(test_what_is_no_message_is_refused_with_the_field),
        cmocka_unit_test(test_the_tests_of_the_sample_rules_pass),
        cmocka_unit_test(test_the_tests_of_the_helpers_pass),
    };
    return cmocka_run_group_tests_name("testing", tests, NULL, NULL);
}
