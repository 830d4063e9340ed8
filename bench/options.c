#include "options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s --url nats://ADDRESS:PORT --stream NAME --durable NAME [--count N]\n"
            "       [--limit VALUE] [--batch N] [--open N] [--cumulative] [--bare] [--hold]\n",
            program);
    return -1;
}

int options_read(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"url", required_argument, NULL, 'u'},
        {"stream", required_argument, NULL, 's'},
        {"durable", required_argument, NULL, 'd'},
        {"count", required_argument, NULL, 'n'},
        {"limit", required_argument, NULL, 'l'},
        {"batch", required_argument, NULL, 'b'},
        {"open", required_argument, NULL, 'o'},
        {"cumulative", no_argument, NULL, 'c'},
        {"bare", no_argument, NULL, 'r'},
        {"hold", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    *options = (struct options){.limit = 90, .batch = 500, .open = 4};
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1)
        switch (letter) {
        case 'u':
            options->url = optarg;
            break;
        case 's':
            options->stream = optarg;
            break;
        case 'd':
            options->durable = optarg;
            break;
        case 'n':
            options->count = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            options->limit = strtod(optarg, NULL);
            break;
        case 'b':
            options->batch = (int)strtol(optarg, NULL, 10);
            break;
        case 'o':
            options->open = (int)strtol(optarg, NULL, 10);
            break;
        case 'c':
            options->cumulative = true;
            break;
        case 'r':
            options->bare = true;
            break;
        case 'h':
            options->hold = true;
            break;
        default:
            return usage(argv[0]);
        }
    if (options->url == NULL || options->stream == NULL || options->durable == NULL ||
        options->batch < 1 || options->open < 1 || optind != argc)
        return usage(argv[0]);
    return 0;
}

void options_report(const struct options *options, const char *program, uint64_t messages,
                    uint64_t alerts, int64_t duration_ns)
{
    double seconds = (double)duration_ns / 1e9;
    printf("%s: %" PRIu64 " messages, %" PRIu64 " alerts, %.3f s, %.0f msg/s\n", program, messages,
           alerts, seconds, (double)messages / seconds);
    fflush(stdout);
    if (options->hold)
        pause();
}

int options_fail(const char *program, const char *text)
{
    fprintf(stderr, "%s: %s\n", program, text);
    return 1;
}
