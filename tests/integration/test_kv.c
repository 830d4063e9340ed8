#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * mill.kv on buckets of a real server, made and looked at with libnats' own key-value functions.
 * The rules here answer each input with what they got, as a message of the stream "out".
 */

enum { PATIENCE_MS = 20000, CONFIG_SIZE = 512 };

static void release_bucket(void *bucket)
{
    kvStore_Destroy(bucket);
}

static kvStore *make_bucket(struct harness *h, const char *name, uint8_t history)
{
    kvStore *bucket = NULL;
    kvConfig config;
    kvConfig_Init(&config);
    config.Bucket = name;
    config.History = history;
    assert_int_equal(js_CreateKeyValue(&bucket, harness_js(h), &config), NATS_OK);
    harness_defer(h, release_bucket, bucket);
    return bucket;
}

/* What a bucket holds under a key, as libnats reads it; "(none)" when there is nothing. */
static const char *value_of(kvStore *bucket, const char *key, uint64_t *revision)
{
    static char text[4096];
    kvEntry *entry = NULL;
    natsStatus s = kvStore_Get(&entry, bucket, key);
    if (s == NATS_NOT_FOUND)
        return "(none)";
    assert_int_equal(s, NATS_OK);
    snprintf(text, sizeof(text), "%s", kvEntry_ValueString(entry));
    if (revision != NULL)
        *revision = kvEntry_Revision(entry);
    kvEntry_Destroy(entry);
    return text;
}

/* A rule on "in.>" with this handler; out(value) publishes. */
static void write_rule(struct harness *h, const char *head, const char *handler)
{
    char text[4096];
    snprintf(text, sizeof(text),
             "local function out(...)\n"
             "  local line = {}\n"
             "  for i = 1, select('#', ...) do line[i] = tostring((select(i, ...))) end\n"
             "  mill.publish('out.x', table.concat(line, ' '))\n"
             "end\n"
             "local kv = mill.kv('b')\n"
             "%s\n"
             "return { subjects = { 'in.>' }, on_message = function(msg)\n%s\nend }\n",
             head, handler);
    harness_write_file(h, "rules/asks.lua", text);
}

static struct process *start(struct harness *h)
{
    char text[CONFIG_SIZE];
    snprintf(text, sizeof(text),
             "return { streams = { { name = 'in' }, { name = 'out' } },\n"
             "  rules = { timeout = '%ds' },\n"
             "  sources = { { stream = 'in', durable = 'mill', backoff = { '100ms' } } } }\n",
             harness_seconds(1));
    harness_write_file(h, "tidemill.lua", text);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    return mill;
}

/* Runs a handler on one message; what it published must be these lines. */
static void expect(struct harness *h, const char *handler, size_t count, const char *const *lines)
{
    write_rule(h, "", handler);
    struct process *mill = start(h);
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", count, PATIENCE_MS);
    const struct harness_messages *got = harness_read(h, "out");
    assert_int_equal(got->count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(got->items[i].payload, lines[i]);
    harness_stop(mill, PATIENCE_MS);
}

#define expect_lines(h, handler, ...)                                                              \
    expect(h, handler, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),                \
           (const char *const[]){__VA_ARGS__})

/* --- one call after the other --- */

static void test_a_rule_writes_and_libnats_reads(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 1);
    uint64_t revision = 0;
    expect_lines(h,
                 "out(kv:put('sensor.1', { value = 1 }))\n"
                 "out(kv:put('sensor.1', 'two'))\n"
                 "out(kv:create('sensor/2=x', 'new'))\n"
                 "out(kv:update('sensor/2=x', 'newer', 3))",
                 "1", "2", "3", "4");
    assert_string_equal(value_of(bucket, "sensor.1", &revision), "two");
    assert_int_equal(revision, 2);
    assert_string_equal(value_of(bucket, "sensor/2=x", &revision), "newer");
    assert_int_equal(revision, 4);
}

static void test_libnats_writes_and_a_rule_reads(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 5);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a", "old"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a", "{\"n\":9007199254740993}"), NATS_OK);
    assert_int_equal(kvStore_Put(NULL, bucket, "binary", "\0\xff\n", 3), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "empty", ""), NATS_OK);
    expect_lines(h,
                 "out(kv:get('a'))\n"
                 "local value, revision = kv:get_json('a')\n"
                 "out(value.n, revision)\n"
                 "value, revision = kv:get('binary')\n"
                 "out(value == '\\0\\xff\\n', #value, revision)\n"
                 "value, revision = kv:get('empty')\n"
                 "out(value == '', revision)",
                 "{\"n\":9007199254740993} 2", "9007199254740993 2", "true 3 3", "true 4");
}

static void test_what_is_missing_or_deleted_is_nil(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 5);
    assert_int_equal(kvStore_PutString(NULL, bucket, "deleted", "x"), NATS_OK);
    assert_int_equal(kvStore_Delete(bucket, "deleted"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "purged", "x"), NATS_OK);
    assert_int_equal(kvStore_Purge(bucket, "purged", NULL), NATS_OK);
    expect_lines(h,
                 "for _, key in ipairs{'deleted', 'purged', 'missing'} do\n"
                 "  out(select('#', kv:get(key)), (kv:get(key)))\n"
                 "end",
                 "1 nil", "1 nil", "1 nil");
}

static void test_what_a_rule_deletes_is_deleted_for_libnats(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 1);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a", "x"), NATS_OK);
    expect_lines(h,
                 "out(kv:delete('a'))\n"
                 "out(kv:get('a'))\n"
                 "out(kv:delete('never'))",
                 "true", "nil", "true");
    assert_string_equal(value_of(bucket, "a", NULL), "(none)");
}

static void test_create_takes_a_new_or_deleted_key_only(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 1);
    assert_int_equal(kvStore_PutString(NULL, bucket, "taken", "x"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "deleted", "x"), NATS_OK);
    assert_int_equal(kvStore_Delete(bucket, "deleted"), NATS_OK);
    assert_int_equal(kvStore_Purge(bucket, "purged", NULL), NATS_OK);
    expect_lines(h,
                 "out(kv:create('taken', 'y'))\n"
                 "out(kv:create('deleted', 'y'))\n"
                 "out(kv:create('purged', 'y'))\n"
                 "out(kv:create('purged', 'z'))",
                 "nil exists", "5", "6", "nil exists");
    assert_string_equal(value_of(bucket, "taken", NULL), "x");
    assert_string_equal(value_of(bucket, "deleted", NULL), "y");
    assert_string_equal(value_of(bucket, "purged", NULL), "y");
}

static void test_update_wants_the_last_revision(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 1);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a", "1"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "other", "1"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a", "2"), NATS_OK);
    expect_lines(h,
                 "out(kv:update('a', '3', 1))\n"
                 "out(kv:update('a', '3', 3))\n"
                 "out(kv:update('never', '3', 1))",
                 "nil wrong revision", "4", "nil wrong revision");
    assert_string_equal(value_of(bucket, "a", NULL), "3");
}

static void test_a_value_of_nearly_a_megabyte_comes_back(struct harness *h)
{
    make_bucket(h, "b", 1);
    expect_lines(h,
                 "local value = ('\\0abc'):rep(250000)\n"
                 "out(kv:put('large', value))\n"
                 "out(kv:get('large') == value)",
                 "1", "true");
}

static void test_every_call_on_a_bucket_that_is_not_there_says_so(struct harness *h)
{
    expect_lines(h,
                 "out(kv:get('a'))\n"
                 "out(kv:put('a', ''))\n"
                 "out(kv:create('a', ''))\n"
                 "out(kv:update('a', '', 1))\n"
                 "out(kv:delete('a'))\n"
                 "out(kv:keys())",
                 "nil no bucket", "nil no bucket", "nil no bucket", "nil no bucket",
                 "nil no bucket", "nil no bucket");
}

static void test_what_the_bucket_refuses_is_an_error_in_the_servers_words(struct harness *h)
{
    kvStore *bucket = NULL;
    kvConfig config;
    kvConfig_Init(&config);
    config.Bucket = "b";
    config.MaxValueSize = 10;
    assert_int_equal(js_CreateKeyValue(&bucket, harness_js(h), &config), NATS_OK);
    harness_defer(h, release_bucket, bucket);
    expect_lines(h, "out(kv:put('a', ('x'):rep(11)))",
                 "nil message size exceeds maximum allowed (10054)");
}

/* --- keys --- */

static void test_keys_of_an_empty_bucket_are_none(struct harness *h)
{
    make_bucket(h, "b", 1);
    expect_lines(h, "out(#kv:keys())", "0");
}

static void test_keys_leave_out_what_is_deleted(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 5);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a.1", "x"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "gone", "x"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "b", "x"), NATS_OK);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a.1", "y"), NATS_OK);
    assert_int_equal(kvStore_Delete(bucket, "gone"), NATS_OK);
    assert_int_equal(kvStore_Purge(bucket, "purged", NULL), NATS_OK);
    expect_lines(h,
                 "local keys = kv:keys()\n"
                 "table.sort(keys)\n"
                 "out(table.concat(keys, ','))",
                 "a.1,b");
}

/* Overwriting and deleting leaves gaps everywhere in the stream. */
static void test_keys_are_right_after_thousands_of_changes(struct harness *h)
{
    enum { KEYS = 700, CHANGES = 5000 };
    kvStore *bucket = make_bucket(h, "b", 1);
    static bool there[KEYS];
    unsigned random = 1;
    size_t count = 0;
    memset(there, 0, sizeof(there));
    for (int i = 0; i < CHANGES; i++) {
        char key[32];
        random = random * 1103515245U + 12345U;
        unsigned number = random / 65536U % KEYS;
        snprintf(key, sizeof(key), "sensor.%u", number);
        there[number] = random / 7U % 3 != 0;
        assert_int_equal(there[number] ? kvStore_PutString(NULL, bucket, key, "x")
                                       : kvStore_Delete(bucket, key),
                         NATS_OK);
    }
    static char wanted[KEYS * 8];
    wanted[0] = '\0';
    for (int i = 0; i < KEYS; i++) {
        if (there[i]) {
            sprintf(wanted + strlen(wanted), "%s%d", count > 0 ? "," : "", i);
            count++;
        }
    }
    assert_in_range(count, 200, KEYS - 1);
    expect_lines(h,
                 "local numbers = {}\n"
                 "for i, key in ipairs(kv:keys()) do\n"
                 "  numbers[i] = math.tointeger(key:match('^sensor%.(%d+)$'))\n"
                 "end\n"
                 "table.sort(numbers)\n"
                 "out(table.concat(numbers, ','))",
                 wanted);
}

static void make_key(void *context, size_t number, struct harness_draft *draft)
{
    (void)context;
    snprintf(draft->subject, sizeof(draft->subject), "$KV.b.sensor.%zu", number);
    strcpy(draft->payload, "x");
}

static void test_more_keys_than_one_request_brings_are_all_there(struct harness *h)
{
    make_bucket(h, "b", 1);
    harness_feed_with(h, 12000, make_key, NULL);
    expect_lines(h,
                 "local keys, seen, all = kv:keys(), {}, 0\n"
                 "for _, key in ipairs(keys) do seen[key] = true end\n"
                 "for i = 0, 11999 do all = all + (seen['sensor.' .. i] and 1 or 0) end\n"
                 "out(#keys .. ' ' .. all)",
                 "12000 12000");
}

/* What is delivered keeps its subject, and any subject can look like one of the inbox. */
static void test_keys_have_any_form(struct harness *h)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    kvStore *bucket = make_bucket(h, "b", 1);
    for (int before = 1; before <= 26; before++) {
        char key[64];
        snprintf(key, sizeof(key), "%.*s.i.b.7", before, letters);
        assert_int_equal(kvStore_PutString(NULL, bucket, key, "x"), NATS_OK);
    }
    expect_lines(h, "out(#kv:keys())", "26");
}

static void test_no_consumer_is_left_behind(struct harness *h)
{
    kvStore *bucket = make_bucket(h, "b", 1);
    assert_int_equal(kvStore_PutString(NULL, bucket, "a", "x"), NATS_OK);
    write_rule(h, "", "for i = 1, 20 do assert(#kv:keys() == 1) end\nout(kv:get('a'))");
    struct process *mill = start(h);
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 1, PATIENCE_MS); /* the last removal went before that */
    jsStreamInfo *info = NULL;
    assert_int_equal(js_GetStreamInfo(&info, harness_js(h), "KV_b", NULL, NULL), NATS_OK);
    assert_int_equal(info->State.Consumers, 0);
    jsStreamInfo_Destroy(info);
    harness_stop(mill, PATIENCE_MS);
}

/* --- waiting --- */

static void test_other_messages_pass_while_one_waits(struct harness *h)
{
    make_bucket(h, "b", 1);
    write_rule(h, "",
               "if msg.data.first then\n"
               "  while not kv:get('go') do end\n"
               "  out('first')\n"
               "else out('other', (kv:put('go', ''))) end");
    char rule[4200];
    snprintf(rule, sizeof(rule), "%s", harness_read_file(h, "rules/asks.lua"));
    char *subjects = strstr(rule, "subjects =");
    memmove(subjects + 17, subjects, strlen(subjects) + 1);
    memcpy(subjects, "concurrency = 2, ", 17);
    harness_write_file(h, "rules/asks.lua", rule);
    struct process *mill = start(h);
    harness_publish(h, "in.x", "{\"first\":true}");
    harness_publish(h, "in.x", "{}");
    harness_wait_count(h, "out", 2, PATIENCE_MS); /* the first ends because the other one ran */
    harness_stop(mill, PATIENCE_MS);
}

static void test_without_a_connection_the_answer_is_disconnected(struct harness *h)
{
    make_bucket(h, "b", 1);
    write_rule(h, "mill.every(0.05, function() print('kv says', kv:get('a')) end)", "");
    struct process *mill = start(h);
    harness_wait_log(mill, "kv says nil", PATIENCE_MS);
    harness_server_stop(h);
    harness_wait_log(mill, "kv says nil disconnected", PATIENCE_MS);
    harness_server_start(h);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_a_server_that_does_not_answer_is_a_timeout(struct harness *h)
{
    make_bucket(h, "b", 1);
    write_rule(h, "mill.every(0.05, function() print('kv says', kv:put('a', 'x')) end)", "");
    struct process *mill = start(h);
    harness_wait_log(mill, "kv says 2", PATIENCE_MS);
    harness_server_signal(h, SIGSTOP);
    harness_wait_log(mill, "kv says nil timeout", PATIENCE_MS);
    harness_server_signal(h, SIGCONT);
    harness_wait_log(mill, "kv says", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

/* --- compare and set --- */

static void test_two_processes_count_together_without_losing_one(struct harness *h)
{
    enum { COUNT = 400 };
    kvStore *bucket = make_bucket(h, "b", 1);
    write_rule(h,
               "local function add()\n"
               "  while true do\n"
               "    local value, revision = kv:get('count')\n"
               "    local stored, why\n"
               "    if value then stored, why = kv:update('count', tostring(value + 1), revision)\n"
               "    elseif revision then error(revision)\n"
               "    else stored, why = kv:create('count', '1') end\n"
               "    if stored then return end\n"
               "    assert(why == 'exists' or why == 'wrong revision', why)\n"
               "  end\n"
               "end",
               "add()\nout(mill.worker.id)");
    harness_write_file(h, "tidemill.lua",
                       "return { streams = { { name = 'in' }, { name = 'out' } },\n"
                       "  sources = { { stream = 'in', durable = 'mill', batch = 10 } } }\n");
    struct process *one = harness_tidemill(h, "run");
    struct process *two = harness_tidemill(h, "run");
    harness_wait_http(one, "/readyz", 200, PATIENCE_MS);
    harness_wait_http(two, "/readyz", 200, PATIENCE_MS);
    harness_feed(h, "in.x", 0, COUNT, "{\"n\":#}");
    harness_wait_count(h, "out", COUNT, PATIENCE_MS);
    char wanted[16];
    snprintf(wanted, sizeof(wanted), "%d", COUNT);
    assert_string_equal(value_of(bucket, "count", NULL), wanted);
    harness_stop(one, PATIENCE_MS);
    harness_stop(two, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(test_a_rule_writes_and_libnats_reads),
        harness_test(test_libnats_writes_and_a_rule_reads),
        harness_test(test_what_is_missing_or_deleted_is_nil),
        harness_test(test_what_a_rule_deletes_is_deleted_for_libnats),
        harness_test(test_create_takes_a_new_or_deleted_key_only),
        harness_test(test_update_wants_the_last_revision),
        harness_test(test_a_value_of_nearly_a_megabyte_comes_back),
        harness_test(test_every_call_on_a_bucket_that_is_not_there_says_so),
        harness_test(test_what_the_bucket_refuses_is_an_error_in_the_servers_words),
        harness_test(test_keys_of_an_empty_bucket_are_none),
        harness_test(test_keys_leave_out_what_is_deleted),
        harness_test(test_keys_are_right_after_thousands_of_changes),
        harness_test(test_more_keys_than_one_request_brings_are_all_there),
        harness_test(test_keys_have_any_form),
        harness_test(test_no_consumer_is_left_behind),
        harness_test(test_other_messages_pass_while_one_waits),
        harness_test(test_without_a_connection_the_answer_is_disconnected),
        harness_test(test_a_server_that_does_not_answer_is_a_timeout),
        harness_test(test_two_processes_count_together_without_losing_one),
    };
    return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
