#include "ops/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "ops/metrics.h"

static double cpu_seconds(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return -1;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double resident_bytes(void)
{
    long long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return -1;
    int found = fscanf(file, "%lld %lld", &total, &resident);
    fclose(file);
    return found == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : -1;
}

/* Without the one that the count itself needs. */
static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return -1;
    int count = -1;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void set_gauge(const char *name, const char *help, double value)
{
    if (value >= 0)
        metric_gauge_set(metric_gauge(metrics_gauge(name, help, NULL, NULL), NULL), value);
}

static void gather(void *context)
{
    (void)context;
    struct rlimit files = {0};
    struct metric *cpu = metrics_counter("process_cpu_seconds_total",
                                         "Processor time used, user and system.", NULL, NULL);
    metric_counter_set(metric_counter(cpu, NULL), cpu_seconds());
    set_gauge("process_resident_memory_bytes", "Memory in RAM.", resident_bytes());
    set_gauge("process_open_fds", "Open file descriptors.", count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        set_gauge("process_max_fds", "How many file descriptors may be open.",
                  (double)files.rlim_cur);
}

int process_metrics_open(const char *version, struct error *err)
{
    struct metric *build =
        metrics_gauge("tidemill_build_info", "Always 1; the label is the version.",
                      (const char *const[]){"version", NULL}, err);
    if (build == NULL)
        return -1;
    metric_gauge_set(metric_gauge(build, (const char *const[]){version, NULL}), 1);
    set_gauge("process_start_time_seconds", "When the process started, since 1970.",
              (double)clock_wall_ns() / (double)NS_PER_S);
    return metrics_add_gather(gather, NULL, err);
}
