#ifndef TIDEMILL_BUS_JSON_SCAN_H
#define TIDEMILL_BUS_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Reads single fields out of what the server answers (PubAcks, stream and consumer info): no tree,
 * no allocation. Every call walks the whole text and is false unless all of it is one valid JSON
 * document (RFC 8259; nesting up to JSON_SCAN_DEPTH_MAX; bytes above 127 are passed through
 * unchecked).
 *
 * A path names keys and array positions, joined by dots: "config.ack_wait", "streams.0". The empty
 * path is the document itself. Of a key that comes twice, the first counts. Pure functions; any
 * thread.
 */

enum { JSON_SCAN_DEPTH_MAX = 64 };

/* Whether `text` is one valid document. */
bool json_scan_valid(const char *text, size_t size);

/* Whether there is a value other than null at `path`. */
bool json_scan_has(const char *text, size_t size, const char *path);

/*
 * Decodes the string at `path` into `out`, NUL-terminated. False, with `out` empty, when there is
 * no string, when it does not fit, or when it holds a NUL.
 */
bool json_scan_string(const char *text, size_t size, const char *path, char *out, size_t out_size);

/* The integer at `path`; false for a fraction, an exponent, or what int64_t cannot hold. */
bool json_scan_integer(const char *text, size_t size, const char *path, int64_t *value);

/* The boolean at `path`. */
bool json_scan_bool(const char *text, size_t size, const char *path, bool *value);

/* How many elements the array, or members the object, at `path` has; -1 when it is neither. */
int json_scan_count(const char *text, size_t size, const char *path);

/* The value at `path` as it is written in `text`: `*raw` points into it. */
bool json_scan_raw(const char *text, size_t size, const char *path, const char **raw,
                   size_t *raw_size);

/*
 * Calls `member` for each member of the object at `path`, in order, with the key as it is written
 * (no quotes, escapes kept) and the raw value. False when there is no object.
 */
typedef void json_scan_member(const char *key, size_t key_size, const char *raw, size_t raw_size,
                              void *context);
bool json_scan_members(const char *text, size_t size, const char *path, json_scan_member *member,
                       void *context);

#endif
