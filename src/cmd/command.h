#ifndef TIDEMILL_CMD_COMMAND_H
#define TIDEMILL_CMD_COMMAND_H

/*
 * A subcommand: one file each, ending in one of these; main() walks the table of them. `run` gets
 * the words from its own name on (argv[0] is "feed") and returns the exit status. main answers
 * --help itself.
 */

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2 /* wrong usage or configuration */
};

struct command {
    const char *name;
    const char *usage;   /* one line: "feed SUBJECT [FILE] [--rate N]" */
    const char *summary; /* one line, starting in lower case */
    int (*run)(int argc, char **argv);
    const char *details; /* more lines for `help NAME`; may be NULL */
};

extern const struct command command_run, command_check, command_feed, command_tap, command_dead,
    command_replay, command_health, command_test, command_version;

#endif
