#ifndef TIDEMILL_OPS_PROCESS_METRICS_H
#define TIDEMILL_OPS_PROCESS_METRICS_H

#include "base/error.h"

/*
 * What Prometheus dashboards expect of every process: process_cpu_seconds_total,
 * process_resident_memory_bytes, process_open_fds, process_max_fds, process_start_time_seconds, and
 * tidemill_build_info{version}. Read from the kernel at each scrape.
 */

/* From now on these are in the registry. Once per process, before the HTTP server is opened. */
int process_metrics_open(const char *version, struct error *err);

#endif
