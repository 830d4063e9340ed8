#include "base/clock.h"
#include "base/subject.h"
#include "bus/client.h"
#include "cmd/command.h"
#include "cmd/connect_flags.h"
#include "cmd/flags.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Publishes lines, some hundred of them under way at a time, and counts the acknowledgements of the
 * streams. A line that is not stored is told at once; after many of them there is no use in going
 * on.
 */

enum { WINDOW = 1024, FAILURES_MAX = 10 };

static const int64_t ACK_TIMEOUT_NS = 5 * NS_PER_S;

struct feed {
    struct connect_flags connect;
    struct flag_list headers;
    int64_t rate, count; /* 0: no limit */
    const char *subject; /* NULL: each line begins with its own */
    const char *path;    /* NULL: standard input */

    struct client *client;
    FILE *file;
    char *line;
    size_t line_capacity;
    uint64_t line_number; /* in the file, from 1 */
    uint64_t published, failed;
    int64_t started_ns;
};

static void on_failed(void *context, const struct client_failure *failure)
{
    struct feed *feed = context;
    feed->failed++;
    if (feed->failed <= FAILURES_MAX)
        fprintf(stderr, "tidemill feed: line %" PRIu64 ": not stored: %s\n", failure->number,
                failure->reason);
}

/* Reads a line without its end, empty ones passed over. Returns its size, 0 at the end, -1. */
static ssize_t next_line(struct feed *feed, struct error *err)
{
    for (bool rewound = false;;) {
        errno = 0;
        ssize_t size = getline(&feed->line, &feed->line_capacity, feed->file);
        if (size < 0) {
            if (ferror(feed->file) || errno == ENOMEM)
                return error_set(err, "cannot read %s: %s",
                                 feed->path != NULL ? feed->path : "standard input",
                                 strerror(errno));
            /* With --count a file is read again and again; one without lines only once. */
            if (feed->path == NULL || feed->count == 0 || rewound)
                return 0;
            if (fseek(feed->file, 0, SEEK_SET) != 0)
                return error_set(err, "%s: cannot be read again for --count: %s", feed->path,
                                 strerror(errno));
            rewound = true;
            feed->line_number = 0;
            continue;
        }
        feed->line_number++;
        while (size > 0 && (feed->line[size - 1] == '\n' || feed->line[size - 1] == '\r'))
            feed->line[--size] = '\0';
        if (size > 0)
            return size;
    }
}

/* Sleeps until this message's turn at the rate asked for. */
static void keep_rate(const struct feed *feed)
{
    if (feed->rate == 0)
        return;
    int64_t due_ns = feed->started_ns +
                     (int64_t)((double)feed->published * (double)NS_PER_S / (double)feed->rate);
    int64_t left = due_ns - clock_monotonic_ns();
    /* Below a millisecond the sleep would cost more than it paces. */
    if (left > NS_PER_MS)
        nanosleep(&(struct timespec){.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S}, NULL);
}

static int publish_line(struct feed *feed, size_t size, struct error *err)
{
    const char *subject = feed->subject, *payload = feed->line;
    if (subject == NULL) {
        size_t word = strcspn(feed->line, " \t");
        size_t blanks = strspn(feed->line + word, " \t");
        feed->line[word] = '\0';
        subject = feed->line;
        payload = feed->line + (blanks > 0 ? word + blanks : word);
        size -= (size_t)(payload - feed->line);
        if (subject_check(subject, err) != 0)
            return -1;
    }
    keep_rate(feed);
    if (client_publish(feed->client, feed->line_number, subject, payload, size, err) != 0)
        return -1;
    feed->published++;
    return 0;
}

static int publish_all(struct feed *feed, struct error *err)
{
    feed->started_ns = clock_monotonic_ns();
    while (feed->count == 0 || feed->published < (uint64_t)feed->count) {
        ssize_t size = next_line(feed, err);
        if (size <= 0)
            return (int)size;
        if (publish_line(feed, (size_t)size, err) != 0)
            return error_prefix(err, "line %" PRIu64, feed->line_number);
        if (feed->failed >= FAILURES_MAX)
            return error_set(err, "giving up after %d lines that were not stored", FAILURES_MAX);
    }
    return 0;
}

static int add_headers(struct feed *feed, struct error *err)
{
    for (size_t i = 0; i < feed->headers.count; i++) {
        char name[256];
        const char *item = feed->headers.items[i];
        const char *colon = strchr(item, ':');
        size_t size = colon != NULL ? (size_t)(colon - item) : 0;
        if (size == 0 || size >= sizeof(name) || strpbrk(item, "\r\n") != NULL)
            return error_set(err, "--header %s: NAME:VALUE is expected", item);
        snprintf(name, sizeof(name), "%.*s", (int)size, item);
        if (client_add_header(feed->client, name, colon + 1 + strspn(colon + 1, " "), err) != 0)
            return -1;
    }
    return 0;
}

static void print_summary(const struct feed *feed)
{
    double seconds = (double)(clock_monotonic_ns() - feed->started_ns) / NS_PER_S;
    uint64_t acked = client_acked(feed->client);
    fprintf(stderr, "%" PRIu64 " published, %" PRIu64 " acked in %.1f s, %.0f/s\n", feed->published,
            acked, seconds, seconds > 0 ? (double)acked / seconds : 0);
}

static int feed_lines(struct feed *feed, struct error *err)
{
    struct nats_config config = {.name = NULL};
    int result = -1;
    feed->file = feed->path != NULL ? fopen(feed->path, "re") : stdin;
    if (feed->file == NULL)
        return error_set(err, "cannot read %s: %s", feed->path, strerror(errno));
    if (connect_flags_config(&feed->connect, &config, err) != 0 ||
        client_open(&feed->client, &config, "feed", err) != 0 || add_headers(feed, err) != 0 ||
        client_start_publishing(feed->client, WINDOW, ACK_TIMEOUT_NS, on_failed, feed, err) != 0)
        goto cleanup;
    result = publish_all(feed, err);
    client_wait(feed->client);
    print_summary(feed);
    if (result == 0 && feed->failed > 0)
        result = error_set(err, "%" PRIu64 " of %" PRIu64 " messages were not stored", feed->failed,
                           feed->published);
cleanup:
    client_close(feed->client);
    connect_flags_free(&config);
    if (feed->path != NULL)
        fclose(feed->file);
    free(feed->line);
    return result;
}

static int run(int argc, char **argv)
{
    struct feed feed = {.count = 0};
    struct error err;
    const struct flag flags[] = {
        CONNECT_FLAGS(feed.connect),
        {.name = "--header", .short_name = "-H", .list = &feed.headers},
        {.name = "--rate", .count = &feed.rate},
        {.name = "--count", .count = &feed.count},
    };
    int left = flags_read(&command_feed, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (left < 2 || left > 3)
        return flags_wrong_usage(&command_feed, "SUBJECT and perhaps a FILE are expected");
    feed.subject = strcmp(argv[1], "-") != 0 ? argv[1] : NULL;
    if (feed.subject != NULL && subject_check(feed.subject, &err) != 0)
        return flags_wrong_usage(&command_feed, "%s", err.text);
    feed.path = left == 3 && strcmp(argv[2], "-") != 0 ? argv[2] : NULL;
    if (feed_lines(&feed, &err) != 0) {
        fprintf(stderr, "tidemill feed: %s\n", err.text);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

const struct command command_feed = {
    .name = "feed",
    .usage = "feed SUBJECT [FILE] [--rate N] [--count N] [--header NAME:VALUE]... [--nats URL]",
    .summary = "publish the lines of a file or of standard input, waiting for the streams' acks",
    .run = run,
    .details =
        "Each line is one message; empty lines are passed over. With the SUBJECT \"-\" each line\n"
        "begins with its own subject, then a blank or a tab. Ends with 1 when any was not "
        "stored.\n\n"
        "  --rate N           messages per second\n"
        "  --count N          stop after N messages; a FILE with fewer lines is read again\n"
        "  --header, -H N:V   a header on every message\n" CONNECT_FLAGS_HELP,
};
