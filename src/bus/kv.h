#ifndef TIDEMILL_BUS_KV_H
#define TIDEMILL_BUS_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/link.h"
#include "bus/wire.h"

/*
 * A key-value bucket (ADR-8) as messages: bucket B is the stream KV_B, key K the subject $KV.B.K,
 * a revision the sequence of a message, and a deleted key one whose last message is a marker.
 * kv_ask_* send a question over a link; its answer comes as a REPLY_KV with the question's token
 * (or as no responders), and kv_read_* say what it means. Nothing is kept in between.
 *
 * Values are read with STREAM.MSG.GET and not with direct gets: that works for every bucket, and
 * the stream's leader answers, so that a rule reads what it has written.
 *
 * Thread: kv_ask_* the link's loop; kv_read_* are pure.
 */

enum { KV_CONSUMER_SIZE = 128, KV_ANY_REVISION = -1 };

/* --- questions: 0, or -1 with one line when nothing was sent --- */

/*
 * Stores a value, when the key's last revision is `expected`: 0 for a key that has no message at
 * all, KV_ANY_REVISION for no condition. Answer: kv_read_stored.
 */
int kv_ask_put(struct link *link, uint64_t token, const char *bucket, const char *key,
               const char *value, size_t size, int64_t expected, struct error *err);

/* Stores a deletion marker. Answer: kv_read_stored. */
int kv_ask_delete(struct link *link, uint64_t token, const char *bucket, const char *key,
                  struct error *err);

/* Answer: kv_read_entry. */
int kv_ask_get(struct link *link, uint64_t token, const char *bucket, const char *key,
               struct error *err);

/* Whether there is such a bucket. Answer: kv_read_bucket. */
int kv_ask_bucket(struct link *link, uint64_t token, const char *bucket, struct error *err);

/*
 * The keys, in three steps: kv_ask_list (answer: kv_read_list), then kv_ask_list_next for as many
 * messages as that said, each read with kv_read_listed, then kv_end_list.
 */
int kv_ask_list(struct link *link, uint64_t token, const char *bucket, struct error *err);
int kv_ask_list_next(struct link *link, uint64_t token, const char *bucket, uint64_t count,
                     struct error *err);
void kv_end_list(struct link *link, uint64_t token, const char *bucket);

/* --- answers --- */

enum kv_answer {
    KV_ANSWER_DONE,
    KV_ANSWER_NONE,     /* there is no such message */
    KV_ANSWER_CONFLICT, /* the last revision is another one */
    KV_ANSWER_FAILED    /* `why` says it: "no bucket", or the server's words */
};

enum { KV_WHY_SIZE = 200 };

enum kv_answer kv_read_stored(const char *text, size_t size, uint64_t *revision,
                              char why[KV_WHY_SIZE]);

struct kv_entry {
    char *value; /* malloc'ed, the caller's; not NUL-terminated */
    size_t size;
    uint64_t revision;
    bool deleted; /* a marker: the key is deleted, purged or too old */
};

/* The entry is only set with KV_ANSWER_DONE. */
enum kv_answer kv_read_entry(const char *text, size_t size, struct kv_entry *entry,
                             char why[KV_WHY_SIZE]);

/* KV_ANSWER_DONE: it exists. */
enum kv_answer kv_read_bucket(const char *text, size_t size, char why[KV_WHY_SIZE]);

/* `*count`: how many keys there are to come, deleted ones included. */
enum kv_answer kv_read_list(const char *text, size_t size, uint64_t *count, char why[KV_WHY_SIZE]);

/*
 * The key of a listed message, or NULL when it is a status, which ends the list. Borrowed from the
 * message. `*deleted`: the key is not to be listed. `*left`: how many come after it.
 */
const char *kv_read_listed(const struct wire_message *message, const char *bucket, bool *deleted,
                           uint64_t *left);

#endif
