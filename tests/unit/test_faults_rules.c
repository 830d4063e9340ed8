#include "unit/engine_fixture.h"

#include "alloc_faults.h"
#include "rules/lint.h"
#include "rules/testing.h"
#include "rules/vocabulary.h"

/*
 * The rules when memory runs out at each place: reading them, opening an engine, running them,
 * reloading, retiring, testing. Whatever fails: one line says so, each input is reported once, what
 * was there goes on, and nothing stays behind.
 */

static const char rule_source[] =
    "local units = require 'units'\n"
    "local seen = mill.state('seen')\n"
    "local window = mill.window { sliding = 10 }\n"
    "local counter = mill.counter('seen_total', { kind = 'x', other = 'y' })\n"
    "local timer = mill.every(5, function() mill.publish('tick', {}) end)\n"
    "timer:cancel()\n"
    "return {\n"
    "  subjects = { 'sensors.value', 'a.*.b', 'c.>' },\n"
    "  every = { { 3, function() end }, { 4, function() end } },\n"
    "  on_load = function() seen.loaded = true end,\n"
    "  on_unload = function() mill.log.info('unloaded') end,\n"
    "  on_message = function(msg)\n"
    "    local data = msg.data\n"
    "    counter:inc()\n"
    "    seen[#seen + 1] = units.double(data.list[2].value)\n"
    "    local wrapped = coroutine.wrap(function(a) coroutine.yield(a .. '') end)\n"
    "    wrapped(msg.headers.Name)\n"
    "    mill.log.info(data, ('a-b-c'):gsub('%w', { a = 'x' }), data.map.deep)\n"
    "    if data.sleep then mill.sleep(1) end\n"
    "    if data.fail then error({ code = 7 }) end\n"
    "    local answer = mill.request('ask', { question = data.map })\n"
    "    mill.publish('out.' .. msg.sequence, { answer = answer, map = data.map, n = #seen },\n"
    "      { headers = { A = 1, B = 'two' }, id = 'id-' .. msg.sequence, ttl = 60 })\n"
    "  end,\n"
    "}";

static const char module_source[] = "return { double = function(x) return x * 2 end }";

#define LETTERS "0123456789012345678901234567890123456789012345678901234567890123456789"
#define DOCUMENT(extra)                                                                            \
    "{" extra "\"list\": [{\"value\": 1, \"text\": \"" LETTERS "\"}, {\"value\": 21}, [], "        \
    "[1, 2, \"\\u00e4" LETTERS                                                                     \
    "\"]], \"map\": {\"deep\": {\"er\": [{}, {\"x\": 1.5}], \"t\": \"" LETTERS                     \
    "\"}, \"e\\u0073c\": [[], {\"a\": [true, null]}]}, \"more\": {\"text\": \"" LETTERS            \
    "\", \"items\": [{\"k\": 1}, {\"k\": 2}, {\"k\": 3}]}}"

static const char *const documents[] = {DOCUMENT(""), DOCUMENT("\"sleep\": true,"),
                                        DOCUMENT("\"fail\": true,")};

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    struct fixture *f = *state;
    f->options.limits.timeout_ns = 0; /* a busy machine is no fault */
    f->instant_reply = "\"yes\"";
    write_rule(f, "x", rule_source);
    write_rule(f, "y", "return { subjects = { '>' }, on_message = function() end }");
    write_rule(f, "lib/units", module_source);
    return 0;
}

static void each_header(const struct input *input,
                        void (*visit)(void *context, const char *name, const char *value),
                        void *context)
{
    (void)input;
    visit(context, "Name", "value");
    visit(context, "Other", LETTERS);
}

/* Hands `rule` a document. */
static void send_document(struct fixture *f, struct engine *engine, const char *document)
{
    static struct input inputs[ENDS_MAX];
    static uint64_t sequence;
    struct input *input = &inputs[sequence++ % ENDS_MAX];
    *input = (struct input){.subject = "sensors.value",
                            .payload = document,
                            .payload_size = strlen(document),
                            .stream = "s",
                            .consumer = "c",
                            .sequence = sequence,
                            .delivered = 1,
                            .time_ns = 1,
                            .each_header = each_header};
    engine_call(engine, engine_rule_named(engine, "x"), input, f);
}

static void start(struct fixture *f)
{
    f->end_count = 0;
    f->log[0] = '\0';
    open_engine(f);
}

static void finish(struct fixture *f)
{
    engine_close(f->engine);
    f->engine = NULL;
}

/* The last call must have ended well, or with a line of why. Returns 0 or -1. */
static int check_end(struct fixture *f)
{
    const struct end *end = last_end(f);
    if (end->outcome == OUTCOME_DONE)
        return 0;
    faults_check_line(end->error);
    return -1;
}

/* The engine must handle a document as if nothing had happened. */
static void check_alive(struct fixture *f, struct engine *engine)
{
    size_t before = f->end_count;
    send_document(f, engine, documents[0]);
    assert_int_equal(f->end_count, before + 1);
    assert_done(f);
    assert_int_equal(last_end(f)->output_count, 1);
    assert_text_contains(last_end(f)->outputs[0].payload, "\"answer\":\"\\\"yes\\\"\"");
}

/* --- opening ---------------------------------------------------------------------------------- */

static int open_and_close(void *context, size_t first, size_t count, size_t *failed)
{
    struct fixture *f = context;
    struct error err = {""};
    struct ruleset *ruleset = NULL;
    struct engine *engine = NULL;
    faults_arm(first, count);
    int status = ruleset_read(&ruleset, f->dir, &err);
    if (status == 0)
        status = engine_open(&engine, ruleset, &f->options, &err);
    *failed = faults_disarm();
    if (status != 0) {
        faults_check_line(err.text);
        assert_null(engine);
    } else {
        check_alive(f, engine);
    }
    engine_close(engine);
    ruleset_release(ruleset);
    return status;
}

static void test_rules_that_memory_does_not_suffice_for_are_an_error(void **state)
{
    assert_true(faults_sweep(open_and_close, *state) > 0);
}

static void ignore_fault(void *context, const char *rule, const struct error *err)
{
    (void)context, (void)rule;
    faults_check_line(err->text);
}

static void ignore_finding(void *context, const char *path, int line, const char *text)
{
    (void)context, (void)path, (void)line;
    faults_check_line(text);
}

/* What `tidemill check` does. */
static int look_at(void *context, size_t first, size_t count, size_t *failed)
{
    struct fixture *f = context;
    struct error err = {""};
    struct ruleset *ruleset = NULL;
    struct engine *engine = NULL;
    struct vocabulary *vocabulary = NULL;
    faults_arm(first, count);
    struct lint *lint = lint_new();
    int faults = -1, status = lint != NULL ? ruleset_read(&ruleset, f->dir, &err) : -1;
    if (status == 0) {
        faults = engine_check(&engine, ruleset, &f->options, ignore_fault, f, &err);
        status = faults < 0 ? -1 : vocabulary_open(&vocabulary, engine, &err);
    }
    if (status != 0 && lint != NULL)
        faults_check_line(err.text);
    for (size_t i = 0; status == 0 && i < ruleset_rule_count(ruleset); i++)
        status = lint_read(lint, ruleset_rule(ruleset, i));
    if (status == 0)
        lint_judge(lint, vocabulary, ignore_finding, f);
    *failed = faults_disarm();
    lint_free(lint);
    vocabulary_close(vocabulary);
    engine_close(engine);
    ruleset_release(ruleset);
    return faults > 0 ? -1 : status;
}

static void test_a_check_that_memory_does_not_suffice_for_is_an_error(void **state)
{
    assert_true(faults_sweep(look_at, *state) > 0);
}

/* --- running ---------------------------------------------------------------------------------- */

/* A new engine gets one document, with faults; another one, without. */
static int handle(struct fixture *f, const char *document, size_t first, size_t count,
                  size_t *failed)
{
    start(f);
    faults_arm(first, count);
    send_document(f, f->engine, document);
    if (f->end_count == 0)
        advance(f, 2);
    *failed = faults_disarm();
    assert_int_equal(f->end_count, 1);
    assert_int_equal(engine_active(f->engine), 0);
    int status = check_end(f);
    check_alive(f, f->engine);
    finish(f);
    return status;
}

static int handle_plain(void *context, size_t first, size_t count, size_t *failed)
{
    return handle(context, documents[0], first, count, failed);
}

static int handle_sleeping(void *context, size_t first, size_t count, size_t *failed)
{
    return handle(context, documents[1], first, count, failed);
}

static void test_a_message_that_memory_does_not_suffice_for_is_reported(void **state)
{
    assert_true(faults_sweep(handle_plain, *state) > 0);
    assert_true(faults_sweep(handle_sleeping, *state) > 0);
}

/* A rule that fails, and then there is no memory to say why. */
static int handle_failing(void *context, size_t first, size_t count, size_t *failed)
{
    return -1 - handle(context, documents[2], first, count, failed);
}

static void test_an_error_that_cannot_be_described_is_an_error_still(void **state)
{
    faults_sweep(handle_failing, *state);
}

/* Several messages, all but one of which must wait; with their timers. */
static int queue_some(void *context, size_t first, size_t count, size_t *failed)
{
    enum { SOME = 6 };
    struct fixture *f = context;
    int status = 0;
    start(f);
    faults_arm(first, count);
    for (int i = 0; i < SOME; i++)
        send_document(f, f->engine, documents[1]);
    for (int i = 0; i < 4 * SOME; i++)
        advance(f, 1);
    *failed = faults_disarm();
    for (int i = 0; i < 4 * SOME; i++)
        advance(f, 1);
    size_t reported = 0;
    for (size_t i = 0; i < f->end_count; i++) {
        reported += f->ends[i].token != NULL;
        if (f->ends[i].outcome == OUTCOME_DONE)
            continue;
        faults_check_line(f->ends[i].error);
        status = -1;
    }
    assert_int_equal(reported, SOME);
    assert_int_equal(engine_active(f->engine), 0);
    finish(f);
    return status;
}

static void test_messages_that_cannot_wait_are_reported(void **state)
{
    assert_true(faults_sweep(queue_some, *state) > 0);
}

/* --- from one engine to the next -------------------------------------------------------------- */

/* What mill.state holds must be `count` numbers. */
static void check_states(struct fixture *f, struct engine *engine, int count)
{
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "\"n\":%d", count + 1);
    check_alive(f, engine);
    assert_text_contains(last_end(f)->outputs[0].payload, wanted);
}

static int reload(void *context, size_t first, size_t count, size_t *failed)
{
    struct fixture *f = context;
    struct error err = {""};
    struct ruleset *ruleset = NULL;
    struct engine *engine = NULL;
    start(f);
    for (int i = 0; i < 3; i++)
        check_alive(f, f->engine);
    assert_int_equal(ruleset_read(&ruleset, f->dir, &err), 0);
    assert_int_equal(engine_open(&engine, ruleset, &f->options, &err), 0);
    ruleset_release(ruleset);
    faults_arm(first, count);
    int status = engine_carry_state(engine, f->engine, &err);
    *failed = faults_disarm();
    if (status != 0)
        faults_check_line(err.text);
    check_states(f, f->engine, 3);
    if (status == 0)
        check_states(f, engine, 3);
    engine_close(engine);
    finish(f);
    return status;
}

static void test_states_that_cannot_go_over_stay_where_they_are(void **state)
{
    assert_true(faults_sweep(reload, *state) > 0);
}

static void requeue(void *context, const char *rule, const struct input *input, void *token)
{
    struct fixture *f = context;
    assert_string_equal(rule, "x");
    assert_non_null(input);
    assert_ptr_equal(token, f);
    strcat(f->requeued, ".");
}

static int retire(void *context, size_t first, size_t count, size_t *failed)
{
    struct fixture *f = context;
    start(f);
    f->requeued[0] = '\0';
    for (int i = 0; i < 4; i++)
        send_document(f, f->engine, documents[1]);
    assert_int_equal(f->end_count, 0);
    faults_arm(first, count);
    engine_retire(f->engine, requeue, f);
    assert_string_equal(f->requeued, "...");
    assert_int_equal(f->end_count, 1); /* on_unload's */
    int status = check_end(f);
    engine_abort_calls(f->engine, "shutdown");
    *failed = faults_disarm();
    assert_int_equal(f->end_count, 2);
    assert_int_equal(engine_active(f->engine), 0);
    assert_int_equal(last_end(f)->outcome, OUTCOME_ERROR);
    faults_check_line(last_end(f)->error);
    finish(f);
    return status;
}

static void test_retiring_without_memory_loses_no_message(void **state)
{
    assert_true(faults_sweep(retire, *state) > 0);
}

/* --- tests of rules --------------------------------------------------------------------------- */

static struct {
    size_t count, failed;
} results;

static void take_result(void *context, const struct test_result *result)
{
    (void)context;
    results.count++;
    results.failed += result->outcome == TEST_FAILED;
    if (result->outcome == TEST_FAILED)
        assert_non_null(result->message);
}

static int run_test_file(void *context, size_t first, size_t count, size_t *failed)
{
    const struct testing_options options = {.report = take_result};
    char path[128];
    struct fixture *f = context;
    snprintf(path, sizeof(path), "%s/x_test.lua", f->dir);
    results.count = results.failed = 0;
    faults_arm(first, count);
    testing_run(path, &options);
    *failed = faults_disarm();
    assert_true(results.count > 0);
    return results.failed > 0 ? -1 : 0;
}

static void test_tests_that_memory_does_not_suffice_for_fail(void **state)
{
    struct fixture *f = *state;
    write_rule(f, "x",
               "return { subjects = { 'in' }, on_message = function(msg)\n"
               "mill.publish('out', msg.data) end }");
    write_rule(f, "x_test",
               "it('works', function()\n"
               "  local rule = mill.test()\n"
               "  expect(rule:send { subject = 'in', data = { a = 1 } })\n"
               "    .to.contain { { subject = 'out' } }\n"
               "  rule:advance(1)\n"
               "  rule:reload()\n"
               "end)");
    assert_true(faults_sweep(run_test_file, f) > 0);
}

#define faults_test(function) cmocka_unit_test_setup_teardown(function, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        faults_test(test_rules_that_memory_does_not_suffice_for_are_an_error),
        faults_test(test_a_check_that_memory_does_not_suffice_for_is_an_error),
        faults_test(test_a_message_that_memory_does_not_suffice_for_is_reported),
        faults_test(test_an_error_that_cannot_be_described_is_an_error_still),
        faults_test(test_messages_that_cannot_wait_are_reported),
        faults_test(test_states_that_cannot_go_over_stay_where_they_are),
        faults_test(test_retiring_without_memory_loses_no_message),
        faults_test(test_tests_that_memory_does_not_suffice_for_fail),
    };
    return cmocka_run_group_tests_name("faults_rules", tests, NULL, NULL);
}
