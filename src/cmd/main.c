#include "base/suggest.h"
#include "cmd/command.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_run,  &command_check,  &command_test,   &command_feed,    &command_tap,
    &command_dead, &command_replay, &command_health, &command_version,
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_overview(FILE *out)
{
    fputs("tidemill runs Lua rules over NATS JetStream.\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  tidemill %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\ntidemill help COMMAND tells more about one.\n", out);
}

static void print_command(const struct command *command)
{
    printf("usage: tidemill %s\n\n%s\n", command->usage, command->summary);
    if (command->details != NULL)
        printf("\n%s", command->details);
}

/* NULL, with one line on standard error, when there is no such command. */
static const struct command *find_command(const char *name)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
        names[i] = commands[i]->name;
    }
    const char *nearest = suggest_nearest(name, names, COMMAND_COUNT);
    fprintf(stderr, "tidemill: unknown command %s", name);
    if (nearest != NULL)
        fprintf(stderr, ": did you mean %s?\n", nearest);
    else
        fputs("; see: tidemill help\n", stderr);
    return NULL;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Whether the words of a command ask for help: a --help anywhere before a "--". */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return true;
    return false;
}

static int help(int argc, char **argv)
{
    if (argc == 1) {
        print_overview(stdout);
        return EXIT_DONE;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL)
        return EXIT_USAGE;
    print_command(command);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    argc--;
    argv++;
    if (strcmp(argv[0], "help") == 0 || is_help(argv[0]))
        return help(argc, argv);
    if (strcmp(argv[0], "--version") == 0)
        return command_version.run(1, argv);
    const struct command *command = find_command(argv[0]);
    if (command == NULL)
        return EXIT_USAGE;
    if (wants_help(argc, argv)) {
        print_command(command);
        return EXIT_DONE;
    }
    return command->run(argc, argv);
}
