#include "mill/verbosity.h"

#include "base/log.h"

/* Says it while the level is "debug", after or before the switch: then it is seen in any case. */
void verbosity_toggle(const struct config *config)
{
    enum log_level usual =
        config->log_level == LOG_LEVEL_DEBUG ? LOG_LEVEL_INFO : config->log_level;
    if (log_get_level() != LOG_LEVEL_DEBUG) {
        log_set_level(LOG_LEVEL_DEBUG);
        log_info("supervisor", "SIGUSR2: log level debug; the next one goes back to %s",
                 log_level_name(usual));
        return;
    }
    log_info("supervisor", "SIGUSR2: log level %s; the next one goes to debug",
             log_level_name(usual));
    log_set_level(usual);
}
