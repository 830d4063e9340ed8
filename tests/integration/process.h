#ifndef TIDEMILL_TESTS_PROCESS_H
#define TIDEMILL_TESTS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * A program that a test runs: its output goes to a file that can be watched while it grows, and it
 * dies with the test, however that ends. No function here fails the test; harness.h does. One
 * thread.
 */

struct process;

struct process_options {
    const char *const *argv; /* argv[0] is a path, or is looked up in PATH; NULL at the end */
    const char *const
        *environment;   /* "NAME=value" sets, "NAME" removes; NULL at the end, or NULL */
    const char *folder; /* working directory */
    const char *log;    /* stdout and stderr are appended to this file */
    void *owner;        /* for process_owner */
};

/* Starts it. -1: not started, `err` says why (a program that is not there included). */
int process_open(struct process **process, const struct process_options *options,
                 struct error *err);

/* Kills it if it still runs, waits for its end, frees. The log stays. NULL is fine. */
void process_close(struct process *process);

void *process_owner(const struct process *process);
pid_t process_id(const struct process *process);
const char *process_log(const struct process *process);

/* Sends a signal; nothing when it has ended. */
void process_signal(struct process *process, int signal);

/* Whether it has ended by `deadline_ns` (clock_monotonic_ns); sleeps until then or its end. */
bool process_wait(struct process *process, int64_t deadline_ns);

/* Its exit status, or 128 + the signal it died of; -1 while it runs. */
int process_status(const struct process *process);

/*
 * Waits until `text` appears in the log after the text found before; remembers where it ends.
 * False: not before `deadline_ns`, or the program has ended without it.
 */
bool process_wait_text(struct process *process, const char *text, int64_t deadline_ns);

/* How many times `text` stands in what the program has written up to now, from the start. */
size_t process_count_text(struct process *process, const char *text);

/* All it has written up to now, NUL-terminated; valid until the next call with this process. */
const char *process_text(struct process *process);

#endif
