#ifndef TIDEMILL_MILL_SUPERVISOR_H
#define TIDEMILL_MILL_SUPERVISOR_H

#include "base/config.h"

/*
 * The supervisor: `tidemill run` from the loaded configuration to the exit status. It owns the main
 * thread's loop: signals, start-up, reload, recovery of consumers, the watchdog over the workers,
 * and shutdown.
 *
 *   SIGHUP            reload the rules
 *   SIGTERM, SIGINT   drain and exit 0 inside shutdown_timeout; a second one: exit at once
 *   SIGUSR1           the status to the log
 *   SIGUSR2           the log to `debug`, and back
 *
 * Blocking work (provisioning, building engines) runs on libuv's thread pool, so the loop always
 * answers signals.
 */

/*
 * Returns the exit status: 0 stopped as asked, 1 a fault while running, 2 rules that cannot be
 * loaded.
 */
int supervisor_run(const struct config *config);

#endif
