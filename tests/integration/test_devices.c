#include "harness.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "loopback.h"
#include "process.h"
#include "websocket.h"

/*
 * Devices that speak MQTT or WebSocket reach the rules through nats-server's own listeners, set up
 * by deploy/nats-server.conf as it is: only the ports and the store are other ones here, and in
 * some tests its last line is uncommented. The configuration and the rules are the samples.
 */

enum { PATIENCE_MS = 15000, TEXT_SIZE = 2048, MQTT_NOT_AUTHORISED = 5 };

#define READING "{\"sensor_id\":\"pump-7\",\"value\":95,\"time\":1732300000000}"

/*
 * How much of what the file says of production is done: nothing, the users, or TLS everywhere too.
 */
enum stage { AS_IT_STANDS, WITH_USERS, IN_PRODUCTION };

struct gateway {
    enum stage stage;
    int mqtt_port, websocket_port;
    struct process *mill;
};

/* ---- the server of deploy/nats-server.conf ---- */

static char *read_source(struct harness *h, const char *path)
{
    FILE *file = fopen(harness_source_path(h, path), "re");
    char *text = calloc(1, 1 << 16);
    assert_non_null(file);
    assert_non_null(text);
    size_t size = fread(text, 1, (1 << 16) - 1, file);
    fclose(file);
    assert_true(size > 0);
    return text;
}

static void copy_source(struct harness *h, const char *path, const char *to)
{
    char *text = read_source(h, path);
    harness_write_file(h, to, text);
    free(text);
}

/* Puts another value after `name = ` at the start of a line; it must be there, and once. */
static void set_variable(char **text, const char *name, const char *value)
{
    char start[64];
    snprintf(start, sizeof(start), "\n%s = ", name);
    char *line = strstr(*text, start);
    if (line == NULL || strstr(line + 1, start) != NULL)
        fail_msg("deploy/nats-server.conf does not set %s in one place", name);
    const char *rest = strchr(line + 1, '\n');
    char *changed = NULL;
    assert_true(asprintf(&changed, "%.*s%s%s%s", (int)(line - *text), *text, start, value, rest) >
                0);
    free(*text);
    *text = changed;
}

static void set_port(char **text, const char *name, int port)
{
    char value[16];
    assert_true(port > 0);
    snprintf(value, sizeof(value), "%d", port);
    set_variable(text, name, value);
}

/* Takes the comment sign from a line that must be there. */
static void uncomment(char *text, const char *line)
{
    char *found = strstr(text, line);
    if (found == NULL)
        fail_msg("deploy/nats-server.conf has no line: %s", line);
    found[0] = ' ';
}

/* Takes the comment sign from all lines from `# tls {` to `# }`, three times. */
static void uncomment_tls(char *text)
{
    int blocks = 0;
    for (char *at = strstr(text, "# tls {"); at != NULL; at = strstr(at, "# tls {")) {
        blocks++;
        for (bool last = false; !last; at = strchr(at, '\n') + 1) {
            at += strcspn(at, "#");
            last = at[2] == '}';
            at[0] = ' ';
        }
    }
    assert_int_equal(blocks, 3);
}

/* Puts `to` in the place of every `from`. */
static void replace(char **text, const char *from, const char *to)
{
    assert_non_null(strstr(*text, from));
    for (char *at = strstr(*text, from); at != NULL; at = strstr(*text, from)) {
        char *changed = NULL;
        assert_true(
            asprintf(&changed, "%.*s%s%s", (int)(at - *text), *text, to, at + strlen(from)) > 0);
        free(*text);
        *text = changed;
    }
}

/* An authority and a certificate for this address, under the names that the file uses. */
static void make_certificates(struct harness *h)
{
    char command[TEXT_SIZE];
    snprintf(command, sizeof(command),
             "cd '%s' && { "
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
             "-subj '/CN=test authority' -keyout ca-key.pem -out ca.pem && "
             "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=server' "
             "-keyout server-key.pem -out server.csr && printf 'subjectAltName=IP:127.0.0.1' >san "
             "&& openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial "
             "-days 2 -extfile san -out server.pem; } >openssl.log 2>&1",
             harness_path(h, "."));
    if (system(command) != 0) /* NOLINT: a command of this file, in a folder of this test */
        harness_fail(h, "openssl: %s", harness_read_file(h, "openssl.log"));
}

static void write_server_files(struct harness *h, const struct gateway *gateway)
{
    char store[TEXT_SIZE], monitoring[64];
    char *text = read_source(h, "deploy/nats-server.conf");
    snprintf(store, sizeof(store), "\"%s\"", harness_path(h, "store"));
    snprintf(monitoring, sizeof(monitoring), "\"127.0.0.1:%d\"", loopback_free_port());
    set_variable(&text, "STORE", store);
    set_variable(&text, "MONITORING", monitoring);
    set_port(&text, "NATS_PORT", harness_port(h));
    set_port(&text, "MQTT_PORT", gateway->mqtt_port);
    set_port(&text, "WEBSOCKET_PORT", gateway->websocket_port);
    if (gateway->stage >= WITH_USERS)
        uncomment(text, "# include \"nats-server-users.conf\"");
    if (gateway->stage == IN_PRODUCTION) {
        uncomment_tls(text);
        replace(&text, "no_tls: true", "");
        replace(&text, "/etc/nats/certs", harness_path(h, "."));
        make_certificates(h);
    }
    harness_write_file(h, "nats-server.conf", text);
    free(text);
    copy_source(h, "deploy/nats-server-users.conf", "nats-server-users.conf");
    copy_source(h, "deploy/nats-permissions.conf", "nats-permissions.conf");
}

static void close_process(void *process)
{
    process_close(process);
}

/* The sample configuration, with an authority to trust. */
static const char *configuration(struct harness *h, const struct gateway *gateway)
{
    if (gateway->stage != IN_PRODUCTION)
        return harness_source_path(h, "tidemill.lua");
    char *text = read_source(h, "tidemill.lua");
    replace(&text, "name = \"tidemill\",", "name = 'tidemill', tls = { ca = 'ca.pem' },");
    harness_write_file(h, "tidemill.lua", text);
    free(text);
    return "tidemill.lua";
}

static void start_server(struct harness *h)
{
    struct process *server = NULL;
    struct error err;
    struct process_options options = {
        .argv = (const char *const[]){"nats-server", "-c", "nats-server.conf", NULL},
        .environment = (const char *const[]){"TIDEMILL_PASSWORD=\"of-a-mill\"",
                                             "OPERATOR_PASSWORD=\"of-a-man\"",
                                             "DEVICE_PASSWORD=\"of-a-device\"", NULL},
        .folder = harness_path(h, "."),
        .log = harness_path(h, "devices.log")};
    if (process_open(&server, &options, &err) != 0)
        harness_fail(h, "%s", err.text);
    harness_defer(h, close_process, server);
    if (!process_wait_text(server, "Server is ready", harness_deadline(PATIENCE_MS)))
        harness_fail(h, "nats-server is not ready:\n%s", process_text(server));
}

/* The server, and tidemill with the sample configuration at work on it. */
static struct gateway start(struct harness *h, enum stage stage)
{
    struct gateway gateway = {
        .stage = stage, .mqtt_port = loopback_free_port(), .websocket_port = loopback_free_port()};
    write_server_files(h, &gateway);
    start_server(h);
    if (stage >= WITH_USERS) {
        char url[96];
        snprintf(url, sizeof(url), "nats://tidemill:of-a-mill@127.0.0.1:%d", harness_port(h));
        harness_setenv(h, "NATS_URL", url);
    }
    gateway.mill = harness_tidemill(h, "run", "-c", configuration(h, &gateway), "--rules",
                                    harness_source_path(h, "rules"));
    harness_wait_http(gateway.mill, "/readyz", 200, PATIENCE_MS);
    return gateway;
}

/* The alert of READING, and nothing else, is in the stream. */
static void expect_one_alert(struct harness *h)
{
    harness_wait_count(h, "alerts", 1, PATIENCE_MS);
    const struct harness_messages *alerts = harness_read(h, "alerts");
    assert_string_equal(alerts->items[0].subject, "alerts.high");
    assert_non_null(strstr(alerts->items[0].payload, "\"sensor_id\":\"pump-7\""));
    assert_non_null(strstr(alerts->items[0].payload, "\"time\":1732300000000"));
}

/* ---- MQTT ---- */

/* Runs mosquitto_pub with quality of service 1 and returns its exit status. */
static int mqtt_publish(struct harness *h, const struct gateway *gateway, const char *as,
                        const char *topic, const char *payload)
{
    char port[16];
    struct process *client = NULL;
    struct error err;
    snprintf(port, sizeof(port), "%d", gateway->mqtt_port);
    struct process_options options = {
        .argv = (const char *const[]){"mosquitto_pub", "-h", "127.0.0.1", "-p", port, "-q", "1",
                                      "-u", "device", "-P", as, "-t", topic, "-m", payload,
                                      gateway->stage == IN_PRODUCTION ? "--cafile" : NULL, "ca.pem",
                                      NULL},
        .folder = harness_path(h, "."),
        .log = harness_path(h, "mosquitto.log")};
    if (process_open(&client, &options, &err) != 0)
        harness_fail(h, "%s (Debian's mosquitto-clients has it)", err.text);
    harness_defer(h, close_process, client);
    if (!process_wait(client, harness_deadline(PATIENCE_MS)))
        harness_fail(h, "mosquitto_pub does not end:\n%s", process_text(client));
    return process_status(client);
}

static void test_a_reading_by_mqtt_raises_an_alert(struct harness *h)
{
    struct gateway gateway = start(h, AS_IT_STANDS);
    assert_int_equal(mqtt_publish(h, &gateway, "", "sensors/value", READING), 0);
    expect_one_alert(h);
}

/* ---- WebSocket ---- */

static void close_websocket(void *ws)
{
    websocket_close(ws);
}

static struct websocket *dial(struct harness *h, const struct gateway *gateway)
{
    struct websocket *ws = NULL;
    struct error err;
    int status;
    if (websocket_open(&ws, gateway->websocket_port, NULL, &status, harness_deadline(PATIENCE_MS),
                       &err) != 0)
        harness_fail(h, "%s", err.text);
    harness_defer(h, close_websocket, ws);
    return ws;
}

static void say(struct harness *h, struct websocket *ws, const char *text)
{
    struct error err;
    if (websocket_send(ws, text, &err) != 0)
        harness_fail(h, "%s", err.text);
}

static void expect(struct harness *h, struct websocket *ws, const char *text)
{
    if (!websocket_wait(ws, text, harness_deadline(PATIENCE_MS)))
        harness_fail(h, "\"%s\" has not come over the WebSocket, but:\n%s", text,
                     websocket_text(ws));
}

/* Publishes the reading with a reply subject, so that its stream answers when it is stored. */
static void publish_reading(struct harness *h, struct websocket *ws)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof(text),
             "SUB _INBOX.device.* 1\r\nPUB sensors.value _INBOX.device.1 %zu\r\n%s\r\n",
             strlen(READING), READING);
    say(h, ws, text);
    expect(h, ws, "{\"stream\":\"clientA_sensor\","); /* up to 2.14 there is a blank behind it */
    expect(h, ws, "\"seq\":1}");
}

static void test_a_reading_by_websocket_raises_an_alert(struct harness *h)
{
    struct gateway gateway = start(h, AS_IT_STANDS);
    struct websocket *ws = dial(h, &gateway);
    expect(h, ws, "INFO {");
    say(h, ws, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    publish_reading(h, ws);
    expect_one_alert(h);
}

static void test_a_web_page_from_elsewhere_is_refused(struct harness *h)
{
    struct gateway gateway = start(h, AS_IT_STANDS);
    struct websocket *ws = NULL;
    struct error err;
    int status;
    assert_int_equal(websocket_open(&ws, gateway.websocket_port, "http://elsewhere.example",
                                    &status, harness_deadline(PATIENCE_MS), &err),
                     -1);
    assert_int_equal(status, 403);
}

/* ---- users ---- */

static void test_an_mqtt_device_publishes_readings_and_nothing_else(struct harness *h)
{
    struct gateway gateway = start(h, WITH_USERS);
    assert_int_equal(mqtt_publish(h, &gateway, "wrong", "sensors/value", READING),
                     MQTT_NOT_AUTHORISED);
    mqtt_publish(h, &gateway, "of-a-device", "alerts/high",
                 "{}"); /* MQTT 3.1.1 has no word for no */
    assert_int_equal(mqtt_publish(h, &gateway, "of-a-device", "sensors/value", READING), 0);
    expect_one_alert(h);
}

static void test_a_websocket_device_publishes_readings_and_nothing_else(struct harness *h)
{
    struct gateway gateway = start(h, WITH_USERS);
    struct websocket *ws = dial(h, &gateway);
    say(h, ws, "CONNECT {\"verbose\":false,\"user\":\"device\",\"pass\":\"of-a-device\"}\r\n");
    say(h, ws, "PUB alerts.high 2\r\n{}\r\n");
    expect(h, ws, "Permissions Violation for Publish to \"alerts.high\"");
    publish_reading(h, ws);
    expect_one_alert(h);
}

/* ---- production ---- */

static void test_all_that_is_marked_for_production_works_together(struct harness *h)
{
    const char *page = NULL;
    struct gateway gateway = start(h, IN_PRODUCTION);
    struct error err;
    struct websocket *ws = NULL;
    int status;
    assert_int_equal(mqtt_publish(h, &gateway, "of-a-device", "sensors/value", READING), 0);
    int64_t deadline = harness_deadline(PATIENCE_MS);
    do {
        if (clock_monotonic_ns() > deadline)
            harness_fail(h, "no alert is stored:\n%s", page);
        poll(NULL, 0, 10);
        assert_int_equal(harness_http(gateway.mill, "/metrics", &page), 200);
    } while (strstr(page, "tidemill_outputs_total{worker=\"1\",outcome=\"stored\"} 1\n") == NULL);
    /* and nobody gets in without TLS */
    assert_int_equal(websocket_open(&ws, gateway.websocket_port, NULL, &status, deadline, &err),
                     -1);
    assert_int_not_equal(status, 101);
    gateway.stage = WITH_USERS;
    assert_int_not_equal(mqtt_publish(h, &gateway, "of-a-device", "sensors/value", READING), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test_with(test_a_reading_by_mqtt_raises_an_alert, .no_server = true),
        harness_test_with(test_a_reading_by_websocket_raises_an_alert, .no_server = true),
        harness_test_with(test_a_web_page_from_elsewhere_is_refused, .no_server = true),
        harness_test_with(test_an_mqtt_device_publishes_readings_and_nothing_else,
                          .no_server = true, .user = "operator", .password = "of-a-man"),
        harness_test_with(test_a_websocket_device_publishes_readings_and_nothing_else,
                          .no_server = true, .user = "operator", .password = "of-a-man"),
        harness_test_with(test_all_that_is_marked_for_production_works_together, .no_server = true),
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}
