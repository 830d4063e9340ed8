#ifndef TIDEMILL_RULES_ENGINE_H
#define TIDEMILL_RULES_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/error.h"
#include "rules/ruleset.h"

/*
 * The engine: one Lua state with every rule of one ruleset loaded. It is given inputs, runs the
 * rules' handlers in coroutines, and reports each handler's end with everything the handler wanted
 * published. It knows no NATS: what a rule asks of the world leaves through `struct engine_host`.
 *
 * Always holds:
 * - An input handed to engine_call is reported exactly once, by host->finished or by
 * engine_retire's callback. host->finished may be called before engine_call returns.
 * - No Lua error, whatever its value, leaves this module, and no handler outlives its limits: a
 * call that runs longer than `timeout_ns` (waiting does not count) or a state over `memory` ends
 * that call with an error.
 * - Handlers of one rule start in the order of engine_call; at most `concurrency` (default 1) of
 * one rule are under way, the others queue here.
 * - The outputs of a handler appear only when it has returned without an error.
 *
 * Threads: an engine may be built on one thread and then handed to another, but is only ever used
 * by one thread at a time. `struct engine_activity` alone may be read by others.
 */

struct engine;
struct rule;

/* What a message looks like to a rule. Borrowed: must stay valid until the call is reported. */
struct input {
    const char *subject;
    const char *payload; /* need not be NUL-terminated */
    size_t payload_size;
    const char *stream;   /* NUL-terminated; "" when there is none */
    const char *consumer; /* likewise */
    uint64_t sequence;
    uint64_t delivered; /* 1 the first time */
    uint64_t pending;
    int64_t time_ns; /* when the message was stored, since 1970 */
    enum payload_format format;
    /* Calls `visit`, which always returns, with each header's name and first value; NULL when
       there are none. */
    void (*each_header)(const struct input *input,
                        void (*visit)(void *context, const char *name, const char *value),
                        void *context);
    const void *message; /* the host's own, for each_header */
};

struct header {
    const char *name;
    const char *value;
};

/* One mill.publish, in the order of the calls. Borrowed: valid until host->finished returns. */
struct output {
    const char *subject;
    const char *payload;
    size_t payload_size;
    const char *id; /* the rule's own message id, or NULL */
    int64_t ttl_ns; /* 0: none */
    bool durable;   /* false: plain core NATS */
    const struct header *headers;
    size_t header_count;
};

enum outcome {
    OUTCOME_DONE,  /* returned: publish the outputs */
    OUTCOME_ERROR, /* raised, or went over a limit: no outputs */
    OUTCOME_RETRY, /* msg:retry(seconds): no outputs, `retry_ns` */
    OUTCOME_REJECT /* msg:reject(reason), or the payload is not what `format` says: no outputs */
};

/* Why, in one word, for metrics and for the dead letter's Tidemill-Reason. */
enum cause { CAUSE_NONE, CAUSE_ERROR, CAUSE_TIMEOUT, CAUSE_MEMORY, CAUSE_REJECTED, CAUSE_PAYLOAD };

const char *cause_name(enum cause cause); /* "error", "timeout", "memory", "rejected", "payload" */

struct call_result {
    const char *rule; /* its name */
    enum outcome outcome;
    enum cause cause;
    int64_t retry_ns;
    const char *error;     /* one line, "rules/x.lua:7: ..."; NULL when OUTCOME_DONE or _RETRY */
    const char *traceback; /* several lines, or NULL */
    const struct output *outputs;
    size_t output_count;
    int64_t duration_ns; /* time spent running, without waiting */
    int64_t elapsed_ns;  /* from the start to the end, with it */
    int64_t ended_ns;    /* clock_monotonic_ns then */
    void *host_data;     /* what rule_set_host_data has set for this rule */
};

/*
 * The answer to a mill.request, or to a call on a key-value bucket. Borrowed by engine_reply.
 *
 *   KV_GET               `payload` NULL: there is no value; else the value and its `revision`
 *   KV_PUT               the new `revision`
 *   KV_CREATE            the same, or the error "exists"
 *   KV_UPDATE            the same, or the error "wrong revision"
 *   KV_DELETE            nothing
 *   KV_KEYS              `payload`: the keys, each with a line end behind it
 */
struct reply {
    const char *error; /* NULL: answered; otherwise "no responders", "disconnected", ... */
    const char *payload;
    size_t payload_size;
    uint64_t revision;
};

enum kv_operation { KV_GET, KV_PUT, KV_CREATE, KV_UPDATE, KV_DELETE, KV_KEYS };

/* What a rule asks of a key-value bucket. The names are valid (ADR-8). Borrowed by host->kv. */
struct kv_request {
    enum kv_operation operation;
    const char *bucket;
    const char *key;   /* NULL for KV_KEYS */
    const char *value; /* of KV_PUT, KV_CREATE and KV_UPDATE */
    size_t size;
    uint64_t revision; /* KV_UPDATE: what must be the key's last one */
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct rule_metric {
    enum metric_kind kind;
    const char *name;
    const struct header *labels; /* sorted by name */
    size_t label_count;
    void *handle; /* the host's */
};

/*
 * What a rule may ask of the world. All are called on the engine's thread. `context` is the
 * host's own. A NULL function: the host has no such service, the rule gets an error that says so.
 */
struct engine_host {
    void *context;
    int64_t (*monotonic_ns)(void *context); /* for timers and waits; NULL: clock_monotonic_ns */
    int64_t (*wall_ns)(void *context);      /* for mill.now; NULL: clock_wall_ns */
    /* A handler ended. `token` is what engine_call was given; NULL for a timer and on_unload.
       How a top level or on_load ended is engine_open's result and not reported here. */
    void (*finished)(void *context, void *token, const struct call_result *result);
    /* mill.request: send it; answer later with engine_reply(engine, wait, ..). Returns 0 or -1. */
    int (*request)(void *context, struct engine *engine, uint64_t wait, const char *subject,
                   const char *payload, size_t payload_size, struct error *err);
    /* mill.kv: the same for a call on a bucket. */
    int (*kv)(void *context, struct engine *engine, uint64_t wait, const struct kv_request *request,
              struct error *err);
    /* msg:in_progress() on the call with this token. */
    void (*in_progress)(void *context, void *token);
    void (*log)(void *context, enum log_level level, const char *rule, const char *text);
    /* A value for a metric that a rule has of mill.counter and so on. `metric->handle` is NULL at
       first and then what the host leaves there, so that it has to look the metric up only once. */
    void (*metric)(void *context, struct rule_metric *metric, double value);
    size_t max_payload; /* the server's limit; 0: unknown */
};

struct engine_limits {
    int64_t timeout_ns; /* by the real clock, whatever the host's says; 0: none */
    int64_t memory;     /* bytes; 0: no limit */
};

/*
 * What the engine is doing now, for the watchdog on another thread. `started_ns` is 0 when no rule
 * runs. `text` says rule, subject and sequence; it is written before started_ns is set (release).
 */
struct engine_activity {
    atomic_llong started_ns; /* clock_monotonic_ns, always the real clock */
    char text[256];
};

struct engine_options {
    struct engine_limits limits;
    struct engine_host host;
    struct engine_activity *activity; /* NULL: not watched; outlives the engine */
    int worker_id, worker_count;      /* mill.worker */
};

/*
 * Builds an engine: runs each rule file's top level, checks what it returned, runs on_load.
 * `ruleset` is kept by reference (ruleset_retain). On failure nothing is left and `err` names file,
 * line and fault. Timers created meanwhile start to count at once but do not fire before
 * engine_tick.
 */
int engine_open(struct engine **engine, struct ruleset *ruleset,
                const struct engine_options *options, struct error *err);

/*
 * The same, to look at rules instead of running them: goes on behind a rule that fails, which is
 * then one that is switched off, and tells `fault` of each. Returns how many have failed, or -1
 * with `err` and no engine.
 */
typedef void engine_fault(void *context, const char *rule, const struct error *err);
int engine_check(struct engine **engine, struct ruleset *ruleset,
                 const struct engine_options *options, engine_fault *fault, void *context,
                 struct error *err);

/*
 * Puts an engine that was built elsewhere to work: sets what is known, and safe to share, only now.
 * `activity` as in engine_options (a build runs on another thread than the engine that works, so it
 * must not write there); `max_payload` as in engine_host.
 */
void engine_put_to_work(struct engine *engine, struct engine_activity *activity,
                        size_t max_payload);

/* The Lua it was built with: "5.4.4". */
const char *engine_lua_version(void);

/* Ends everything; calls under way are not reported. NULL is fine. */
void engine_close(struct engine *engine);

/* The rules that want `subject`, in the order of their names, at most `max`; returns how many. */
size_t engine_match(struct engine *engine, const char *subject, struct rule **rules, size_t max);

size_t engine_rule_count(const struct engine *engine);
struct rule *engine_rule_at(const struct engine *engine, size_t index);
struct rule *engine_rule_named(const struct engine *engine, const char *name); /* NULL: none */
const char *rule_name(const struct rule *rule);
bool rule_enabled(const struct rule *rule);

/* Something of the host's own to find again in each call_result of the rule; NULL until set. */
void rule_set_host_data(struct rule *rule, void *host_data);

/* Calls `visit` with each pattern of the rule's `subjects`. */
void rule_each_subject(const struct rule *rule, void (*visit)(void *context, const char *pattern),
                       void *context);

/* Runs `rule` on `input`, or queues it behind the rule's calls under way. */
void engine_call(struct engine *engine, struct rule *rule, const struct input *input, void *token);

/* Answers host->request or host->kv; an unknown or late `wait` is ignored. */
void engine_reply(struct engine *engine, uint64_t wait, const struct reply *reply);

/* When the next timer or sleep is due, in the host's monotonic time; -1: none. */
int64_t engine_due_ns(const struct engine *engine);

/* Runs the timers and wakes the sleepers that are due. */
void engine_tick(struct engine *engine);

/* Calls under way (waiting or queued). */
size_t engine_active(const struct engine *engine);

/* Bytes held by the Lua state. */
size_t engine_memory(const struct engine *engine);

/* The ruleset's version, a hash of its files. */
const char *engine_version(const struct engine *engine);

/*
 * Carries the mill.state tables of `from` into `to` (deep copies; what `from` holds wins, key by
 * key). Both live. On failure `err` names rule, state and key; `from` is as before, but `to` may
 * have got some of it and is to be closed.
 */
int engine_carry_state(struct engine *to, struct engine *from, struct error *err);

/*
 * Swapped out: cancels timers, runs on_unload, and gives each call that was queued but never
 * started to `requeue` (rule name, its input and token), which runs it on the new engine. Calls
 * that wait go on here: keep ticking and answering until engine_active() is 0 (or patience ends),
 * then engine_close.
 */
void engine_retire(struct engine *engine,
                   void (*requeue)(void *context, const char *rule, const struct input *input,
                                   void *token),
                   void *context);

/* Makes every call under way end now with an error, reported as usual (shutdown, impatience). */
void engine_abort_calls(struct engine *engine, const char *why);

#endif
