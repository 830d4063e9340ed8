#include "base/clock.h"
#include "base/subject.h"
#include "bus/client.h"
#include "cmd/command.h"
#include "cmd/connect_flags.h"
#include "cmd/flags.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Prints messages as they pass, one line each. Lines leave when no further message is at hand. */

struct tap {
    struct connect_flags connect;
    int64_t count, timeout_ns; /* 0: no limit */
    bool headers;
    const char *pattern;
    struct client *client;
    uint64_t seen;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* One message is one line, whatever is in it, and sends the terminal no control sequences. */
static void print_text(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '\n')
            fputs("\\n", stdout);
        else if (byte == '\r')
            fputs("\\r", stdout);
        else if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            printf("\\x%02x", byte);
        else
            putchar_unlocked(byte);
    }
}

static void print_header(void *context, const char *name, const char *value)
{
    (void)context;
    putchar('[');
    print_text(name, strlen(name));
    fputs(": ", stdout);
    print_text(value, strlen(value));
    fputs("] ", stdout);
}

static void print_message(const struct tap *tap, const struct client_message *message)
{
    print_text(message->subject, strlen(message->subject));
    putchar(' ');
    if (tap->headers)
        client_message_headers(message, print_header, NULL);
    print_text(message->payload, message->size);
    putchar('\n');
}

/* Returns 0 when it ends as wanted. */
static int print_messages(struct tap *tap, struct error *err)
{
    int64_t end_ns = tap->timeout_ns > 0 ? clock_monotonic_ns() + tap->timeout_ns : INT64_MAX;
    while (!interrupted && (tap->count == 0 || tap->seen < (uint64_t)tap->count)) {
        struct client_message message;
        int got = client_next(tap->client, 0, &message, err);
        if (got == 0) {
            if (fflush(stdout) != 0)
                return errno == EPIPE ? 0 : error_set(err, "cannot write: %s", strerror(errno));
            int64_t left = end_ns - clock_monotonic_ns();
            if (left <= 0)
                break;
            /* Signals do not end the wait of libnats: look for them now and then. */
            int64_t slice = left < 100 * NS_PER_MS ? left + NS_PER_MS : 100 * NS_PER_MS;
            got = client_next(tap->client, slice, &message, err);
        }
        if (got < 0)
            return -1;
        if (got == 0)
            continue;
        print_message(tap, &message);
        client_message_free(&message);
        tap->seen++;
    }
    fflush(stdout);
    if (interrupted || tap->timeout_ns == 0 ||
        (tap->count > 0 && tap->seen >= (uint64_t)tap->count))
        return 0;
    if (tap->count == 0)
        return 0; /* it was asked to listen for that long */
    return error_set(err, "%" PRIu64 " of %" PRId64 " messages came in time", tap->seen,
                     tap->count);
}

static int tap_messages(struct tap *tap, struct error *err)
{
    struct nats_config config;
    int result = connect_flags_config(&tap->connect, &config, err);
    if (result == 0)
        result = client_open(&tap->client, &config, "tap", err);
    if (result == 0)
        result = client_subscribe(tap->client, tap->pattern, err);
    if (result == 0) {
        fprintf(stderr, "listening on %s\n", tap->pattern);
        result = print_messages(tap, err);
    }
    client_close(tap->client);
    connect_flags_free(&config);
    return result;
}

static int run(int argc, char **argv)
{
    struct tap tap = {.count = 0};
    struct error err;
    const struct flag flags[] = {
        CONNECT_FLAGS(tap.connect),
        {.name = "--count", .count = &tap.count},
        {.name = "--timeout", .duration_ns = &tap.timeout_ns},
        {.name = "--headers", .given = &tap.headers},
    };
    int left = flags_read(&command_tap, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (left != 2)
        return flags_wrong_usage(&command_tap, "one SUBJECT is expected (quote its wildcards)");
    tap.pattern = argv[1];
    if (subject_check_pattern(tap.pattern, &err) != 0)
        return flags_wrong_usage(&command_tap, "%s", err.text);
    catch_signals();
    if (tap_messages(&tap, &err) != 0) {
        fprintf(stderr, "tidemill tap: %s\n", err.text);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

const struct command command_tap = {
    .name = "tap",
    .usage = "tap SUBJECT [--count N] [--timeout SECONDS] [--headers] [--nats URL]",
    .summary = "print messages as they pass: subject and payload, one line each",
    .run = run,
    .details = "SUBJECT may have wildcards: 'sensors.*', 'alerts.>'. Line ends and control "
               "characters in a\n"
               "payload are printed escaped. SIGINT and SIGTERM end it with 0.\n\n"
               "  --count N          end after N messages\n"
               "  --timeout SECONDS  end after that time: with 1 when --count was not reached\n"
               "  --headers          print the headers too, as [Name: value]\n" CONNECT_FLAGS_HELP,
};
