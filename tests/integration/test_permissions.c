#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A server that lets tidemill's user do only some things: with exactly what
 * deploy/nats-permissions.conf lists everything works, and what is missing from it is named in one
 * line.
 */

enum { PATIENCE_MS = 15000, READINGS = 300, LINE_SIZE = 512, NEEDED_SIZE = 8192 };

static const char readings_rule[] =
    "return { subjects = { 'sensors.value' }, on_message = function(msg)\n"
    "  if msg.data.n % 3 == 0 then mill.publish('alerts.high', { n = msg.data.n }) end\n"
    "  if msg.data.n == 7 then msg:reject('seven') end\n"
    "end }";

/* The users of the server: h may do everything, mill what `permissions` says. */
static void write_users(struct harness *h, const char *permissions)
{
    harness_write_file(h, "server/permissions.conf", permissions);
    harness_server_config(h, "authorization { users: [ { user: h, password: h },\n"
                             "  { user: mill, password: mill,\n"
                             "    permissions { include \"permissions.conf\" } } ] }");
}

/* The list as it is shipped, without the lines that have `without` in them. */
static const char *needed_without(struct harness *h, const char *without)
{
    static char kept[NEEDED_SIZE];
    const char *from = harness_read_file(h, harness_source_path(h, "deploy/nats-permissions.conf"));
    kept[0] = '\0';
    size_t used = 0, left_out = 0;
    while (*from != '\0') {
        size_t size = strcspn(from, "\n") + 1;
        char line[LINE_SIZE];
        snprintf(line, sizeof(line), "%.*s", (int)size, from);
        if (without == NULL || strstr(line, without) == NULL)
            used += (size_t)snprintf(kept + used, sizeof(kept) - used, "%s", line);
        else
            left_out++;
        from += size;
    }
    if (without != NULL && left_out != 1)
        harness_fail(h, "%zu lines with %s", left_out, without);
    return kept;
}

/* tidemill with the sample's configuration, faster, as the user mill. */
static struct process *start_with(struct harness *h, const char *rule)
{
    harness_write_file(h, "tidemill.lua",
                       "return { nats = { user = 'mill', password = 'mill' },\n"
                       "  streams = { { name = 'clientA_sensor', subjects = { 'sensors.>' } },\n"
                       "              { name = 'alerts' } },\n"
                       "  sources = { { stream = 'clientA_sensor', durable = 'rule_executor',\n"
                       "                ack_wait = '2s', backoff = { '100ms' }, workers = 2 } } }");
    harness_write_file(h, "rules/readings.lua", rule);
    return harness_tidemill(h, "run");
}

static struct process *start(struct harness *h)
{
    return start_with(h, readings_rule);
}

static void start_server(struct harness *h, const char *without)
{
    write_users(h, needed_without(h, without));
    harness_server_start(h);
}

static void create_streams(struct harness *h)
{
    harness_stream(h, "clientA_sensor", "sensors.>");
    harness_stream(h, "alerts", "alerts.>");
    harness_stream(h, "dead", "dead.>");
}

static void see_the_job_done(struct harness *h, struct process *mill, size_t times)
{
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_feed(h, "sensors.value", 1, READINGS, "{\"n\":#}");
    harness_wait_count(h, "alerts", times * READINGS / 3, PATIENCE_MS);
    harness_wait_count(h, "dead", times, PATIENCE_MS);
    harness_wait_drained(h, "clientA_sensor", "rule_executor", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    if (harness_log_count(mill, "ermission") != 0 || harness_log_count(mill, " error ") != 0)
        harness_fail(h, "not all is permitted: %s", harness_log(mill));
}

static void test_the_list_is_all_that_the_job_needs(struct harness *h)
{
    start_server(h, NULL);
    see_the_job_done(h, start(h), 1);
    see_the_job_done(h, start(h), 2); /* with what is there already */
}

static void test_streams_that_are_there_need_no_permission_to_create_them(struct harness *h)
{
    char list[NEEDED_SIZE] = "";
    size_t used = 0;
    const char *from = needed_without(h, NULL);
    for (; *from != '\0'; from += strcspn(from, "\n") + 1) {
        if (memmem(from, strcspn(from, "\n"), "STREAM.CREATE", 13) == NULL)
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%.*s\n",
                                     (int)strcspn(from, "\n"), from);
    }
    write_users(h, list);
    harness_server_start(h);
    create_streams(h);
    see_the_job_done(h, start(h), 1);
}

static void test_the_list_is_explained_in_the_documentation(struct harness *h)
{
    const char *page = harness_read_file(h, harness_source_path(h, "docs/operations.md"));
    const char *at = needed_without(h, NULL);
    size_t count = 0;
    while ((at = strstr(at, "\n  \"")) != NULL) { /* each line of the list is one subject */
        char subject[LINE_SIZE];
        at += 4;
        snprintf(subject, sizeof(subject), "`%.*s`", (int)strcspn(at, "\""), at);
        if (strstr(page, subject) == NULL)
            harness_fail(h, "docs/operations.md does not mention %s", subject);
        count++;
    }
    assert_true(count > 10);
}

/* What each of these users lacks ends its tidemill at the start, in a line that names it. */
static const struct {
    const char *without, *with; /* lines of the list */
    const char *says;
} at_start[] = {
    {"STREAM.INFO.alerts", "", "publish to $JS.API.STREAM.INFO.alerts\n"},
    {"STREAM.CREATE.alerts", "\"$JS.API.STREAM.INFO.other\"",
     "publish to $JS.API.STREAM.CREATE.other\n"},
    {"STREAM.NAMES", "", "publish to $JS.API.STREAM.NAMES\n"},
    {"CONSUMER.INFO", "", "publish to $JS.API.CONSUMER.INFO.clientA_sensor.rule_executor\n"},
    {"CONSUMER.DURABLE", "",
     "publish to $JS.API.CONSUMER.DURABLE.CREATE.clientA_sensor.rule_executor\n"},
    {"subscribe:", "", "subscribe to _INBOX.>\n"},
};

enum { AT_START = sizeof(at_start) / sizeof(at_start[0]) };

static struct process *start_lacking(struct harness *h, size_t i)
{
    char file[32], text[LINE_SIZE];
    snprintf(file, sizeof(file), "lacking%zu.lua", i);
    snprintf(text, sizeof(text),
             "return { nats = { user = 'mill%zu', password = 'mill' },\n"
             "  streams = { { name = '%s' }, { name = 'alerts' } },\n"
             "  sources = { { stream = 'clientA_sensor', durable = 'rule_executor' } } }",
             i, at_start[i].with[0] != '\0' ? "other" : "clientA_sensor");
    harness_write_file(h, file, text);
    return harness_tidemill(h, "run", "-c", file);
}

static void test_what_is_missing_at_the_start_is_named(struct harness *h)
{
    char users[NEEDED_SIZE] = "authorization { users: [ { user: h, password: h }\n";
    struct process *mills[AT_START];
    for (size_t i = 0; i < AT_START; i++) {
        char file[32], list[NEEDED_SIZE];
        const char *kept = needed_without(h, at_start[i].without);
        const char *end = strstr(kept, "\n] }") + 1;
        bool nowhere = strcmp(at_start[i].without, "subscribe:") == 0;
        snprintf(list, sizeof(list), "%.*s%s\n%s%s", (int)(end - kept), kept, at_start[i].with, end,
                 nowhere ? "subscribe: { allow: [ \"elsewhere\" ] }" : "");
        snprintf(file, sizeof(file), "server/lacking%zu.conf", i);
        harness_write_file(h, file, list);
        size_t used = strlen(users);
        snprintf(users + used, sizeof(users) - used,
                 "  { user: mill%zu, password: mill, permissions { include \"%s\" } }\n", i,
                 file + strlen("server/"));
    }
    snprintf(users + strlen(users), sizeof(users) - strlen(users), "] }");
    harness_server_config(h, users);
    harness_server_start(h);
    create_streams(h);
    harness_write_file(h, "rules/readings.lua", readings_rule);
    for (size_t i = 0; i < AT_START; i++)
        mills[i] = start_lacking(h, i);
    for (size_t i = 0; i < AT_START; i++) {
        char line[LINE_SIZE];
        snprintf(line, sizeof(line), "permission is missing: the server denies this user to %s",
                 at_start[i].says);
        assert_int_equal(harness_wait_exit(mills[i], PATIENCE_MS), 1);
        if (harness_log_count(mills[i], line) != 1)
            harness_fail(h, "no \"%s\" in: %s", line, harness_log(mills[i]));
    }
}

static void test_a_bucket_needs_what_the_documentation_says(struct harness *h)
{
    static const char *const subjects[] = {
        "$KV.B.>",
        "$JS.API.STREAM.INFO.KV_B",
        "$JS.API.STREAM.MSG.GET.KV_B",
        "$JS.API.CONSUMER.CREATE.KV_B.>",
        "$JS.API.CONSUMER.MSG.NEXT.KV_B.>",
        "$JS.API.CONSUMER.DELETE.KV_B.>",
    };
    const char *page = harness_read_file(h, harness_source_path(h, "docs/operations.md"));
    const char *kept = needed_without(h, NULL);
    const char *end = strstr(kept, "\n] }") + 1;
    char list[NEEDED_SIZE];
    size_t used = (size_t)snprintf(list, sizeof(list), "%.*s", (int)(end - kept), kept);
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        char quoted[LINE_SIZE];
        snprintf(quoted, sizeof(quoted), "`%s`", subjects[i]);
        if (strstr(page, quoted) == NULL)
            harness_fail(h, "docs/operations.md does not mention %s", quoted);
        used += (size_t)snprintf(list + used, sizeof(list) - used, "\"%s\"\n", subjects[i]);
    }
    snprintf(list + used, sizeof(list) - used, "%s", end);
    write_users(h, list);
    harness_server_start(h);
    kvConfig bucket;
    kvStore *store = NULL;
    kvConfig_Init(&bucket);
    bucket.Bucket = "B";
    assert_int_equal(js_CreateKeyValue(&store, harness_js(h), &bucket), NATS_OK);
    kvStore_Destroy(store);
    struct process *mill = start(h);
    harness_write_file(
        h, "rules/readings.lua",
        "return { subjects = { 'sensors.value' }, on_message = function(msg)\n"
        "  local kv = mill.kv('B')\n"
        "  assert(kv:get('nothing') == nil)\n"
        "  assert(kv:put('a', '1')) assert(kv:put('b', '2')) assert(kv:delete('b'))\n"
        "  mill.publish('alerts.kv', kv:get('a') .. #assert(kv:keys()))\n"
        "end }");
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_publish(h, "sensors.value", "{}");
    harness_wait_count(h, "alerts", 1, PATIENCE_MS);
    assert_string_equal(harness_read(h, "alerts")->items[0].payload, "11");
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "ermission"), 0);
}

static void test_no_pull(struct harness *h)
{
    start_server(h, "CONSUMER.MSG.NEXT");
    struct process *mill = start(h);
    static const char line[] =
        "consumer clientA_sensor/rule_executor: permission is missing: the server denies this user "
        "to publish to $JS.API.CONSUMER.MSG.NEXT.clientA_sensor.rule_executor";
    harness_wait_log(mill, line, PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 503, PATIENCE_MS);
    const char *body;
    harness_http(mill, "/readyz", &body);
    assert_non_null(strstr(body, line));
    assert_int_equal(harness_log_count(mill, "permission is missing"), 1);
    /* It is given: no restart of tidemill is needed. */
    write_users(h, needed_without(h, NULL));
    harness_server_reload(h);
    harness_publish(h, "sensors.value", "{\"n\":3}");
    harness_wait_count(h, "alerts", 1, PATIENCE_MS);
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
}

static void test_no_acknowledgement(struct harness *h)
{
    start_server(h, "$JS.ACK");
    struct process *mill = start(h);
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_feed(h, "sensors.value", 1, READINGS, "{\"n\":#}");
    harness_wait_log(mill,
                     "permission is missing: the server denies this user to publish to "
                     "$JS.ACK.clientA_sensor.rule_executor.>",
                     PATIENCE_MS);
    harness_wait_count(h, "alerts", READINGS / 3, PATIENCE_MS);
    /* Hundreds are denied; one line for each worker says it. */
    assert_in_range(harness_log_count(mill, "permission is missing"), 1, 2);
}

static void test_no_output(struct harness *h)
{
    start_server(h, "\"alerts.>\"");
    struct process *mill = start(h);
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_publish(h, "sensors.value", "{\"n\":3}");
    harness_wait_log(mill,
                     "alerts.high could not be stored: permission is missing, the server denies "
                     "this user to publish there",
                     PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "no stream"), 0);
}

static void test_no_dead_letter(struct harness *h)
{
    start_server(h, "\"dead.clientA_sensor.rule_executor\"");
    struct process *mill = start(h);
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_publish(h, "sensors.value", "{\"n\":7}");
    harness_wait_log(mill,
                     "dead.clientA_sensor.rule_executor could not be stored: permission is missing",
                     PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "no stream"), 0);
}

static void test_the_end_waits_for_no_inbox_that_may_not_be_published_to(struct harness *h)
{
    start_server(h, NULL); /* the list has no such permission */
    struct process *mill = start(h);
    harness_wait_log(mill, " running: ", PATIENCE_MS);
    harness_stop(mill, PATIENCE_MS);
    assert_int_equal(harness_log_count(mill, "barrier"), 0);
    assert_int_equal(harness_log_count(mill, "shutdown_timeout"), 0);
}

/* A server that denies is silent: the command waits for its time, then says what it was told. */
static void test_dead_letters_that_may_not_be_read_are_told_with_the_permission(struct harness *h)
{
    write_users(h, "publish: { deny: \"$JS.API.>\" }");
    harness_server_start(h);
    harness_stream(h, "dead", "dead.>");
    char url[96];
    snprintf(url, sizeof(url), "nats://mill:mill@127.0.0.1:%d", harness_port(h));
    struct process *dead = harness_tidemill(h, "dead", "list", "--nats", url);
    assert_int_equal(harness_wait_exit(dead, PATIENCE_MS), 1);
    assert_int_equal(harness_log_count(dead, "no answer within 5 s: permission is missing: the "
                                             "server denies this user to publish to $JS.API."),
                     1);
    assert_int_equal(harness_log_count(dead, "\n"), 1);
}

int main(void)
{
#define TEST(function) harness_test_with(function, .no_server = true, .user = "h", .password = "h")
    const struct CMUnitTest tests[] = {
        TEST(test_the_list_is_all_that_the_job_needs),
        TEST(test_streams_that_are_there_need_no_permission_to_create_them),
        TEST(test_the_list_is_explained_in_the_documentation),
        TEST(test_what_is_missing_at_the_start_is_named),
        TEST(test_a_bucket_needs_what_the_documentation_says),
        TEST(test_no_pull),
        TEST(test_no_acknowledgement),
        TEST(test_no_output),
        TEST(test_no_dead_letter),
        TEST(test_the_end_waits_for_no_inbox_that_may_not_be_published_to),
        TEST(test_dead_letters_that_may_not_be_read_are_told_with_the_permission),
    };
    return cmocka_run_group_tests_name("permissions", tests, NULL, NULL);
}
