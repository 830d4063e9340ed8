#ifndef TIDEMILL_BASE_CONFIG_H
#define TIDEMILL_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/string_list.h"
#include "base/value.h"

/*
 * The configuration of one process: what tidemill.lua returned, checked, with every default filled
 * in. Built from a neutral value tree (base/value.h), because this module knows no Lua;
 * rules/luafile.h turns a file into such a tree. Constant after config_build: any thread may read
 * it.
 *
 * Durations are nanoseconds, sizes are bytes. Strings are NUL-terminated and owned by the
 * configuration; a string that was not given is NULL unless a default is named.
 */

struct tls_config {
    bool enabled; /* a `tls` table was given, or the URL starts with tls:// */
    char *ca, *cert, *key;
    bool verify; /* default true */
    char *hostname;
};

struct nats_config {
    struct string_list urls; /* `url`: one string, or comma separated, or a list; at least one */
    char *name;              /* default "tidemill" */
    char *user;
    char *password;          /* also from `password_file`: the line in that file */
    char *token;             /* also from `token_file` */
    char *creds, *nkey_seed; /* file names; not opened here */
    struct tls_config tls;
    int64_t connect_timeout_ns; /* default 3s */
    int64_t reconnect_wait_ns;  /* default 1s */
    int max_reconnects;         /* -1, the default: for ever */
    bool discovery;             /* default true */
};

struct stream_config {
    char *name;
    struct string_list subjects; /* default { "<name>.>" } */
    bool memory_storage;         /* `storage`: "file" (default) or "memory" */
    int64_t max_age_ns;          /* 0: no limit */
    int64_t max_bytes;           /* -1: no limit */
    int64_t max_msgs;            /* -1: no limit */
    int64_t duplicate_window_ns; /* `duplicate_window`, default 2m */
    int replicas;                /* default 1 */
};

enum start_at { START_ALL, START_NEW, START_LAST, START_SEQUENCE, START_TIME };
enum payload_format { PAYLOAD_JSON, PAYLOAD_RAW };
enum ack_mode { ACK_EACH, ACK_CUMULATIVE };

/* Workers name a source by a bit of a mask and by a byte of a token. */
enum { CONFIG_SOURCES_MAX = 64 };

struct source_config {
    char *stream;
    char *durable;
    struct string_list filter; /* empty: the whole stream */
    int batch;                 /* messages per pull request, default 500, 1..10000 */
    int64_t ack_wait_ns;       /* default 30s */
    int max_deliver;           /* tries before the dead letter, default 5 */
    int64_t *backoff_ns;       /* default { 1s, 5s, 30s }; the last one repeats */
    size_t backoff_count;
    int max_ack_pending; /* default 20000 */
    enum start_at start; /* default START_ALL */
    uint64_t start_sequence;
    int64_t start_time_ns; /* since 1970 */
    int workers;           /* default 1, 1..64 */
    enum payload_format format;
    enum ack_mode ack;
    bool confirm;
};

struct rules_config {
    char *dir; /* default "rules" */
    bool watch;
    int64_t timeout_ns;      /* default 1s, or half of hard_timeout where that is less */
    int64_t hard_timeout_ns; /* default 10s, or 2/3 of the shortest ack_wait; less than each */
    int64_t memory;          /* bytes per worker, default 256MB */
};

struct config {
    char *path; /* the file it came from, set by the caller (malloc); NULL: built-in defaults */
    struct nats_config nats;
    struct stream_config *streams;
    size_t stream_count;
    struct source_config *sources;
    size_t source_count;
    struct rules_config rules;
    char *dead_letter_subject; /* default "dead" */
    char *http_listen;         /* "address:port", default "127.0.0.1:9180"; NULL when switched off
                                  by `http = false` or an empty string */
    enum log_level log_level;
    enum log_format log_format;
    struct log_limits log_limits; /* default 10 and 10000 in 10s; 0: no limit */
    int64_t shutdown_timeout_ns;  /* default 20s */
};

/*
 * What the environment and the flags say; each wins over the file. NULL or empty: not said, but an
 * empty http_listen switches HTTP off.
 */
struct config_overrides {
    const char *nats_url;
    const char *nats_creds;
    const char *rules_dir;
    const char *log_level;
    const char *http_listen;
    bool watch;
};

/*
 * Every problem found, each one line that starts with the path of the key
 * ("sources[1].ack_wait: ..."). Bounded: after CONFIG_PROBLEMS_MAX the rest is only counted.
 */
enum { CONFIG_PROBLEMS_MAX = 50 };

struct config_problems {
    struct error items[CONFIG_PROBLEMS_MAX];
    size_t count; /* all of them, also those not kept */
};

/*
 * Checks `root` (what the file returned) and fills `config`, which the caller frees with
 * config_free in either case. NULL or nil: there is no file; every default, and no sources, which a
 * file must have. All problems are found in one go; those of the overrides come under the names of
 * the variables ("NATS_URL: ..."). Reads the files named by password_file and token_file. Returns
 * 0, or -1 when there is any problem.
 */
int config_build(struct config *config, const struct value *root,
                 const struct config_overrides *overrides, struct config_problems *problems);

void config_free(struct config *config);

#endif
