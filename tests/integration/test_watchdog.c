#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "faults.h"
#include "process.h"

/*
 * A handler that nothing can stop: the engine's own limits work inside the handler's thread, so the
 * test holds that thread from outside, as a debugger does. The others go on.
 */

enum { PATIENCE_MS = 20000, STATUS_WATCHDOG = 70, STEP_MS = 5 };

static const char config[] = "return { streams = { { name = 'in' }, { name = 'out' } },\n"
                             "  sources = { { stream = 'in', durable = 'd', ack_wait = '6s' } },\n"
                             "  rules = { timeout = '2s', hard_timeout = '4s' } }";

/* Works as long as it may, without a call that takes a lock. The second time it is quick. */
static const char rule[] = "return { subjects = { 'in.a' }, on_message = function(msg)\n"
                           "  if msg.delivered == 1 then\n"
                           "    mill.log.info('it begins')\n"
                           "    for i = 1, 1e12 do end\n"
                           "  end\n"
                           "  mill.publish('out.a', 'done')\n"
                           "end }";

/* A thread that is running, the main one apart; 0: none. */
static pid_t running_thread(pid_t process)
{
    char path[64], line[512], state = ' ';
    pid_t found = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
    DIR *threads = opendir(path);
    assert_non_null(threads);
    for (struct dirent *entry; found == 0 && (entry = readdir(threads)) != NULL;) {
        pid_t thread = atoi(entry->d_name);
        snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)process, (int)thread);
        FILE *file = thread > 0 && thread != process ? fopen(path, "re") : NULL;
        if (file == NULL)
            continue;
        const char *name_end = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
        if (name_end != NULL && sscanf(name_end, ") %c", &state) == 1 && state == 'R')
            found = thread;
        fclose(file);
    }
    closedir(threads);
    return found;
}

/* Holds the thread of the handler and returns it; 0: this system does not allow that. */
static pid_t hold_handler(struct harness *h, struct process *mill)
{
    int64_t deadline_ns = harness_deadline(PATIENCE_MS);
    pid_t thread = 0, before;
    do { /* twice the same: others run for a moment only */
        before = thread;
        thread = running_thread(process_id(mill));
        if (clock_monotonic_ns() > deadline_ns)
            harness_fail(h, "no thread of tidemill is running");
        faults_pause(STEP_MS);
    } while (thread == 0 || thread != before);
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0) {
        print_message("skipped: no thread can be held here: %s\n", strerror(errno));
        return 0;
    }
    assert_int_equal(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL), 0);
    return thread;
}

/* Waits for the end of a thread that is held: before that its process does not end. */
static void wait_thread(pid_t thread)
{
    int status = 0;
    while (waitpid(thread, &status, __WALL) == thread && WIFSTOPPED(status))
        ;
}

static void test_a_handler_that_cannot_be_stopped_ends_the_process_and_its_message_comes_back(
    struct harness *h)
{
    harness_write_file(h, "tidemill.lua", config);
    harness_write_file(h, "rules/endless.lua", rule);
    struct process *mill = harness_tidemill(h, "run");
    harness_wait_http(mill, "/readyz", 200, PATIENCE_MS);
    harness_publish(h, "in.a", "{}");
    harness_wait_log(mill, "it begins", PATIENCE_MS);
    pid_t thread = hold_handler(h, mill);
    if (thread == 0)
        return;

    harness_wait_log(mill, "worker 1 has been in one call for ", PATIENCE_MS);
    harness_wait_log(mill, "cannot be stopped: endless: in.a seq 1; the process ends", 1000);
    wait_thread(thread);
    assert_int_equal(harness_wait_exit(mill, PATIENCE_MS), STATUS_WATCHDOG);

    struct process *next = harness_tidemill(h, "run");
    harness_wait_count(h, "out", 1, PATIENCE_MS);
    harness_wait_drained(h, "in", "d", PATIENCE_MS);
    harness_stop(next, PATIENCE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        harness_test(
            test_a_handler_that_cannot_be_stopped_ends_the_process_and_its_message_comes_back),
    };
    return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}
