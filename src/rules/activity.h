#ifndef TIDEMILL_RULES_ACTIVITY_H
#define TIDEMILL_RULES_ACTIVITY_H

#include "rules/call.h"

/* What the watchdog sees of the engine: "high_value: sensors.value seq 42" and since when. */

/* `call` begins to run, or goes on. `now` is clock_monotonic_ns. */
void activity_begin(struct engine_activity *activity, const struct call *call, int64_t now);

/* Nothing runs. */
void activity_end(struct engine_activity *activity);

#endif
