#include "unit/config_fixture.h"

/* What a configuration says: every default, every key, what overrides it, passwords in files. */

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

static void test_timeouts_not_given_fit_a_short_ack_wait(void **state)
{
    (void)state;
    build(IN_SOURCE("ack_wait = '900ms'"));
    assert_int_equal(config.rules.hard_timeout_ns, 600000000);
    assert_int_equal(config.rules.timeout_ns, 300000000);
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
        CONFIG_TEST(test_timeouts_not_given_fit_a_short_ack_wait),
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
