#ifndef TIDEMILL_BASE_CONFIG_LOG_H
#define TIDEMILL_BASE_CONFIG_LOG_H

#include "base/config.h"
#include "base/config_section.h"

/* The `log` table of the configuration, for config.c. */

/* Reads it, with its defaults. */
void config_read_log(struct section *root, struct config *config);

/* Reads a level by its name. */
void config_read_level(struct section *section, const char *key, enum log_level *level);

#endif
