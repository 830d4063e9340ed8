#ifndef TIDEMILL_MILL_PIPELINE_KV_H
#define TIDEMILL_MILL_PIPELINE_KV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/link.h"
#include "bus/wire.h"
#include "rules/engine.h"

/*
 * The rules' calls on key-value buckets that are under way: each takes the one or few questions to
 * the server that it needs (bus/kv.h) and is answered once, by kv_calls_answered. A call that the
 * server leaves without an answer is forgotten later; the engine's own patience has ended it then.
 *
 * Thread: the worker's.
 */

struct kv_calls;

/* How a call is answered: it was made with these two numbers. */
typedef void kv_calls_answered(void *context, uint32_t generation, uint64_t wait,
                               const struct reply *reply);

/* NULL: out of memory. */
struct kv_calls *kv_calls_new(struct link *link, kv_calls_answered *answered, void *context);
void kv_calls_free(struct kv_calls *calls); /* what is under way is not answered; NULL is fine */

/* Begins a call. Returns 0, or -1 with why there will be no answer. */
int kv_calls_begin(struct kv_calls *calls, uint32_t generation, uint64_t wait,
                   const struct kv_request *request, int64_t now_ns, struct error *err);

/* A REPLY_KV has come. Does not keep the message. */
void kv_calls_reply(struct kv_calls *calls, uint64_t token, const struct wire_message *message,
                    bool no_responders);

/* For tests: how many are under way, or not yet forgotten. */
size_t kv_calls_count(const struct kv_calls *calls);

#endif
