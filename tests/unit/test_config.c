#include "base/clock.h"
#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rules/luafile.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define S            INT64_C(1000000000)

/* A source that is good, for files whose subject is something else. */
#define SOURCE "sources = { { stream = 's', durable = 'd' } }, "

static struct config config;
static struct config_problems problems;

static int build_with(const char *text, const struct config_overrides *overrides)
{
    struct value root;
    struct error err = {""};
    if (luafile_eval_text("tidemill.lua", text, strlen(text), &root, &err) != 0)
        fail_msg("%s", err.text);
    int result = config_build(&config, &root, overrides, &problems);
    value_free(&root);
    assert_int_equal(result, problems.count == 0 ? 0 : -1);
    return result;
}

/* Builds from a text that must be good; the test's teardown frees. */
static void build(const char *text)
{
    if (build_with(text, NULL) != 0)
        fail_msg("refused: %s", problems.items[0].text);
}

static int teardown(void **state)
{
    (void)state;
    config_free(&config);
    return 0;
}

/* The text must have exactly these problems, in this order. */
static void assert_problems(const char *text, const char *const *messages, size_t count)
{
    build_with(text, NULL);
    for (size_t i = 0; i < count && i < problems.count; i++)
        assert_string_equal(problems.items[i].text, messages[i]);
    if (problems.count > count)
        fail_msg("one more: %s", problems.items[count].text);
    assert_int_equal(problems.count, count);
    config_free(&config);
}

struct fault_case {
    const char *text;
    const char *message;
};

static void assert_faults(const struct fault_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_problems(cases[i].text, &cases[i].message, 1);
}

static void test_without_a_file_every_default_is_there(void **state)
{
    (void)state;
    assert_int_equal(config_build(&config, NULL, NULL, &problems), 0);
    assert_int_equal(config.nats.urls.count, 1);
    assert_string_equal(config.nats.urls.items[0], "nats://127.0.0.1:4222");
    assert_string_equal(config.nats.name, "tidemill");
    assert_null(config.nats.user);
    assert_false(config.nats.tls.enabled);
    assert_true(config.nats.tls.verify);
    assert_int_equal(config.nats.connect_timeout_ns, 3 * S);
    assert_int_equal(config.nats.reconnect_wait_ns, S);
    assert_int_equal(config.nats.max_reconnects, -1);
    assert_true(config.nats.discovery);
    assert_int_equal(config.stream_count, 0);
    assert_int_equal(config.source_count, 0);
    assert_string_equal(config.rules.dir, "rules");
    assert_false(config.rules.watch);
    assert_int_equal(config.rules.timeout_ns, S);
    assert_int_equal(config.rules.hard_timeout_ns, 10 * S);
    assert_int_equal(config.rules.memory, 256 << 20);
    assert_string_equal(config.dead_letter_subject, "dead");
    assert_string_equal(config.http_listen, "127.0.0.1:9180");
    assert_int_equal(config.log_level, LOG_LEVEL_INFO);
    assert_int_equal(config.log_format, LOG_FORMAT_TEXT);
    assert_int_equal(config.log_limits.fold, 10);
    assert_int_equal(config.log_limits.flood, 10000);
    assert_int_equal(config.log_limits.interval_ns, 10 * NS_PER_S);
    assert_int_equal(config.shutdown_timeout_ns, 20 * S);
    assert_null(config.path);
}

static void test_a_source_needs_only_its_stream_and_durable(void **state)
{
    (void)state;
    build("return { sources = { { stream = 'readings', durable = 'rules' } } }");
    const struct source_config *source = &config.sources[0];
    assert_int_equal(config.source_count, 1);
    assert_string_equal(source->stream, "readings");
    assert_string_equal(source->durable, "rules");
    assert_int_equal(source->filter.count, 0);
    assert_int_equal(source->batch, 500);
    assert_int_equal(source->ack_wait_ns, 30 * S);
    assert_int_equal(source->max_deliver, 5);
    assert_int_equal(source->backoff_count, 3);
    assert_int_equal(source->backoff_ns[0], S);
    assert_int_equal(source->backoff_ns[1], 5 * S);
    assert_int_equal(source->backoff_ns[2], 30 * S);
    assert_int_equal(source->max_ack_pending, 20000);
    assert_int_equal(source->start, START_ALL);
    assert_int_equal(source->workers, 1);
    assert_int_equal(source->format, PAYLOAD_JSON);
    assert_int_equal(source->ack, ACK_EACH);
    assert_false(source->confirm);
}

static void test_a_stream_needs_only_its_name(void **state)
{
    (void)state;
    build("return { " SOURCE "streams = { { name = 'alerts' } } }");
    const struct stream_config *stream = &config.streams[0];
    assert_int_equal(config.stream_count, 1);
    assert_string_equal(stream->name, "alerts");
    assert_int_equal(stream->subjects.count, 1);
    assert_string_equal(stream->subjects.items[0], "alerts.>");
    assert_false(stream->memory_storage);
    assert_int_equal(stream->max_age_ns, 0);
    assert_int_equal(stream->max_bytes, -1);
    assert_int_equal(stream->max_msgs, -1);
    assert_int_equal(stream->duplicate_window_ns, 120 * S);
    assert_int_equal(stream->replicas, 1);
}

static const char full_file[] =
    "return {\n"
    "  nats = { url = { 'tls://a:4222, nats://b', 'c:4222' }, name = 'mill', user = 'u',\n"
    "    password = 'p', creds = 'c.creds', nkey_seed = 'seed', connect_timeout = '5s',\n"
    "    reconnect_wait = 0.5, max_reconnects = 7, discovery = false,\n"
    "    tls = { ca = 'ca.pem', cert = 'cert.pem', key = 'key.pem', verify = false,\n"
    "      hostname = 'nats.example' } },\n"
    "  streams = {\n"
    "    { name = 'readings', subjects = { 'sensors.>', 'meters.*' }, storage = 'memory',\n"
    "      max_age = '7d', max_bytes = '1GiB', max_msgs = 1000, duplicate_window = '5m',\n"
    "      replicas = 3 },\n"
    "    { name = 'alerts', subjects = 'alerts.>', max_bytes = -1, max_age = 60 } },\n"
    "  sources = {\n"
    "    { stream = 'readings', durable = 'one', filter = { 'sensors.value', 'sensors.sos' },\n"
    "      batch = 100.0, ack_wait = '1m', max_deliver = 3, backoff = { 1, '2s' },\n"
    "      max_ack_pending = 64, start = { sequence = 42 }, workers = 4, format = 'raw',\n"
    "      ack = 'each', confirm = true },\n"
    "    { stream = 'readings', durable = 'two', filter = 'meters.>', ack = 'cumulative',\n"
    "      start = { time = '2026-01-01T00:00:00Z' }, backoff = '9s' },\n"
    "    { stream = 'elsewhere', durable = 'one', start = 'new' },\n"
    "    { stream = 'elsewhere', durable = 'two', start = 'last' } },\n"
    "  rules = { dir = 'my', watch = true, timeout = '2s', hard_timeout = '15s',\n"
    "    memory = '64MB' },\n"
    "  dead_letter = { subject = 'lost.letters' },\n"
    "  http = { listen = '[::1]:80' },\n"
    "  log = { level = 'debug', format = 'json', fold = 0, flood = 7, interval = '1m' },\n"
    "  shutdown_timeout = '1m',\n"
    "}\n";

static void test_the_connection_is_read(void **state)
{
    (void)state;
    build(full_file);
    const struct nats_config *nats = &config.nats;
    assert_int_equal(nats->urls.count, 3);
    assert_string_equal(nats->urls.items[0], "tls://a:4222");
    assert_string_equal(nats->urls.items[1], "nats://b");
    assert_string_equal(nats->urls.items[2], "c:4222");
    assert_string_equal(nats->name, "mill");
    assert_string_equal(nats->user, "u");
    assert_string_equal(nats->password, "p");
    assert_string_equal(nats->creds, "c.creds");
    assert_string_equal(nats->nkey_seed, "seed");
    assert_int_equal(nats->connect_timeout_ns, 5 * S);
    assert_int_equal(nats->reconnect_wait_ns, S / 2);
    assert_int_equal(nats->max_reconnects, 7);
    assert_false(nats->discovery);
    assert_true(nats->tls.enabled);
    assert_false(nats->tls.verify);
    assert_string_equal(nats->tls.ca, "ca.pem");
    assert_string_equal(nats->tls.cert, "cert.pem");
    assert_string_equal(nats->tls.key, "key.pem");
    assert_string_equal(nats->tls.hostname, "nats.example");
}

static void test_streams_are_read(void **state)
{
    (void)state;
    build(full_file);
    assert_int_equal(config.stream_count, 2);
    const struct stream_config *stream = &config.streams[0];
    assert_int_equal(stream->subjects.count, 2);
    assert_string_equal(stream->subjects.items[1], "meters.*");
    assert_true(stream->memory_storage);
    assert_int_equal(stream->max_age_ns, 7 * 86400 * S);
    assert_int_equal(stream->max_bytes, 1 << 30);
    assert_int_equal(stream->max_msgs, 1000);
    assert_int_equal(stream->duplicate_window_ns, 300 * S);
    assert_int_equal(stream->replicas, 3);
    assert_string_equal(config.streams[1].subjects.items[0], "alerts.>");
    /* The default of two minutes gives way to a shorter age. */
    assert_int_equal(config.streams[1].duplicate_window_ns, 60 * S);
}

static void test_sources_are_read(void **state)
{
    (void)state;
    build(full_file);
    assert_int_equal(config.source_count, 4);
    const struct source_config *source = config.sources;
    assert_int_equal(source[0].filter.count, 2);
    assert_string_equal(source[0].filter.items[1], "sensors.sos");
    assert_int_equal(source[0].batch, 100);
    assert_int_equal(source[0].ack_wait_ns, 60 * S);
    assert_int_equal(source[0].max_deliver, 3);
    assert_int_equal(source[0].backoff_count, 2);
    assert_int_equal(source[0].backoff_ns[1], 2 * S);
    assert_int_equal(source[0].max_ack_pending, 64);
    assert_int_equal(source[0].start, START_SEQUENCE);
    assert_int_equal(source[0].start_sequence, 42);
    assert_int_equal(source[0].workers, 4);
    assert_int_equal(source[0].format, PAYLOAD_RAW);
    assert_true(source[0].confirm);
    assert_int_equal(source[1].ack, ACK_CUMULATIVE);
    assert_int_equal(source[1].start, START_TIME);
    assert_int_equal(source[1].start_time_ns, 1767225600 * S);
    assert_int_equal(source[1].backoff_count, 1);
    assert_int_equal(source[2].start, START_NEW);
    assert_int_equal(source[3].start, START_LAST);
}

static void test_the_rest_is_read(void **state)
{
    (void)state;
    build(full_file);
    assert_string_equal(config.rules.dir, "my");
    assert_true(config.rules.watch);
    assert_int_equal(config.rules.timeout_ns, 2 * S);
    assert_int_equal(config.rules.hard_timeout_ns, 15 * S);
    assert_int_equal(config.rules.memory, 64 << 20);
    assert_string_equal(config.dead_letter_subject, "lost.letters");
    assert_string_equal(config.http_listen, "[::1]:80");
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(config.log_format, LOG_FORMAT_JSON);
    assert_int_equal(config.log_limits.fold, 0);
    assert_int_equal(config.log_limits.flood, 7);
    assert_int_equal(config.log_limits.interval_ns, 60 * NS_PER_S);
    assert_int_equal(config.shutdown_timeout_ns, 60 * S);
}

static void test_http_is_switched_off_by_false_or_an_empty_address(void **state)
{
    (void)state;
    build("return { " SOURCE "http = false }");
    assert_null(config.http_listen);
    config_free(&config);
    build("return { " SOURCE "http = { listen = '' } }");
    assert_null(config.http_listen);
}

static void test_tls_is_on_with_an_empty_table_or_a_tls_url(void **state)
{
    (void)state;
    build("return { " SOURCE "nats = { tls = {} } }");
    assert_true(config.nats.tls.enabled);
    config_free(&config);
    build("return { " SOURCE "nats = { url = 'nats://a,tls://b' } }");
    assert_true(config.nats.tls.enabled);
    assert_true(config.nats.tls.verify);
}

static void test_an_unknown_key_is_named_with_the_nearest_known_one(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"return { " SOURCE "strems = {} }", "strems: unknown key (did you mean streams?)"},
        {"return { " SOURCE "colour = 1 }", "colour: unknown key"},
        {"return { " SOURCE "nats = { ulr = 'x' } }", "nats.ulr: unknown key (did you mean url?)"},
        {"return { " SOURCE "nats = { tls = { CA = 'x' } } }",
         "nats.tls.CA: unknown key (did you mean ca?)"},
        {"return { sources = { { stream = 's', durable = 'd', bacth = 1 } } }",
         "sources[1].bacth: unknown key (did you mean batch?)"},
        {"return { sources = { { stream = 's', durabel = 'd' } } }",
         "sources[1].durabel: unknown key (did you mean durable?)"},
        {"return { sources = { { stream = 's', durable = 'd', start = { seqence = 1 } } } }",
         "sources[1].start.seqence: unknown key (did you mean sequence?)"},
        {"return { " SOURCE "['a\\nb'] = 1 }", "a?b: unknown key"},
        {"return { " SOURCE "log = { 'debug' } }",
         "log: a value without a name (every value needs one: name = ...)"},
        {"return { " SOURCE "'x', 'y' }",
         "the configuration: a value without a name (every value needs one: name = ...)"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_a_wrong_type_is_named_with_the_one_wanted(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"return { " SOURCE "nats = { url = 4222 } }",
         "nats.url: a string is wanted, not a number"},
        {"return { " SOURCE "nats = { url = { 'a', 1 } } }",
         "nats.url[2]: a string is wanted, not a number"},
        {"return { " SOURCE "nats = { url = { a = 'b' } } }",
         "nats.url: a list of strings is wanted, without names"},
        {"return { " SOURCE "nats = 'x' }", "nats: a table is wanted, not a string"},
        {"return { " SOURCE "nats = { tls = true } }",
         "nats.tls: a table is wanted, not a boolean"},
        {"return { " SOURCE "rules = { watch = 'yes' } }",
         "rules.watch: true or false is wanted, not a string"},
        {"return { " SOURCE "rules = { memory = {} } }",
         "rules.memory: a size is wanted, like \"64MB\" or a number of bytes, not a table"},
        {"return { " SOURCE "rules = { timeout = true } }",
         "rules.timeout: a duration is wanted, like \"30s\" or a number of seconds, not a boolean"},
        {"return { " SOURCE "rules = { dir = function() end } }",
         "rules.dir: a string is wanted, not a function"},
        {"return { sources = { { stream = 's', durable = 'd', batch = '5' } } }",
         "sources[1].batch: a number is wanted, not a string (tonumber(...) makes one of it)"},
        {"return { sources = { { stream = 's', durable = 'd', batch = 1.5 } } }",
         "sources[1].batch: a whole number is wanted, not 1.5"},
        {"return { sources = { 'x' } }", "sources[1]: a table is wanted, not a string"},
        {"return { sources = { stream = 's', durable = 'd' } }",
         "sources: a list of tables is wanted: { { ... }, { ... } }"},
        {"return { sources = true }", "sources: a list of tables is wanted, not a boolean"},
        {"return { " SOURCE "http = true }", "http: a table or false is wanted, not true"},
        {"return { " SOURCE "http = 9180 }", "http: a table is wanted, not a number"},
        {"return { sources = { { stream = 's', durable = 'd', start = 7 } } }",
         "sources[1].start: a string is wanted, not a number"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_an_impossible_value_is_named_with_what_is_possible(void **state)
{
    (void)state;
#define IN_SOURCE(text) "return { sources = { { stream = 's', durable = 'd', " text " } } }"
    const struct fault_case cases[] = {
        {IN_SOURCE("batch = 0"), "sources[1].batch: 0 is out of range (1 to 10000)"},
        {IN_SOURCE("batch = -5"), "sources[1].batch: -5 is out of range (1 to 10000)"},
        {IN_SOURCE("batch = 10001"), "sources[1].batch: 10001 is out of range (1 to 10000)"},
        {IN_SOURCE("workers = 100"), "sources[1].workers: 100 is out of range (1 to 64)"},
        {IN_SOURCE("max_deliver = 0"), "sources[1].max_deliver: 0 is out of range (1 to 1000000)"},
        {IN_SOURCE("ack_wait = '30x'"),
         "sources[1].ack_wait: '30x' is no duration: unknown unit 'x' (us, ms, s, m, h, d)"},
        {IN_SOURCE("ack_wait = -1"), "sources[1].ack_wait: -1 is negative"},
        {IN_SOURCE("ack_wait = 0"), "sources[1].ack_wait: must be at least 100ms"},
        {IN_SOURCE("backoff = {}"),
         "sources[1].backoff: must not be empty (leave it out for the default)"},
        {IN_SOURCE("backoff = { '1s', 'x' }"),
         "sources[1].backoff[2]: 'x' is no duration: it does not start with a number (write it "
         "like \"30s\")"},
        {IN_SOURCE("filter = {}"),
         "sources[1].filter: must not be empty (leave it out for the default)"},
        {IN_SOURCE("filter = 'a..b'"),
         "sources[1].filter: subject pattern 'a..b' has an empty token (number 2)"},
        {IN_SOURCE("ack = 'eahc'"), "sources[1].ack: 'eahc' is unknown (did you mean each?)"},
        {IN_SOURCE("ack = 'none'"), "sources[1].ack: 'none' is unknown (each or cumulative)"},
        {IN_SOURCE("format = 'xml'"), "sources[1].format: 'xml' is unknown (json or raw)"},
        {IN_SOURCE("start = 'first'"), "sources[1].start: 'first' is unknown (all, new or last)"},
        {IN_SOURCE("start = {}"),
         "sources[1].start: a sequence or a time is wanted: { sequence = 1 } or { time = "
         "\"2026-01-01T00:00:00Z\" }"},
        {IN_SOURCE("start = { sequence = 1, time = '2026-01-01T00:00:00Z' }"),
         "sources[1].start: a sequence or a time is wanted, not both: { sequence = 1 } or { time = "
         "\"2026-01-01T00:00:00Z\" }"},
        {IN_SOURCE("start = { sequence = 0 }"),
         "sources[1].start.sequence: 0 is too small (at least 1)"},
        {IN_SOURCE("start = { time = 'today' }"),
         "sources[1].start.time: 'today' is no time (write it like \"2026-01-01T00:00:00Z\")"},
        {"return { " SOURCE "shutdown_timeout = '0s' }", "shutdown_timeout: must be at least 1ms"},
        {"return { " SOURCE "rules = { memory = '10KB' } }",
         "rules.memory: 10240 bytes are too few (at least 1048576)"},
        {"return { " SOURCE "rules = { dir = '' } }", "rules.dir: must not be empty"},
        {"return { " SOURCE "rules = { dir = 'a\\0b' } }",
         "rules.dir: has a control character (byte 2)"},
        {"return { " SOURCE "dead_letter = { subject = 'dead.>' } }",
         "dead_letter.subject: subject 'dead.>': token 2 has a wildcard, which is for patterns "
         "only"},
        {"return { " SOURCE "log = { level = 'warning' } }",
         "log.level: 'warning' is unknown (debug, info, warn or error)"},
        {"return { " SOURCE "nats = { max_reconnects = -2 } }",
         "nats.max_reconnects: -2 is out of range (-1 to 2147483647)"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_impossible_streams_are_named(void **state)
{
    (void)state;
#define IN_STREAM(text) "return { " SOURCE "streams = { { name = 'a', " text " } } }"
    const struct fault_case cases[] = {
        {IN_STREAM("storage = 'disk'"), "streams[1].storage: 'disk' is unknown (file or memory)"},
        {IN_STREAM("max_bytes = 0"),
         "streams[1].max_bytes: 0 bytes are too few (at least 1, or -1 for no limit)"},
        {IN_STREAM("max_bytes = -2"), "streams[1].max_bytes: -2 is negative"},
        {IN_STREAM("max_msgs = 0"), "streams[1].max_msgs: must be more than 0, or -1 for no limit"},
        {IN_STREAM("max_msgs = -3"), "streams[1].max_msgs: -3 is too small (at least -1)"},
        {IN_STREAM("replicas = 6"), "streams[1].replicas: 6 is out of range (1 to 5)"},
        {IN_STREAM("max_age = '1ms'"),
         "streams[1].max_age: must be at least 100ms, or 0 for no limit"},
        {IN_STREAM("max_age = '1m', duplicate_window = '2m'"),
         "streams[1].duplicate_window: 2m is longer than max_age (1m)"},
        {IN_STREAM("subjects = { 'a.*', 'a.b' }"),
         "streams[1].subjects[2]: 'a.b' overlaps with 'a.*'"},
        {"return { " SOURCE "streams = { { subjects = 'a' } } }", "streams[1].name: is missing"},
        {"return { " SOURCE "streams = { { name = 'a', subjects = 'a' }, { name = 'a' } } }",
         "streams[2].name: 'a' is also the name of streams[1]"},
        {"return { " SOURCE "streams = { { name = 'a' }, { name = 'b', subjects = 'a.b' } } }",
         "streams[2].subjects[1]: 'a.b' overlaps with 'a.>' of streams[1]; a subject belongs to "
         "one "
         "stream"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_names_of_streams_and_consumers_are_checked(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"return { sources = { { stream = 'a.b', durable = 'd' } } }",
         "sources[1].stream: 'a.b' is no name: it has a '.'"},
        {"return { sources = { { stream = 's', durable = 'a b' } } }",
         "sources[1].durable: 'a b' is no name: it has a space"},
        {"return { sources = { { stream = 's', durable = 'a*' } } }",
         "sources[1].durable: 'a*' is no name: it has a '*'"},
        {"return { sources = { { stream = 's', durable = '>' } } }",
         "sources[1].durable: '>' is no name: it has a '>'"},
        {"return { " SOURCE "streams = { { name = 'a/b', subjects = 'x' } } }",
         "streams[1].name: 'a/b' is no name: it has a '/'"},
        {"return { sources = { { stream = 's', durable = ('x'):rep(256) } } }",
         "sources[1].durable: is no name: it has more than 255 bytes"},
        {"return { sources = { { durable = 'd' } } }", "sources[1].stream: is missing"},
        {"return { sources = { { stream = 's' } } }", "sources[1].durable: is missing"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_keys_that_contradict_each_other_are_named(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"return { sources = { { stream = 's', durable = 'd' }, { stream = 's', durable = 'd' } } "
         "}",
         "sources[2]: has the same stream and durable as sources[1] (workers = N runs one source "
         "several times)"},
        {IN_SOURCE("ack = 'cumulative', workers = 2"),
         "sources[1].ack: \"cumulative\" is for one worker, and workers is 2"},
        {"return { sources = { { stream = 's', durable = 'd', ack_wait = '10s' } }, rules = { "
         "hard_timeout = '10s' } }",
         "rules.hard_timeout: 10s must be less than sources[1].ack_wait (10s)"},
        {"return { sources = { { stream = 's', durable = 'd', ack_wait = '106751d' } }, "
         "rules = { timeout = '106000d' } }",
         "rules.timeout: 106000d must be less than hard_timeout (1708016h)"},
        {"return { " SOURCE "rules = { hard_timeout = '1m' } }",
         "rules.hard_timeout: 1m must be less than sources[1].ack_wait (30s)"},
        {"return { " SOURCE "rules = { timeout = '25s' } }",
         "rules.timeout: 25s must be less than hard_timeout (20s)"},
        {IN_SOURCE("filter = { 'a.*', 'a.b' }"), "sources[1].filter[2]: 'a.b' overlaps with 'a.*'"},
        {"return { streams = { { name = 's', subjects = { 'a.>', 'b' } } }, sources = { { stream = "
         "'s', durable = 'd', filter = { 'a.x', 'c.x' } } } }",
         "sources[1].filter[2]: 'c.x' matches no subject of the stream s (it has 'a.>' and "
         "others)"},
        {"return { " SOURCE "nats = { user = 'u' } }",
         "nats.user: needs a password (or password_file)"},
        {"return { " SOURCE "nats = { password = 'p' } }", "nats.password: needs a user"},
        {"return { " SOURCE "nats = { tls = { cert = 'c' } } }", "nats.tls.cert: needs a key"},
        {"return { " SOURCE "nats = { tls = { key = 'k' } } }", "nats.tls.key: needs a cert"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_timeouts_not_given_fit_a_short_ack_wait(void **state)
{
    (void)state;
    build(IN_SOURCE("ack_wait = '900ms'"));
    assert_int_equal(config.rules.hard_timeout_ns, 600000000);
    assert_int_equal(config.rules.timeout_ns, 300000000);
}

static void test_a_file_without_sources_is_refused(void **state)
{
    (void)state;
    const char *const message = "sources: at least one is needed: { stream = \"...\", durable = "
                                "\"...\" }";
    assert_problems("return {}", &message, 1);
    assert_problems("return { sources = {} }", &message, 1);
}

static void test_addresses_and_urls_are_checked(void **state)
{
    (void)state;
    const struct fault_case cases[] = {
        {"return { " SOURCE "http = { listen = 'localhost' } }",
         "http.listen: 'localhost' is no address and port (write it like 127.0.0.1:9180)"},
        {"return { " SOURCE "http = { listen = 'a:65536' } }",
         "http.listen: 'a:65536' is no address and port (write it like 127.0.0.1:9180)"},
        {"return { " SOURCE "http = { listen = 'a:' } }",
         "http.listen: 'a:' is no address and port (write it like 127.0.0.1:9180)"},
        {"return { " SOURCE "http = { listen = ':9180' } }",
         "http.listen: ':9180' has no address (0.0.0.0:9180 listens on all of them)"},
        {"return { " SOURCE "http = { listen = 'a[b:80' } }",
         "http.listen: 'a[b:80' is no address and port (write it like 127.0.0.1:9180)"},
        {"return { " SOURCE "http = { listen = '[]:80' } }",
         "http.listen: '[]:80' has no address (0.0.0.0:80 listens on all of them)"},
        {"return { " SOURCE "http = { listen = ('a'):rep(256) .. ':80' } }",
         "http.listen: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' is no "
         "address "
         "and port (write it like 127.0.0.1:9180)"},
        {"return { " SOURCE "http = { listen = '::1:9180' } }",
         "http.listen: '::1:9180' needs brackets: [::1]:9180"},
        {"return { " SOURCE "nats = { url = 'http://u:secret@a' } }",
         "nats.url: 'http://' is no scheme of NATS (nats:// or tls://)"},
        {"return { " SOURCE "nats = { url = 'nats://' } }",
         "nats.url: has no host (write it like nats://127.0.0.1:4222)"},
        {"return { " SOURCE "nats = { url = 'a,,b' } }",
         "nats.url: has no host (write it like nats://127.0.0.1:4222)"},
        {"return { " SOURCE "nats = { url = 'a b' } }", "nats.url: has a space inside"},
        {"return { " SOURCE "nats = { url = 'nats://u:50%off@a' } }",
         "nats.url: has a % in its user or password that two hexadecimal digits do not follow: "
         "write "
         "%25 for a percent sign"},
    };
    assert_faults(cases, COUNT(cases));
}

static void test_all_problems_are_found_at_once(void **state)
{
    (void)state;
    const char *const messages[] = {
        "nats.url: a string is wanted, not a number",
        "nats.nmae: unknown key (did you mean name?)",
        "streams[2].replicas: 9 is out of range (1 to 5)",
        "sources[1].batch: 0 is out of range (1 to 10000)",
        "sources[1].durabel: unknown key (did you mean durable?)",
        "log.level: 'loud' is unknown (debug, info, warn or error)",
        "shutdown_timeout: -1 is negative",
    };
    assert_problems("return { nats = { url = 1, nmae = 'x' }, streams = { { name = 'a' }, { name = "
                    "'b', replicas = 9 } }, sources = { { stream = 's', durabel = 'd', batch = 0 } "
                    "}, log = { level = 'loud' }, shutdown_timeout = -1 }",
                    messages, COUNT(messages));
}

static void test_problems_beyond_the_bound_are_counted(void **state)
{
    (void)state;
    assert_int_equal(build_with("local t = { " SOURCE "} for i = 1, 200 do t['unknown' .. i] = 1 "
                                "end return t",
                                NULL),
                     -1);
    assert_int_equal(problems.count, 200);
    assert_string_equal(problems.items[CONFIG_PROBLEMS_MAX - 1].text, "unknown143: unknown key");
}

static void test_overlong_lists_and_texts_are_bounded(void **state)
{
    (void)state;
    const char *const message = "sources: more than 64";
    assert_problems("local t = {} for i = 1, 65 do t[i] = { stream = 's', durable = 'd' .. i } "
                    "end return { sources = t }",
                    &message, 1);
    assert_int_equal(build_with("return { " SOURCE "[('k'):rep(5000)] = 1, log = { level = "
                                "('v'):rep(5000) } }",
                                NULL),
                     -1);
    assert_int_equal(problems.count, 2);
}

static void test_what_is_no_table_is_one_problem(void **state)
{
    (void)state;
    char text[] = "x";
    const struct value root = {.type = VALUE_STRING, .string = text, .size = 1};
    assert_int_equal(config_build(&config, &root, NULL, &problems), -1);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].text,
                        "the configuration: a table is wanted, not a string");
}

static void test_overrides_win_over_the_file(void **state)
{
    (void)state;
    const struct config_overrides overrides = {
        .nats_url = "tls://x:1, nats://y:2",
        .nats_creds = "my.creds",
        .rules_dir = "other",
        .log_level = "error",
        .http_listen = "0.0.0.0:80",
        .watch = true,
    };
    assert_int_equal(build_with("return { " SOURCE "nats = { url = 'nats://z' }, rules = { dir = "
                                "'mine' }, http = false, log = { level = 'debug' } }",
                                &overrides),
                     0);
    assert_int_equal(config.nats.urls.count, 2);
    assert_string_equal(config.nats.urls.items[0], "tls://x:1");
    assert_string_equal(config.nats.urls.items[1], "nats://y:2");
    assert_true(config.nats.tls.enabled);
    assert_string_equal(config.nats.creds, "my.creds");
    assert_string_equal(config.rules.dir, "other");
    assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
    assert_string_equal(config.http_listen, "0.0.0.0:80");
    assert_true(config.rules.watch);
}

static void test_an_overridden_url_no_longer_asks_for_tls(void **state)
{
    (void)state;
    const struct config_overrides overrides = {.nats_url = "nats://x"};
    assert_int_equal(build_with("return { " SOURCE "nats = { url = 'tls://z' } }", &overrides), 0);
    assert_false(config.nats.tls.enabled);
}

static void test_an_empty_override_is_not_said_but_switches_http_off(void **state)
{
    (void)state;
    const struct config_overrides overrides = {
        .nats_url = "", .nats_creds = "", .rules_dir = "", .log_level = "", .http_listen = ""};
    assert_int_equal(build_with("return { " SOURCE "nats = { creds = 'c' } }", &overrides), 0);
    assert_string_equal(config.nats.urls.items[0], "nats://127.0.0.1:4222");
    assert_string_equal(config.nats.creds, "c");
    assert_string_equal(config.rules.dir, "rules");
    assert_null(config.http_listen);
}

static void test_overrides_are_checked_like_the_file(void **state)
{
    (void)state;
    const struct config_overrides overrides = {
        .nats_url = "http://u:secret@x", .log_level = "inof", .http_listen = "9180"};
    assert_int_equal(config_build(&config, NULL, &overrides, &problems), -1);
    assert_int_equal(problems.count, 3);
    assert_string_equal(problems.items[0].text,
                        "NATS_URL: 'http://' is no scheme of NATS (nats:// or tls://)");
    assert_string_equal(problems.items[1].text,
                        "TIDEMILL_LOG_LEVEL: 'inof' is unknown (did you mean info?)");
    assert_string_equal(problems.items[2].text,
                        "TIDEMILL_HTTP: '9180' is no address and port (write "
                        "it like 127.0.0.1:9180)");
}

/* Makes a file with `text` and writes a configuration that names it as password_file. */
static const char *with_password_file(const char *text, size_t size, char path[64])
{
    static char file[256];
    strcpy(path, "/tmp/tidemill-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    close(fd);
    snprintf(file, sizeof(file), "return { " SOURCE "nats = { user = 'u', password_file = '%s' } }",
             path);
    return file;
}

static void test_a_password_is_read_from_its_file_and_trimmed(void **state)
{
    (void)state;
    char path[64];
    const char *file = with_password_file(" s3cret word \r\n\n", 16, path);
    int result = build_with(file, NULL);
    unlink(path);
    assert_int_equal(result, 0);
    assert_string_equal(config.nats.password, "s3cret word");
}

static void test_a_password_file_that_is_no_use_is_named(void **state)
{
    (void)state;
    static char large[5000];
    memset(large, 'x', sizeof(large));
    const struct {
        const char *text;
        size_t size;
        const char *message;
    } cases[] = {
        {"", 0, "is empty"},
        {" \n", 2, "is empty"},
        {"a\nb", 3, "has more than one line"},
        {large, sizeof(large), "has more than 4096 bytes"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[64], message[128];
        const char *file = with_password_file(cases[i].text, cases[i].size, path);
        snprintf(message, sizeof(message), "nats.password_file: %s %s", path, cases[i].message);
        const char *const messages[] = {message};
        assert_problems(file, messages, 1);
        unlink(path);
    }
    const struct fault_case missing[] = {
        {"return { " SOURCE "nats = { user = 'u', password_file = 'no/file' } }",
         "nats.password_file: no/file cannot be read: No such file or directory"},
        {"return { " SOURCE "nats = { token_file = 'no/file' } }",
         "nats.token_file: no/file cannot be read: No such file or directory"},
        {"return { " SOURCE "nats = { token = 't', token_file = 'no/file' } }",
         "nats.token_file: token is given too; one of the two is enough"},
    };
    assert_faults(missing, COUNT(missing));
}

static void test_nothing_is_freed_twice(void **state)
{
    (void)state;
    build(full_file);
    config_free(&config);
    config_free(&config);
    config_free(NULL);
}

#define CONFIG_TEST(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(test_without_a_file_every_default_is_there),
        CONFIG_TEST(test_a_source_needs_only_its_stream_and_durable),
        CONFIG_TEST(test_a_stream_needs_only_its_name),
        CONFIG_TEST(test_the_connection_is_read),
        CONFIG_TEST(test_streams_are_read),
        CONFIG_TEST(test_sources_are_read),
        CONFIG_TEST(test_the_rest_is_read),
        CONFIG_TEST(test_http_is_switched_off_by_false_or_an_empty_address),
        CONFIG_TEST(test_tls_is_on_with_an_empty_table_or_a_tls_url),
        CONFIG_TEST(test_an_unknown_key_is_named_with_the_nearest_known_one),
        CONFIG_TEST(test_a_wrong_type_is_named_with_the_one_wanted),
        CONFIG_TEST(test_an_impossible_value_is_named_with_what_is_possible),
        CONFIG_TEST(test_impossible_streams_are_named),
        CONFIG_TEST(test_names_of_streams_and_consumers_are_checked),
        CONFIG_TEST(test_keys_that_contradict_each_other_are_named),
        CONFIG_TEST(test_timeouts_not_given_fit_a_short_ack_wait),
        CONFIG_TEST(test_a_file_without_sources_is_refused),
        CONFIG_TEST(test_addresses_and_urls_are_checked),
        CONFIG_TEST(test_all_problems_are_found_at_once),
        CONFIG_TEST(test_problems_beyond_the_bound_are_counted),
        CONFIG_TEST(test_overlong_lists_and_texts_are_bounded),
        CONFIG_TEST(test_what_is_no_table_is_one_problem),
        CONFIG_TEST(test_overrides_win_over_the_file),
        CONFIG_TEST(test_an_overridden_url_no_longer_asks_for_tls),
        CONFIG_TEST(test_an_empty_override_is_not_said_but_switches_http_off),
        CONFIG_TEST(test_overrides_are_checked_like_the_file),
        CONFIG_TEST(test_a_password_is_read_from_its_file_and_trimmed),
        CONFIG_TEST(test_a_password_file_that_is_no_use_is_named),
        CONFIG_TEST(test_nothing_is_freed_twice),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
