/* What the harness promises to the other tests, with a shell script in tidemill's place. */

#include "harness.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/health.h"
#include "ops/http.h"

static const char *const READING = "{\"sensor_id\":\"s#\",\"value\":#}";

/* Puts a script in tidemill's place. */
static void use_script(struct harness *h, const char *text)
{
    harness_write_file(h, "script", text);
    const char *path = harness_path(h, "script");
    assert_int_equal(chmod(path, 0700), 0);
    setenv("TIDEMILL", path, 1);
}

static void test_a_stream_takes_and_gives_back_messages(struct harness *h)
{
    harness_stream(h, "clientA_sensor", "sensors.>");
    harness_publish(h, "sensors.sos", "{\"sensor_id\":\"s1\"}");
    harness_feed(h, "sensors.value", 1, 3, READING);

    const struct harness_messages *messages = harness_read(h, "clientA_sensor");
    assert_int_equal(messages->count, 4);
    assert_string_equal(messages->items[0].subject, "sensors.sos");
    assert_string_equal(messages->items[3].subject, "sensors.value");
    assert_string_equal(messages->items[3].payload, "{\"sensor_id\":\"s3\",\"value\":3}");
    assert_int_equal(messages->items[3].sequence, 4);
}

static void test_a_stream_survives_the_kill_of_its_server(struct harness *h)
{
    harness_stream(h, "clientA_sensor", "sensors.>");
    harness_feed(h, "sensors.value", 1, 1000, READING);

    harness_server_kill(h);
    harness_server_start(h);

    assert_int_equal(harness_count(h, "clientA_sensor"), 1000);
    harness_feed(h, "sensors.value", 1001, 10, READING);
    harness_wait_count(h, "clientA_sensor", 1010, 1000);
}

static void test_a_stopped_server_comes_back_on_its_port(struct harness *h)
{
    int port = harness_port(h);
    harness_stream(h, "alerts", "alerts.>");
    harness_server_stop(h);
    harness_server_start(h);
    assert_int_equal(harness_port(h), port);
    assert_int_equal(harness_count(h, "alerts"), 0);
}

static void test_a_server_may_start_later(struct harness *h)
{
    harness_server_start(h);
    harness_stream(h, "alerts", "alerts.>");
    assert_int_equal(harness_count(h, "alerts"), 0);
}

static void test_a_server_with_a_password_knows_the_harness(struct harness *h)
{
    harness_stream(h, "alerts", "alerts.>");
    natsConnection *stranger = NULL;
    assert_int_not_equal(natsConnection_ConnectTo(&stranger, harness_url(h)), NATS_OK);
}

static void test_a_jetstream_limit_reaches_the_server(struct harness *h)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "big";
    config.Subjects = (const char *[]){"big.>"};
    config.SubjectsLen = 1;
    config.MaxBytes = 10 << 20;
    assert_int_not_equal(js_AddStream(NULL, harness_js(h), &config, NULL, NULL), NATS_OK);
}

static void test_reading_a_long_stream_keeps_the_order(struct harness *h)
{
    harness_stream(h, "clientA_sensor", "sensors.>");
    harness_feed(h, "sensors.value", 0, 12345, "#");
    const struct harness_messages *messages = harness_read(h, "clientA_sensor");
    assert_int_equal(messages->count, 12345);
    for (size_t i = 0; i < messages->count; i++)
        assert_int_equal(strtoul(messages->items[i].payload, NULL, 10), i);
    assert_int_equal(harness_duplicate_payloads(messages), 0);
}

static void make_alert(void *context, size_t number, struct harness_draft *draft)
{
    size_t *ids = context;
    snprintf(draft->subject, sizeof(draft->subject), "alerts.%zu", number);
    snprintf(draft->payload, sizeof(draft->payload), "%zu", number / 2);
    snprintf(draft->id, sizeof(draft->id), "id-%zu", number % *ids);
}

static void test_duplicates_are_counted(struct harness *h)
{
    harness_stream(h, "alerts", "alerts.>");
    harness_feed_with(h, 10, make_alert, &(size_t){10});
    const struct harness_messages *messages = harness_read(h, "alerts");
    assert_int_equal(messages->count, 10);
    assert_string_equal(messages->items[3].id, "id-3");
    assert_string_equal(harness_header(&messages->items[3], "Nats-Msg-Id"), "id-3");
    assert_null(harness_header(&messages->items[3], "Tidemill-Rule"));
    assert_int_equal(harness_duplicate_ids(messages), 0);
    assert_int_equal(harness_duplicate_payloads(messages), 5);
}

static void test_the_server_drops_a_repeated_id(struct harness *h)
{
    harness_stream(h, "alerts", "alerts.>");
    harness_feed_with(h, 10, make_alert, &(size_t){3});
    assert_int_equal(harness_count(h, "alerts"), 3);
}

static void test_drained_waits_for_every_acknowledgement(struct harness *h)
{
    harness_stream(h, "clientA_sensor", "sensors.>");
    harness_publish(h, "sensors.sos", "{}");
    jsConsumerConfig config;
    jsConsumerConfig_Init(&config);
    config.Durable = "rule_executor";
    config.AckPolicy = js_AckExplicit;
    assert_int_equal(js_AddConsumer(NULL, harness_js(h), "clientA_sensor", &config, NULL, NULL),
                     NATS_OK);

    natsMsg *msg = NULL;
    const char *next = "$JS.API.CONSUMER.MSG.NEXT.clientA_sensor.rule_executor";
    assert_int_equal(natsConnection_RequestString(&msg, harness_nats(h), next, "1", 2000), NATS_OK);
    assert_int_equal(natsConnection_PublishString(harness_nats(h), natsMsg_GetReply(msg), "+ACK"),
                     NATS_OK);
    natsMsg_Destroy(msg);
    harness_wait_drained(h, "clientA_sensor", "rule_executor", 2000);
}

static void test_a_process_is_watched_and_told(struct harness *h)
{
    use_script(h, "#!/bin/sh\n"
                  "trap 'echo reloaded' HUP\n"
                  "trap 'echo bye; exit 0' TERM\n"
                  "echo \"ready on $NATS_URL with $1\"\n"
                  "while :; do sleep 0.01; done\n");
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_log(mill, harness_url(h), 5000);
    harness_wait_log(mill, "with run", 5000);
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "reloaded", 5000);
    harness_signal(mill, SIGHUP);
    harness_wait_log(mill, "reloaded", 5000);
    assert_int_equal(harness_log_count(mill, "reloaded"), 2);
    harness_stop(mill, 5000);
    assert_non_null(strstr(harness_log(mill), "bye"));
}

static void test_the_end_of_a_process_has_a_status(struct harness *h)
{
    use_script(h, "#!/bin/sh\n[ \"$1\" = exit ] && exit 3\nexec sleep 60\n");
    assert_int_equal(harness_wait_exit(harness_tidemill(h, "exit"), 5000), 3);
    struct process *mill = harness_tidemill(h, "sleep");
    harness_signal(mill, SIGKILL);
    assert_int_equal(harness_wait_exit(mill, 5000), 128 + SIGKILL);
}

static void test_the_environment_of_a_process_is_the_tests(struct harness *h)
{
    use_script(h, "#!/bin/sh\necho \"url=$NATS_URL creds=$NATS_CREDS http=$TIDEMILL_HTTP\"\n");
    harness_setenv(h, "NATS_URL", NULL);
    harness_setenv(h, "NATS_CREDS", "one");
    harness_setenv(h, "NATS_CREDS", "two");
    harness_setenv(h, "TIDEMILL_HTTP", "");
    harness_wait_log(harness_tidemill(h, "run"), "url= creds=two http=\n", 5000);
}

/* This program itself in tidemill's place: not ready before a HUP, ends on TERM. */
static int serve(void)
{
    struct health *health = NULL;
    struct http *http = NULL;
    struct error err;
    sigset_t signals;
    int signal = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (health_open(&health, "0", &err) != 0 ||
        http_open(&http, getenv("TIDEMILL_HTTP"), health, &err) != 0)
        return 1;
    health_failed(health, "rules", "none yet");
    while (sigwait(&signals, &signal) == 0 && signal != SIGTERM)
        health_ok(health, "rules");
    http_close(http);
    health_close(health);
    return 0;
}

static void test_each_process_has_an_http_port_of_its_own(struct harness *h)
{
    char here[PATH_MAX]; /* not /proc/self/exe as it is: under valgrind that is valgrind */
    assert_non_null(realpath("/proc/self/exe", here));
    setenv("TIDEMILL", here, 1);
    struct process *first = harness_tidemill(h, "serve"), *second = harness_tidemill(h, "serve");
    harness_wait_http(first, "/readyz", 503, 5000);
    harness_wait_http(second, "/readyz", 503, 5000);
    harness_signal(second, SIGHUP);
    harness_wait_http(second, "/readyz", 200, 5000);

    const char *body = NULL;
    assert_int_equal(harness_http(first, "/readyz", &body), 503);
    assert_string_equal(body, "rules: none yet\n");
    harness_stop(first, 5000);
    assert_int_equal(harness_http(first, "/readyz", &body), 0);
    assert_null(body);
}

static void test_files_are_written_below_the_folder(struct harness *h)
{
    harness_write_file(h, "rules/lib/limits.lua", "return 90\n");
    harness_write_file(h, "rules/lib/limits.lua", "return 91\n");
    assert_string_equal(harness_read_file(h, "rules/lib/limits.lua"), "return 91\n");
    harness_remove_file(h, "rules/lib/limits.lua");
    assert_int_not_equal(access(harness_path(h, "rules/lib/limits.lua"), F_OK), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return serve();
    const struct CMUnitTest tests[] = {
        harness_test(test_a_stream_takes_and_gives_back_messages),
        harness_test(test_a_stream_survives_the_kill_of_its_server),
        harness_test(test_a_stopped_server_comes_back_on_its_port),
        harness_test_with(test_a_server_may_start_later, .no_server = true),
        harness_test_with(test_a_server_with_a_password_knows_the_harness,
                          .server_config = "authorization { user: mill, password: wind }",
                          .user = "mill", .password = "wind"),
        harness_test_with(test_a_jetstream_limit_reaches_the_server,
                          .jetstream = "max_file_store: 1MB"),
        harness_test(test_reading_a_long_stream_keeps_the_order),
        harness_test(test_duplicates_are_counted),
        harness_test(test_the_server_drops_a_repeated_id),
        harness_test(test_drained_waits_for_every_acknowledgement),
        harness_test(test_a_process_is_watched_and_told),
        harness_test(test_the_end_of_a_process_has_a_status),
        harness_test(test_the_environment_of_a_process_is_the_tests),
        harness_test(test_each_process_has_an_http_port_of_its_own),
        harness_test(test_files_are_written_below_the_folder),
    };
    return cmocka_run_group_tests_name("harness", tests, NULL, NULL);
}
