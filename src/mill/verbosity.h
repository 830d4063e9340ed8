#ifndef TIDEMILL_MILL_VERBOSITY_H
#define TIDEMILL_MILL_VERBOSITY_H

#include "base/config.h"

/* How much the log says, switched while running (SIGUSR2). Any thread. */

/* Switches to the level "debug", or back to the configuration's ("info" where that is "debug"). */
void verbosity_toggle(const struct config *config);

#endif
