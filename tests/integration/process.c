#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "sanitizer.h"

enum { LOG_STEP_MS = 5 }; /* between two looks at a growing log */

struct process {
    pid_t pid;
    int pidfd; /* -1 where the kernel, or valgrind, has none: its end is looked for in steps */
    bool reaped;
    int status;
    char *log;
    int log_fd;
    off_t log_offset; /* up to where `text` has it */
    char *text;
    size_t size, capacity;
    size_t mark; /* process_wait_text looks from here */
    void *owner;
};

static bool names_variable(const char *entry, const char *setting)
{
    size_t length = strcspn(setting, "=");
    return strncmp(entry, setting, length) == 0 && entry[length] == '=';
}

/* This program's environment with `changes`; the caller frees the array, not the strings. */
static char **make_environment(const char *const *changes)
{
    static const char *const none[] = {NULL};
    if (changes == NULL)
        changes = none;
    size_t total = 0, count = 0;
    for (char **entry = environ; *entry != NULL; entry++)
        total++;
    for (const char *const *change = changes; *change != NULL; change++)
        total++;
    char **result = calloc(total + 1, sizeof(*result));
    if (result == NULL)
        return NULL;
    for (char **entry = environ; *entry != NULL; entry++) {
        bool changed = false;
        for (const char *const *change = changes; *change != NULL; change++)
            changed = changed || names_variable(*entry, *change);
        if (!changed)
            result[count++] = *entry;
    }
    for (const char *const *change = changes; *change != NULL; change++) {
        if (strchr(*change, '=') != NULL)
            result[count++] = (char *)*change;
    }
    return result;
}

/* The child between fork and exec. The test has threads: only async-signal-safe calls here. */
static _Noreturn void become(const struct process_options *options, char *const *environment,
                             int log_fd, int failure_fd, pid_t parent)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    sigaction(SIGPIPE, &standard, NULL); /* libnats ignores it, and exec would keep that */
    sigaction(SIGINT, &standard, NULL);  /* a shell has what it runs behind itself ignore it */
    sigprocmask(SIG_SETMASK, &none, NULL);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent &&
        chdir(options->folder) == 0 && dup2(input, STDIN_FILENO) >= 0 &&
        dup2(log_fd, STDOUT_FILENO) >= 0 && dup2(log_fd, STDERR_FILENO) >= 0)
        execvpe(options->argv[0], (char *const *)options->argv, environment);
    int fault = errno;
    ssize_t ignored = write(failure_fd, &fault, sizeof(fault));
    (void)ignored;
    _exit(127);
}

/* Forks and waits until the program has been exec'ed or could not be. */
static int launch(struct process *process, const struct process_options *options, struct error *err)
{
    int failure[2] = {-1, -1};
    char **environment = make_environment(options->environment);
    int result = -1;
    if (environment == NULL || pipe2(failure, O_CLOEXEC) != 0) {
        error_set(err, "cannot prepare to run %s: %s", options->argv[0], strerror(errno));
        goto cleanup;
    }
    pid_t parent = getpid();
    process->pid = fork();
    if (process->pid == 0)
        become(options, environment, process->log_fd, failure[1], parent);
    close(failure[1]);
    failure[1] = -1;
    int fault = errno;
    if (process->pid < 0) {
        error_set(err, "cannot fork for %s: %s", options->argv[0], strerror(fault));
    } else if (read(failure[0], &fault, sizeof(fault)) > 0) {
        waitpid(process->pid, NULL, 0);
        error_set(err, "cannot run %s in %s: %s", options->argv[0], options->folder,
                  strerror(fault));
    } else {
        process->pidfd = UNDER_MEMCHECK ? -1 : pidfd_open(process->pid, 0);
        result = 0;
    }
cleanup:
    free(environment);
    if (failure[0] >= 0)
        close(failure[0]);
    if (failure[1] >= 0)
        close(failure[1]);
    return result;
}

static void release(struct process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    if (process->log_fd >= 0)
        close(process->log_fd);
    free(process->text);
    free(process->log);
    free(process);
}

int process_open(struct process **result, const struct process_options *options, struct error *err)
{
    struct process *process = calloc(1, sizeof(*process));
    if (process == NULL)
        return error_set(err, "out of memory");
    process->pidfd = -1;
    process->owner = options->owner;
    process->log = strdup(options->log);
    process->log_fd = open(options->log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (process->log == NULL || process->log_fd < 0) {
        error_set(err, "cannot write %s: %s", options->log, strerror(errno));
        release(process);
        return -1;
    }
    process->log_offset = lseek(process->log_fd, 0, SEEK_END);
    if (launch(process, options, err) != 0) {
        release(process);
        return -1;
    }
    *result = process;
    return 0;
}

void process_close(struct process *process)
{
    if (process == NULL)
        return;
    if (!process->reaped) {
#ifdef COVERAGE /* a moment to write the counts down */
        kill(process->pid, SIGTERM);
        process_wait(process, clock_monotonic_ns() + NS_PER_S);
    }
    if (!process->reaped) {
#endif
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    release(process);
}

void *process_owner(const struct process *process)
{
    return process->owner;
}

pid_t process_id(const struct process *process)
{
    return process->pid;
}

const char *process_log(const struct process *process)
{
    return process->log;
}

void process_signal(struct process *process, int signal)
{
    if (!process->reaped)
        kill(process->pid, signal);
}

static void reap(struct process *process)
{
    int status;
    if (process->reaped || waitpid(process->pid, &status, WNOHANG) != process->pid)
        return;
    process->reaped = true;
    process->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Sleeps until the program ends or `deadline_ns`; without a pidfd at most for a step. */
static void sleep_until(struct process *process, int64_t deadline_ns)
{
    int64_t left = deadline_ns - clock_monotonic_ns();
    if (left <= 0)
        return;
    if (process->pidfd < 0 && left > LOG_STEP_MS * NS_PER_MS)
        left = LOG_STEP_MS * NS_PER_MS;
    struct pollfd end = {.fd = process->pidfd, .events = POLLIN};
    poll(&end, 1, (int)((left + NS_PER_MS - 1) / NS_PER_MS));
}

bool process_wait(struct process *process, int64_t deadline_ns)
{
    for (reap(process); !process->reaped && clock_monotonic_ns() < deadline_ns; reap(process))
        sleep_until(process, deadline_ns);
    return process->reaped;
}

int process_status(const struct process *process)
{
    return process->reaped ? process->status : -1;
}

/* Takes what has been written since the last time. */
static void read_log(struct process *process)
{
    for (;;) {
        if (process->capacity - process->size < 4096) {
            size_t capacity = process->capacity * 2 + 65536;
            char *text = realloc(process->text, capacity);
            if (text == NULL)
                abort(); /* a test cannot go on without its evidence */
            process->text = text;
            process->capacity = capacity;
        }
        ssize_t got = pread(process->log_fd, process->text + process->size,
                            process->capacity - process->size - 1, process->log_offset);
        if (got > 0) {
            process->size += (size_t)got;
            process->log_offset += got;
        }
        process->text[process->size] = '\0';
        if (got <= 0)
            return;
    }
}

static bool find_text(struct process *process, const char *text)
{
    size_t length = strlen(text);
    read_log(process);
    char *found =
        memmem(process->text + process->mark, process->size - process->mark, text, length);
    if (found == NULL)
        return false;
    process->mark = (size_t)(found - process->text) + length;
    return true;
}

bool process_wait_text(struct process *process, const char *text, int64_t deadline_ns)
{
    for (;;) {
        reap(process);
        bool ended = process->reaped; /* asked before the look: what comes later was seen */
        if (find_text(process, text))
            return true;
        int64_t now = clock_monotonic_ns();
        if (ended || now >= deadline_ns)
            return false;
        sleep_until(process, now + LOG_STEP_MS * NS_PER_MS);
    }
}

size_t process_count_text(struct process *process, const char *text)
{
    size_t length = strlen(text), count = 0;
    read_log(process);
    const char *end = process->text + process->size;
    for (const char *at = process->text;
         (at = memmem(at, (size_t)(end - at), text, length)) != NULL; at += length)
        count++;
    return count;
}

const char *process_text(struct process *process)
{
    read_log(process);
    return process->text;
}
