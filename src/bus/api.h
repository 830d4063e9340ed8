#ifndef TIDEMILL_BUS_API_H
#define TIDEMILL_BUS_API_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "bus/control.h"

/*
 * One call of the JetStream API: a JSON request on `$JS.API.<operation>`, a JSON reply. What the
 * server cannot answer for the moment (no leader yet, starting up) is asked again for some seconds.
 * Blocks; any thread but a worker's loop.
 */

/*
 * The error codes of the server that mean something here (server/errors.json): `err_code` of an
 * answer, of a call as of a publish.
 */
enum {
    API_OK = 0,
    API_UNAVAILABLE = 10008, /* for the moment: an election is under way */
    API_CONSUMER_MISSING = 10014,
    API_INSUFFICIENT = 10023,
    API_MEMORY_EXCEEDED = 10028,
    API_MESSAGE_MISSING = 10037,
    API_NOT_ENABLED_FOR_ACCOUNT = 10039,
    API_SEQUENCE_MISSING = 10043,
    API_STORAGE_EXCEEDED = 10047,
    API_NAME_IN_USE = 10058,
    API_STREAM_MISSING = 10059,
    API_SUBJECTS_OVERLAP = 10065,
    API_NOT_ENABLED = 10076,
    API_STORE_FAILED = 10077, /* of a stream: full, for one */
    API_CONSUMER_BAD_FILTER = 10093,
    API_STREAM_OFFLINE = 10118,
    API_ID_IN_PROCESS = 10158,    /* a message with this Nats-Msg-Id is proposed, not stored */
    API_TOO_MANY_REQUESTS = 10167 /* the stream's queue is full */
};

struct api_reply {
    char *text; /* the JSON, NUL-terminated */
    size_t size;
    int64_t code;          /* API_OK, or the server's err_code */
    char description[256]; /* of the error, in the server's words */
};

/*
 * Calls `operation` ("STREAM.INFO.alerts") with `body` (NULL: none). Returns 0 when the server
 * answered, be it with an error (see `code`); -1 with one clear line when JetStream is not there,
 * not enabled or not permitted. The caller frees the reply in the first case.
 */
int api_call(struct control *control, struct api_reply *reply, const char *body, struct error *err,
             const char *operation, ...) __attribute__((format(printf, 5, 6)));

/* For who sends the call and takes its answer otherwise: the subject of an operation. */
enum { API_SUBJECT_SIZE = 1024 };
int api_subject(char subject[API_SUBJECT_SIZE], struct error *err, const char *operation,
                va_list args) __attribute__((format(printf, 3, 0)));

/*
 * Reads the text of an answer, which is copied. Returns 0, or -1 when it is none, or says that
 * there is no JetStream. The caller frees the reply in the first case.
 */
int api_reply_read(struct api_reply *reply, const char *text, size_t size, struct error *err);

void api_reply_free(struct api_reply *reply);

#endif
