#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "soak.h"

/*
 * soak [SECONDS]: a soak of so many seconds, 900 when not said. The measured figures are kept in
 * the test's folder when something was found.
 */

enum { SECONDS = 900, SECONDS_LEAST = 10, SECONDS_MOST = 86400 };

/* A library that aborts says nothing: from where it was called then. The signal comes again. */
static void print_calls(int signal_number)
{
    void *calls[64];
    /* NOLINTNEXTLINE(bugprone-signal-handler): the program has ended itself, nothing is to save. */
    backtrace_symbols_fd(calls, backtrace(calls, 64), STDERR_FILENO);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

int main(int argc, char **argv)
{
    static struct soak_result result;
    void *state = NULL;
    int seconds = argc > 1 ? atoi(argv[1]) : SECONDS;
    if (argc > 2 || seconds < SECONDS_LEAST || seconds > SECONDS_MOST) {
        fprintf(stderr, "usage: soak [SECONDS], from %d to %d\n", SECONDS_LEAST, SECONDS_MOST);
        return 2;
    }
    if (harness_setup(&state) != 0)
        return 1;
    struct soak soak = soak_of(seconds);
    signal(SIGABRT, print_calls);
    setenv("HARNESS_KEEP", "1", 1); /* also when the harness ends the program */
    printf("in %s\n", harness_path(state, "."));
    soak_run(state, &soak, &result);
    soak_print(&soak, &result);
    bool passed = soak_passed(&soak, &result);
    if (passed)
        unsetenv("HARNESS_KEEP");
    printf("%s\n", passed ? "passed" : "FAILED");
    return harness_teardown(&state) == 0 && passed ? 0 : 1;
}
