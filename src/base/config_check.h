#ifndef TIDEMILL_BASE_CONFIG_CHECK_H
#define TIDEMILL_BASE_CONFIG_CHECK_H

#include <stdbool.h>

#include "base/config.h"

/*
 * What can only be seen once every key is read: single values against their field (names, subjects,
 * addresses), and keys against each other. Used by config.c alone. Values that were missing or
 * wrong, and so have a problem already, are passed over.
 */

/* Adds a problem under `path` unless `name` may name a stream or a consumer. */
void config_check_name(const char *name, const char *path, struct config_problems *problems);

/* Adds a problem under `path` unless `listen` is "address:port" or "[address]:port". */
void config_check_listen(const char *listen, const char *path, struct config_problems *problems);

/* Everything that concerns several keys. */
void config_check(const struct config *config, struct config_problems *problems);

#endif
