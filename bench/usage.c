#include "usage.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* The number behind "NAME:" in a status file of /proc; the sum, when several names end so. */
static uint64_t status_number(const char *path, const char *name)
{
    char line[256];
    uint64_t sum = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *found = strstr(line, name);
        if (found != NULL && found[strlen(name)] == ':')
            sum += strtoull(found + strlen(name) + 1, NULL, 10);
    }
    fclose(file);
    return sum;
}

static uint64_t count_switches(pid_t pid)
{
    char path[320];
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    const struct dirent *thread;
    while (threads != NULL && (thread = readdir(threads)) != NULL) {
        if (thread->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, thread->d_name);
        sum += status_number(path, "voluntary_ctxt_switches"); /* nonvoluntary_ too */
    }
    if (threads != NULL)
        closedir(threads);
    return sum;
}

int usage_read(struct usage *usage, pid_t pid, struct error *err)
{
    clockid_t clock;
    struct timespec time;
    usage->at_ns = clock_monotonic_ns();
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return error_set(err, "process %d is gone", (int)pid);
    usage->cpu_ns = time.tv_sec * NS_PER_S + time.tv_nsec;
    usage->switches = count_switches(pid);
    return 0;
}

uint64_t usage_memory(pid_t pid, const char *what)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return status_number(path, what);
}
