#ifndef TIDEMILL_RULES_METRIC_H
#define TIDEMILL_RULES_METRIC_H

#include <lua.h>

/*
 * mill.counter, mill.gauge, mill.histogram(name, labels): an object that holds the checked name and
 * labels, so that counting costs no more than the host's call. counter:inc(), counter:add(n),
 * gauge:set(value), histogram:observe(value).
 */

enum { METRIC_LABELS_MAX = 16 };

/* Makes the metatables. LJMP. Once per state. */
void metric_open(lua_State *L);

/* All LJMP. */
int rule_metric_counter(lua_State *L);
int rule_metric_gauge(lua_State *L);
int rule_metric_histogram(lua_State *L);

#endif
