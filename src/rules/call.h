#ifndef TIDEMILL_RULES_CALL_H
#define TIDEMILL_RULES_CALL_H

#include "rules/engine_internal.h"
#include "rules/failure.h"

/*
 * A call: one run of a rule's code, from its start to the report of its end, in a coroutine that is
 * used again for later calls. It may wait (mill.sleep, mill.request) any number of times.
 *
 * A call ends by returning, by an error nobody caught, or by a verdict: a limit, msg:retry,
 * msg:reject, a payload that cannot be decoded. A verdict is final. It travels as a Lua error that
 * the sandbox's pcall, xpcall and coroutine.* pass on instead of catching it (call_check).
 */

enum call_kind {
    CALL_CHUNK,   /* a rule file's top level, and the check of what it returned */
    CALL_LOAD,    /* on_load */
    CALL_MESSAGE, /* on_message */
    CALL_TIMER,
    CALL_UNLOAD /* on_unload */
};

enum call_state { CALL_FREE, CALL_RUNNING, CALL_SLEEPING, CALL_ASKING, CALL_ENDED };

/* What a call asks for when it yields. */
enum call_wait { WAIT_NONE, WAIT_SLEEP, WAIT_REPLY, WAIT_KV };

struct rule_timer;

struct call {
    struct engine *engine;
    struct rule *rule;
    struct call *next_free;
    size_t place;        /* in engine->calls */
    uint64_t generation; /* of this run; a `msg` of an earlier one is dead */
    enum call_kind kind;
    enum call_state state;

    const struct input *input; /* CALL_MESSAGE */
    void *token;
    struct rule_timer *timer; /* CALL_TIMER */

    lua_State *thread;
    lua_ref anchor; /* holds `thread` */
    bool started;
    int closing;      /* how many coroutines are being closed: their __close methods cannot yield */
    int64_t spent_ns; /* running, not waiting */
    int64_t began_ns; /* when it started, by the real clock */
    int64_t left_ns;  /* when its code ran last */
    struct outputs outputs;

    bool ended; /* there is a verdict; it is in `outcome` and so on */
    enum outcome outcome;
    enum cause cause;
    int64_t retry_ns;
    struct failure *failure; /* made when first needed; kept */
    const char *error;       /* `failure->text`, or a constant; NULL: no error */
    const char *traceback;

    enum call_wait wait;    /* set just before the coroutine yields */
    struct moment moment;   /* the end of a sleep, or of the patience for a reply */
    int64_t wait_ns;        /* how long to sleep, or to wait for the reply */
    const char *request[2]; /* subject and payload of mill.request: on the waiting stack */
    size_t request_size;
    struct kv_request kv; /* of mill.kv, likewise */
    uint64_t wait_number;
    bool sending;               /* host->request or host->kv is being called */
    const struct reply *answer; /* what woke the call; NULL: nothing did */
    struct reply early;         /* an answer that came while sending; its text is `early_text` */
    char *early_text;
};

/* Takes a call from the pool. NULL when there is no memory. */
struct call *call_new(struct engine *engine, struct rule *rule, enum call_kind kind);

/*
 * Runs a call until it waits or ends. The ends of CALL_CHUNK and CALL_LOAD are not reported: they
 * are left in state CALL_ENDED for the caller to read and to give back with call_free.
 */
void call_start(struct call *call);

void call_free(struct call *call);

/* The call that waits for reply number `wait`, or NULL. */
struct call *call_waiting_for(struct engine *engine, uint64_t wait);

/* Wakes a call that waits for a reply. */
void call_answer(struct call *call, const struct reply *reply);

/* Ends a waiting call with an error. */
void call_abort(struct call *call, const char *why);

/* Frees the calls' own memory, after lua_close. */
void call_close_all(struct engine *engine);

/* Reports a call that could not even start. */
void call_report_unstarted(struct rule *rule, void *token, enum cause cause, const char *why);

/* --- for rule code that runs: raise Lua errors ------------------------------------------------ */

/* The call whose code runs on `L`, not yet ended; `what` names the function that asks. LJMP. */
struct call *call_current(lua_State *L, const char *what);

/* The same, for what only works while a message or a timer is handled. LJMP. */
struct call *call_handler(lua_State *L, const char *what);

/*
 * To be called with the status of a protected call that rule code made: goes on raising when the
 * error must not be caught. LJMP.
 */
void call_check(lua_State *L, int status);

/* Gives the verdict and raises. `format` (may be NULL) makes the error's line. LJMP, no return. */
int call_end(lua_State *L, struct call *call, enum outcome outcome, enum cause cause,
             const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A limit was passed. LJMP, no return. */
void call_over_limit(lua_State *L, enum cause cause);

/* Yields until what `call->wait` asks for has happened. LJMP; `return call_yield(...)`. */
int call_yield(lua_State *L, struct call *call, enum call_wait wait, int64_t wait_ns,
               lua_KFunction answered, const char *what);

#endif
