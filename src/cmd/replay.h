#ifndef TIDEMILL_CMD_REPLAY_H
#define TIDEMILL_CMD_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/wire.h"
#include "cmd/replay_item.h"
#include "rules/engine.h"

/* What the parts of `tidemill replay` share: a replayed message, and how it is printed. */

enum { REPLAY_SIDES = 2 }; /* rule sets: that of --rules, and with --diff another one */

struct replay_message {
    struct replay_message *next;
    struct wire_message *wire;
    struct input input;
    size_t open[REPLAY_SIDES]; /* handlers that have not ended */
    /* What the rules decided on it, and what timers did between it and the next message. */
    struct replay_items items[REPLAY_SIDES];
};

/* One JSON line for each of the first side's items. */
void replay_print_items(const struct replay_message *message);

/* What is left of both sides' items after they were compared: lines for people, or one of JSON. */
void replay_print_difference(const struct replay_message *message, bool json);

#endif
