#include "unit/engine_fixture.h"

/* The `mill` table: every argument is checked at the rule's line. */

/* Runs a body that calls `fails(expected, function)` for each case. */
static void run_failures(struct fixture *f, const char *cases)
{
    char body[4000];
    snprintf(body, sizeof(body),
             "local function fails(wanted, f, ...)\n"
             "  local ok, err = pcall(f, ...)\n"
             "  assert(not ok, wanted) assert(err:find(wanted, 1, true), err) end\n%s",
             cases);
    run_body(f, body);
}

/* --- mill.publish ----------------------------------------------------------------------------- */

static void test_publish_checks_its_subject(void **state)
{
    run_failures(*state, "fails('the subject must be a string', mill.publish, 5, 'x')\n"
                         "fails('mill.publish', mill.publish, '', 'x')\n"
                         "fails('mill.publish', mill.publish, 'a..b', 'x')\n"
                         "fails('mill.publish', mill.publish, 'a.*', 'x')\n"
                         "fails('mill.publish', mill.publish, 'a.>', 'x')\n"
                         "fails('mill.publish', mill.publish, 'a b', 'x')\n"
                         "fails('zero byte', mill.publish, 'a\\0b', 'x')\n"
                         "fails('start with $', mill.publish, '$JS.API.STREAM.DELETE.x', 'x')");
}

static void test_publish_checks_its_data(void **state)
{
    run_failures(*state, "fails('a table or a string, got nil', mill.publish, 'a', nil)\n"
                         "fails('a table or a string, got number', mill.publish, 'a', 5)\n"
                         "fails('a table or a string, got function', mill.publish, 'a', print)\n"
                         "fails('function', mill.publish, 'a', { f = print })\n"
                         "local t = {} t.t = t fails('mill.publish', mill.publish, 'a', t)");
}

static void test_publish_checks_its_options(void **state)
{
    run_failures(*state,
                 "local function p(opts) return function() mill.publish('a', 'x', opts) end end\n"
                 "fails('opts must be a table', p(5))\n"
                 "fails(\"no key 'header' (did you mean 'headers'?)\", p { header = {} })\n"
                 "fails('opts has no key', p { 'x' })\n"
                 "fails('opts.id', p { id = '' })\n"
                 "fails('opts.id', p { id = 5 })\n"
                 "fails('line end', p { id = 'a\\nb' })\n"
                 "fails('opts.ttl', p { ttl = 0 })\n"
                 "fails('opts.ttl', p { ttl = -1 })\n"
                 "fails('opts.ttl', p { ttl = 0 / 0 })\n"
                 "fails('opts.durable', p { durable = 1 })\n"
                 "fails('opts.headers', p { headers = 'x' })");
}

static void test_publish_checks_its_headers(void **state)
{
    run_failures(*state, "local function h(k, v) return function() mill.publish('a', 'x', { "
                         "headers = { [k] = v } }) end end\n"
                         "fails('is no header name', h('a b', 'v'))\n"
                         "fails('is no header name', h('a:b', 'v'))\n"
                         "fails('is no header name', h('', 'v'))\n"
                         "fails('is no header name', h('a\\0', 'v'))\n"
                         "fails('names must be strings', h(1, 'v'))\n"
                         "fails('line end', h('X', 'a\\r\\nEvil: b'))\n"
                         "fails('line end', h('X', 'a\\0'))\n"
                         "fails('a string or a number', h('X', {}))\n"
                         "fails('use opts.id', h('Nats-Msg-Id', 'v'))\n"
                         "fails('reserved', h('nats-expected-stream', 'v'))\n"
                         "fails('reserved', h('Tidemill-Reason', 'v'))\n"
                         "local many = {} for i = 1, 65 do many['H' .. i] = 'v' end\n"
                         "fails('more than 64', mill.publish, 'a', 'x', { headers = many })");
}

static void test_publish_refuses_what_the_server_would_not_take(void **state)
{
    struct fixture *f = *state;
    f->options.host.max_payload = 100;
    run_failures(f, "mill.publish('a', ('x'):rep(100))\n"
                    "fails('101 bytes are more', mill.publish, 'a', ('x'):rep(101))\n"
                    "fails('with the headers', mill.publish, 'a', ('x'):rep(90), { headers = { A = "
                    "'bbbbbb' } })");
    assert_int_equal(last_end(f)->output_count, 1);
}

static void test_what_works_in_handlers_only_says_so_at_the_top_level(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(open_error(f, "mill.publish('a', 'x')"),
                        "x.lua:1: mill.publish works inside on_message and timers");
    assert_string_equal(open_error(f, "mill.sleep(1)"),
                        "x.lua:1: mill.sleep works inside on_message and timers");
    assert_string_equal(open_error(f, "return { subjects = {'>'}, on_message = print, on_load = "
                                      "function() mill.request('a', 'x') end }"),
                        "x.lua:1: mill.request works inside on_message and timers");
}

static void test_a_table_is_published_as_the_document_that_came(void **state)
{
    struct fixture *f = *state;
    const char *document =
        "{\"id\":9007199254740993,\"list\":[],\"empty\":{},\"none\":null,\"f\":1.5}";
    open_handler(f, "mill.publish('copy', msg.data)");
    send_message(f, document);
    assert_done(f);
    assert_int_equal(strlen(last_end(f)->outputs[0].payload), strlen(document));
    assert_text_contains(last_end(f)->outputs[0].payload, "\"id\":9007199254740993");
    assert_text_contains(last_end(f)->outputs[0].payload, "\"list\":[]");
}

/* --- waiting and time ------------------------------------------------------------------------- */

static void test_waits_check_their_arguments(void **state)
{
    run_failures(*state, "fails('mill.sleep: seconds from 0', mill.sleep, -1)\n"
                         "fails('mill.sleep: seconds', mill.sleep, 0 / 0)\n"
                         "fails('mill.sleep: seconds expected', mill.sleep)\n"
                         "fails('mill.sleep: seconds expected', mill.sleep, 'x')\n"
                         "fails('mill.request: seconds', mill.request, 'a', 'x', -1)\n"
                         "fails('mill.request: the subject', mill.request, nil, 'x')\n"
                         "fails('mill.request', mill.request, 'a.*', 'x')\n"
                         "fails('mill.every: seconds', mill.every, -1, print)\n"
                         "fails('function expected', mill.every, 1)\n"
                         "fails('number expected', mill.after, print, 1)");
}

static void test_request_without_such_a_service_is_an_error(void **state)
{
    struct fixture *f = *state;
    f->options.host.request = NULL;
    run_failing_body(f, "mill.request('a', 'x')", "mill.request is not available here");
}

static void test_now_is_the_hosts_time_in_seconds(void **state)
{
    run_body(*state, "assert(mill.now() == 1700000000.5)");
}

static void test_worker_and_version_are_there(void **state)
{
    run_body(*state, "assert(mill.worker.id == 2 and mill.worker.count == 4)\n"
                     "assert(type(mill.version) == 'string' and #mill.version > 0)");
}

static void test_json_encodes_and_decodes(void **state)
{
    run_body(*state,
             "assert(mill.json.encode(mill.json.decode('[1,2.5,null]')) == '[1,2.5,null]')\n"
             "assert(not pcall(mill.json.decode, '{'))");
}

/* --- the log ---------------------------------------------------------------------------------- */

static void test_log_joins_its_values_and_shows_tables_as_json(void **state)
{
    struct fixture *f = *state;
    run_body(f, "mill.log.debug('a', 1, 2.5, true, nil, { x = 1 })\n"
                "mill.log.warn() mill.log.error({ 1, 2 }) print('p')");
    assert_string_equal(f->log, "debug x: a 1 2.5 true nil {\"x\":1}\n"
                                "warn x: \nerror x: [1,2]\ninfo x: p\n");
}

static void test_log_takes_what_is_not_json(void **state)
{
    struct fixture *f = *state;
    run_body(f, "mill.log.info({ f = print })\n"
                "mill.log.info(setmetatable({}, { __tostring = function() return 'shown' end }))");
    assert_text_contains(f->log, "info x: table: 0x");
    assert_text_contains(f->log, "info x: shown\n");
}

/* --- metrics ---------------------------------------------------------------------------------- */

static void test_metrics_reach_the_host_with_sorted_labels(void **state)
{
    struct fixture *f = *state;
    open_with(f,
              "local c = mill.counter('alerts_total', { site = 'north', level = 3, hot = true })\n"
              "local g, h = mill.gauge('temp'), mill.histogram('t:seconds')\n"
              "return { subjects = {'>'}, on_message = function(msg)\n"
              "if msg.raw == '1' then c:inc() elseif msg.raw == '2' then c:add(2.5)\n"
              "elseif msg.raw == '3' then g:set(-4) else h:observe(0.25) end end }");
    send_message(f, "1");
    assert_string_equal(f->metric, "0 alerts_total hot=true level=3 site=north 1");
    send_message(f, "2");
    assert_string_equal(f->metric, "0 alerts_total hot=true level=3 site=north 2.5");
    send_message(f, "3");
    assert_string_equal(f->metric, "1 temp -4");
    send_message(f, "4");
    assert_string_equal(f->metric, "2 t:seconds 0.25");
    assert_done(f);
}

static void test_a_metric_keeps_what_the_host_has_left_there(void **state)
{
    struct fixture *f = *state;
    open_with(f, "local c, d = mill.counter('one'), mill.counter('one')\n"
                 "return { subjects = {'>'}, on_message = function(msg)\n"
                 "if msg.raw == 'c' then c:inc() else d:inc() end end }");
    send_message(f, "c");
    assert_false(f->metric_known);
    send_message(f, "c");
    assert_true(f->metric_known);
    send_message(f, "d");
    assert_false(f->metric_known); /* another object, though of the same metric */
}

static void test_metrics_check_their_arguments(void **state)
{
    run_failures(*state, "fails('is no metric name', mill.counter, '9lives')\n"
                         "fails('is no metric name', mill.counter, 'a-b')\n"
                         "fails('is no metric name', mill.counter, '')\n"
                         "fails('is no label name', mill.counter, 'a', { ['x-y'] = 1 })\n"
                         "fails('is no label name', mill.counter, 'a', { __x = 1 })\n"
                         "fails('names must be strings', mill.counter, 'a', { 'x' })\n"
                         "fails('a string or a number', mill.counter, 'a', { x = {} })\n"
                         "fails('table expected', mill.counter, 'a', 'x')\n"
                         "local c = mill.counter('a')\n"
                         "fails('from 0 on', c.add, c, -1)\n"
                         "fails('a number', c.add, c, 0 / 0)\n"
                         "fails('with a colon', c.inc)\n"
                         "fails('with a colon', c.inc, mill.gauge('g'))\n"
                         "local many = {} for i = 1, 17 do many['l' .. i] = i end\n"
                         "fails('more than 16', mill.counter, 'a', many)");
}

static void test_metrics_without_such_a_service_are_an_error_when_used(void **state)
{
    struct fixture *f = *state;
    f->options.host.metric = NULL;
    run_failing_body(f, "mill.counter('a'):inc()", "metrics are not available here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(test_publish_checks_its_subject),
        engine_test(test_publish_checks_its_data),
        engine_test(test_publish_checks_its_options),
        engine_test(test_publish_checks_its_headers),
        engine_test(test_publish_refuses_what_the_server_would_not_take),
        engine_test(test_what_works_in_handlers_only_says_so_at_the_top_level),
        engine_test(test_a_table_is_published_as_the_document_that_came),
        engine_test(test_waits_check_their_arguments),
        engine_test(test_request_without_such_a_service_is_an_error),
        engine_test(test_now_is_the_hosts_time_in_seconds),
        engine_test(test_worker_and_version_are_there),
        engine_test(test_json_encodes_and_decodes),
        engine_test(test_log_joins_its_values_and_shows_tables_as_json),
        engine_test(test_log_takes_what_is_not_json),
        engine_test(test_metrics_reach_the_host_with_sorted_labels),
        engine_test(test_a_metric_keeps_what_the_host_has_left_there),
        engine_test(test_metrics_check_their_arguments),
        engine_test(test_metrics_without_such_a_service_are_an_error_when_used),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
