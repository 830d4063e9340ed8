#ifndef TIDEMILL_RULES_PUBLISH_H
#define TIDEMILL_RULES_PUBLISH_H

#include <lua.h>
#include <stddef.h>

/*
 * mill.publish(subject, data, opts): checks everything at once, at the rule's line, and notes the
 * output with the call that runs. Nothing leaves before the handler has returned. LJMP.
 */
int publish_from_rule(lua_State *L);

/* Writes the names of the options (string constants), at most `max`; returns how many. */
size_t publish_option_names(const char **names, size_t max);

enum { PUBLISH_HEADERS_MAX = 64 }; /* of one message */

#endif
