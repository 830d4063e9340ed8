#ifndef TIDEMILL_TESTS_HARNESS_H
#define TIDEMILL_TESTS_HARNESS_H

/* cmocka wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <nats/nats.h>
#include <signal.h>
#include <stdbool.h>

/*
 * What an integration test stands on: a folder of its own, a private nats-server with its own
 * store, and tidemill processes whose output can be watched.
 *
 *     static void test_a_reading_above_the_limit_raises_an_alert(struct harness *h)
 *     {
 *         harness_stream(h, "clientA_sensor", "sensors.>");
 *         harness_stream(h, "alerts", "alerts.>");
 *         harness_write_file(h, "tidemill.lua", CONFIG);
 *         harness_write_file(h, "rules/high.lua", RULE);
 *         struct process *mill = harness_tidemill(h, "run");
 *
 *         harness_publish(h, "sensors.value", "{\"sensor_id\":\"s1\",\"value\":91}");
 *
 *         harness_wait_count(h, "alerts", 1, 5000);
 *         harness_stop(mill, 5000);
 *     }
 *
 *     int main(void)
 *     {
 *         const struct CMUnitTest tests[] = {
 *             harness_test(test_a_reading_above_the_limit_raises_an_alert),
 *             harness_test_with(test_a_wrong_password_is_said_in_one_line,
 *                               .server_config = "authorization { user: a, password: b }",
 *                               .user = "a", .password = "b"),
 *         };
 *         return cmocka_run_group_tests_name("alerts", tests, NULL, NULL);
 *     }
 *
 * Always holds:
 * - Every wait is bounded; what does not come in time fails the test and says what was waited for.
 * So no function here returns an error. HARNESS_PATIENCE=10 in the environment makes all waits 10
 * times as long (valgrind, slow machines).
 * - When a test fails, the ends of the server's log and of every tidemill's log are printed.
 * - Nothing survives: processes die with the test program, the folder is removed. HARNESS_KEEP=1
 * keeps it.
 * - A sanitizer's report in a tidemill's log fails the test.
 *
 * Names of files are relative to the test's folder. What a function returns belongs to the harness
 * and lives until the end of the test. One thread.
 */

struct harness;
struct process;

struct harness_options {
    const char *server_config;        /* more text for the server's configuration file */
    const char *jetstream;            /* text for its jetstream block: "max_file_store: 1MB" */
    const char *user, *password, *ca; /* what the harness itself needs to connect */
    const char *creds;                /* likewise: a file of the test */
    bool no_server;                   /* the server is not up before harness_server_start */
};

/* An entry of the array of tests. A test takes `struct harness *`. (The array can't be static.) */
#define harness_test(function)                                                                     \
    {                                                                                              \
#function, harness_run_test, harness_setup_test, harness_teardown, &(struct harness_test)  \
        {                                                                                          \
            function,                                                                              \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define harness_test_with(function, ...)                                                           \
    {                                                                                              \
#function, harness_run_test, harness_setup_test, harness_teardown, &(struct harness_test)  \
        {                                                                                          \
            function,                                                                              \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }

struct harness_test {
    void (*run)(struct harness *h);
    struct harness_options options;
};
int harness_setup_test(void **state);
void harness_run_test(void **state);

/*
 * The same with default options as an ordinary fixture, of one test or of a group that shares one
 * server: *state is the `struct harness *`. An assertion that fails prints no logs then.
 */
int harness_setup(void **state);
int harness_teardown(void **state);

/* Fails the test with a message, after the ends of the logs. */
_Noreturn void harness_fail(struct harness *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Calls release(object) at teardown, the last one first. */
void harness_defer(struct harness *h, void (*release)(void *object), void *object);

/* `ms` from now, made longer by HARNESS_PATIENCE, in clock_monotonic_ns. */
int64_t harness_deadline(int64_t ms);

/* Made longer in the same way: for what is tested, a time in which it must have got somewhere. */
int harness_seconds(int seconds);

/* ---- files ---- */

/* The absolute name of a file of the test; "" or "." is the folder. */
const char *harness_path(struct harness *h, const char *path);

/* The absolute name of a file of the source tree (`make test` runs in it; else TIDEMILL_SOURCE). */
const char *harness_source_path(struct harness *h, const char *path);

/* Writes a file in one step (write, rename), its folders included. */
void harness_write_file(struct harness *h, const char *path, const char *text);

/* The whole file, NUL-terminated. */
const char *harness_read_file(struct harness *h, const char *path);

void harness_remove_file(struct harness *h, const char *path);

/* ---- the server ---- */

const char *harness_url(struct harness *h); /* "nats://127.0.0.1:port" */
int harness_port(struct harness *h);
void harness_server_start(struct harness *h); /* same port, same store; returns when it serves */
void harness_server_stop(struct harness *h);  /* TERM, and waits for its end */
void harness_server_kill(struct harness *h);  /* KILL, likewise */
void harness_server_signal(struct harness *h, int signal); /* SIGSTOP, SIGCONT, ... */

/* HUP, and waits until it is done: while a server changes its users it refuses them all. */
void harness_server_reload(struct harness *h);

/* Replaces the text of options.server_config; holds from the next start or SIGHUP on. */
void harness_server_config(struct harness *h, const char *server_config);

/* The harness's own connection. Ask again after a restart of the server: it is another one then. */
natsConnection *harness_nats(struct harness *h);
jsCtx *harness_js(struct harness *h);

/* ---- tidemill ---- */

/*
 * Starts tidemill (the environment's TIDEMILL, else the one beside the folder of this test program)
 * in the test's folder. Its environment has NATS_URL and TIDEMILL_HTTP (a port of its own).
 */
#define harness_tidemill(h, ...) harness_start_tidemill(h, (const char *const[]){__VA_ARGS__, NULL})
struct process *harness_start_tidemill(struct harness *h, const char *const *arguments);

/* The program that it starts. */
const char *harness_program(struct harness *h);

/* Sets a variable for the processes started from now on; `value` NULL: takes it away from them. */
void harness_setenv(struct harness *h, const char *name, const char *value);

/* Waits for `text` in its output, from where the last such wait on this process ended. */
void harness_wait_log(struct process *process, const char *text, int timeout_ms);

/* How often `text` stands in its output up to now. */
size_t harness_log_count(struct process *process, const char *text);

/* All its output up to now. */
const char *harness_log(struct process *process);

void harness_signal(struct process *process, int signal);

/* Its exit status, or 128 + the signal it died of. */
int harness_wait_exit(struct process *process, int timeout_ms);

/* Waits for its end: the exit status, how many lines it has printed, and texts that are in them. */
#define harness_expect_end(process, timeout_ms, status, lines, ...)                                \
    harness_check_end(process, timeout_ms, status, lines, (const char *const[]){__VA_ARGS__, NULL})
void harness_check_end(struct process *process, int timeout_ms, int status, size_t lines,
                       const char *const *texts);

/* TERM, and the status must be 0. */
void harness_stop(struct process *process, int timeout_ms);

/* GET on its HTTP port: the status, 0 when nothing answers; `body` (may be NULL) gets the body. */
int harness_http(struct process *process, const char *path, const char **body);

/* Asks until the status is `status`. */
void harness_wait_http(struct process *process, const char *path, int status, int timeout_ms);

/* ---- streams ---- */

/* Creates a file stream: harness_stream(h, "alerts", "alerts.>", "alarms.>"). */
#define harness_stream(h, name, ...)                                                               \
    harness_create_stream(h, name, (const char *const[]){__VA_ARGS__, NULL})
void harness_create_stream(struct harness *h, const char *name, const char *const *subjects);

/* One message, stored when this returns. */
void harness_publish(struct harness *h, const char *subject, const char *payload);

/*
 * `count` messages as fast as the server stores them; returns when all are stored. Each `#` in
 * `payload` is the message's number, from `first` on.
 */
void harness_feed(struct harness *h, const char *subject, size_t first, size_t count,
                  const char *payload);

/* The same with messages from a function; subject, payload and id start empty, id may stay so. */
struct harness_draft {
    char subject[256];
    char payload[4096];
    char id[128]; /* Nats-Msg-Id */
};
void harness_feed_with(struct harness *h, size_t count,
                       void (*make)(void *context, size_t number, struct harness_draft *draft),
                       void *context);

/* How many messages the stream holds. */
uint64_t harness_count(struct harness *h, const char *stream);

/* Waits until it holds at least `count`, and fails when it holds more. */
void harness_wait_count(struct harness *h, const char *stream, uint64_t count, int timeout_ms);

/* Waits until the consumer exists and has nothing left: num_pending 0 and num_ack_pending 0. */
void harness_wait_drained(struct harness *h, const char *stream, const char *durable,
                          int timeout_ms);

/* How many messages the consumer waits for the acks of. */
uint64_t harness_unacked(struct harness *h, const char *stream, const char *durable);

/* Every message of a stream, in order. */
struct harness_message {
    uint64_t sequence;
    const char *subject;
    const char *payload; /* NUL-terminated */
    size_t size;         /* without the NUL */
    const char *id;      /* Nats-Msg-Id, or NULL */
    natsMsg *msg;
};
struct harness_messages {
    struct harness_message *items;
    size_t count;
};
const struct harness_messages *harness_read(struct harness *h, const char *stream);

/* The header's first value, or NULL. */
const char *harness_header(const struct harness_message *message, const char *name);

/* How many messages repeat the Nats-Msg-Id, or the payload, of another one. */
size_t harness_duplicate_ids(const struct harness_messages *messages);
size_t harness_duplicate_payloads(const struct harness_messages *messages);

#endif
