#ifndef TIDEMILL_RULES_USES_H
#define TIDEMILL_RULES_USES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Which names a Lua source uses that are not its own: read by walking its grammar with the scopes
 * of its locals, without running it. Says nothing it is not sure of: what comes through a local
 * variable, an index in brackets or a call is left out. For sources that Lua itself has accepted.
 */

enum use_kind {
    USE_READ,    /* of a global or of a field of one: "mill.log.warn" */
    USE_CALL,    /* the same, and it is called */
    USE_ASSIGN,  /* it is given a value */
    USE_MESSAGE, /* a field or method of the message that on_message got: "subject" */
    USE_PUBLISH  /* mill.publish("this.subject", ...), to be stored by a stream */
};

enum { USE_PATH_MAX = 128 };

struct use {
    enum use_kind kind;
    int line;
    bool otherwise;  /* behind an `or`: perhaps never looked at */
    size_t function; /* USE_MESSAGE: whose first parameter it is */
    char path[USE_PATH_MAX];
};

struct uses {
    struct use *items;
    size_t count, room;
    bool any_global; /* the source uses _G or _ENV as values: it can have globals of any name */
};

/*
 * Functions of one source, by their numbers from 1 on; when it is full, nothing is sure any more.
 */
enum { FUNCTION_LIST_MAX = 64 };

struct function_list {
    size_t items[FUNCTION_LIST_MAX];
    size_t count;
};

void function_list_add(struct function_list *list, size_t function); /* 0 is none */

/*
 * From `first` on, keeps USE_MESSAGE only of functions that are handlers and whose first parameter
 * stays the message.
 */
void uses_keep_messages(struct uses *uses, size_t first, const struct function_list *handlers,
                        const struct function_list *spoilt);

/* Adds one. Returns 0, or -1 when there is no memory. */
int uses_add(struct uses *uses, const struct use *use);

/*
 * Adds the uses in a source (walk.c). Returns 0; -1, with nothing added, when there is no memory or
 * the source is not understood.
 */
int uses_read(struct uses *uses, const char *source, size_t size);
void uses_free(struct uses *uses);

#endif
