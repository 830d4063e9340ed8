#ifndef TIDEMILL_CMD_REPLAY_ITEM_H
#define TIDEMILL_CMD_REPLAY_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "rules/engine.h"

/*
 * One thing that rules decided in a replay: a message to be published, or a verdict. Kept as the
 * members of a JSON object, in a form in which equal decisions are equal texts: keys in order.
 */

struct replay_item {
    struct replay_item *next;
    char *rule;
    char *members; /* "\"subject\":\"alerts.x\",\"data\":{...}" */
    char *key;     /* of a verdict: the part that counts in a comparison; NULL: `members` */
    char *text;    /* for people: "alerts.x {...}", "error: ..." */
    size_t number; /* of the outputs of its handler, from 1; 0: a verdict */
    bool own_id;   /* the rule gave a message id; it is among the members */
    bool timer;
    int64_t time_ns; /* a timer's */
};

struct replay_items {
    struct replay_item *first, **last;
    size_t count;
};

void replay_items_init(struct replay_items *items);
void replay_items_clear(struct replay_items *items);

/*
 * Appends what a handler decided; `texts`: with the texts for people. Returns 0, or -1: out of
 * memory.
 */
int replay_items_add(struct replay_items *items, const struct call_result *result, bool timer,
                     int64_t time_ns, bool texts);

/* Takes out of both what both have, whatever the order and the rules' names. */
void replay_items_cancel(struct replay_items *a, struct replay_items *b);

#endif
