#include "engine_fixture.h"

/*
 * mill.kv as a rule sees it, on a host that notes what is asked and answers what the test says.
 */

static struct {
    int calls;
    uint64_t wait;
    struct kv_request request;
    char bucket[64], key[64], value[128];
    int status;                 /* what the host returns */
    const struct reply *answer; /* given within the call; NULL: the test answers later */
} host;

static int fake_kv(void *context, struct engine *engine, uint64_t wait,
                   const struct kv_request *request, struct error *err)
{
    (void)context;
    host.calls++;
    host.wait = wait;
    host.request = *request;
    FIXTURE_COPY(host.bucket, request->bucket);
    FIXTURE_COPY(host.key, request->key);
    fixture_copy(host.value, sizeof(host.value), request->value, request->size);
    if (host.status != 0)
        return error_set(err, "disconnected");
    if (host.answer != NULL)
        engine_reply(engine, wait, host.answer);
    return 0;
}

static int setup(void **state)
{
    memset(&host, 0, sizeof(host));
    if (fixture_setup(state) != 0)
        return -1;
    fixture.options.host.kv = fake_kv;
    return 0;
}

/* Runs a body whose question is answered with `answer`, at once and, in another engine, later. */
static void run_answered(struct fixture *f, const char *body, struct reply answer)
{
    host.answer = &answer;
    run_body(f, body);
    host.answer = NULL;
    engine_close(f->engine);
    f->engine = NULL;
    open_handler(f, body);
    send_message(f, "{}");
    assert_int_equal(f->end_count, 1);
    engine_reply(f->engine, host.wait, &answer);
    assert_int_equal(f->end_count, 2);
    assert_done(f);
}

static void test_get_gives_the_value_as_it_is_stored_and_its_revision(void **state)
{
    run_answered(*state,
                 "local value, revision = mill.kv('seen'):get('a.b')\n"
                 "assert(value == '{\"n\":\\0}' and revision == 7)\n"
                 "assert(math.type(revision) == 'integer')",
                 (struct reply){.payload = "{\"n\":\0}", .payload_size = 7, .revision = 7});
    assert_int_equal(host.request.operation, KV_GET);
    assert_string_equal(host.bucket, "seen");
    assert_string_equal(host.key, "a.b");
}

static void test_get_of_nothing_is_nil_without_an_error(void **state)
{
    run_answered(*state,
                 "local value, why = mill.kv('seen'):get('a')\n"
                 "assert(value == nil and why == nil)",
                 (struct reply){.payload = NULL});
}

static void test_an_empty_value_is_an_empty_string(void **state)
{
    run_answered(*state, "assert(mill.kv('seen'):get('a') == '')",
                 (struct reply){.payload = "", .revision = 1});
}

static void test_get_json_decodes_the_value(void **state)
{
    run_answered(*state,
                 "local value, revision = mill.kv('seen'):get_json('a')\n"
                 "assert(value.n == 5 and revision == 9)",
                 (struct reply){.payload = "{\"n\":5}", .payload_size = 7, .revision = 9});
}

static void test_get_json_of_something_else_is_an_error(void **state)
{
    run_answered(*state,
                 "local value, why = mill.kv('seen'):get_json('a')\n"
                 "assert(value == nil and why:find('no JSON', 1, true), why)",
                 (struct reply){.payload = "{", .payload_size = 1, .revision = 9});
}

static void test_put_sends_a_table_as_json_and_gives_the_revision(void **state)
{
    run_answered(*state, "assert(mill.kv('seen'):put('a', { n = 1 }) == 3)",
                 (struct reply){.revision = 3});
    assert_int_equal(host.request.operation, KV_PUT);
    assert_string_equal(host.value, "{\"n\":1}");
}

static void test_put_sends_a_string_as_it_is(void **state)
{
    run_answered(*state, "assert(mill.kv('seen'):put('a', 'x') == 3)",
                 (struct reply){.revision = 3});
    assert_string_equal(host.value, "x");
}

static void test_create_of_what_exists_is_nil_and_exists(void **state)
{
    run_answered(*state,
                 "local revision, why = mill.kv('seen'):create('a', 'x')\n"
                 "assert(revision == nil and why == 'exists')",
                 (struct reply){.error = "exists"});
    assert_int_equal(host.request.operation, KV_CREATE);
}

static void test_update_says_which_revision_must_be_the_last(void **state)
{
    run_answered(*state, "assert(mill.kv('seen'):update('a', 'x', 41) == 42)",
                 (struct reply){.revision = 42});
    assert_int_equal(host.request.operation, KV_UPDATE);
    assert_int_equal(host.request.revision, 41);
}

static void test_delete_is_true(void **state)
{
    run_answered(*state, "assert(mill.kv('seen'):delete('a') == true)",
                 (struct reply){.error = NULL});
    assert_int_equal(host.request.operation, KV_DELETE);
}

static void test_keys_is_an_array(void **state)
{
    run_answered(*state,
                 "local keys = mill.kv('seen'):keys()\n"
                 "assert(#keys == 2 and keys[1] == 'a' and keys[2] == 'b.c')",
                 (struct reply){.payload = "a\nb.c\n", .payload_size = 6});
    assert_int_equal(host.request.operation, KV_KEYS);
    assert_null(host.request.key);
}

static void test_keys_of_an_empty_bucket_is_an_empty_array(void **state)
{
    run_answered(*state, "assert(#mill.kv('seen'):keys() == 0)", (struct reply){.payload = ""});
}

static void test_what_the_host_cannot_send_is_nil_and_why(void **state)
{
    host.status = -1;
    run_body(*state, "local value, why = mill.kv('seen'):get('a')\n"
                     "assert(value == nil and why == 'disconnected')");
}

static void test_no_answer_is_nil_and_timeout(void **state)
{
    struct fixture *f = *state;
    open_handler(f, "local value, why = mill.kv('seen'):get('a')\n"
                    "assert(value == nil and why == 'timeout')");
    send_message(f, "{}");
    advance(f, 4.9);
    assert_int_equal(f->end_count, 0);
    advance(f, 0.2);
    assert_int_equal(f->end_count, 1);
    assert_done(f);
    engine_reply(f->engine, host.wait, &(struct reply){.payload = "late"}); /* ignored */
    assert_int_equal(f->end_count, 1);
}

static void test_a_bucket_may_be_made_at_the_top_of_a_file(void **state)
{
    struct fixture *f = *state;
    host.answer = &(struct reply){.revision = 1};
    open_with(f, "local seen = mill.kv('seen')\n"
                 "return { subjects = { '>' }, on_message = function(msg)\n"
                 "  assert(seen:put('a', 'b') == 1)\nend }");
    send_message(f, "{}");
    assert_done(f);
}

static void test_the_top_of_a_file_cannot_ask(void **state)
{
    assert_text_contains(open_error(*state, "mill.kv('seen'):get('a')\nreturn {}"),
                         "kv:get works inside on_message and timers");
    assert_int_equal(host.calls, 0);
}

static void test_a_host_without_buckets_says_so(void **state)
{
    struct fixture *f = *state;
    f->options.host.kv = NULL;
    run_failing_body(f, "mill.kv('seen'):get('a')", "mill.kv is not available here");
}

static void test_wrong_arguments_are_errors_at_the_call(void **state)
{
    static const struct {
        const char *body, *wanted;
    } cases[] = {
        {"mill.kv()", "must be a string, got nothing"},
        {"mill.kv('')", "'' is no bucket name"},
        {"mill.kv('a.b')", "'a.b' is no bucket name"},
        {"mill.kv('a b')", "'a b' is no bucket name"},
        {"mill.kv('a\\0b')", "is no bucket name"},
        {"mill.kv(('x'):rep(201))", "is no bucket name"},
        {"mill.kv('b'):get()", "kv:get: the key must be a string, got no value"},
        {"mill.kv('b'):get('')", "'' is no key"},
        {"mill.kv('b'):get('.a')", "'.a' is no key"},
        {"mill.kv('b'):get('a.')", "'a.' is no key"},
        {"mill.kv('b'):get('a..b')", "'a..b' is no key"},
        {"mill.kv('b'):get('a*')", "'a*' is no key"},
        {"mill.kv('b'):get('>')", "'>' is no key"},
        {"mill.kv('b'):get('a b')", "'a b' is no key"},
        {"mill.kv('b'):get('a\\0')", "is no key"},
        {"mill.kv('b'):get(('x'):rep(513))", "is no key"},
        {"mill.kv('b').get('a')", "with a colon"},
        {"mill.kv('b'):put('a')", "kv:put: the data must be a table or a string, got nil"},
        {"mill.kv('b'):put('a', { f = print })", "kv:put: data.f"},
        {"mill.kv('b'):update('a', 'x')", "a revision from 1 on expected, got nil"},
        {"mill.kv('b'):update('a', 'x', 0)", "a revision from 1 on expected, got 0"},
        {"mill.kv('b'):update('a', 'x', 1.5)", "a revision from 1 on expected, got 1.5"},
        {"mill.kv('b'):update('a', 'x', '1')", "a revision from 1 on expected, got 1"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        engine_close(f->engine);
        f->engine = NULL;
        f->end_count = 0;
        run_failing_body(f, cases[i].body, cases[i].wanted);
        assert_int_equal(host.calls, 0);
    }
}

static void test_the_names_that_nats_allows_are_taken(void **state)
{
    host.answer = &(struct reply){.payload = NULL};
    run_body(*state, "mill.kv('A_b-9'):get('a/b_c-d=e.F.9')");
    assert_string_equal(host.key, "a/b_c-d=e.F.9");
}

static void test_a_value_over_the_servers_limit_is_an_error(void **state)
{
    struct fixture *f = *state;
    f->options.host.max_payload = 10;
    run_failing_body(f, "mill.kv('b'):put('a', ('x'):rep(11))", "more than the server takes");
}

#define kv_test(function) cmocka_unit_test_setup_teardown(function, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        kv_test(test_get_gives_the_value_as_it_is_stored_and_its_revision),
        kv_test(test_get_of_nothing_is_nil_without_an_error),
        kv_test(test_an_empty_value_is_an_empty_string),
        kv_test(test_get_json_decodes_the_value),
        kv_test(test_get_json_of_something_else_is_an_error),
        kv_test(test_put_sends_a_table_as_json_and_gives_the_revision),
        kv_test(test_put_sends_a_string_as_it_is),
        kv_test(test_create_of_what_exists_is_nil_and_exists),
        kv_test(test_update_says_which_revision_must_be_the_last),
        kv_test(test_delete_is_true),
        kv_test(test_keys_is_an_array),
        kv_test(test_keys_of_an_empty_bucket_is_an_empty_array),
        kv_test(test_what_the_host_cannot_send_is_nil_and_why),
        kv_test(test_no_answer_is_nil_and_timeout),
        kv_test(test_a_bucket_may_be_made_at_the_top_of_a_file),
        kv_test(test_the_top_of_a_file_cannot_ask),
        kv_test(test_a_host_without_buckets_says_so),
        kv_test(test_wrong_arguments_are_errors_at_the_call),
        kv_test(test_the_names_that_nats_allows_are_taken),
        kv_test(test_a_value_over_the_servers_limit_is_an_error),
    };
    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
