/* tidemill test: runs the rules' tests; no NATS needed. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cmd/command.h"
#include "cmd/flags.h"
#include "cmd/test_files.h"
#include "cmd/test_output.h"
#include "rules/testing.h"

static const long POLL_NS = 300 * NS_PER_MS; /* --watch looks at the files that often */

struct test {
    const char *filter, *format;
    bool watch;
    int path_count;
    char **paths;
};

static int find(const struct test *test, struct test_files *files, struct error *err)
{
    const char *variable = getenv("TIDEMILL_RULES");
    const char *dir = variable != NULL && variable[0] != '\0' ? variable : "rules";
    if (test->path_count == 0 && test_files_add(files, dir, err) != 0)
        return -1;
    for (int i = 0; i < test->path_count; i++)
        if (test_files_add(files, test->paths[i], err) != 0)
            return -1;
    test_files_sort(files);
    if (files->count == 0)
        return error_set(err, "no *_test.lua in %s", test->path_count > 0 ? test->paths[0] : dir);
    return 0;
}

static void add_result(void *context, const struct test_result *result)
{
    test_output_add(context, result);
}

/* Runs what there is. Returns the exit status and, in `stamp`, what the files looked like. */
static int run_once(const struct test *test, uint64_t *stamp)
{
    struct test_files files = {0};
    struct error err;
    size_t count = 0, failed = 0;
    int status = EXIT_USAGE;
    if (find(test, &files, &err) != 0) {
        fprintf(stderr, "tidemill test: %s\n", err.text);
    } else {
        struct test_output *output = test_output_open(test->format, stdout);
        if (output == NULL) {
            fprintf(stderr, "tidemill test: out of memory\n");
            status = EXIT_FAILED;
        } else {
            const struct testing_options options = {
                .filter = test->filter, .report = add_result, .context = output};
            for (size_t i = 0; i < files.count; i++)
                testing_run(files.paths[i], &options);
            failed = test_output_close(output, &count);
            status = failed > 0 ? EXIT_FAILED : EXIT_DONE;
            if (count == 0) {
                fprintf(stderr, "tidemill test: no test%s%s\n",
                        test->filter != NULL ? " matches " : " was found",
                        test->filter != NULL ? test->filter : "");
                status = EXIT_USAGE;
            }
        }
    }
    *stamp = files.stamp;
    test_files_free(&files);
    return status;
}

/* Waits until the files look different. */
static void wait_for_change(const struct test *test, uint64_t stamp)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct error err;
    uint64_t now = stamp;
    while (now == stamp) {
        struct test_files files = {0};
        nanosleep(&pause, NULL);
        find(test, &files, &err);
        now = files.stamp;
        test_files_free(&files);
    }
}

static int run(int argc, char **argv)
{
    struct test test = {.format = "text"};
    const struct flag flags[] = {
        {.name = "--filter", .short_name = "-f", .value = &test.filter},
        {.name = "--format", .value = &test.format},
        {.name = "--watch", .short_name = "-w", .given = &test.watch},
    };
    int left = flags_read(&command_test, flags, sizeof(flags) / sizeof(flags[0]), argc, argv);
    if (left < 0)
        return EXIT_USAGE;
    if (strcmp(test.format, "text") != 0 && strcmp(test.format, "tap") != 0 &&
        strcmp(test.format, "junit") != 0)
        return flags_wrong_usage(&command_test, "--format %s: text, tap or junit is expected",
                                 test.format);
    test.path_count = left - 1;
    test.paths = argv + 1;
    uint64_t stamp = 0;
    int status = run_once(&test, &stamp);
    while (test.watch) {
        fprintf(stderr, "\nwatching; Ctrl-C ends it\n");
        wait_for_change(&test, stamp);
        putchar('\n');
        status = run_once(&test, &stamp);
    }
    return status;
}

const struct command command_test = {
    .name = "test",
    .usage = "test [PATH...] [--filter PATTERN] [--watch] [--format text|tap|junit]",
    .summary = "run the rules' tests, *_test.lua: no NATS needed",
    .run = run,
    .details =
        "PATH is a test file or a directory; when there is none, TIDEMILL_RULES or rules. The\n"
        "rules under test are those beside the test file.\n\n"
        "  --filter PATTERN  only tests whose full name has this text, or matches this Lua "
        "pattern\n"
        "  --watch           run them again whenever a Lua file changes\n"
        "  --format FORMAT   text for people, tap, or junit\n\n"
        "Exit status: 0 all passed, 1 a test failed or a test file is broken, 2 nothing to run.\n",
};
