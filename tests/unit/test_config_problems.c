#include "unit/config_fixture.h"

/* What is wrong in a configuration: each problem is named, with its place and what is possible. */

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
         "rules.timeout: 106000d must be less than hard_timeout (1708016h; where it is not "
         "given, at most two thirds of the shortest ack_wait)"},
        {"return { " SOURCE "rules = { hard_timeout = '1m' } }",
         "rules.hard_timeout: 1m must be less than sources[1].ack_wait (30s)"},
        {"return { " SOURCE "rules = { timeout = '25s' } }",
         "rules.timeout: 25s must be less than hard_timeout (20s; where it is not given, at most "
         "two thirds of the shortest ack_wait)"},
        {"return { sources = { { stream = 's', durable = 'd', ack_wait = '5s' } },\n"
         "rules = { timeout = '4s' } }",
         "rules.timeout: 4s must be less than hard_timeout (3333ms; where it is not given, at "
         "most two thirds of the shortest ack_wait)"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(test_an_unknown_key_is_named_with_the_nearest_known_one),
        CONFIG_TEST(test_a_wrong_type_is_named_with_the_one_wanted),
        CONFIG_TEST(test_an_impossible_value_is_named_with_what_is_possible),
        CONFIG_TEST(test_impossible_streams_are_named),
        CONFIG_TEST(test_names_of_streams_and_consumers_are_checked),
        CONFIG_TEST(test_keys_that_contradict_each_other_are_named),
        CONFIG_TEST(test_a_file_without_sources_is_refused),
        CONFIG_TEST(test_addresses_and_urls_are_checked),
        CONFIG_TEST(test_all_problems_are_found_at_once),
        CONFIG_TEST(test_problems_beyond_the_bound_are_counted),
        CONFIG_TEST(test_overlong_lists_and_texts_are_bounded),
        CONFIG_TEST(test_what_is_no_table_is_one_problem),
    };
    return cmocka_run_group_tests_name("config_problems", tests, NULL, NULL);
}
