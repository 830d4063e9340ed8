#ifndef TIDEMILL_CMD_SETTINGS_H
#define TIDEMILL_CMD_SETTINGS_H

#include "base/config.h"

/*
 * The configuration as a command sees it: the file (flag, else TIDEMILL_CONFIG, else tidemill.lua),
 * then the environment (NATS_URL, NATS_CREDS, TIDEMILL_RULES, TIDEMILL_LOG_LEVEL, TIDEMILL_HTTP),
 * then the flags. Problems are printed, all of them, one line each.
 */

/*
 * `path` NULL: not given. What is NULL in `flags` is taken from the environment. Returns 0, or -1
 * after printing; the caller frees `config` in either case.
 */
int settings_load(struct config *config, const char *path, const struct config_overrides *flags);

/* Returns 0, or -1 after printing that the rules directory of the configuration is none. */
int settings_check_rules_dir(const struct config *config);

#endif
